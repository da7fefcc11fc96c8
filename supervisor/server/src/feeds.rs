//! Streams of events and of module output for the command line, in `mainstay.control.v1`.

use std::pin::Pin;
use std::time::{Duration, SystemTime};

use mainstay_model::event::{Event, EventKind, MachineEvent};
use mainstay_model::process_end::ProcessEnd;
use mainstay_model::{ModulePhase, Phase};
use mainstay_proto::mainstay::control::v1 as pb;
use mainstay_runtime::event_log::{EventLog, Subscription, Weighted};
use mainstay_runtime::module::output::{OutputLine, Stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Status;
use tracing::Level;

/// Answers of one stream that wait for its reader; what comes after that waits in the feed, which is bounded too.
pub const WAITING: usize = 64;

/// A stream of answers.
pub type AnswerStream<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// Sends what a feed holds from number `from` on, and then, if `follow`, what comes, until the reader or the machine
/// goes. `convert` gets each thing with its number and how many were lost before it, and makes an answer of it, or none.
pub fn send<T, P>(
    feed: &EventLog<T>,
    from: u64,
    follow: bool,
    convert: impl Fn(u64, u64, T) -> Option<P> + Send + 'static,
    (tasks, stopping): (&TaskTracker, CancellationToken),
) -> AnswerStream<P>
where
    T: Weighted + Clone + Send + 'static,
    P: Send + 'static,
{
    let (sender, answers) = mpsc::channel(WAITING);
    let follower = feed.follow(from);
    tasks.spawn(pass(follower, follow, convert, sender, stopping));
    Box::pin(ReceiverStream::new(answers))
}

/// Passes on what a follower reads.
pub async fn pass<T: Weighted + Clone, P>(
    mut follower: Subscription<T>,
    follow: bool,
    convert: impl Fn(u64, u64, T) -> Option<P>,
    answers: mpsc::Sender<Result<P, Status>>,
    stopping: CancellationToken,
) {
    let mut lost = 0;
    loop {
        let mut read = follower.read();
        if read.entries.is_empty() {
            if !follow || stopping.is_cancelled() {
                return;
            }
            read = tokio::select! {
                read = follower.next() => read,
                () = answers.closed() => return,
                // What it says at its end is sent yet.
                () = stopping.cancelled() => continue,
            };
        }
        lost += read.missed;
        for (number, thing) in read.numbered() {
            let Some(answer) = convert(number, lost, thing) else {
                continue;
            };
            lost = 0;
            if answers.send(Ok(answer)).await.is_err() {
                return;
            }
        }
    }
}

/// A module's state as the command line knows it.
pub fn module_state(phase: ModulePhase, pid: Option<u32>, next_try: Option<SystemTime>) -> pb::ModuleState {
    match phase {
        ModulePhase::Pending => pb::ModuleState::Pending,
        ModulePhase::Starting => pb::ModuleState::Starting,
        ModulePhase::Ready => pb::ModuleState::Ready,
        ModulePhase::Unresponsive => pb::ModuleState::Unresponsive,
        ModulePhase::Unhealthy if pid.is_none() && next_try.is_none() => pb::ModuleState::Stopped,
        // Of no use, and being ended.
        ModulePhase::Unhealthy if next_try.is_none() => pb::ModuleState::Stopping,
        ModulePhase::Unhealthy => pb::ModuleState::BackOff,
        ModulePhase::Closing => pb::ModuleState::Stopping,
    }
}

/// A module's state in an event: one that failed is in back-off from its end on, however much of it is still to be ended.
fn event_state(phase: ModulePhase, pid: Option<u32>, next_try: Option<SystemTime>) -> pb::ModuleState {
    match phase {
        ModulePhase::Unhealthy if pid.is_some() => pb::ModuleState::BackOff,
        _ => module_state(phase, pid, next_try),
    }
}

/// A resource's state as the command line knows it. `reachable`: calls to it have somewhere to go.
pub fn resource_state(phase: Phase, reachable: bool) -> pb::ResourceState {
    match phase {
        Phase::Configuring if !reachable => pb::ResourceState::Pending,
        Phase::Configuring => pb::ResourceState::Configuring,
        Phase::Ready => pb::ResourceState::Ready,
        Phase::Removing => pb::ResourceState::Removing,
        Phase::Unhealthy => pb::ResourceState::Unhealthy,
    }
}

/// An event on the wire.
pub fn event(number: u64, missed: u64, event: Event) -> pb::Event {
    let text = |cause: Option<std::sync::Arc<str>>| cause.as_deref().unwrap_or_default().to_owned();
    let what = match event.what {
        EventKind::Machine(news) => {
            let state = match news {
                MachineEvent::Running => pb::MachineState::Running,
                MachineEvent::Stopping => pb::MachineState::Stopping,
            };
            pb::event::What::Machine(pb::MachineEvent { state: state.into() })
        }
        EventKind::Module {
            name,
            phase,
            pid,
            cause,
            next_try,
        } => pb::event::What::Module(pb::ModuleEvent {
            name: name.to_string(),
            state: event_state(phase, pid, next_try).into(),
            pid,
            cause: text(cause),
            next_try_at: next_try.map(Into::into),
        }),
        EventKind::Resource {
            name,
            phase,
            reachable,
            cause,
            module,
        } => pb::event::What::Resource(pb::ResourceEvent {
            name: name.as_ref().to_owned(),
            state: resource_state(phase, reachable).into(),
            cause: text(cause),
            module: module.map(|module| module.to_string()).unwrap_or_default(),
        }),
        EventKind::Note {
            kind,
            text,
            resources,
            module,
        } => pb::event::What::Note(pb::NoteEvent {
            kind: kind.as_str().to_owned(),
            text: text.as_ref().to_owned(),
            resources: resources.iter().map(ToString::to_string).collect(),
            module: module.map(|module| module.to_string()).unwrap_or_default(),
        }),
    };
    pb::Event {
        number,
        time: Some(event.at.into()),
        missed,
        what: Some(what),
    }
}

/// A level on the wire.
pub fn level(level: Level) -> pb::LogLevel {
    match level {
        Level::TRACE => pb::LogLevel::Trace,
        Level::DEBUG => pb::LogLevel::Debug,
        Level::INFO => pb::LogLevel::Info,
        Level::WARN => pb::LogLevel::Warn,
        Level::ERROR => pb::LogLevel::Error,
    }
}

/// A line on the wire.
pub fn line(number: u64, missed: u64, line: OutputLine) -> pb::LogLine {
    let stream = match line.stream {
        Stream::Stdout => pb::LogStream::Stdout,
        Stream::Stderr => pb::LogStream::Stderr,
        Stream::Log => pb::LogStream::Log,
        Stream::Core => pb::LogStream::Core,
        Stream::Build => pb::LogStream::Build,
    };
    pb::LogLine {
        number,
        time: Some(line.at.into()),
        stream: stream.into(),
        level: level(line.level).into(),
        text: line.text.as_ref().to_owned(),
        missed,
        module: String::new(),
    }
}

/// The end of a process on the wire.
pub fn end(end: &ProcessEnd) -> pb::ProcessEnd {
    let length = |length: Duration| prost_types::Duration::try_from(length).ok();
    let followed = &end.followed;
    let in_flight = end.in_flight.iter().map(|call| pb::CallInFlight {
        method: call.method.clone(),
        resource: call.resource.as_ref().to_owned(),
        age: length(call.age),
        caller: call.caller.clone(),
    });
    let rebuilt = followed.rebuilt.iter().map(|rebuilt| pb::RebuiltResource {
        name: rebuilt.name.as_ref().to_owned(),
        because: rebuilt.because.as_deref().unwrap_or_default().to_owned(),
    });
    pb::ProcessEnd {
        life: end.life,
        time: end.at.map(Into::into),
        up: length(end.up),
        was_ready: end.was_ready,
        cause: end.cause.clone(),
        asked: end.asked,
        exit_code: end.exit_code,
        signal: end.signal.clone().unwrap_or_default(),
        in_flight: in_flight.collect(),
        calls: end.calls,
        last_output: end.last_output.clone(),
        evidence: end
            .evidence
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        within_day: end.within_day,
        next_try_at: followed.next_try.map(Into::into),
        started_after: followed.started_after.and_then(length),
        ready_after: followed.ready_after.and_then(length),
        rebuilt: rebuilt.collect(),
        more_rebuilt: followed.more_rebuilt,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio_stream::StreamExt as _;

    use super::*;

    fn shown(number: u64, missed: u64, of: OutputLine) -> Option<pb::LogLine> {
        Some(line(number, missed, of))
    }

    fn feed(max: usize, lines: std::ops::Range<u32>) -> EventLog<OutputLine> {
        let feed = EventLog::new(max, usize::MAX);
        add(&feed, lines);
        feed
    }

    fn add(feed: &EventLog<OutputLine>, lines: std::ops::Range<u32>) {
        for text in lines {
            feed.push(OutputLine {
                at: SystemTime::UNIX_EPOCH,
                stream: Stream::Stdout,
                life: 1,
                level: Level::INFO,
                text: Arc::from(text.to_string()),
            });
        }
    }

    #[tokio::test]
    async fn a_reader_that_does_not_follow_gets_what_there_is() {
        let feed = feed(600, 0..1000);
        let tasks = TaskTracker::new();
        let lines: Vec<_> = send(&feed, 0, false, shown, (&tasks, CancellationToken::new()))
            .map(|line| line.expect("a line"))
            .collect()
            .await;
        assert_eq!(lines.len(), 600);
        assert_eq!(
            (lines[0].number, lines[0].missed, lines[0].text.as_str()),
            (400, 400, "400")
        );
        assert!(lines[1..].iter().all(|line| line.missed == 0));
    }

    #[tokio::test]
    async fn a_reader_that_sleeps_loses_the_oldest_and_is_told() {
        let (feed, tasks, stopping) = (feed(100, 0..1), TaskTracker::new(), CancellationToken::new());
        let mut lines = send(&feed, 0, true, shown, (&tasks, stopping.clone()));
        assert_eq!(lines.next().await.expect("open").expect("a line").number, 0);
        add(&feed, 1..10_000);
        stopping.cancel();
        let rest: Vec<_> = lines.map(|line| line.expect("a line")).collect().await;
        let missed: u64 = rest.iter().map(|line| line.missed).sum();
        assert_eq!(missed + rest.len() as u64, 9_999);
        assert!(
            missed > 9_000 && rest.last().is_some_and(|line| line.text == "9999"),
            "{missed}"
        );
    }
}
