//! Benchmark of config changes: time from the write of the file to its effect.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_proto::viam::component::motor::v1::IsPoweredRequest;
use mainstay_proto::viam::component::motor::v1::motor_service_client::MotorServiceClient;
use mainstay_proto::viam::robot::v1::GetMachineStatusRequest;
use mainstay_proto::viam::robot::v1::resource_status::State;
use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::Failure;
use crate::machine::Machine;
use crate::report::{self, median, millis};

/// Timeout for a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// Config of so many motors, the last of which has this attribute.
fn motors(count: usize, last: usize, revision: &str) -> Value {
    let motor = |index| {
        let rpm = if index + 1 == count { last } else { 100 };
        json!({
            "name": format!("m{index}"), "api": "rdk:component:motor", "model": "fake", "attributes": {"max_rpm": rpm},
        })
    };
    json!({"revision": revision, "components": (0..count).map(motor).collect::<Vec<_>>()})
}

/// Measures the time from the write of the file to the first response of a resource that it adds.
pub async fn added(programs: &Path, turns: usize) -> Result<(), Failure> {
    println!("\nRELOAD  median of {turns}");
    let machine = Machine::start(programs, &motors(5, 100, "")).await?;
    let mut motor = MotorServiceClient::new(machine.through().await?);
    let mut times = Vec::new();
    for turn in 1..=turns {
        let begun = Instant::now();
        machine.rewrite(&motors(5 + turn, 100, ""))?;
        until_it_answers(&mut motor, 4 + turn).await?;
        times.push(millis(begun.elapsed()));
        // What follows another change at once is waited for as a burst.
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    let most = times.iter().copied().fold(0.0, f64::max);
    let found = format!("{:.0} ms, {most:.0} at most", median(times.into_iter()));
    report::line("file written: new resource answers", &found, "60 ms");
    machine.stop().await
}

/// Measures the time from the write of the file to one of 1,000 resources being replaced.
pub async fn one_of_many(programs: &Path, turns: usize) -> Result<(), Failure> {
    const COUNT: usize = 1_000;
    let machine = Machine::start(programs, &motors(COUNT, 100, "0")).await?;
    let mut robot = robot(&machine).await?;
    let mut times = Vec::new();
    for turn in 1..=turns {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let revision = turn.to_string();
        let config = serde_json::to_vec(&motors(COUNT, 100 + turn, &revision))?;
        let begun = Instant::now();
        machine.rewrite_bytes(&config)?;
        until_it_is_of(&mut robot, &revision).await?;
        times.push(millis(begun.elapsed()));
    }
    let most = times.iter().copied().fold(0.0, f64::max);
    let found = format!("{:.0} ms, {most:.0} at most", median(times.into_iter()));
    report::line("one of 1000 changed: applied", &found, "80 ms");
    machine.stop().await
}

/// A second write, so long after the first was taken up: with few resources until the one that it adds answers, with 1,000
/// until the one that it changes is another one.
pub async fn behind_another(programs: &Path, turns: usize) -> Result<(), Failure> {
    const GAPS_MS: [u64; 6] = [0, 20, 100, 240, 500, 1_500];
    /// Gap after which a change counts as alone.
    const ALONE: Duration = Duration::from_millis(2_500);
    let (few, many) = (motors(5, 100, ""), motors(1_000, 100, "0"));
    let (few, many) = (
        Machine::start(programs, &few).await?,
        Machine::start(programs, &many).await?,
    );
    let mut motor = MotorServiceClient::new(few.through().await?);
    let mut robot = robot(&many).await?;
    let (mut added, mut revision) = (5, 0_usize);
    for gap in GAPS_MS {
        let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            tokio::time::sleep(ALONE).await;
            for write in 0..2 {
                let begun = Instant::now();
                few.rewrite(&motors(added + 1, 100, ""))?;
                until_it_answers(&mut motor, added).await?;
                added += 1;
                match write {
                    0 => tokio::time::sleep(Duration::from_millis(gap)).await,
                    _ => of_few.push(millis(begun.elapsed())),
                }
            }
            for write in 0..2 {
                revision += 1;
                let text = revision.to_string();
                let config = serde_json::to_vec(&motors(1_000, 100 + revision, &text))?;
                let begun = Instant::now();
                many.rewrite_bytes(&config)?;
                until_it_is_of(&mut robot, &text).await?;
                match write {
                    0 => tokio::time::sleep(Duration::from_millis(gap)).await,
                    _ => of_many.push(millis(begun.elapsed())),
                }
            }
        }
        for (what, times, bar) in [("new resource", of_few, "60 ms"), ("one of 1000", of_many, "100 ms")] {
            let most = times.iter().copied().fold(0.0, f64::max);
            let found = format!("{:.0} ms, {most:.0} at most", median(times.into_iter()));
            report::line(&format!("{gap} ms behind another change: {what}"), &found, bar);
        }
    }
    few.stop().await?;
    many.stop().await
}

async fn robot(machine: &Machine) -> Result<RobotServiceClient<Channel>, Failure> {
    Ok(RobotServiceClient::new(machine.through().await?).max_decoding_message_size(16 << 20))
}

/// Waits until this motor answers.
async fn until_it_answers(motor: &mut MotorServiceClient<Channel>, index: usize) -> Result<(), Failure> {
    let begun = Instant::now();
    let request = IsPoweredRequest {
        name: format!("m{index}"),
        ..Default::default()
    };
    while let Err(status) = motor.is_powered(request.clone()).await {
        if begun.elapsed() > PATIENCE {
            return Err(format!("the new motor does not answer: {status}").into());
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    Ok(())
}

/// Waits until the machine and its last motor are of this revision.
async fn until_it_is_of(robot: &mut RobotServiceClient<Channel>, revision: &str) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let status = robot.get_machine_status(GetMachineStatusRequest {}).await?.into_inner();
        let last = status.resources.last().ok_or("a machine without resources")?;
        let taken_up = status.config.as_ref().is_some_and(|config| config.revision == revision);
        if taken_up && last.revision == revision && last.state() == State::Ready {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err("the changed motor does not come back".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
