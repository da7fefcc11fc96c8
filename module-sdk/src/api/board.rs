//! `rdk:component:board`: GPIO and PWM pins, analog pins and digital interrupts. Pin names are strings of the model's
//! choice.

use std::time::Duration;

use mainstay_proto::viam::component::board::v1;

use super::Streaming;
use crate::{Object, Resource, Result, api, wire::Message};

/// Board with pins (`rdk:component:board`). Methods that a model does not override return UNIMPLEMENTED.
///
/// All methods, as you write them; those that the board can do are enough:
///
/// ```
/// use std::time::Duration;
///
/// use mainstay_module::{api::board::{Analog, PowerMode, Tick, Ticks}, prelude::*};
/// # struct Pi;
/// # impl Pi {
/// #     fn pin(&self, pin: &str) -> Result<u8> {
/// #         pin.parse().map_err(|_| Error::not_found(format_args!("there is no pin `{pin}`")))
/// #     }
/// # }
/// # impl Resource for Pi {}
///
/// #[async_trait]
/// impl Board for Pi {
///     async fn set_gpio(&self, pin: &str, high: bool, extra: &Object) -> Result<()> {
///         let pin = self.pin(pin)?;
///         Ok(())
///     }
///     async fn gpio(&self, pin: &str, extra: &Object) -> Result<bool> {
///         Ok(self.pin(pin)? == 7)
///     }
///     async fn set_pwm(&self, pin: &str, duty: f64, extra: &Object) -> Result<()> {
///         self.pin(pin).map(drop)
///     }
///     async fn pwm(&self, pin: &str, extra: &Object) -> Result<f64> {
///         Ok(0.5)
///     }
///     async fn set_pwm_frequency(&self, pin: &str, frequency_hz: u64, extra: &Object) -> Result<()> {
///         self.pin(pin).map(drop)
///     }
///     async fn pwm_frequency(&self, pin: &str, extra: &Object) -> Result<u64> {
///         Ok(800)
///     }
///     async fn read_analog(&self, analog: &str, extra: &Object) -> Result<Analog> {
///         Ok(Analog { value: 512, min: 0.0, max: 3.3, step: 3.3 / 1024.0 })
///     }
///     async fn write_analog(&self, pin: &str, value: i32, extra: &Object) -> Result<()> {
///         self.pin(pin).map(drop)
///     }
///     async fn digital_interrupt(&self, interrupt: &str, extra: &Object) -> Result<i64> {
///         Ok(3)
///     }
///     async fn ticks(&self, interrupts: &[String], extra: &Object) -> Result<Ticks> {
///         let edge = Tick { pin: "7".into(), time_ns: 1_000, high: true };
///         Ok(Box::pin(futures_util::stream::iter([Ok(edge)])))
///     }
///     async fn set_power_mode(&self, mode: PowerMode, duration: Option<Duration>, extra: &Object) -> Result<()> {
///         Ok(())
///     }
/// }
/// ```
#[api("rdk:component:board", v1::BoardService { DoCommand, GetStatus, GetGeometries })]
pub trait Board: Resource {
    /// Sets a pin high (`true`) or low.
    #[rpc(SetGPIO, optional)]
    async fn set_gpio(&self, pin: &str, high: bool, extra: &Object) -> Result<()>;

    /// Reads a pin: `true` if it is high.
    #[rpc(GetGPIO -> high, optional)]
    async fn gpio(&self, pin: &str, extra: &Object) -> Result<bool>;

    /// Returns the PWM duty cycle of a pin, 0 to 1.
    #[rpc(PWM -> duty_cycle_pct, optional)]
    async fn pwm(&self, pin: &str, extra: &Object) -> Result<f64>;

    /// Sets the PWM duty cycle of a pin, 0 to 1.
    #[rpc(SetPWM { duty_cycle_pct: duty }, optional)]
    async fn set_pwm(&self, pin: &str, duty: f64, extra: &Object) -> Result<()>;

    /// Returns the PWM frequency of a pin in Hz.
    #[rpc(PWMFrequency -> frequency_hz, optional)]
    async fn pwm_frequency(&self, pin: &str, extra: &Object) -> Result<u64>;

    /// Sets the PWM frequency of a pin in Hz; 0 selects the board's default.
    #[rpc(SetPWMFrequency, optional)]
    async fn set_pwm_frequency(&self, pin: &str, frequency_hz: u64, extra: &Object) -> Result<()>;

    /// Reads an analog input by its name.
    #[rpc(ReadAnalogReader { board_name: self, analog_reader_name: analog }, optional)]
    async fn read_analog(&self, analog: &str, extra: &Object) -> Result<Analog>;

    /// Writes a value to an analog output pin. Its range depends on the board.
    #[rpc(WriteAnalog, optional)]
    async fn write_analog(&self, pin: &str, value: i32, extra: &Object) -> Result<()>;

    /// Returns the number of edges that a digital interrupt has counted.
    #[rpc(GetDigitalInterruptValue { board_name: self, digital_interrupt_name: interrupt } -> value, optional)]
    async fn digital_interrupt(&self, interrupt: &str, extra: &Object) -> Result<i64>;

    /// Streams every edge of these digital interrupts until the caller drops the stream. Return only once edges are being
    /// recorded: callers are told then that none is missed from here on.
    #[rpc(announced StreamTicks { pin_names: interrupts }, optional)]
    async fn ticks(&self, interrupts: &[String], extra: &Object) -> Result<Ticks>;

    /// Sets the power mode, for a duration or until the next call.
    #[rpc(SetPowerMode { power_mode: mode }, optional)]
    async fn set_power_mode(&self, mode: PowerMode, duration: Option<Duration>, extra: &Object) -> Result<()>;
}

/// Stream of interrupt edges.
pub type Ticks = Streaming<Tick>;

/// Edge of a digital interrupt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::StreamTicksResponse)]
pub struct Tick {
    /// Name of the interrupt.
    #[message(pin_name)]
    pub pin: String,
    /// Time of the edge in nanoseconds, on a clock of the board's choice.
    #[message(time)]
    pub time_ns: u64,
    /// Level after the edge, `true` for high.
    pub high: bool,
}

/// Reading of an analog input, with its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::ReadAnalogReaderResponse)]
pub struct Analog {
    /// Raw value, in steps of the converter.
    pub value: i32,
    /// Minimum, in the unit of the measured quantity (mostly volts). `min`, `max` and `step` are 0 if unknown.
    #[message(min_range)]
    pub min: f32,
    /// Maximum, in the same unit.
    #[message(max_range)]
    pub max: f32,
    /// Size of one step, in the same unit.
    #[message(step_size)]
    pub step: f32,
}

/// Power mode of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[message(v1::PowerMode)]
pub enum PowerMode {
    /// Normal operation.
    Normal,
    /// Deep sleep: everything off except the wake-up sources.
    OfflineDeep,
}
