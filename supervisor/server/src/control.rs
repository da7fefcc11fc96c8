//! `mainstay.control.v1`: what the command line asks, and the robot protocol has no words for.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_core::Stream;
use mainstay_auth::access::Access;
use mainstay_auth::policy::Admission;
use mainstay_config::store::notifier;
use mainstay_config::{declared, models};
use mainstay_mdns::AdvertState;
use mainstay_model::cgroup::Events;
use mainstay_model::limit::Limit;
use mainstay_model::membership::Membership;
use mainstay_model::suggest::nearest;
use mainstay_model::{ModuleName, ModulePhase, ResourceConfig};
use mainstay_process::shortage;
use mainstay_process::usage::{Sampler, memory_bytes, threads};
use mainstay_proto::mainstay::control::v1 as pb;
use mainstay_proto::mainstay::control::v1::control_service_server::ControlService;
use mainstay_proxy::identity::{Caller, Identity};
use mainstay_proxy::operations::Operations;
use mainstay_proxy::operations::stuck::{Stuck, stuck};
use mainstay_proxy::resource::Resource;
use mainstay_runtime::machine::MachineHandle;
use mainstay_runtime::machine::reload::Reloaded;
use mainstay_runtime::machine::view::{View, ViewCell};
use mainstay_runtime::module::entry::ModuleEntry;
use mainstay_runtime::module::output::OutputLine;
use mainstay_runtime::remote::RemoteEntry;
use mainstay_runtime::rollout;
use mainstay_runtime::rollout::Addresses;
use mainstay_runtime::wall_clock;
use mainstay_runtime::wall_clock::shown;
use mainstay_wire::log::LogFilter;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::feeds;
use crate::feeds::{AnswerStream, module_state, resource_state};
use crate::log::machine_log::MachineLog;
use crate::robot::service::restart_status;

/// Shortest time between two snapshots of one watcher, unless it asks otherwise.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// States of the machine, as they come.
pub type States = Pin<Box<dyn Stream<Item = pb::Status> + Send>>;

/// CoreInfo about this run that do not change.
#[derive(Debug)]
pub struct CoreInfo {
    /// The config file.
    pub config_path: PathBuf,
    /// Addresses that it is served at.
    pub addresses: Addresses,
    /// Who may come in.
    pub access: Arc<Access>,
    /// How it is found by others.
    pub mdns: watch::Receiver<AdvertState>,
    /// Start of the core.
    pub started: SystemTime,
}

/// The service.
#[derive(Debug, Clone)]
pub struct Control {
    info: Arc<CoreInfo>,
    config: rollout::RolloutHandle,
    published: ViewCell,
    operations: Operations,
    machine: MachineHandle,
    log: MachineLog,
    settled: Arc<OnceLock<SystemTime>>,
    sampler: Arc<Mutex<Sampler>>,
    stopping: tokio_util::sync::CancellationToken,
    watchers: TaskTracker,
}

impl Control {
    /// A service over the machine. `stopping` ends the watchers.
    pub fn new(
        info: CoreInfo,
        machine: MachineHandle,
        config: rollout::RolloutHandle,
        operations: Operations,
        log: MachineLog,
        stopping: tokio_util::sync::CancellationToken,
    ) -> Self {
        Self {
            info: Arc::new(info),
            config,
            published: machine.published.clone(),
            machine,
            operations,
            log,
            settled: Arc::default(),
            sampler: Arc::default(),
            stopping,
            watchers: TaskTracker::new(),
        }
    }

    /// Status of everything at this moment.
    pub fn status(&self) -> pb::Status {
        let view = self.published.load_full();
        if view.running {
            self.settled.get_or_init(wall_clock::now);
        }
        let state = match (self.stopping.is_cancelled(), view.running) {
            (true, _) => pb::MachineState::Stopping,
            (false, true) => pb::MachineState::Running,
            (false, false) => pb::MachineState::Starting,
        };
        let admission = self.info.access.admission();
        let listeners = self.info.addresses.get().into_iter().map(|address| pb::Listener {
            address: address.to_string(),
            authentication: authentication(address, admission).to_owned(),
            tls: self.info.addresses.certificate.text(),
        });
        let AdvertState { names, problem } = self.info.mdns.borrow().clone();
        let mdns = pb::Mdns {
            names,
            problem: problem.unwrap_or_default(),
        };
        let config = self.config.status();
        pb::Status {
            config_path: self.info.config_path.display().to_string(),
            revision: view.revision.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: state.into(),
            started_at: Some(shown(self.info.started).into()),
            settled_at: self.settled.get().map(|settled| shown(*settled).into()),
            listeners: listeners.collect(),
            pid: std::process::id(),
            rss_bytes: memory_bytes(std::process::id()),
            modules: view.modules.iter().map(|entry| self.module(&view, entry)).collect(),
            resources: self.resources(&view),
            diagnostics: self.diagnostics(&view, &config.diagnostics),
            config: Some(config.to_wire()),
            tasks: living_tasks(),
            threads: threads(std::process::id()),
            shortages: shortage::of_host().into_iter().chain(notifier::shortage()).collect(),
            part: view
                .config
                .membership
                .as_ref()
                .map(Membership::text)
                .unwrap_or_default(),
            remotes: view.remotes.iter().map(|entry| describe_remote(entry)).collect(),
            mdns: Some(mdns),
        }
    }

    /// Diagnostics of the running config: those of its text, and what its modules warn about.
    fn diagnostics(&self, view: &View, of_text: &[String]) -> Vec<String> {
        let config = &view.config;
        let twice = models::offered_twice(config, &self.machine.offers(config));
        let warned = view.resources.iter().flat_map(|resource| {
            let state = resource.state();
            let is_it = |entry: &&ResourceConfig| !state.warnings.is_empty() && entry.name == resource.name;
            let entry = config.resources.iter().find(is_it);
            let about = |text: &String| Some(declared::warning(config, entry?, text));
            state.warnings.iter().filter_map(about).collect::<Vec<_>>()
        });
        let rendered = twice
            .into_iter()
            .chain(warned)
            .map(|diagnostic| diagnostic.render(false));
        let new: Vec<_> = rendered.filter(|text| !of_text.contains(text)).collect();
        of_text.iter().cloned().chain(new).collect()
    }

    /// Whether the machine's maintenance sensor, if it has one, lets it be restarted now.
    pub(super) async fn may_be_restarted(&self) -> bool {
        let view = self.view();
        match &view.config.maintenance {
            Some(maintenance) => rollout::maintenance::ask(&view, maintenance).await.is_ok(),
            None => true,
        }
    }

    /// The machine as others see it.
    pub(super) fn view(&self) -> Arc<View> {
        self.published.load_full()
    }

    /// For what is asked of it.
    pub(super) fn machine(&self) -> &MachineHandle {
        &self.machine
    }
    /// For what is asked about configs.
    pub(super) fn configs(&self) -> &rollout::RolloutHandle {
        &self.config
    }

    fn module(&self, view: &View, entry: &ModuleEntry) -> pb::Module {
        let state = entry.state();
        let cpu = state.pid.and_then(|pid| {
            self.sampler
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .cpu(pid, Instant::now())
        });
        let count = view
            .resources
            .iter()
            .filter(|resource| resource.state().module.as_ref() == Some(&entry.name))
            .count();
        let phase = module_state(state.phase, state.pid, state.next_try);
        let ready = state.phase == ModulePhase::Ready;
        let counted = entry.counted();
        pb::Module {
            name: entry.name.to_string(),
            state: phase.into(),
            pid: state.pid,
            started_at: state.started.filter(|_| state.pid.is_some()).map(|at| shown(at).into()),
            ready_at: ready.then(|| shown(state.since).into()),
            restarts: state.restarts,
            rss_bytes: state.pid.and_then(memory_bytes),
            cpu,
            last: state.last.as_deref().unwrap_or_default().to_owned(),
            last_at: state.last_at.map(|at| shown(at).into()),
            next_try_at: state.next_try.map(Into::into),
            resources: u32::try_from(count).unwrap_or(u32::MAX),
            start_took: state.start_time.and_then(|took| took.try_into().ok()),
            executable: entry.executable.display().to_string(),
            limits: state.limits.iter().map(|shown| limit(shown, counted)).collect(),
        }
    }

    fn resources(&self, view: &View) -> Vec<pb::Resource> {
        let after = |name: &ModuleName| {
            view.modules
                .iter()
                .find(|entry| entry.name == *name)
                .map(|entry| entry.policy().health.stuck_after)
        };
        let stuck = stuck(&self.operations, after, Instant::now());
        let known = view.resources.iter().map(|resource| describe(resource, &stuck));
        known.chain(rejected(view)).collect()
    }

    fn entry<'a>(&self, view: &'a View, name: &str) -> Result<&'a ModuleEntry, Status> {
        view.module(name).map(AsRef::as_ref).ok_or_else(|| {
            let known: Vec<_> = view.modules.iter().map(|entry| entry.name.as_str()).collect();
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", known.join(", ")),
            };
            Status::not_found(format!("no module `{name}` on this machine; {hint}"))
        })
    }

    /// A snapshot for each change, and at least one every `max`.
    pub fn states(&self, max: Duration) -> States {
        let (sender, states) = mpsc::channel(1);
        self.watchers
            .spawn(self.clone().watch(sender, Duration::from_millis(10), Some(max)));
        Box::pin(ReceiverStream::new(states).filter_map(Result::ok))
    }

    /// Sends snapshots until the watcher is gone.
    async fn watch(self, answers: mpsc::Sender<Result<pb::Status, Status>>, min: Duration, max: Option<Duration>) {
        let mut changes = self.published.changes.follow();
        loop {
            changes.mark_unchanged();
            if answers.send(Ok(self.status())).await.is_err() {
                return;
            }
            let started = Instant::now();
            let refresh = async {
                match max {
                    Some(max) => tokio::time::sleep(max).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = refresh => {}
                () = answers.closed() => return,
                () = self.stopping.cancelled() => return,
            }
            tokio::time::sleep(min.saturating_sub(started.elapsed())).await;
        }
    }
}

/// Tasks of the runtime that this runs in.
fn living_tasks() -> u32 {
    let runtime = tokio::runtime::Handle::try_current();
    runtime.map_or(0, |runtime| {
        u32::try_from(runtime.metrics().num_alive_tasks()).unwrap_or(u32::MAX)
    })
}

fn limit(limit: &Limit, counted: Events) -> pb::Limit {
    pb::Limit {
        name: limit.name.to_owned(),
        limit: limit.limit.clone(),
        held: limit.held.as_str().to_owned(),
        note: limit.note.to_owned(),
        reached: limit.reached(counted),
    }
}

/// Authentication at this address, in words.
fn authentication(address: std::net::SocketAddr, admission: Admission) -> &'static str {
    match admission {
        Admission::Authenticated => "authentication required",
        _ if address.ip().is_loopback() => "no authentication: loopback only",
        Admission::LocalOnly => "no authentication: PROTECTED, ONLY THIS HOST IS SERVED",
        Admission::Open => "no authentication: OPEN TO THE NETWORK",
    }
}

/// Stuck calls in the resource of this name.
fn stuck_calls(stuck: &[Stuck], resource: &str) -> Vec<pb::StuckCalls> {
    let own = stuck.iter().filter(|stuck| &*stuck.resource == resource);
    own.map(|stuck| pb::StuckCalls {
        method: stuck.method.clone(),
        age: stuck.age.try_into().ok(),
        calls: stuck.calls,
        callers: stuck.callers.clone(),
    })
    .collect()
}

fn rejected(view: &View) -> impl Iterator<Item = pb::Resource> {
    view.rejected.iter().map(|rejected| pb::Resource {
        name: Some((&rejected.name).into()),
        model: rejected.model.to_string(),
        state: pb::ResourceState::Unhealthy.into(),
        error: rejected.error.clone(),
        module: String::new(),
        dependencies: Vec::new(),
        last_updated: view.config_time.map(Into::into),
        stuck: Vec::new(),
    })
}

fn describe(resource: &Resource, stuck: &[Stuck]) -> pb::Resource {
    let state = resource.state();
    let shown = resource_state(state.phase, state.upstream.is_some());
    pb::Resource {
        name: Some((&resource.name).into()),
        // Nobody tells the models of another machine.
        model: if resource.origin.is_some() {
            String::new()
        } else {
            resource.model.to_string()
        },
        state: shown.into(),
        error: state.error.as_deref().unwrap_or_default().to_owned(),
        module: state.module.as_ref().map(ToString::to_string).unwrap_or_default(),
        dependencies: state.dependencies.iter().map(Into::into).collect(),
        last_updated: Some(state.since.into()),
        stuck: stuck_calls(stuck, &resource.label),
    }
}

fn describe_remote(entry: &RemoteEntry) -> pb::Remote {
    let state = entry.state();
    pb::Remote {
        name: entry.name.clone(),
        address: entry.address.clone(),
        cause: state.cause.as_deref().unwrap_or_default().to_owned(),
        since: Some(state.since.into()),
        resources: u32::try_from(state.resources).unwrap_or(u32::MAX),
        left_out: state.left_out.to_vec(),
    }
}

#[tonic::async_trait]
impl ControlService for Control {
    type WatchStatusStream = AnswerStream<pb::Status>;
    type EventsStream = AnswerStream<pb::Event>;
    type LogsStream = AnswerStream<pb::LogLine>;
    type ApplyConfigStream = AnswerStream<pb::ApplyConfigProgress>;

    async fn get_status(&self, _: Request<pb::GetStatusRequest>) -> Result<Response<pb::Status>, Status> {
        Ok(Response::new(self.status()))
    }

    async fn denials(&self, _: Request<pb::DenialsRequest>) -> Result<Response<pb::DenialsResponse>, Status> {
        let denials = self.info.access.denials.get().into_iter().map(|denial| pb::Denial {
            last: Some(denial.last.into()),
            entity: denial.entity,
            roles: denial.roles,
            path: denial.path,
            resource: denial.resource,
            cure: denial.cure,
            count: denial.count,
        });
        Ok(Response::new(pb::DenialsResponse {
            denials: denials.collect(),
        }))
    }

    async fn reload_module(
        &self,
        request: Request<pb::ReloadModuleRequest>,
    ) -> Result<Response<pb::ReloadModuleResponse>, Status> {
        let caller = request
            .extensions()
            .get::<Caller>()
            .map(|caller| caller.identity.clone());
        let pb::ReloadModuleRequest { name, force } = request.into_inner();
        let caller = caller.unwrap_or_else(|| Identity::Control.into());
        let reloaded = self.machine.reload(&caller, &name, force).await;
        let reload = reloaded.map_err(restart_status)?;
        let (restarted, unchanged) = match reload.outcome {
            Reloaded::Restarted => (true, String::new()),
            Reloaded::Unchanged(what) => (false, what),
        };
        Ok(Response::new(pb::ReloadModuleResponse {
            restarted,
            unchanged,
            built: reload.built.and_then(|built| built.try_into().ok()),
        }))
    }

    async fn watch_status(
        &self,
        request: Request<pb::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let request = request.into_inner();
        let interval = |asked: Option<prost_types::Duration>, name: &str| match asked.map(Duration::try_from) {
            None => Ok(None),
            Some(Ok(interval)) => Ok(Some(interval)),
            Some(Err(_)) => Err(Status::invalid_argument(format!("`{name}` is negative"))),
        };
        let min = interval(request.min_interval, "min_interval")?.unwrap_or(MIN_INTERVAL);
        let max = interval(request.max_interval, "max_interval")?;
        let (sender, answers) = mpsc::channel(1);
        self.watchers.spawn(self.clone().watch(sender, min, max));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn events(&self, request: Request<pb::EventsRequest>) -> Result<Response<Self::EventsStream>, Status> {
        let pb::EventsRequest { follow, from } = request.into_inner();
        let events = &self.published.changes.events;
        // Who names no first event wants what is kept, and misses nothing by it.
        let from = from.unwrap_or_else(|| events.ring().oldest());
        let end = (&self.watchers, self.stopping.clone());
        let convert = |number, missed, event| Some(feeds::event(number, missed, event));
        Ok(Response::new(feeds::send(events, from, follow, convert, end)))
    }

    async fn logs(&self, request: Request<pb::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let request = request.into_inner();
        let end = (&self.watchers, self.stopping.clone());
        if request.module.is_empty() {
            return Ok(Response::new(self.log.send(&request, end)));
        }
        let filter = LogFilter::of(&request);
        let pb::LogsRequest {
            module, follow, last, ..
        } = request;
        let view = self.published.load_full();
        let lines = self.entry(&view, &module)?.output.lines();
        let from = {
            let ring = lines.ring();
            let wanted = ring
                .newest_first()
                .filter(|(_, line)| filter.admits(line.at, feeds::level(line.level)));
            let wanted = wanted.take(last.map_or(usize::MAX, |last| usize::try_from(last).unwrap_or(usize::MAX)));
            wanted.last().map_or(ring.next(), |(number, _)| number)
        };
        let convert = move |number, missed, line: OutputLine| {
            let admitted = filter.admits(line.at, feeds::level(line.level));
            admitted.then(|| feeds::line(number, missed, line))
        };
        Ok(Response::new(feeds::send(lines, from, follow, convert, end)))
    }

    async fn explain(&self, request: Request<pb::ExplainRequest>) -> Result<Response<pb::Explanation>, Status> {
        let view = self.published.load_full();
        let entry = self.entry(&view, &request.get_ref().module)?;
        let ends = entry.history().ends().map(feeds::end).collect();
        Ok(Response::new(pb::Explanation {
            module: Some(self.module(&view, entry)),
            ends,
        }))
    }

    async fn plan_config(
        &self,
        request: Request<pb::PlanConfigRequest>,
    ) -> Result<Response<pb::PlanConfigResponse>, Status> {
        self.plan_of(request.into_inner()).await.map(Response::new)
    }

    async fn apply_config(
        &self,
        request: Request<pb::ApplyConfigRequest>,
    ) -> Result<Response<Self::ApplyConfigStream>, Status> {
        self.apply_of(request.into_inner())
    }

    async fn check_config(
        &self,
        request: Request<pb::CheckConfigRequest>,
    ) -> Result<Response<pb::CheckConfigResponse>, Status> {
        self.check_of(request.into_inner()).await.map(Response::new)
    }

    async fn diff_config(
        &self,
        request: Request<pb::DiffConfigRequest>,
    ) -> Result<Response<pb::DiffConfigResponse>, Status> {
        self.diff_of(request.into_inner()).await.map(Response::new)
    }

    async fn get_graph(&self, _: Request<pb::GetGraphRequest>) -> Result<Response<pb::Graph>, Status> {
        self.graph_of().await.map(Response::new)
    }
}
