//! One cell of the fault table: a machine with a faulty module and a healthy one, from its start to its end.

use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::{ModuleState, Status as MachineStatus};
use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use mainstay_proto::viam::robot::v1::{RestartModuleRequest, RestartModuleResponse};
use mainstay_tests::echo::{CountRequest, SayRequest};
use mainstay_tests::fixture::trap::{Deed, Moment};
use mainstay_tests::leaks::Held;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc;
use mainstay_tests::timeline::{self, Timeline};
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{Place, World};
use nix::sys::signal::Signal;
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::patient::{GRACE, Patient, SHUTDOWN_SLACK, SLACK, START_LIMIT, Shows, quick, shows};

/// Time from the machine's start to READY of the fixture on an idle host, with a margin.
const USUAL_START: Duration = Duration::from_secs(1);

/// Measurements of a cell that passed.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// All of it.
    pub took: Duration,
    /// From the fault to the status that tells of it.
    pub noticed: Option<Duration>,
    /// From the fault to its resource being READY again.
    pub back: Option<Duration>,
    /// From SIGTERM to the end.
    pub shutdown: Option<Duration>,
}

/// System resources that a machine without fault holds after its warm-up.
pub struct Clean {
    held: Held,
}

impl Clean {
    /// Runs one, restarts its modules once, and looks.
    pub async fn measure(patient: Patient) -> Result<Self, String> {
        let mut world = start(Place::new(), patient, patient.well(), START_LIMIT).await;
        world.until(|now| now.ready("sore") && now.ready("calm")).await;
        let core = core(&world).await;
        restart(&world).await.map_err(|status| status.to_string())?;
        world.until(|now| now.ready("sore")).await;
        say(&world).await.map_err(|status| status.to_string())?;
        let held = Held::at_rest(&world, core).await;
        world.shutdown().await.with_code(0).left_nothing_behind();
        Ok(Self { held })
    }

    /// Fails when a machine of a cell holds more than that.
    pub async fn compare(&self, world: &World) -> Result<(), String> {
        Held::no_more_than(world, core(world).await, &self.held).await.map(drop)
    }
}

/// A machine of a faulty module and a healthy one that knows nothing of it.
pub async fn start(place: Place, patient: Patient, ill: Module, start_limit: Duration) -> World {
    let machine = Machine::new()
        .module(quick(Module::family("well"), START_LIMIT))
        .module(quick(ill, start_limit))
        .resource(Resource::of("well", "probe", "calm"))
        .resource(Resource::fake("floor", "generic"))
        .resource(Resource::of("ill", "echo", "sore").depends_on(&["floor"]));
    let build_limit = format!("{}s", patient.build_limit().as_secs());
    let place = place.env("VIAM_RESOURCE_CONFIGURATION_TIMEOUT", &build_limit);
    place.start(machine).await
}

/// Process id of the core.
pub async fn core(world: &World) -> i32 {
    i32::try_from(world.snapshot().await.control.pid).expect("process ids are small")
}

/// One call to the faulty module's resource.
pub async fn say(world: &World) -> Result<i32, Status> {
    let request = SayRequest {
        name: "sore".into(),
        ..SayRequest::default()
    };
    let answer = world.echo().say(request).await?.into_inner();
    Ok(i32::try_from(answer.stamp.unwrap_or_default().pid).expect("process ids are small"))
}

/// Restarts the faulty module by hand.
pub async fn restart(world: &World) -> Result<(), Status> {
    let request = RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleName("ill".into())),
    };
    let path = "/viam.robot.v1.RobotService/RestartModule";
    world.call::<_, RestartModuleResponse>(path, &request).await.map(drop)
}

/// Reads a stream of the faulty module's resource to its end.
async fn stream_to_the_end(world: &World) -> Result<(), Status> {
    let request = CountRequest {
        name: "sore".into(),
        until: 6,
        pause_ms: 1,
    };
    let mut numbers = world.echo().count(request).await?.into_inner();
    while let Some(number) = numbers.next().await {
        number?;
    }
    Ok(())
}

/// Runs the cell; gives what is wrong with the machine, if anything is.
pub async fn run(patient: Patient, deed: Deed, moment: Moment, clean: &Clean) -> Result<Outcome, String> {
    let begun = Instant::now();
    let place = Place::new();
    let marker = place.file("sprung");
    // What goes wrong at the end of a life goes wrong again at the machine's end.
    let once = !matches!(moment, Moment::Remove | Moment::Stop);
    let ill = patient.trapped(deed, moment, once.then_some(marker.as_path()));
    let world = start(place, patient, ill, patient.start_limit(deed, moment)).await;
    let outcome = played(&world, (patient, deed, moment), clean, begun).await;
    let outcome = outcome.map_err(|why| format!("{why}\n{}", last_lines(&world.output(), 12)))?;
    let remains = world.shutdown().await;
    let limit = GRACE + SHUTDOWN_SLACK;
    if remains.took > limit {
        return Err(format!("its shutdown took {:?}, more than {limit:?}", remains.took));
    }
    remains.with_code(0).left_nothing_behind();
    Ok(Outcome {
        took: begun.elapsed(),
        shutdown: Some(remains.took),
        ..outcome
    })
}

pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

async fn played(
    world: &World,
    (patient, deed, moment): (Patient, Deed, Moment),
    clean: &Clean,
    begun: Instant,
) -> Result<Outcome, String> {
    let timeline = Timeline::follow(world).await;
    let calm = |state: &MachineStatus| timeline::ready(state, "calm");
    let (up, state) = timeline.until(begun, START_LIMIT, "the neighbour READY", calm).await?;
    let neighbour = timeline::module(&state, "well").and_then(|module| module.pid);
    let traffic = Traffic::on(world, &["calm"], Duration::from_millis(20));

    // What is due at a start has happened; everything else needs something to happen to.
    let at_start = matches!(moment, Moment::Socket | Moment::Ready | Moment::Validate | Moment::Add);
    let early = at_start && !matches!(shows(deed), Shows::Not);
    let mut since = begun;
    // What others do on this host meanwhile stretches all times: a neighbour is up in half a second when nobody does.
    let stretch = (up.as_secs_f64() / USUAL_START.as_secs_f64()).clamp(1.0, 6.0);
    if !early {
        let sore = |state: &MachineStatus| timeline::ready(state, "sore");
        (_, _) = timeline
            .until(begun, START_LIMIT, "the faulty one READY at first", sore)
            .await?;
        since = Instant::now();
    }
    let before = timeline::module(&timeline.now(), "ill").and_then(|module| module.pid);
    let mut calls = JoinSet::new();
    match moment {
        Moment::Call => drop(calls.spawn(unfinished(world.echo(), false))),
        Moment::Stream => drop(calls.spawn(unfinished(world.echo(), true))),
        Moment::Remove => {
            let floor = timeline::module(&timeline.now(), "builtin:fake").and_then(|module| module.pid);
            let floor = floor.and_then(|pid| i32::try_from(pid).ok());
            proc::signal(floor.ok_or("builtin:fake has no process")?, Signal::SIGKILL);
        }
        Moment::Stop => within(GRACE + START_LIMIT, "RestartModule", restart(world)).await??,
        _ => {}
    }
    let limit = patient.notice(deed, moment).mul_f64(stretch);
    let noticed = noticed(&timeline, deed, moment, (since, limit), before).await?;
    while let Some(ended) = tokio::time::timeout(SLACK.mul_f64(stretch), calls.join_next())
        .await
        .map_err(|_| "a call in flight did not end with its process")?
    {
        in_flight(deed, ended.map_err(|error| error.to_string())?)?;
    }
    if let (Shows::Not, true) = (shows(deed), moment != Moment::Stop) {
        // It is told to stop now, and does not listen.
        within(GRACE + START_LIMIT, "RestartModule", restart(world)).await??;
    }
    // At a start that went wrong, the process that was seen first may well be the one that came back.
    let back = |state: &MachineStatus| {
        let pid = timeline::module(state, "ill").and_then(|module| module.pid);
        timeline::ready(state, "sore") && pid.is_some() && (early || pid != before)
    };
    let (back, _) = timeline
        .until(
            since,
            patient.patience(deed, moment).mul_f64(stretch),
            "READY again",
            back,
        )
        .await?;
    within(SLACK.mul_f64(stretch), "a call to the one that came back", say(world)).await??;
    within(
        SLACK.mul_f64(stretch),
        "a stream of the one that came back",
        stream_to_the_end(world),
    )
    .await??;

    traffic.end().none_failed()?;
    let after = timeline::module(&timeline.now(), "well").and_then(|module| module.pid);
    if after != neighbour {
        return Err("the healthy neighbour was restarted".to_owned());
    }
    drop(timeline);
    clean.compare(world).await?;
    Ok(Outcome {
        took: Duration::ZERO,
        noticed,
        back: Some(back),
        shutdown: None,
    })
}

/// Waits until the status tells of the fault, as it must for this one.
async fn noticed(
    timeline: &Timeline,
    deed: Deed,
    moment: Moment,
    (since, limit): (Instant, Duration),
    before: Option<u32>,
) -> Result<Option<Duration>, String> {
    let module = |state: &MachineStatus| timeline::module(state, "ill").cloned().unwrap_or_default();
    let error =
        |state: &MachineStatus| timeline::resource(state, "sore").map_or(String::new(), |sore| sore.error.clone());
    let found = match (shows(deed), moment) {
        // A process that ends after it was told to is no news.
        (_, Moment::Stop) | (Shows::Not, _) => return Ok(None),
        (Shows::End(word), Moment::Socket | Moment::Ready) => {
            // It has not told yet what it offers, so the resource can only name the module that fails.
            let what = format!("the module failing, because of `{word}`, and its resource naming it");
            let told = |state: &MachineStatus| {
                !timeline::ready(state, "sore") && error(state).contains("ill") && module(state).last.contains(word)
            };
            timeline.until(since, limit, &what, told).await?
        }
        (Shows::End(word), _) => {
            let what = format!("the resource not READY, because of `{word}`");
            let told = |state: &MachineStatus| {
                !timeline::ready(state, "sore") && error(state).contains(word) && module(state).last.contains(word)
            };
            timeline.until(since, limit, &what, told).await?
        }
        (Shows::Silence, Moment::Call | Moment::Stream | Moment::After) => {
            let silent = |state: &MachineStatus| module(state).state() == ModuleState::Unresponsive;
            timeline.until(since, limit, "the module unresponsive", silent).await?
        }
        (Shows::Silence, Moment::Socket | Moment::Ready) => {
            let overdue = |state: &MachineStatus| {
                !timeline::ready(state, "sore") && error(state).contains("ill") && module(state).last.contains("within")
            };
            timeline
                .until(since, limit, "the module overdue, and its resource naming it", overdue)
                .await?
        }
        (Shows::Silence, Moment::Validate | Moment::Add) => {
            // Both steps end at their limits; which of them it was is the moment of this column.
            let word = "its module gave no answer within";
            let overdue = |state: &MachineStatus| !timeline::ready(state, "sore") && error(state).contains(word);
            let what = format!("the resource not READY, because of a `{word}`");
            timeline.until(since, limit, &what, overdue).await?
        }
        (Shows::Silence, _) => {
            let told = |state: &MachineStatus| {
                !timeline::ready(state, "sore") && (!error(state).is_empty() || module(state).pid != before)
            };
            timeline
                .until(since, limit, "the resource not READY, with a cause", told)
                .await?
        }
    };
    Ok(Some(found.0))
}

/// A call, or a stream, that is to be met by the fault; gives how it ended.
async fn unfinished(
    mut echo: mainstay_tests::echo::echo_service_client::EchoServiceClient<tonic::transport::Channel>,
    stream: bool,
) -> Result<(), Status> {
    let name = "sore".to_owned();
    if !stream {
        let request = SayRequest {
            name,
            ..SayRequest::default()
        };
        return echo.say(request).await.map(drop);
    }
    let request = CountRequest {
        name,
        until: 6,
        pause_ms: 1,
    };
    let mut numbers = echo.count(request).await?.into_inner();
    while let Some(number) = numbers.next().await {
        number?;
    }
    Ok(())
}

/// A call in flight ends with the process, and says why.
fn in_flight(deed: Deed, ended: Result<(), Status>) -> Result<(), String> {
    match (shows(deed), ended) {
        (Shows::Not, Ok(())) => Ok(()),
        (Shows::Not, Err(status)) => Err(format!("the call in flight failed: {status}")),
        (_, Ok(())) => Err("the call in flight was answered by a process that had ended".to_owned()),
        (Shows::End(word), Err(status)) if !status.message().contains(word) => {
            Err(format!("the call in flight does not say `{word}`: {status}"))
        }
        (_, Err(status)) if status.code() != Code::Unavailable => {
            Err(format!("the call in flight did not get UNAVAILABLE: {status}"))
        }
        _ => Ok(()),
    }
}

/// Something that must end within `limit`.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<Result<T, String>, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => Ok(Ok(done)),
        Ok(Err(status)) => Ok(Err(format!("{what}: {status}"))),
        Err(_elapsed) => Err(format!("{what} did not end within {limit:?}")),
    }
}
