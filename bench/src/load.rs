//! Benchmark of calls: straight to the module's socket, through the bare proxy, through the core's port, and through one and two
//! machines that have it as a remote, in turns.

use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mainstay_proto::viam::component::camera::v1::GetImagesRequest;
use mainstay_proto::viam::component::camera::v1::camera_service_client::CameraServiceClient;
use mainstay_proto::viam::component::testecho::v1::test_echo_service_client::TestEchoServiceClient;
use mainstay_proto::viam::component::testecho::v1::{EchoMultipleRequest, EchoRequest};
use mainstay_proto::viam::robot::v1::ResourceNamesRequest;
use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use serde_json::json;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::Failure;
use crate::bare::Bare;
use crate::machine::{Machine, connect};
use crate::report::{self, median, millis};
use crate::system;

/// Size of a large image in bytes.
const FRAME: usize = 4 << 20;

/// Bar of rows that move much: two processes more than straight have no chance on few processors, whatever they do.
const BESIDE_BARE: &str = "calls >= 0.9 of bare proxy";

/// Call under measurement.
#[derive(Clone, Copy)]
enum Work {
    /// Echo of a text of so many bytes.
    Echo(usize),
    /// Image of [`FRAME`] bytes.
    Frame,
    /// Request of [`FRAME`] bytes, and an answer of none.
    Upload,
}

/// Row of the table.
pub struct Line {
    /// Name of the row.
    pub what: &'static str,
    work: Work,
    callers: usize,
    /// Target ratio of the design.
    bar: &'static str,
}

/// All rows of the table.
pub const LINES: [Line; 8] = [
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
        bar: BESIDE_BARE,
    },
    Line {
        what: "4 MB frame",
        work: Work::Frame,
        callers: 8,
        bar: BESIDE_BARE,
    },
    Line {
        what: "4 MB upload",
        work: Work::Upload,
        callers: 1,
        bar: BESIDE_BARE,
    },
    Line {
        what: "4 MB upload",
        work: Work::Upload,
        callers: 8,
        bar: BESIDE_BARE,
    },
];

/// Route to the module.
struct Way {
    name: &'static str,
    channel: Channel,
    /// Processes involved: this one, the module, and the proxy or core between.
    processes: Vec<u32>,
}

/// Result of one turn, or the median of several.
struct Turn {
    /// Median latency in milliseconds, like `p99`.
    p50: f64,
    p99: f64,
    per_second: f64,
    /// CPU time per call in microseconds, of client, module, and the proxy or core between.
    cpu: [f64; 3],
    /// Voluntary context switches per call, of all processes involved.
    sleeps: f64,
}

/// Prints the table, and the core's memory before and after.
pub async fn measure(
    programs: &Path,
    lines: &[&Line],
    only: &[String],
    turn: Duration,
    turns: usize,
) -> Result<(), Failure> {
    let config = json!({
        "modules": [{"name": "bench", "executable_path": programs.join("bench-module")}],
        "components": [
            {"name": "e", "api": "rdk:component:testecho", "model": "bench:test:echo"},
            {"name": "c", "api": "rdk:component:camera", "model": "bench:test:camera", "attributes": {"frame_bytes": FRAME}},
        ],
    });
    let machine = Machine::start(programs, &config).await?;
    let module = machine.modules().next().ok_or("the module has no process")?;
    let own = std::process::id();
    let bare = Bare::start(&machine.module_socket()?).await?;
    let one = behind(programs, &machine).await?;
    let two = behind(programs, &one).await?;
    let mut ways = vec![
        Way {
            name: "straight",
            channel: machine.straight().await?,
            processes: vec![own, module],
        },
        Way {
            name: "bare proxy",
            channel: connect(&format!("http://{}", bare.address)).await?,
            processes: vec![own, module, bare.pid()?],
        },
        Way {
            name: "core",
            channel: machine.through().await?,
            processes: vec![own, module, machine.core()],
        },
        Way {
            name: "1 remote",
            channel: one.through().await?,
            processes: vec![own, module, machine.core(), one.core()],
        },
        Way {
            name: "2 remotes",
            channel: two.through().await?,
            processes: vec![own, module, machine.core(), one.core(), two.core()],
        },
    ];
    ways.retain(|way| only.is_empty() || only.iter().any(|only| only == way.name));
    let idle = system::rss(machine.core())?;
    println!(
        "\nCALLS  {turns} turns of {turn:?} on each way; medians; x: of the first way;\n       microseconds of processor and sleeps (of all together) per call"
    );
    println!(
        "{:<11} {:>7}  {:<10} {:>8} {:>8} {:>9} {:>6} {:>8} |   client   module  between | sleeps",
        "", "callers", "way", "p50 ms", "p99 ms", "calls/s", "p50 x", "calls x"
    );
    for line in lines {
        let mut taken: Vec<Vec<Turn>> = ways.iter().map(|_| Vec::new()).collect();
        // The first calls on a connection pay for what later ones find ready.
        for way in &ways {
            take_turn(way, line, turn / 4).await?;
        }
        for _ in 0..turns {
            for (way, taken) in ways.iter().zip(&mut taken) {
                taken.push(take_turn(way, line, turn).await?);
            }
        }
        let first = middle(&taken[0]);
        for (way, taken) in ways.iter().zip(&taken) {
            print(line, way, &middle(taken), &first);
        }
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
    for machine in [two, one, machine] {
        machine.stop().await?;
    }
    Ok(())
}

/// Starts a machine that has `other` as a remote, and waits until it has its resources.
async fn behind(programs: &Path, other: &Machine) -> Result<Machine, Failure> {
    let config = json!({"remotes": [{"name": "far", "address": other.address()?, "insecure": true}]});
    let machine = Machine::start(programs, &config).await?;
    let mut robot = RobotServiceClient::new(machine.through().await?);
    let end = Instant::now() + Duration::from_secs(20);
    while robot
        .resource_names(ResourceNamesRequest {})
        .await?
        .into_inner()
        .resources
        .len()
        < 2
    {
        if Instant::now() > end {
            return Err("the remote does not come".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(machine)
}

fn print(line: &Line, way: &Way, turn: &Turn, first: &Turn) {
    let (what, callers) = (line.what, line.callers);
    let (p50, calls) = (turn.p50 / first.p50, turn.per_second / first.per_second);
    let [client, module, between] = turn.cpu;
    let bar = if way.name == "core" { line.bar } else { "" };
    println!(
        "{what:<11} {callers:>7}  {:<10} {:>8.3} {:>8.3} {:>9.0} {p50:>6.2} {calls:>8.2} | {client:>8.0} {module:>8.0} {between:>8.0} | {:>6.2}  {bar}",
        way.name, turn.p50, turn.p99, turn.per_second, turn.sleeps,
    );
}

/// Median over the turns of one number of their results.
fn middle(turns: &[Turn]) -> Turn {
    let of = |number: fn(&Turn) -> f64| median(turns.iter().map(number));
    Turn {
        p50: of(|turn| turn.p50),
        p99: of(|turn| turn.p99),
        per_second: of(|turn| turn.per_second),
        cpu: std::array::from_fn(|index| median(turns.iter().map(|turn| turn.cpu[index]))),
        sleeps: of(|turn| turn.sleeps),
    }
}

async fn take_turn(way: &Way, line: &Line, turn: Duration) -> Result<Turn, Failure> {
    let used = || {
        way.processes
            .iter()
            .map(|&pid| system::used(pid))
            .collect::<Result<Vec<_>, _>>()
    };
    let before = used()?;
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..line.callers {
        callers.spawn(call_until(way.channel.clone(), line.work, begun + turn));
    }
    let mut all = Histogram::<u64>::new(3)?;
    while let Some(one) = callers.join_next().await {
        all.add(one??)?;
    }
    let quantile = |of| millis(Duration::from_nanos(all.value_at_quantile(of)));
    let calls = all.len() as f64;
    let per_second = calls / begun.elapsed().as_secs_f64();
    let (mut cpu, mut sleeps) = ([0.0; 3], 0.0);
    for (index, (after, before)) in used()?.iter().zip(&before).enumerate() {
        // All machines on the way count together.
        cpu[index.min(2)] += (after.cpu - before.cpu).as_secs_f64() * 1e6 / calls;
        sleeps += (after.sleeps - before.sleeps) as f64 / calls;
    }
    Ok(Turn {
        p50: quantile(0.5),
        p99: quantile(0.99),
        per_second,
        cpu,
        sleeps,
    })
}

/// Sends calls one after the other and returns the latency of each, in nanoseconds.
async fn call_until(channel: Channel, work: Work, end: Instant) -> Result<Histogram<u64>, Failure> {
    let limit = mainstay_module::MAX_MESSAGE_BYTES;
    let mut echo = TestEchoServiceClient::new(channel.clone())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit);
    let mut camera = CameraServiceClient::new(channel).max_decoding_message_size(limit);
    let text = match work {
        Work::Echo(size) => "x".repeat(size),
        Work::Upload => "x".repeat(FRAME),
        Work::Frame => String::new(),
    };
    let mut times = Histogram::new(3)?;
    while Instant::now() < end {
        let name = |name: &str| name.to_owned();
        let message = text.clone();
        let begun = Instant::now();
        let size = match work {
            Work::Upload => {
                let request = EchoMultipleRequest {
                    name: name("e"),
                    message,
                };
                let mut answer = echo.echo_multiple(request).await?.into_inner();
                while answer.message().await?.is_some() {}
                FRAME
            }
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
        let expected = match work {
            Work::Frame => FRAME,
            Work::Echo(_) | Work::Upload => text.len(),
        };
        if size != expected {
            return Err(format!("got {size} bytes, expected {expected}").into());
        }
    }
    Ok(times)
}
