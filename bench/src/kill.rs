//! Time that a killed module is away, several kills in a row.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_proto::viam::component::motor::v1::IsPoweredRequest;
use mainstay_proto::viam::component::motor::v1::motor_service_client::MotorServiceClient;
use serde_json::json;

use crate::Failure;
use crate::machine::Machine;
use crate::report::{self, millis};

/// Kills, as many as the default answers at once.
const KILLS: usize = 5;
/// From one to the next.
const APART: Duration = Duration::from_secs(1);
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// From SIGKILL of the module of a motor to the motor's first answer, time after time.
pub async fn in_a_row(programs: &Path) -> Result<(), Failure> {
    println!("\nKILL  {KILLS} times, {} s apart", APART.as_secs());
    let config = json!({"components": [{"name": "m", "api": "rdk:component:motor", "model": "fake"}]});
    let machine = Machine::start(programs, &config).await?;
    let mut motor = MotorServiceClient::new(machine.through().await?);
    let request = IsPoweredRequest {
        name: "m".into(),
        ..Default::default()
    };
    let mut times = Vec::new();
    for _ in 0..KILLS {
        tokio::time::sleep(APART).await;
        let pid = child(machine.core())?;
        let begun = Instant::now();
        std::process::Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()?;
        let mut dead = false;
        loop {
            // An answer to a call that was made before it was gone may be its own.
            dead = dead || child(machine.core()).ok() != Some(pid);
            if motor.is_powered(request.clone()).await.is_ok() && dead {
                break;
            }
            if begun.elapsed() > PATIENCE {
                return Err("the motor does not come back".into());
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        times.push(format!("{:.0}", millis(begun.elapsed())));
    }
    report::line(
        "kill -9: answers again",
        &format!("{} ms", times.join(" ")),
        "25, then 60 ms",
    );
    machine.stop().await
}

/// The only child of this process.
fn child(of: u32) -> Result<u32, Failure> {
    let mut children = String::new();
    for task in std::fs::read_dir(format!("/proc/{of}/task"))? {
        children += &std::fs::read_to_string(task?.path().join("children"))?;
    }
    let mut children = children.split_whitespace();
    match (children.next(), children.next()) {
        (Some(only), None) => Ok(only.parse()?),
        other => Err(format!("expected one module, found {other:?}").into()),
    }
}
