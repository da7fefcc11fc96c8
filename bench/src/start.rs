//! Benchmark of memory and start-up, with machines of fakes.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_proto::viam::common::v1::GetReadingsRequest;
use mainstay_proto::viam::component::sensor::v1::sensor_service_client::SensorServiceClient;
use serde_json::{Value, json};

use crate::Failure;
use crate::machine::Machine;
use crate::report::{self, median, millis};
use crate::system;

/// Time after a start until memory is read: a core gives back a second after it what only the start needed.
const SETTLE: Duration = Duration::from_secs(2);
/// Duration of the load before memory is read again.
const LOAD: Duration = Duration::from_secs(3);

/// Config of so many fakes of several kinds.
fn fakes(count: usize) -> Value {
    let kinds = ["sensor", "motor", "generic", "camera", "encoder", "board"];
    let component = |index: usize| {
        let kind = kinds[index % kinds.len()];
        let attributes = match kind {
            "board" => json!({"analogs": [], "digital_interrupts": []}),
            _ => json!({}),
        };
        json!({
            "name": format!("{kind}-{index}"), "api": format!("rdk:component:{kind}"), "model": "fake",
            "attributes": attributes,
        })
    };
    json!({"components": (0..count).map(component).collect::<Vec<_>>()})
}

/// Config of so many sensors, all of one module.
fn sensors(count: usize) -> Value {
    let sensor = |index| json!({"name": format!("s{index}"), "api": "rdk:component:sensor", "model": "fake"});
    json!({"components": (0..count).map(sensor).collect::<Vec<_>>()})
}

/// Measures the memory of the core and of all processes, idle and after load, and the latency of a call to a built-in.
pub async fn memory(programs: &Path) -> Result<(), Failure> {
    println!("\nMEMORY  20 fakes");
    let machine = Machine::start(programs, &fakes(20)).await?;
    // What only the start needed is given back after a while.
    tokio::time::sleep(SETTLE).await;
    let total = || -> Result<u64, Failure> {
        let modules = machine.modules().map(system::pss).sum::<Result<u64, _>>()?;
        Ok(system::pss(machine.core())? + modules)
    };
    let (core, all) = (system::rss(machine.core())?, total()?);
    report::line("core, idle (RSS)", &report::mb(core), "12 MB");
    report::line("core and built-in modules, idle (PSS)", &report::mb(all), "25 MB");
    let mut sensor = SensorServiceClient::new(machine.through().await?);
    let (mut times, begun) = (Vec::new(), Instant::now());
    while begun.elapsed() < LOAD {
        let request = GetReadingsRequest {
            name: "sensor-0".into(),
            ..Default::default()
        };
        let start = Instant::now();
        sensor.get_readings(request).await?;
        times.push(millis(start.elapsed()));
    }
    let (loaded, all) = (system::rss(machine.core())?, total()?);
    report::line("core, after load (RSS)", &report::mb(loaded), "12 MB");
    report::line("core and built-in modules, after load (PSS)", &report::mb(all), "25 MB");
    report::line(
        "call to a built-in, p50",
        &format!("{:.3} ms", median(times.into_iter())),
        "0.15 ms",
    );
    machine.stop().await
}

/// Measures the time from the start of the process to 20 READY fakes.
pub async fn cold(programs: &Path, turns: usize) -> Result<(), Failure> {
    println!("\nSTART  median of {turns}");
    let (mut listening, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        let machine = Machine::start(programs, &fakes(20)).await?;
        listening.push(millis(machine.listening));
        ready.push(millis(machine.ready));
        machine.stop().await?;
    }
    let ms = |times: Vec<f64>| format!("{:.0} ms", median(times.into_iter()));
    report::line("20 fakes: port open", &ms(listening), "-");
    report::line("20 fakes: all ready", &ms(ready), "60 ms");
    Ok(())
}

/// Measures the start-up time for growing numbers of resources of one module: is it linear?
pub async fn many(programs: &Path) -> Result<(), Failure> {
    let mut first = None;
    for count in [200, 1_000] {
        let machine = Machine::start(programs, &sensors(count)).await?;
        let took = millis(machine.ready);
        let per_resource = took / count as f64;
        let first = *first.get_or_insert(per_resource);
        let found = format!("{took:.0} ms, {per_resource:.2} each");
        let bar = if count == 1_000 { "1000 ms, linear" } else { "linear" };
        report::line(&format!("{count} resources of one module: all ready"), &found, bar);
        if count == 1_000 {
            report::line(
                "  time per resource, of that with 200",
                &format!("{:.2} x", per_resource / first),
                "1.0 x",
            );
            tokio::time::sleep(SETTLE).await;
            report::line("  core, idle (RSS)", &report::mb(system::rss(machine.core())?), "20 MB");
        }
        machine.stop().await?;
    }
    Ok(())
}
