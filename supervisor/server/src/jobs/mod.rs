//! Calls that the machine makes by itself, by the clock: `jobs` of the config.
//!
//! `schedule` says when (pure), `request` which call (pure), `call` makes it, `history` remembers how it went (pure).
//! This file owns the tasks: one per job, so that a job that hangs holds up no other.

mod call;
mod history;
mod request;

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;
use mainstay_config::schedule::{Cron, CronDue, Schedule};
use mainstay_model::Job;
use mainstay_model::event::NoteKind;
use mainstay_runtime::machine::view::ViewCell;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub use crate::jobs::call::JobContext;
use crate::jobs::history::JobHistory;

/// Pause after a failed run of a job without pauses of its own: what fails at once would fail thousands of times a
/// second.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Handle of the jobs. Clones mean the same jobs.
#[derive(Debug, Clone)]
pub struct JobsHandle {
    wanted: Arc<watch::Sender<Arc<[Job]>>>,
    histories: Arc<Mutex<HashMap<String, JobHistory>>>,
}

/// Last runs of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRuns {
    /// Name of the job.
    pub name: String,
    /// Ends of the last runs that went well, oldest first.
    pub succeeded: Vec<SystemTime>,
    /// Ends of the last runs that did not.
    pub failed: Vec<SystemTime>,
}

impl Default for JobsHandle {
    fn default() -> Self {
        Self {
            wanted: Arc::new(watch::Sender::new(Arc::default())),
            histories: Arc::default(),
        }
    }
}

impl JobsHandle {
    /// From now on these run. A job that did not change goes on as it is; one that changed or is gone ends, with the
    /// call that it is making. Of two with one name the first counts; those with a fault were told with the config and
    /// are left out.
    pub fn set(&self, jobs: Vec<Job>) {
        let mut names = HashSet::new();
        let usable = jobs
            .into_iter()
            .filter(|job| job.fault.is_none())
            .filter(|job| {
                let first = names.insert(job.name.clone());
                if !first {
                    warn!(
                        job = job.name,
                        "another job has this name, so this one is left out; rename it"
                    );
                }
                first
            })
            .collect();
        self.wanted.send_replace(usable);
        self.histories().retain(|name, _| names.contains(name));
    }

    /// Last runs of each job, in the order of the config.
    #[must_use]
    pub fn runs(&self) -> Vec<JobRuns> {
        let histories = self.histories();
        let runs = |job: &Job| {
            let history = histories.get(&job.name).cloned().unwrap_or_default();
            JobRuns {
                name: job.name.clone(),
                succeeded: history.succeeded(),
                failed: history.failed(),
            }
        };
        self.wanted.borrow().iter().map(runs).collect()
    }

    fn histories(&self) -> MutexGuard<'_, HashMap<String, JobHistory>> {
        self.histories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a run went, unless its job is gone.
    fn note(&self, job: &Job, went_well: bool) {
        if self.wanted.borrow().iter().any(|wanted| wanted.name == job.name) {
            let mut histories = self.histories();
            histories
                .entry(job.name.clone())
                .or_default()
                .note(SystemTime::now(), went_well);
        }
    }
}

/// Runs the jobs.
#[derive(Debug)]
pub struct Jobs {
    handle: JobsHandle,
    caller: JobContext,
}

/// A task that runs a job.
struct RunningJob {
    job: Job,
    task: AbortHandle,
}

impl Jobs {
    /// Runs what `handle` is told, on the machine that `caller` reaches.
    pub fn new(handle: JobsHandle, caller: JobContext) -> Self {
        Self { handle, caller }
    }

    /// Runs the jobs until `stop`, from the moment on at which the machine has started.
    pub async fn run(self, stop: CancellationToken) {
        let mut wanted = self.handle.wanted.subscribe();
        tokio::select! {
            () = stop.cancelled() => return,
            () = started(self.caller.published()) => {}
        }
        let mut tasks = JoinSet::new();
        let mut running: HashMap<Id, RunningJob> = HashMap::new();
        loop {
            self.reconcile(&wanted.borrow_and_update().clone(), &mut tasks, &mut running);
            tokio::select! {
                () = stop.cancelled() => break,
                // The sender lives in our own handle.
                _ = wanted.changed() => {}
                Some(ended) = tasks.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(ended) => {
                            if ended.is_panic() {
                                error!("a job broke, and is started again: {ended}");
                                sleep(AFTER_FAILURE).await;
                            }
                            ended.id()
                        }
                    };
                    running.remove(&id);
                }
            }
        }
        tasks.shutdown().await;
    }

    /// Ends what is not wanted as it is, and starts what is wanted and does not run. One that changed starts when its
    /// end was seen, so that a job never runs twice at a time.
    fn reconcile(&self, wanted: &[Job], tasks: &mut JoinSet<()>, running: &mut HashMap<Id, RunningJob>) {
        for old in running.values().filter(|old| !wanted.contains(&old.job)) {
            old.task.abort();
        }
        for job in wanted {
            if running.values().any(|old| old.job.name == job.name) {
                continue;
            }
            let task = tasks.spawn(perform(job.clone(), self.handle.clone(), self.caller.clone()));
            let job = job.clone();
            running.insert(task.id(), RunningJob { job, task });
        }
    }
}

/// Waits until everything had its first outcome.
async fn started(published: &ViewCell) {
    let mut changes = published.changes.follow();
    while !published.load().running {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Task of one job, for as long as it is wanted.
async fn perform(job: Job, handle: JobsHandle, caller: JobContext) {
    let schedule = match job.schedule.parse::<Schedule>() {
        Ok(schedule) => schedule,
        Err(bad) => return skip(&job, &bad.to_string()).await,
    };
    let mut run = Run {
        job,
        handle,
        caller,
        reported: None,
    };
    match schedule {
        Schedule::Continuous => loop {
            if !run.once().await {
                sleep(AFTER_FAILURE).await;
            }
        },
        Schedule::Every(interval) => {
            let mut due = Instant::now() + interval;
            loop {
                sleep_until(due).await;
                run.once().await;
                due = mainstay_config::schedule::next_turn(due.into_std(), interval, Instant::now().into_std()).into();
            }
        }
        Schedule::Cron(cron) => {
            // What matched before it was wanted, or while it ran, is past.
            let mut last = SystemTime::now();
            loop {
                let Some(due) = at(&cron, last).await else {
                    return skip(&run.job, "its time never comes").await;
                };
                run.once().await;
                last = SystemTime::now().max(due);
            }
        }
    }
}

/// A job that cannot run is none; it must not look as if it had ended early.
async fn skip(job: &Job, why: &str) {
    warn!(job = job.name, "left out: {why}");
    std::future::pending().await
}

/// Waits for the next match and gives it; `None` if there is none.
async fn at(cron: &Cron, last: SystemTime) -> Option<SystemTime> {
    loop {
        match cron.due(last, SystemTime::now(), &TimeZone::system())? {
            CronDue::In(left) => {
                sleep(left).await;
            }
            CronDue::Now(at) => return Some(at),
        }
    }
}

/// The runs of one job.
struct Run {
    job: Job,
    handle: JobsHandle,
    caller: JobContext,
    /// The failure that was told last; the same one is not told again and again.
    reported: Option<String>,
}

impl Run {
    fn record(&self, text: String) {
        let resource = self.job.resource.as_str();
        let view = self.caller.published().load();
        let found = view
            .resources
            .iter()
            .find(|found| found.name.name == resource || *found.label == *resource);
        let resources = found.map(|found| found.label.clone()).into_iter().collect();
        self.caller
            .published()
            .changes
            .note(NoteKind::Job, text, resources, None);
    }

    /// Runs the job once. True if it went well.
    async fn once(&mut self) -> bool {
        let begun = Instant::now();
        let outcome = pin!(self.caller.call(&self.job)).await;
        let took_ms = begun.elapsed().as_millis() as u64;
        let job = self.job.name.as_str();
        match &outcome {
            Ok(()) if self.reported.take().is_some() => {
                info!(job, took_ms, "runs again");
                self.record(format!("job {job} runs again"));
            }
            Ok(()) => debug!(job, took_ms, "done"),
            Err(status) => {
                let why = status.message();
                if self.reported.as_deref() == Some(why) {
                    debug!(job, took_ms, "failed again: {why}");
                } else {
                    warn!(
                        job,
                        method = self.job.method,
                        resource = self.job.resource,
                        "failed: {why}"
                    );
                    self.record(format!("job {job} ({}) failed: {why}", self.job.method));
                    self.reported = Some(why.to_owned());
                }
            }
        }
        self.handle.note(&self.job, outcome.is_ok());
        outcome.is_ok()
    }
}

#[cfg(test)]
mod tests;
