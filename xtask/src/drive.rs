//! Config of the demo's robot, and three ways to drive it.

use std::path::Path;

use crate::demo::Demo;
use crate::steps::{Failed, capture};

/// Config of the rover: a built-in fake for each device, and a sensor from the example module.
pub fn config(address: &str, binaries: &Path) -> String {
    // Written by hand, because people read and change it. Within single quotes only a single quote is special.
    let weather = binaries.join("weather").display().to_string().replace('\'', "''");
    format!(
        r"# A small rover. Nothing here is real: change it and run it with `mainstay run`.
network:
  bind_address: {address}

modules:
  - name: weather
    type: local
    executable_path: '{weather}'

components:
  - {{ name: board, api: rdk:component:board, model: fake, attributes: {{ analogs: [{{ name: battery, pin: '1' }}] }} }}
  - {{ name: left-encoder, api: rdk:component:encoder, model: fake }}
  - {{ name: left, api: rdk:component:motor, model: fake, attributes: {{ encoder: left-encoder, ticks_per_rotation: 1000, max_rpm: 120 }} }}
  - {{ name: right, api: rdk:component:motor, model: fake }}
  - {{ name: camera, api: rdk:component:camera, model: fake, attributes: {{ width: 320, height: 240 }} }}
  - {{ name: sonar, api: rdk:component:sensor, model: fake }}
  - {{ name: lights, api: rdk:component:generic, model: fake }}
  - {{ name: roof, api: rdk:component:sensor, model: acme:weather:station, attributes: {{ celsius: 19.5 }} }}
"
    )
}

/// Instructions that are printed once the machine is up.
pub fn instructions(demo: &Demo) -> String {
    let Demo {
        address,
        config,
        mainstay,
        python,
        ..
    } = demo;
    let (config, mainstay) = (config.display(), mainstay.display());
    let python = match python {
        Some(python) => format!("{} - <<'END'", python.display()),
        None => "pip install viam-sdk && python3 - <<'END'".to_owned(),
    };
    format!(
        r#"
The rover of {config} answers at {address}. Three ways to drive it, from another terminal:

1. the command line
     {mainstay} call left set_power '{{"power_pct": 0.5}}' --address {address}
     {mainstay} call left get_position --address {address}
     {mainstay} call left stop --address {address}

2. Python, with the Viam SDK
{python}
import asyncio
from viam.components.motor import Motor
from viam.robot.client import RobotClient
from viam.rpc.dial import DialOptions
async def main():
    dial = DialOptions(disable_webrtc=True, insecure=True)
    async with await RobotClient.at_address("{address}", RobotClient.Options(dial_options=dial)) as rover:
        left = Motor.from_robot(rover, "left")
        await left.set_power(0.5)
        await asyncio.sleep(1)
        print("revolutions:", await left.get_position())
        await left.stop()
asyncio.run(main())
END

3. any gRPC client; the machine describes itself by reflection
     grpcurl -plaintext -d '{{"name": "left", "power_pct": 0.5}}' {address} viam.component.motor.v1.MotorService/SetPower
     grpcurl -plaintext -d '{{"name": "left"}}' {address} viam.component.motor.v1.MotorService/Stop

Ctrl-C stops it.
"#
    )
}

/// Command of the command line, with a text that its output must contain.
struct DriveStep {
    arguments: &'static [&'static str],
    answer: &'static str,
}

const fn step(arguments: &'static [&'static str], answer: &'static str) -> DriveStep {
    DriveStep { arguments, answer }
}

const STEPS: &[DriveStep] = &[
    step(&["status"], "left"),
    step(&["call", "left", "set_power", r#"{"power_pct": 0.5}"#], ""),
    step(&["call", "left", "is_moving"], "true"),
    step(&["call", "right", "is_moving"], "false"),
    step(
        &[
            "call",
            "board",
            "read_analog_reader",
            r#"{"analog_reader_name": "battery"}"#,
        ],
        "value",
    ),
    step(&["call", "camera", "get_properties"], "supports_pcd"),
    step(&["call", "sonar", "get_readings"], "readings"),
    step(&["call", "roof", "get_readings"], "celsius"),
    step(&["call", "lights", "do_command", r#"{"command": {"on": true}}"#], "on"),
    step(&["call", "left-encoder", "get_position"], "TICKS"),
    step(&["call", "left", "get_position"], "position"),
    step(&["call", "left", "stop"], ""),
    step(&["call", "left", "is_moving"], "false"),
];

/// Drives the machine through its command line and prints each step.
pub fn drive(demo: &Demo) -> Result<(), Failed> {
    for DriveStep { arguments, answer } in STEPS {
        let mut command = demo.mainstay();
        command.args(*arguments).arg("--machine").arg(&demo.config);
        let output = capture(&mut command)?;
        let (out, complaint) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let shown = arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        println!("\n$ mainstay {shown}\n{}", out.trim_end());
        if !output.status.success() || !out.contains(answer) {
            return Err(Failed(format!(
                "`mainstay {shown}`: {}, expected `{answer}`\n{complaint}",
                output.status
            )));
        }
    }
    Ok(())
}

/// Formats a command as typed in a shell.
fn quoted(word: &str) -> String {
    if word.contains(['{', ' ', '"']) {
        format!("'{word}'")
    } else {
        word.to_owned()
    }
}
