//! The same calls straight to the module's socket and through the core's port, in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mainstay_proto::viam::component::camera::v1::GetImagesRequest;
use mainstay_proto::viam::component::camera::v1::camera_service_client::CameraServiceClient;
use mainstay_proto::viam::component::testecho::v1::EchoRequest;
use mainstay_proto::viam::component::testecho::v1::test_echo_service_client::TestEchoServiceClient;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::Failure;
use crate::machine::Machine;
use crate::report::{self, median, millis};
use crate::system;

/// Bytes of a large picture.
const FRAME: usize = 4 << 20;

/// What is called.
#[derive(Clone, Copy)]
enum Work {
    /// A text of so many bytes there and back.
    Echo(usize),
    /// A picture of [`FRAME`] bytes.
    Frame,
}

/// One line of the table.
pub struct Line {
    /// Its name.
    pub what: &'static str,
    work: Work,
    callers: usize,
    /// What design asks for.
    bar: &'static str,
}

/// All of the table.
pub const LINES: [Line; 6] = [
    Line {
        what: "16 B echo",
        work: Work::Echo(16),
        callers: 1,
        bar: "p50 <= 2.0 x",
    },
    Line {
        what: "16 B echo",
        work: Work::Echo(16),
        callers: 8,
        bar: "calls >= 0.45",
    },
    Line {
        what: "1 MB echo",
        work: Work::Echo(1 << 20),
        callers: 1,
        bar: "calls >= 0.7",
    },
    Line {
        what: "1 MB echo",
        work: Work::Echo(1 << 20),
        callers: 8,
        bar: "calls >= 0.7",
    },
    Line {
        what: "4 MB frame",
        work: Work::Frame,
        callers: 1,
        bar: "calls >= 0.8",
    },
    Line {
        what: "4 MB frame",
        work: Work::Frame,
        callers: 8,
        bar: "calls >= 0.8",
    },
];

/// What one turn, or the median of several, came to.
struct Turn {
    p50: f64,
    p99: f64,
    per_second: f64,
}

/// Prints the table, and what the core weighs before and after.
pub async fn measure(programs: &Path, lines: &[&Line], turn: Duration, turns: usize) -> Result<(), Failure> {
    let config = json!({
        "modules": [{"name": "bench", "executable_path": programs.join("bench-module")}],
        "components": [
            {"name": "e", "api": "rdk:component:testecho", "model": "bench:test:echo"},
            {"name": "c", "api": "rdk:component:camera", "model": "bench:test:camera", "attributes": {"frame_bytes": FRAME}},
        ],
    });
    let machine = Machine::start(programs, &config).await?;
    let (straight, through) = (machine.straight().await?, machine.through().await?);
    let idle = system::rss(machine.core())?;
    println!("\nCALLS  straight to the module's socket | through the core, in ms; {turns} turns of {turn:?} each");
    println!(
        "{:<11} {:>7} | {:>8} {:>8} {:>9} | {:>8} {:>8} {:>9} | {:>7} {:>9}  bar",
        "", "callers", "p50", "p99", "calls/s", "p50", "p99", "calls/s", "p50 x", "calls of"
    );
    for line in lines {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        // The first calls on a connection pay for what later ones find ready.
        for channel in [&straight, &through] {
            take_turn(channel, line, turn / 4).await?;
        }
        for _ in 0..turns {
            without.push(take_turn(&straight, line, turn).await?);
            with.push(take_turn(&through, line, turn).await?);
        }
        let (without, with) = (middle(&without), middle(&with));
        println!(
            "{:<11} {:>7} | {:>8.3} {:>8.3} {:>9.0} | {:>8.3} {:>8.3} {:>9.0} | {:>7.2} {:>9.2}  {}",
            line.what,
            line.callers,
            without.p50,
            without.p99,
            without.per_second,
            with.p50,
            with.p99,
            with.per_second,
            with.p50 / without.p50,
            with.per_second / without.per_second,
            line.bar
        );
    }
    let after = system::rss(machine.core())?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let rested = system::rss(machine.core())?;
    let peak = system::peak_rss(machine.core())?;
    println!(
        "core: {} before, {} right after, {} three seconds later, {} at its peak",
        report::mb(idle),
        report::mb(after),
        report::mb(rested),
        report::mb(peak)
    );
    machine.stop().await
}

/// Median of a number of one turn after the other.
fn middle(turns: &[Turn]) -> Turn {
    let of = |number: fn(&Turn) -> f64| median(turns.iter().map(number));
    Turn {
        p50: of(|turn| turn.p50),
        p99: of(|turn| turn.p99),
        per_second: of(|turn| turn.per_second),
    }
}

async fn take_turn(channel: &Channel, line: &Line, turn: Duration) -> Result<Turn, Failure> {
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..line.callers {
        callers.spawn(call_until(channel.clone(), line.work, begun + turn));
    }
    let mut all = Histogram::<u64>::new(3)?;
    while let Some(one) = callers.join_next().await {
        all.add(one??)?;
    }
    let quantile = |of| millis(Duration::from_nanos(all.value_at_quantile(of)));
    let per_second = all.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(Turn {
        p50: quantile(0.5),
        p99: quantile(0.99),
        per_second,
    })
}

/// Calls one after the other; how long each took, in nanoseconds.
async fn call_until(channel: Channel, work: Work, end: Instant) -> Result<Histogram<u64>, Failure> {
    let limit = mainstay_module::MAX_MESSAGE;
    let mut echo = TestEchoServiceClient::new(channel.clone())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let mut camera = CameraServiceClient::new(channel).max_decoding_message_size(limit);
    let text = match work {
        Work::Echo(size) => "x".repeat(size),
        Work::Frame => String::new(),
    };
    let mut times = Histogram::new(3)?;
    while Instant::now() < end {
        let name = |name: &str| name.to_owned();
        let message = text.clone();
        let begun = Instant::now();
        let size = match work {
            Work::Echo(_) => echo
                .echo(EchoRequest {
                    name: name("e"),
                    message,
                })
                .await?
                .into_inner()
                .message
                .len(),
            Work::Frame => {
                let images = camera
                    .get_images(GetImagesRequest {
                        name: name("c"),
                        ..Default::default()
                    })
                    .await?;
                images.into_inner().images.iter().map(|image| image.image.len()).sum()
            }
        };
        times.record(u64::try_from(begun.elapsed().as_nanos())?)?;
        let expected = if matches!(work, Work::Frame) { FRAME } else { text.len() };
        if size != expected {
            return Err(format!("got {size} bytes, expected {expected}").into());
        }
    }
    Ok(times)
}
