//! The driver of `probe` for one life of a module: asks it whether it is there, reads what shows that it is, and gathers the
//! evidence before it is called hung. Decides nothing itself. A task of its own, so that nothing that the module's actor waits
//! for makes its timers late.
//!
//! A probe is a call of a method that no one has. Whoever is alive answers it at once, if only to say so; whoever hangs does
//! not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use mainstay_config::store::state_dir::StateFolders;
use mainstay_core::module::probe::{Action, Input, LOOK_LIMIT, Prober};
use mainstay_model::duration::show as show_duration;
use mainstay_model::{Health, OnStuckCall};
use mainstay_process::evidence;
use mainstay_process::evidence::{Evidence, HungModule};
use mainstay_proxy::operations::Operations;
use mainstay_proxy::operations::stuck::{Stuck, stuck};
use mainstay_proxy::upstream::Upstream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::entry::ModuleEntry;
use super::output::Tail;
use crate::sleep_until;

/// Process under watch, and the means of watching it.
#[derive(Debug)]
pub struct Subject {
    pub entry: Arc<ModuleEntry>,
    pub pid: u32,
    pub health: Health,
    pub upstream: Upstream,
    /// The calls that clients make.
    pub operations: Operations,
    /// Last output of the module.
    pub tail: Tail,
}

/// Notice of a health watch to its module's actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The process missed a probe.
    Unresponsive {
        /// How, in words that follow the module's name.
        what: String,
        /// True if a debugger holds it: somebody is at it, and its callers may wait.
        traced: bool,
    },
    /// The process answers (again).
    Responded,
    /// The process is to be ended, because it hangs or does not return calls; no notice follows.
    Hung {
        /// Reason, in words that follow the module's name.
        why: String,
        /// Folder of the evidence.
        evidence: Option<PathBuf>,
    },
}

/// Watches over a module until it is dropped.
#[derive(Debug)]
pub struct HealthWatch {
    next_notice: mpsc::UnboundedReceiver<Notice>,
    health: watch::Sender<Health>,
    _task: JoinSet<()>,
}

impl HealthWatch {
    /// Begins with a module that has just answered.
    pub fn begin(subject: Subject) -> Self {
        let (notices, next_notice) = mpsc::unbounded_channel();
        let (health, policies) = watch::channel(subject.health.clone());
        let mut task = JoinSet::new();
        task.spawn(HealthTask::new(subject, notices, policies).run());
        let _task = task;
        Self {
            next_notice,
            health,
            _task,
        }
    }

    /// Treats the module like this from now on.
    pub fn treat(&self, health: &Health) {
        self.health.send_if_modified(|present| {
            let other = *present != *health;
            present.clone_from(health);
            other
        });
    }
}

/// Next notice; pending for ever where nothing is watched.
pub async fn next_notice(watch: &mut Option<HealthWatch>) -> Notice {
    if let Some(watch) = watch
        && let Some(next_notice) = watch.next_notice.recv().await
    {
        return next_notice;
    }
    std::future::pending().await
}

/// A probe on its way. True if it was answered, false if there is no connection to ask on.
type Ping = Pin<Box<dyn Future<Output = bool> + Send>>;

struct HealthTask {
    subject: Subject,
    notices: mpsc::UnboundedSender<Notice>,
    /// Receiver for changes of the health policy.
    policies: watch::Receiver<Health>,
    prober: Prober,
    ping: Option<Ping>,
    /// True if the process answered a probe of this watch.
    answered: bool,
    /// Time when it became unresponsive.
    silent_since: Option<Instant>,
    /// Calls that were in flight when that was said, and when that was: most of them were ended for it.
    unanswered: Option<(Vec<String>, Instant)>,
    /// Bytes and calls that came from it so far.
    signs: (u64, u64),
    /// The core's own calls, as far as `prober` knows of them.
    calls: BTreeMap<u64, Instant>,
    /// Stuck calls, as far as they were reported.
    stuck: BTreeSet<(Arc<str>, String)>,
    look_at: Instant,
}

impl HealthTask {
    fn new(subject: Subject, notices: mpsc::UnboundedSender<Notice>, policies: watch::Receiver<Health>) -> Self {
        let now = Instant::now();
        Self {
            prober: Prober::new(subject.health.clone(), now),
            signs: signs(&subject),
            look_at: now,
            subject,
            notices,
            policies,
            ping: None,
            answered: false,
            silent_since: None,
            unanswered: None,
            calls: BTreeMap::new(),
            stuck: BTreeSet::new(),
        }
    }

    async fn run(mut self) {
        loop {
            let activity = self.subject.entry.activity.clone();
            let mut changed = std::pin::pin!(activity.changed());
            // Polled before the look, so that nothing in between is missed.
            let _nothing_yet = changed.as_mut().now_or_never();
            self.look_around();
            if Instant::now() >= self.look_at && self.look_for_stuck_calls().await {
                return;
            }
            let input = tokio::select! {
                there = answer(&mut self.ping) => {
                    self.ping = None;
                    // A lost connection is the actor's to see.
                    if !there { continue }
                    Some(Input::Answered)
                }
                () = changed => None,
                Ok(()) = self.policies.changed() => {
                    let health = self.policies.borrow_and_update().clone();
                    (self.subject.health, self.look_at) = (health.clone(), Instant::now());
                    self.prober.treat(health, Instant::now());
                    None
                }
                () = sleep_until(self.prober.deadline()) => Some(Input::Tick),
                () = sleep_until(Some(self.look_at)) => None,
            };
            if let Some(input) = input {
                self.look_around();
                if self.handle(input).await {
                    return;
                }
            }
        }
    }

    /// Feeds the probe with signs that show by themselves.
    fn look_around(&mut self) {
        let now = Instant::now();
        let signs = signs(&self.subject);
        if std::mem::replace(&mut self.signs, signs) != signs {
            self.prober.handle(Input::Responded, now);
        }
        let calls = self.subject.entry.activity.deadlines();
        let ended = self.calls.keys().filter(|call| !calls.contains_key(*call));
        for call in ended {
            self.prober.handle(Input::Ended { call: *call }, now);
        }
        for (call, until) in calls.iter().filter(|(call, _)| !self.calls.contains_key(*call)) {
            let (call, until) = (*call, *until);
            self.prober.handle(Input::Begun { call, until }, now);
        }
        self.calls = calls;
    }

    /// Takes an input and does what follows; true if nothing will follow any more.
    async fn handle(&mut self, input: Input) -> bool {
        let mut input = input;
        loop {
            let mut action = self.prober.handle(input, Instant::now());
            if input == Input::Answered && !std::mem::replace(&mut self.answered, true) {
                // Whoever was silent on a connection before this one is heard of again.
                action = Some(Action::Answering);
            }
            let Some(action) = action else { return false };
            let pid = self.subject.pid;
            match action {
                Action::Probe => {
                    let upstream = self.subject.upstream.clone();
                    self.ping = Some(Box::pin(async move { upstream.ping().await.is_ok() }));
                    return false;
                }
                Action::LookForTracer => {
                    let looked = evidence::run_with_limit(LOOK_LIMIT, move || evidence::tracer(pid)).await;
                    self.handle_pending();
                    input = Input::Traced(looked.flatten());
                }
                Action::Unresponsive { silent, tracer } => {
                    self.silent_since = Instant::now().checked_sub(silent);
                    self.unanswered = Some((self.calls_in_flight(None), Instant::now()));
                    self.notify(Notice::Unresponsive {
                        what: unresponsive(silent, &self.subject.health, tracer),
                        traced: tracer.is_some(),
                    });
                    return false;
                }
                Action::Answering => {
                    let silent = self.silent_since.take().map(|since| since.elapsed());
                    self.unanswered = None;
                    debug!(module = %self.subject.entry.name, ?silent, "answers a probe");
                    self.notify(Notice::Responded);
                    return false;
                }
                Action::Gather => {
                    let why = format!(
                        "answers no probe, and shows no sign of life for {}",
                        show_seconds(self.silent_since.map_or(Duration::ZERO, |since| since.elapsed()))
                    );
                    let gathered = self.gather(&why).await;
                    self.handle_pending();
                    match self.prober.handle(Input::Gathered, Instant::now()) {
                        Some(Action::Hung { silent }) => {
                            let why = format!(
                                "hung: it answered no probe and showed no sign of life for {}",
                                show_seconds(silent)
                            );
                            self.notify_hung(why, gathered);
                            return true;
                        }
                        _ => return false,
                    }
                }
                Action::Hung { .. } => return true,
            }
        }
    }

    /// Handles inputs that came during a wait before anything else.
    fn handle_pending(&mut self) {
        self.look_around();
        if answer(&mut self.ping).now_or_never() == Some(true) {
            self.ping = None;
            self.answered = true;
            if self.prober.handle(Input::Answered, Instant::now()) == Some(Action::Answering) {
                (self.silent_since, self.unanswered) = (None, None);
                self.notify(Notice::Responded);
            }
        }
    }

    /// Says when a call is stuck, or is no more. True if the module is to be ended for it.
    async fn look_for_stuck_calls(&mut self) -> bool {
        self.look_at = Instant::now() + self.subject.health.interval.max(Duration::from_millis(100));
        let found = self.stuck_calls();
        let names = found.iter().map(|stuck| (stuck.resource.clone(), stuck.method.clone()));
        let names: BTreeSet<_> = names.collect();
        if names == self.stuck {
            return false;
        }
        for stuck in found
            .iter()
            .filter(|stuck| !self.stuck.contains(&(stuck.resource.clone(), stuck.method.clone())))
        {
            let callers = stuck.callers.join(", ");
            warn!(module = %self.subject.entry.name, resource = %stuck.resource, callers, "stuck: {}", stuck.what());
        }
        self.stuck = names;
        self.subject.entry.signal_change();
        let worst = found.iter().max_by_key(|stuck| stuck.age);
        let (OnStuckCall::Restart, Some(worst)) = (self.subject.health.on_stuck_call, worst) else {
            return false;
        };
        let why = format!(
            "{} of {} has not returned for {} (on_stuck_call: restart)",
            worst.method,
            worst.resource,
            show_seconds(worst.age)
        );
        let gathered = self.gather(&why).await;
        self.notify_hung(why, gathered);
        true
    }

    fn stuck_calls(&self) -> Vec<Stuck> {
        let (name, after) = (&self.subject.entry.name, self.subject.health.stuck_after);
        stuck(
            &self.subject.operations,
            |module| (module == name).then_some(after),
            Instant::now(),
        )
    }

    async fn gather(&mut self, why: &str) -> Evidence {
        let (mut calls, since) = self.unanswered.clone().unzip();
        let calls = calls.get_or_insert_default();
        calls.extend(self.calls_in_flight(since));
        let Subject { entry, pid, .. } = &self.subject;
        let case = HungModule {
            module: entry.name.to_string(),
            pid: *pid,
            reason: why.to_owned(),
            when: prost_types::Timestamp::from(SystemTime::now()).to_string(),
            calls: std::mem::take(calls),
            output: self.subject.tail.lines(),
        };
        let gathered = evidence::gather(StateFolders::here().state_directory(), case).await;
        if let Some(problem) = &gathered.problem {
            warn!(module = %entry.name, "evidence about a module that hangs: {problem}");
        }
        gathered
    }

    /// Every call to the module that runs, oldest first: the core's own, and those of clients; those that began after
    /// `since`, if it is given.
    fn calls_in_flight(&self, since: Option<Instant>) -> Vec<String> {
        let now = Instant::now();
        let module = &self.subject.entry.name;
        let own = self.subject.entry.activity.running();
        let own = own.into_values().map(|call| {
            let age = now.saturating_duration_since(call.started);
            let text = format!(
                "{} of {} for {} by the core",
                call.what,
                call.resource,
                show_seconds(age)
            );
            (call.started, text)
        });
        let clients = self
            .subject
            .operations
            .calls(|_, about| about.module.as_ref() == Some(module));
        let clients = clients.into_iter().map(|(operation, about)| {
            let age = show_seconds(now.saturating_duration_since(operation.begun));
            let (method, resource, caller) = (&operation.method, &about.resource, about.caller.label());
            (operation.begun, format!("{method} of {resource} for {age} by {caller}"))
        });
        let mut calls: Vec<_> = own.chain(clients).collect();
        calls.retain(|(begun, _)| since.is_none_or(|since| *begun > since));
        calls.sort();
        calls.into_iter().map(|(_, text)| text).collect()
    }

    fn notify_hung(&self, why: String, gathered: Evidence) {
        let evidence = gathered.folder;
        self.notify(Notice::Hung { why, evidence });
    }

    fn notify(&self, next_notice: Notice) {
        // Nobody listens any more only when this watch is being dropped.
        let _over = self.notices.send(next_notice);
    }
}

fn signs(subject: &Subject) -> (u64, u64) {
    (subject.upstream.received(), subject.entry.activity.calls_made())
}

fn unresponsive(silent: Duration, health: &Health, tracer: Option<u32>) -> String {
    match tracer {
        Some(tracer) => format!("does not answer: process {tracer} traces it"),
        None => {
            let silent = show_seconds(silent);
            let limit = show_duration(health.kill_after);
            format!("does not answer; no sign of life for {silent}, restarted after {limit} of that")
        }
    }
}

/// `4.1 s`, `41 s`.
fn show_seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{seconds:.0} s")
    }
}

async fn answer(ping: &mut Option<Ping>) -> bool {
    match ping {
        Some(ping) => ping.await,
        None => std::future::pending().await,
    }
}
