//! Motor module on the Rust SDK that stops the motor at SIGTERM, and records that in the file named by STOPPED.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::{env, fs};

use mainstay_module::{api::motor::Powered, prelude::*};

struct Wheel {
    power: Mutex<f64>,
}

impl Wheel {
    fn power(&self) -> f64 {
        *self.power.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sets the power and returns the previous one.
    fn set(&self, power: f64) -> f64 {
        std::mem::replace(
            &mut *self.power.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
            power,
        )
    }

    fn rest(&self) {
        if self.set(0.0) == 0.0 {
            return;
        }
        let Ok(path) = env::var("STOPPED") else { return };
        let file = fs::OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(b"stopped\n")) {
            eprintln!("wheel: {error}");
        }
    }
}

#[async_trait]
impl Resource for Wheel {
    async fn do_command(&self, command: Object) -> Result<Object> {
        match command.get("panic").and_then(Value::as_str) {
            Some(text) => panic!("{text}"),
            None => Ok(command),
        }
    }

    async fn close(&self) {
        self.rest();
    }
}

impl FromConfig for Wheel {
    type Attributes = ();
    async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
        Ok(Self {
            power: Mutex::default(),
        })
    }
}

#[async_trait]
impl Motor for Wheel {
    async fn set_power(&self, power: f64, _: &Object) -> Result<()> {
        self.set(power);
        Ok(())
    }

    async fn stop(&self, _: &Object) -> Result<()> {
        self.rest();
        Ok(())
    }

    async fn powered(&self, _: &Object) -> Result<Powered> {
        let power = self.power();
        Ok(Powered {
            on: power != 0.0,
            power,
        })
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(self.power() != 0.0)
    }
}

fn main() -> ExitCode {
    run(Module::new().model::<dyn Motor, Wheel>("tests:sdk:wheel"))
}
