//! `rdk:component:board`: GPIO and PWM pins, analog pins and digital interrupts. Pin names are strings of the model's
//! choice.

use std::{pin::Pin, time::Duration};

use async_trait::async_trait;
use futures_core::Stream;
use futures_util::{StreamExt, future, stream};
use mainstay_proto::viam::component::board::v1::{
    self as v1, GetDigitalInterruptValueRequest, GetDigitalInterruptValueResponse, GetGpioRequest, GetGpioResponse,
    PwmFrequencyRequest, PwmFrequencyResponse, PwmRequest, PwmResponse, ReadAnalogReaderRequest,
    ReadAnalogReaderResponse, SetGpioRequest, SetGpioResponse, SetPowerModeRequest, SetPowerModeResponse,
    SetPwmFrequencyRequest, SetPwmFrequencyResponse, SetPwmRequest, SetPwmResponse, StreamTicksRequest,
    StreamTicksResponse, WriteAnalogRequest, WriteAnalogResponse,
    board_service_client::BoardServiceClient,
    board_service_server::{BoardService, BoardServiceServer},
};
use tonic::{Request, Response, Status};

use super::{
    macros::{resource_api, send, serve},
    unimplemented,
};
use crate::{
    Error, Object, Resource, Result,
    value::wire::{from_struct, to_extra},
};

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
#[async_trait]
pub trait Board: Resource {
    /// Sets a pin high (`true`) or low.
    async fn set_gpio(&self, pin: &str, high: bool, extra: &Object) -> Result<()> {
        let _ = (pin, high, extra);
        unimplemented("SetGPIO")
    }

    /// Reads a pin: `true` if it is high.
    async fn gpio(&self, pin: &str, extra: &Object) -> Result<bool> {
        let _ = (pin, extra);
        unimplemented("GetGPIO")
    }

    /// Returns the PWM duty cycle of a pin, 0 to 1.
    async fn pwm(&self, pin: &str, extra: &Object) -> Result<f64> {
        let _ = (pin, extra);
        unimplemented("PWM")
    }

    /// Sets the PWM duty cycle of a pin, 0 to 1.
    async fn set_pwm(&self, pin: &str, duty: f64, extra: &Object) -> Result<()> {
        let _ = (pin, duty, extra);
        unimplemented("SetPWM")
    }

    /// Returns the PWM frequency of a pin in Hz.
    async fn pwm_frequency(&self, pin: &str, extra: &Object) -> Result<u64> {
        let _ = (pin, extra);
        unimplemented("PWMFrequency")
    }

    /// Sets the PWM frequency of a pin in Hz; 0 selects the board's default.
    async fn set_pwm_frequency(&self, pin: &str, frequency_hz: u64, extra: &Object) -> Result<()> {
        let _ = (pin, frequency_hz, extra);
        unimplemented("SetPWMFrequency")
    }

    /// Reads an analog input by its name.
    async fn read_analog(&self, analog: &str, extra: &Object) -> Result<Analog> {
        let _ = (analog, extra);
        unimplemented("ReadAnalogReader")
    }

    /// Writes a value to an analog output pin. Its range depends on the board.
    async fn write_analog(&self, pin: &str, value: i32, extra: &Object) -> Result<()> {
        let _ = (pin, value, extra);
        unimplemented("WriteAnalog")
    }

    /// Returns the number of edges that a digital interrupt has counted.
    async fn digital_interrupt(&self, interrupt: &str, extra: &Object) -> Result<i64> {
        let _ = (interrupt, extra);
        unimplemented("GetDigitalInterruptValue")
    }

    /// Streams every edge of these digital interrupts until the caller drops the stream. Return only once edges are being
    /// recorded: callers are told then that none is missed from here on.
    async fn ticks(&self, interrupts: &[String], extra: &Object) -> Result<Ticks> {
        let _ = (interrupts, extra);
        unimplemented("StreamTicks")
    }

    /// Sets the power mode, for a duration or until the next call.
    async fn set_power_mode(&self, mode: PowerMode, duration: Option<Duration>, extra: &Object) -> Result<()> {
        let _ = (mode, duration, extra);
        unimplemented("SetPowerMode")
    }
}

/// Stream of interrupt edges. `Box::pin` converts any stream.
pub type Ticks = Pin<Box<dyn Stream<Item = Result<Tick>> + Send>>;

/// Edge of a digital interrupt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// Name of the interrupt.
    pub pin: String,
    /// Time of the edge in nanoseconds, on a clock of the board's choice.
    pub time_ns: u64,
    /// Level after the edge, `true` for high.
    pub high: bool,
}

/// Reading of an analog input, with its range.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Analog {
    /// Raw value, in steps of the converter.
    pub value: i32,
    /// Minimum, in the unit of the measured quantity (mostly volts). `min`, `max` and `step` are 0 if unknown.
    pub min: f32,
    /// Maximum, in the same unit.
    pub max: f32,
    /// Size of one step, in the same unit.
    pub step: f32,
}

/// Power mode of a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerMode {
    /// Normal operation.
    Normal,
    /// Deep sleep: everything off except the wake-up sources.
    OfflineDeep,
}

resource_api!(dyn Board = "rdk:component:board" via BoardServiceServer, BoardServiceClient as Client with get_geometries);

serve! {
    impl BoardService for dyn Board with get_geometries {
        fn set_gpio(board, request: SetGpioRequest) -> SetGpioResponse {
            board.set_gpio(&request.pin, request.high, &from_struct(request.extra)).await?;
            SetGpioResponse {}
        }
        fn get_gpio(board, request: GetGpioRequest) -> GetGpioResponse {
            GetGpioResponse { high: board.gpio(&request.pin, &from_struct(request.extra)).await? }
        }
        fn pwm(board, request: PwmRequest) -> PwmResponse {
            PwmResponse { duty_cycle_pct: board.pwm(&request.pin, &from_struct(request.extra)).await? }
        }
        fn set_pwm(board, request: SetPwmRequest) -> SetPwmResponse {
            board.set_pwm(&request.pin, request.duty_cycle_pct, &from_struct(request.extra)).await?;
            SetPwmResponse {}
        }
        fn pwm_frequency(board, request: PwmFrequencyRequest) -> PwmFrequencyResponse {
            let frequency_hz = board.pwm_frequency(&request.pin, &from_struct(request.extra)).await?;
            PwmFrequencyResponse { frequency_hz }
        }
        fn set_pwm_frequency(board, request: SetPwmFrequencyRequest) -> SetPwmFrequencyResponse {
            board.set_pwm_frequency(&request.pin, request.frequency_hz, &from_struct(request.extra)).await?;
            SetPwmFrequencyResponse {}
        }
        fn read_analog_reader(board, request: ReadAnalogReaderRequest, by board_name) -> ReadAnalogReaderResponse {
            let analog = board.read_analog(&request.analog_reader_name, &from_struct(request.extra)).await?;
            let Analog { value, min: min_range, max: max_range, step: step_size } = analog;
            ReadAnalogReaderResponse { value, min_range, max_range, step_size }
        }
        fn write_analog(board, request: WriteAnalogRequest) -> WriteAnalogResponse {
            board.write_analog(&request.pin, request.value, &from_struct(request.extra)).await?;
            WriteAnalogResponse {}
        }
        fn get_digital_interrupt_value(
            board, request: GetDigitalInterruptValueRequest, by board_name
        ) -> GetDigitalInterruptValueResponse {
            let value = board.digital_interrupt(&request.digital_interrupt_name, &from_struct(request.extra)).await?;
            GetDigitalInterruptValueResponse { value }
        }
        fn set_power_mode(board, request: SetPowerModeRequest) -> SetPowerModeResponse {
            let mode = match request.power_mode() {
                v1::PowerMode::Normal => PowerMode::Normal,
                v1::PowerMode::OfflineDeep => PowerMode::OfflineDeep,
                v1::PowerMode::Unspecified => return Err(Error::invalid_argument("`power_mode` is missing")),
            };
            let duration = request.duration.map(Duration::try_from).transpose();
            let duration = duration.map_err(|_| Error::invalid_argument("`duration` is negative"))?;
            board.set_power_mode(mode, duration, &from_struct(request.extra)).await?;
            SetPowerModeResponse {}
        }
    }
    also {
        type StreamTicksStream = Pin<Box<dyn Stream<Item = Result<StreamTicksResponse, Status>> + Send>>;

        async fn stream_ticks(
            &self,
            request: Request<StreamTicksRequest>,
        ) -> Result<Response<Self::StreamTicksStream>, Status> {
            let request = request.into_inner();
            let board = self.0.get(&request.name)?;
            let ticks = board.ticks(&request.pin_names, &from_struct(request.extra)).await?;
            // Clients wait for one empty message, which says that the board is listening, and throw it away.
            let listening = stream::iter([Ok(StreamTicksResponse::default())]);
            let ticks = ticks.map(|tick| {
                let Tick { pin: pin_name, time_ns: time, high } = tick?;
                Ok(StreamTicksResponse { pin_name, time, high })
            });
            Ok(Response::new(Box::pin(listening.chain(ticks))))
        }
    }
}

#[async_trait]
impl Board for Client {
    async fn set_gpio(&self, pin: &str, high: bool, extra: &Object) -> Result<()> {
        let request = SetGpioRequest {
            name: self.name(),
            pin: pin.to_owned(),
            high,
            extra: to_extra(extra),
        };
        send!(self.set_gpio(request)).map(drop)
    }

    async fn gpio(&self, pin: &str, extra: &Object) -> Result<bool> {
        let request = GetGpioRequest {
            name: self.name(),
            pin: pin.to_owned(),
            extra: to_extra(extra),
        };
        Ok(send!(self.get_gpio(request))?.high)
    }

    async fn pwm(&self, pin: &str, extra: &Object) -> Result<f64> {
        let request = PwmRequest {
            name: self.name(),
            pin: pin.to_owned(),
            extra: to_extra(extra),
        };
        Ok(send!(self.pwm(request))?.duty_cycle_pct)
    }

    async fn set_pwm(&self, pin: &str, duty: f64, extra: &Object) -> Result<()> {
        let (name, pin, extra) = (self.name(), pin.to_owned(), to_extra(extra));
        send!(self.set_pwm(SetPwmRequest {
            name,
            pin,
            duty_cycle_pct: duty,
            extra
        }))
        .map(drop)
    }

    async fn pwm_frequency(&self, pin: &str, extra: &Object) -> Result<u64> {
        let request = PwmFrequencyRequest {
            name: self.name(),
            pin: pin.to_owned(),
            extra: to_extra(extra),
        };
        Ok(send!(self.pwm_frequency(request))?.frequency_hz)
    }

    async fn set_pwm_frequency(&self, pin: &str, frequency_hz: u64, extra: &Object) -> Result<()> {
        let (name, pin, extra) = (self.name(), pin.to_owned(), to_extra(extra));
        send!(self.set_pwm_frequency(SetPwmFrequencyRequest {
            name,
            pin,
            frequency_hz,
            extra
        }))
        .map(drop)
    }

    async fn read_analog(&self, analog: &str, extra: &Object) -> Result<Analog> {
        let (board_name, analog_reader_name, extra) = (self.name(), analog.to_owned(), to_extra(extra));
        let answer = send!(self.read_analog_reader(ReadAnalogReaderRequest {
            board_name,
            analog_reader_name,
            extra
        }))?;
        let ReadAnalogReaderResponse {
            value,
            min_range,
            max_range,
            step_size,
        } = answer;
        Ok(Analog {
            value,
            min: min_range,
            max: max_range,
            step: step_size,
        })
    }

    async fn write_analog(&self, pin: &str, value: i32, extra: &Object) -> Result<()> {
        let request = WriteAnalogRequest {
            name: self.name(),
            pin: pin.to_owned(),
            value,
            extra: to_extra(extra),
        };
        send!(self.write_analog(request)).map(drop)
    }

    async fn digital_interrupt(&self, interrupt: &str, extra: &Object) -> Result<i64> {
        let (board_name, digital_interrupt_name, extra) = (self.name(), interrupt.to_owned(), to_extra(extra));
        let request = GetDigitalInterruptValueRequest {
            board_name,
            digital_interrupt_name,
            extra,
        };
        Ok(send!(self.get_digital_interrupt_value(request))?.value)
    }

    async fn ticks(&self, interrupts: &[String], extra: &Object) -> Result<Ticks> {
        let request = StreamTicksRequest {
            name: self.name(),
            pin_names: interrupts.to_vec(),
            extra: to_extra(extra),
        };
        let ticks = send!(self.stream_ticks(request))?.enumerate();
        // Not every board sends the empty first message, so it is known by being empty.
        let ticks = ticks.filter_map(|(n, tick)| {
            let empty = n == 0 && matches!(&tick, Ok(tick) if *tick == StreamTicksResponse::default());
            future::ready((!empty).then_some(tick))
        });
        Ok(Box::pin(ticks.map(|tick| {
            let StreamTicksResponse {
                pin_name: pin,
                time: time_ns,
                high,
            } = tick?;
            Ok(Tick { pin, time_ns, high })
        })))
    }

    async fn set_power_mode(&self, mode: PowerMode, duration: Option<Duration>, extra: &Object) -> Result<()> {
        let power_mode = match mode {
            PowerMode::Normal => v1::PowerMode::Normal,
            PowerMode::OfflineDeep => v1::PowerMode::OfflineDeep,
        };
        let duration = duration.map(|duration| duration.try_into()).transpose()?;
        let (name, power_mode, extra) = (self.name(), power_mode.into(), to_extra(extra));
        send!(self.set_power_mode(SetPowerModeRequest {
            name,
            power_mode,
            duration,
            extra
        }))
        .map(drop)
    }
}
