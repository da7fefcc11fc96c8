//! Driver of the rollout: follows the file, does what `transaction` says, and publishes the status.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mainstay_config::store::{ConfigWatch, LastGood, Observation};
use mainstay_config::{ConfigFiles, Refused, is_stdin};
use mainstay_core::machine::change;
use mainstay_core::machine::change::Known;
use mainstay_core::rollout::{Action, Direction, Input, Origin, Refusal, Ticket, Transaction};
use mainstay_model::Config;
use mainstay_model::apply_state::{ApplyState, ConfigState, Progress};
use mainstay_model::event::NoteKind;
use mainstay_model::membership::Membership;
use mainstay_model::plan::{Part, Plan};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::loaded_config::LoadedConfig;
use super::network::ClientListeners;
use super::preflight::{Checked, Checks};
use super::progress::{ApplyRequest, Inbox};
use super::reader::{ConfigReader, ReadReason, ReadText};
use super::start::Start;
use super::status::StatusWriter;
use super::store_writer::{StoreJob, StoreWriter};
use super::watcher::Watcher;
use super::{ASKED_FOR, maintenance, preflight, start};
use crate::{machine, model_links, sleep_until};

/// Limit for the disk at the end of the machine.
const DISK: Duration = Duration::from_secs(1);

/// Changes that an event names; of more it gives the number.
const LISTED: usize = 20;

/// Dependencies of the driver on the rest of the core.
#[derive(Debug)]
pub struct Tools {
    /// The config file, as its path was given.
    pub path: PathBuf,
    /// The machine.
    pub machine: machine::MachineHandle,
    /// Ports that the machine is served on.
    pub network: ClientListeners,
    /// Sender of each config as it is applied, for what it feeds: log levels, traces, jobs, sessions.
    pub applied: watch::Sender<Arc<Config>>,
    /// Sender of reload notices, for the service manager.
    pub reloads: mpsc::UnboundedSender<Reload>,
}

/// Progress of a requested reload of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file is being read and applied.
    Begun,
    /// The reload is over, and the config is in this state.
    Over(ConfigState),
}

/// A piece of work that came to its end.
#[derive(Debug)]
enum Done {
    /// A text was read.
    Read(ReadText),
    /// Input of the transaction.
    Input(Input<Arc<LoadedConfig>>),
    /// A text was checked.
    Checked(Ticket, Result<Checked, Refusal>),
}

/// The task.
#[derive(Debug)]
pub struct Driver {
    tools: Tools,
    transaction: Transaction<Arc<LoadedConfig>>,
    reader: ConfigReader,
    store_writer: StoreWriter,
    watcher: Watcher,
    checks: Checks,
    commands: mpsc::UnboundedReceiver<ApplyRequest>,
    followers: BTreeMap<Ticket, mpsc::UnboundedSender<Progress>>,
    work: JoinSet<Done>,
    /// Task that waits for the machine; aborted when the machine gets another config.
    applying: Option<AbortHandle>,
    status: StatusWriter,
    /// The part that this computer is, by the last text that was read.
    membership: Option<Membership>,
    /// True if the service manager was notified of a reload.
    reloading: bool,
}

impl Driver {
    /// Driver of a machine that starts with `start`.
    pub fn new(tools: Tools, start: &Start, inbox: Inbox) -> Self {
        let transaction = start.transaction();
        let Inbox {
            status,
            commands,
            overrides,
        } = inbox;
        // The watch tells what is there, unless the start has seen it.
        let known = matches!(start.file, mainstay_core::rollout::FileState::Holds(_)).then_some(&*start.loaded.bundle);
        let watch = if is_stdin(&tools.path) {
            ConfigWatch::never()
        } else {
            ConfigWatch::new(&tools.path, known)
        };
        let kept = start
            .kept
            .as_ref()
            .map(|(kept, revision)| (kept.bundle.clone(), *revision));
        let store_writer = StoreWriter::new(LastGood::open(&tools.path), &tools.path, kept);
        Self {
            watcher: Watcher::new(&transaction, &tools.machine),
            reader: ConfigReader::new(watch, overrides, store_writer.store()),
            store_writer,
            transaction,
            checks: Checks::default(),
            commands,
            followers: BTreeMap::new(),
            work: JoinSet::new(),
            applying: None,
            status: StatusWriter::new(status),
            membership: start.loaded.config.membership.clone(),
            reloading: false,
            tools,
        }
    }

    /// Runs until `stop`. `hang_ups` yields for each request to read the file again.
    pub async fn run(mut self, mut hang_ups: mpsc::UnboundedReceiver<()>, stop: CancellationToken) -> ClientListeners {
        if self.transaction.is_on_trial() {
            // The first text was given to the machine before this began.
            let machine = self.tools.machine.clone();
            self.work.spawn(async move {
                first_pass(&machine).await;
                Done::Input(Input::Applied(Ticket::default(), Ok(())))
            });
        }
        let mut changes = self.tools.machine.published.changes.follow();
        loop {
            let on_trial = self.transaction.is_on_trial();
            let deadline = self.transaction.deadline();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.done(done),
                    // Given up, because the machine is told something else.
                    Err(ended) if ended.is_cancelled() => {}
                    Err(broken) => error!("a step of applying a config broke off: {broken}"),
                },
                seen = self.reader.watch.next() => self.seen(seen),
                Some(()) = hang_ups.recv() => self.hang_up(),
                Some(command) = self.commands.recv() => self.command(command),
                Some(kept) = self.store_writer.next() => self.status.kept(kept),
                _ = changes.changed(), if on_trial => self.look(),
                () = sleep_until(deadline) => self.look(),
            }
            if on_trial || self.transaction.is_on_trial() {
                self.look();
            }
            self.finish_reload();
            self.publish();
        }
        self.input(Input::Stop);
        self.work.abort_all();
        let kept = tokio::time::timeout(DISK, self.store_writer.finish()).await;
        if kept.is_err() {
            warn!("the disk is too slow: the last good config may be an older one");
        }
        self.tools.network
    }

    fn hang_up(&mut self) {
        // What rotates logs says so with this signal.
        for module in self.tools.machine.published.load().modules.iter() {
            module.output.reopen_file();
        }
        if is_stdin(&self.tools.path) {
            warn!("the config came from standard input and cannot be read again; `mainstay apply FILE` brings another");
            self.begin_reload();
            return;
        }
        info!(target: ASKED_FOR, file = %self.tools.path.display(), "asked to read the config again");
        self.begin_reload();
        self.reader.look_again();
    }

    fn seen(&mut self, seen: Observation) {
        let forced = self.reader.see();
        match seen {
            Observation::Text(bundle) => self.read(
                bundle,
                ReadReason {
                    origin: Origin::File,
                    forced,
                    revert_after: None,
                    progress: None,
                },
            ),
            Observation::Refused(refused) => self.refused(&refused),
            Observation::Missing => self.file_missing("the file is gone".to_owned()),
            Observation::Unreadable(why) => self.file_missing(format!("the file cannot be read: {why}")),
        }
    }

    fn refused(&mut self, refused: &Refused) {
        self.note(format!("refused: {}", start::reasons(refused).join("; ")));
        error!(
            "the config is refused; what runs is left as it is\n{}",
            refused.render(false)
        );
        self.input(Input::Refused(start::reasons(refused)));
    }

    fn file_missing(&mut self, why: String) {
        self.note(format!("{why}; the machine runs on with its last config"));
        warn!(file = %self.tools.path.display(), "{why}; the machine runs on with its last config");
        self.input(Input::Away(why));
    }

    fn command(&mut self, command: ApplyRequest) {
        let ApplyRequest {
            bundle,
            revert_after,
            progress,
        } = command;
        self.read(
            bundle,
            ReadReason {
                origin: Origin::Command,
                forced: true,
                revert_after,
                progress: Some(progress),
            },
        );
    }

    fn read(&mut self, bundle: ConfigFiles, reason: ReadReason) {
        let reading = self.reader.read(bundle, reason);
        self.work.spawn(async move { Done::Read(reading.await) });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Input(input) => self.input(input),
            Done::Checked(ticket, outcome) => self.checked(ticket, outcome),
            Done::Read(text) => {
                if !self.reader.finish(&text) {
                    return;
                }
                match (text.outcome, &text.reason.progress) {
                    (Ok((loaded, rejected)), _) => self.revision(loaded, rejected, text.reason),
                    (Err(refused), None) => self.refused(&refused),
                    (Err(refused), Some(progress)) => {
                        let _nobody = progress.send(Progress::State(ApplyState::Refused(start::reasons(&refused))));
                    }
                }
            }
        }
    }

    fn checked(&mut self, ticket: Ticket, outcome: Result<Checked, Refusal>) {
        let refusal = match outcome {
            Ok(checked) => {
                self.checks.passed(ticket, checked);
                return self.input(Input::Checked(ticket, Ok(())));
            }
            Err(refusal) => refusal,
        };
        // Once for the same reasons, not once for each try.
        let known = self.transaction.refused_before(ticket, &refusal.reasons);
        self.checks.known_refusal = known;
        for reason in refusal.reasons.iter().filter(|_| !known) {
            error!("the config is refused; what runs is left as it is\n{reason}");
        }
        self.input(Input::Checked(ticket, Err(refusal)));
        if let (Some(at), false) = (self.transaction.next_try(), known) {
            let pause = at.saturating_duration_since(Instant::now());
            info!("nothing is wrong with its text: it is tried again in {pause:.0?}, and later each time");
        }
        self.checks.known_refusal = false;
    }

    fn revision(&mut self, loaded: LoadedConfig, rejected: Option<Vec<String>>, asked: ReadReason) {
        self.membership.clone_from(&loaded.config.membership);
        if *loaded.digest != *self.transaction.running().digest {
            for diagnostic in &loaded.diagnostics {
                warn!("{}", diagnostic.render(false));
            }
        }
        if let Some(progress) = asked.progress {
            let ticket = Ticket(self.transaction.last_ticket().0 + 1);
            self.followers.insert(ticket, progress);
        }
        self.input(Input::Seen {
            revision: loaded.revision(asked.origin, asked.revert_after),
            rejected,
            forced: asked.forced,
        });
    }

    fn look(&mut self) {
        // Once nothing can be taken back any more, who died and is back has made it good.
        let verdict = self.watcher.verdict(!self.transaction.is_degraded());
        self.input(Input::Health(verdict));
    }

    fn input(&mut self, input: Input<Arc<LoadedConfig>>) {
        for action in self.transaction.handle(input, Instant::now()) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action<Arc<LoadedConfig>>) {
        match action {
            Action::Ask(ticket, revision) => {
                let view = self.tools.machine.published.load_full();
                self.work.spawn(async move {
                    let answer = match &revision.what.config.maintenance {
                        Some(maintenance) => maintenance::ask(&view, maintenance).await,
                        None => Ok(()),
                    };
                    Done::Input(Input::Maintained(ticket, answer))
                });
            }
            Action::Check(ticket, revision) => {
                let preparing = self.tools.network.prepare(revision.what.config.clone());
                let (machine, give_up) = (self.tools.machine.clone(), self.checks.begin(ticket));
                self.work.spawn(async move {
                    Done::Checked(ticket, preflight::check(preparing, &machine, &revision, &give_up).await)
                });
            }
            Action::Apply {
                ticket,
                revision,
                direction,
                fresh,
            } => self.apply(ticket, &revision.what, &direction, fresh),
            Action::Commit(_, revision) => {
                self.tools.network.settle(&revision.what.config);
                self.keep(StoreJob::Keep(revision.what.bundle.clone()));
            }
            Action::Reject(revision, reasons) => {
                self.keep(StoreJob::Reject(revision.what.bundle.clone(), reasons));
            }
            Action::ForgetRejection(digest) => self.keep(StoreJob::Pardon(digest)),
            Action::Publish(ticket, news) => self.tell(ticket, news),
        }
    }

    /// Brings something to the disk, unless the config has no file that a later run could mean.
    fn keep(&self, job: StoreJob) {
        if !is_stdin(&self.tools.path) {
            self.store_writer.send(job);
        }
    }

    fn apply(&mut self, ticket: Ticket, loaded: &Arc<LoadedConfig>, direction: &Direction, fresh: bool) {
        let config = match direction {
            Direction::Forward => loaded.config.clone(),
            Direction::Back(_) => loaded.config_of(self.membership.as_ref()),
        };
        let target = self.transaction.committed().map(|kept| kept.what.config.clone());
        self.watcher.begin(target.as_deref(), &config, direction, fresh);
        self.begin_reload();
        self.tools.applied.send_replace(config.clone());
        let (prepared, asked) = self.checks.take(ticket);
        self.tools.network.serve(prepared, &config);
        info!(target: ASKED_FOR, "applying {}", loaded.bundle.path.display());
        let why = match (direction, self.followers.contains_key(&ticket)) {
            (Direction::Back(_), _) => "to take back the change",
            (Direction::Forward, true) => "asked for by the command line",
            (Direction::Forward, false) => "the file has changed",
        };
        self.note(format!("applying {}: {why}", loaded.bundle.path.display()));
        let follower = self.followers.get(&ticket).cloned();
        if let Some(earlier) = self.applying.take() {
            earlier.abort();
        }
        self.status.next.applied = SystemTime::now();
        let machine = self.tools.machine.clone();
        let home = self.reader.overrides.home.clone();
        self.applying = Some(self.work.spawn(async move {
            if !config.packages.is_empty() {
                let config = config.clone();
                let linking = tokio::task::spawn_blocking(move || model_links::link_models(&config.packages, &home));
                // Before a module looks for its model.
                let _done = linking.await;
            }
            if let (Some(follower), Ok(known)) = (follower, machine.known().await) {
                let from = machine.published.load_full().config.clone();
                let answers = asked.answers.clone();
                let plan = Arc::new(change::plan(&from, &config, &Known { answers, ..known }));
                let _gone = follower.send(Progress::Plan(plan));
            }
            let outcome = match machine.apply_with(config, *asked).await {
                Ok(applied) => {
                    let text = format!("applied: {}", summary(&applied.plan));
                    let named = applied.plan.changes.iter().filter_map(|change| match &change.part {
                        Part::Resource(name) => Some(name.to_string().into()),
                        _ => None,
                    });
                    let changes = &machine.published.changes;
                    changes.note(NoteKind::Config, text, named.collect(), None);
                    debug!(
                        changes = applied.plan.changes.len(),
                        "all that changed had its first outcome"
                    );
                    for part in applied.unfinished {
                        warn!("{part} takes long; it is not waited for any more");
                    }
                    Ok(())
                }
                Err(error) => Err(error.to_string()),
            };
            Done::Input(Input::Applied(ticket, outcome))
        }));
    }

    fn note(&self, text: String) {
        self.tools
            .machine
            .published
            .changes
            .note(NoteKind::Config, text, Vec::new(), None);
    }

    fn tell(&mut self, ticket: Ticket, news: ApplyState) {
        if let Some(text) = note_of(&news).filter(|_| !self.checks.known_refusal) {
            self.note(text);
        }
        match &news {
            ApplyState::Waiting(why, pause) => info!("the change waits: {why}; asked again in {pause:?}"),
            ApplyState::Applying | ApplyState::Superseded => {}
            ApplyState::Watching(window) => {
                info!(target: ASKED_FOR, "the change is applied, and watched for {window:?}")
            }
            ApplyState::Committed => info!(target: ASKED_FOR, "the change is applied"),
            ApplyState::Refused(_) if self.checks.known_refusal => {}
            ApplyState::Refused(reasons) => error!(target: ASKED_FOR, "the change is refused: {}", reasons.join("; ")),
            ApplyState::Reverting(reasons) => {
                error!(target: ASKED_FOR, "the change is taken back: {}", reasons.join("; "))
            }
            ApplyState::Reverted(_) => warn!(target: ASKED_FOR, "the config from before the change runs again"),
            ApplyState::Degraded(reasons) => {
                error!(
                    "the change was taken back, and yet not all is well: {}",
                    reasons.join("; ")
                );
            }
        }
        if matches!(news, ApplyState::Reverted(_) | ApplyState::Degraded(_)) {
            let running = self.transaction.running().what.config.clone();
            self.tools.network.settle(&running);
        }
        let last = news.is_last();
        if let Some(follower) = self.followers.get(&ticket) {
            let _gone = follower.send(Progress::State(news));
        }
        if last {
            self.followers.remove(&ticket);
            self.checks.give_up(ticket);
        }
    }

    /// Notifies the service manager, once, and not before it knows that the machine has started.
    fn begin_reload(&mut self) {
        if !self.reloading && self.tools.machine.published.load().running {
            self.reloading = true;
            let _nobody = self.tools.reloads.send(Reload::Begun);
        }
    }

    fn finish_reload(&mut self) {
        let busy = self.reader.is_busy() || self.transaction.is_busy();
        if self.reloading && !busy {
            self.reloading = false;
            let (state, _) = self.transaction.state();
            let _nobody = self.tools.reloads.send(Reload::Over(state));
        }
    }

    fn publish(&mut self) {
        if self.status.publish(&self.transaction) {
            self.tools.machine.published.changes.notify();
        }
    }
}

/// What the events say of a change; what was done to which part is said when it is applied.
fn note_of(news: &ApplyState) -> Option<String> {
    Some(match news {
        ApplyState::Waiting(why, _) => format!("the change waits: {why}"),
        ApplyState::Refused(reasons) => format!("refused: {}", reasons.join("; ")),
        ApplyState::Reverting(reasons) => format!("the change is taken back: {}", reasons.join("; ")),
        ApplyState::Reverted(_) => "the config from before the change runs again".to_owned(),
        ApplyState::Degraded(reasons) => {
            format!(
                "the change was taken back, and yet not all is well: {}",
                reasons.join("; ")
            )
        }
        ApplyState::Applying | ApplyState::Superseded | ApplyState::Watching(_) | ApplyState::Committed => return None,
    })
}

/// The changes of a plan in few words.
fn summary(plan: &Plan) -> String {
    if plan.changes.is_empty() {
        return "nothing had to be done".to_owned();
    }
    let shown = plan
        .changes
        .iter()
        .take(LISTED)
        .map(|change| format!("{} {}", change.how, change.part));
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if plan.changes.len() > LISTED {
        text.push_str(&format!(" and {} more", plan.changes.len() - LISTED));
    }
    text
}

/// Waits for the end of a start.
async fn first_pass(machine: &machine::MachineHandle) {
    let mut changes = machine.published.changes.follow();
    while !machine.published.load().running && changes.changed().await.is_ok() {}
}
