//! Program, not a module: it connects to a machine, turns a motor until Ctrl-C, and prints what becomes of both.
//!
//! ```console
//! $ DRIVE_KEY=ID:SECRET drive 10.0.0.7:8080 left
//! ```
//!
//! However it ends, the machine stops the motor within two seconds.

use std::{env, process::ExitCode};

use mainstay_module::{ConnectionState, prelude::*};
use tokio::signal::ctrl_c;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let (Some(address), Some(motor)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: drive HOST:PORT MOTOR");
        return ExitCode::from(2);
    };
    match drive(&address, &motor).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn drive(address: &str, name: &str) -> Result<()> {
    let mut connect = Robot::connect(address);
    if let Some((id, secret)) = env::var("DRIVE_KEY")
        .ok()
        .as_deref()
        .and_then(|key| key.split_once(':'))
    {
        connect = connect.api_key(id, secret);
    }
    let robot = connect.await?;
    let motor = robot.resource::<dyn Motor>(name)?;
    let mut watch = robot.watch();
    loop {
        let view = watch.until(|view| view.is_ready(name) || !view.is_connected()).await?;
        if let ConnectionState::Disconnected { cause, .. } = &view.connection {
            println!("away: {cause}");
            watch.until(|view| view.is_connected()).await?;
            continue;
        }
        motor.set_power(0.5, NO_EXTRA).await?;
        println!("{name} turns");
        tokio::select! {
            view = watch.until(|view| !view.is_ready(name)) => drop(view?),
            _ = ctrl_c() => break,
        }
    }
    motor.stop(NO_EXTRA).await?;
    robot.close().await;
    Ok(())
}
