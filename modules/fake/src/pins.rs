//! Pins, analogs and interrupts of a fake board: plain state without a clock.

use std::collections::BTreeMap;

/// Pin of the analog that reads back the value written to it; any other one counts.
const ANALOG_ECHO_PIN: &str = "1";
/// Pin of the interrupt that counts its reads; any other one stays at 0.
const COUNTING_INTERRUPT_PIN: &str = "0";
/// Largest value of an analog that counts; 0 follows.
pub(crate) const ANALOG_MAX: i32 = 1000;

/// Unknown name. Robot programs match these texts.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum PinError {
    #[error("can't find AnalogReader ({0})")]
    NoAnalog(String),
    #[error("cant find DigitalInterrupt ({0})")]
    NoInterrupt(String),
}

/// Settings of one general-purpose pin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Pin {
    pub high: bool,
    /// PWM duty cycle, 0 to 1 by convention; kept unchecked.
    pub duty: f64,
    pub frequency_hz: u64,
}

#[derive(Debug, Default)]
struct AnalogPin {
    echoes: bool,
    value: i32,
}

impl AnalogPin {
    fn read(&mut self) -> i32 {
        if !self.echoes {
            self.value = if (0..ANALOG_MAX).contains(&self.value) {
                self.value + 1
            } else {
                0
            };
        }
        self.value
    }
}

#[derive(Debug, Default)]
struct Interrupt {
    counts: bool,
    value: i64,
}

/// All pins, analogs and interrupts of one fake board.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    pins: BTreeMap<String, Pin>,
    analogs: BTreeMap<String, AnalogPin>,
    interrupts: BTreeMap<String, Interrupt>,
}

impl Pins {
    /// Adds an analog called `name` on `pin`.
    pub(crate) fn add_analog(&mut self, name: &str, pin: &str) {
        self.analogs.insert(
            name.to_owned(),
            AnalogPin {
                echoes: pin == ANALOG_ECHO_PIN,
                value: 0,
            },
        );
    }

    /// Adds an interrupt called `name` on `pin`.
    pub(crate) fn add_interrupt(&mut self, name: &str, pin: &str) {
        self.interrupts.insert(
            name.to_owned(),
            Interrupt {
                counts: pin == COUNTING_INTERRUPT_PIN,
                value: 0,
            },
        );
    }

    /// Returns the settings of a pin. Every name is a pin; one that was never set is low.
    pub(crate) fn pin(&self, name: &str) -> Pin {
        self.pins.get(name).copied().unwrap_or_default()
    }

    /// Changes the settings of a pin.
    pub(crate) fn change(&mut self, name: &str, change: impl FnOnce(&mut Pin)) {
        match self.pins.get_mut(name) {
            Some(pin) => change(pin),
            None => change(self.pins.entry(name.to_owned()).or_default()),
        }
    }

    /// Reads an analog: 1, 2, 3 … 1000, 0, 1 …, or the value written to it if it is on pin 1.
    pub(crate) fn read_analog(&mut self, name: &str) -> Result<i32, PinError> {
        Ok(self
            .analogs
            .get_mut(name)
            .ok_or_else(|| PinError::NoAnalog(name.to_owned()))?
            .read())
    }

    /// Writes an analog by its name, not its pin. Any value is accepted; only the analog on pin 1 reads it back.
    pub(crate) fn write_analog(&mut self, name: &str, value: i32) -> Result<(), PinError> {
        let analog = self
            .analogs
            .get_mut(name)
            .ok_or_else(|| PinError::NoAnalog(name.to_owned()))?;
        if analog.echoes {
            analog.value = value;
        }
        Ok(())
    }

    /// Reads an interrupt: 0, or 1, 2, 3 … if it is on pin 0.
    pub(crate) fn read_interrupt(&mut self, name: &str) -> Result<i64, PinError> {
        let interrupt = self
            .interrupts
            .get_mut(name)
            .ok_or_else(|| PinError::NoInterrupt(name.to_owned()))?;
        interrupt.value += i64::from(interrupt.counts);
        Ok(interrupt.value)
    }

    /// Checks that all `names` are interrupts of this board; fails with the first that is not.
    pub(crate) fn check_interrupts(&self, names: &[String]) -> Result<(), PinError> {
        match names.iter().find(|name| !self.interrupts.contains_key(*name)) {
            Some(name) => Err(PinError::NoInterrupt(name.clone())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Pins {
        let mut pins = Pins::default();
        pins.add_analog("counter", "3");
        pins.add_analog("echo", "1");
        pins.add_interrupt("still", "11");
        pins.add_interrupt("counting", "0");
        pins
    }

    #[test]
    fn any_name_is_a_pin_and_keeps_what_it_was_set_to() {
        let mut pins = board();
        for name in ["", "37", "still"] {
            assert_eq!(pins.pin(name), Pin::default());
            pins.change(name, |pin| pin.duty = 1.5);
            pins.change(name, |pin| pin.frequency_hz = 50);
            assert_eq!(
                pins.pin(name),
                Pin {
                    high: false,
                    duty: 1.5,
                    frequency_hz: 50
                }
            );
        }
    }

    #[test]
    fn an_analog_counts_from_1_to_1000_and_begins_again_at_0() {
        let mut pins = board();
        for expected in (1..=1000).chain([0, 1]) {
            assert_eq!(pins.read_analog("counter"), Ok(expected));
        }
        pins.write_analog("counter", 500).unwrap();
        assert_eq!(pins.read_analog("counter"), Ok(2));
    }

    #[test]
    fn the_analog_on_pin_1_gives_back_what_was_written() {
        let mut pins = board();
        assert_eq!(pins.read_analog("echo"), Ok(0));
        for value in [-7, 5000] {
            pins.write_analog("echo", value).unwrap();
            assert_eq!(
                (pins.read_analog("echo"), pins.read_analog("echo")),
                (Ok(value), Ok(value))
            );
        }
    }

    #[test]
    fn only_the_interrupt_on_pin_0_counts() {
        let mut pins = board();
        assert_eq!(
            (1..=3)
                .map(|_| pins.read_interrupt("counting").unwrap())
                .collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_eq!(
            (pins.read_interrupt("still"), pins.read_interrupt("still")),
            (Ok(0), Ok(0))
        );
    }

    #[test]
    fn an_unknown_name_is_quoted() {
        let mut pins = board();
        for (error, text) in [
            (pins.read_analog("x").unwrap_err(), "can't find AnalogReader (x)"),
            (pins.write_analog("1", 3).unwrap_err(), "can't find AnalogReader (1)"),
            (pins.read_interrupt("x").unwrap_err(), "cant find DigitalInterrupt (x)"),
            (
                pins.check_interrupts(&["still".into(), "y".into()]).unwrap_err(),
                "cant find DigitalInterrupt (y)",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(pins.check_interrupts(&[]), Ok(()));
    }
}
