//! `mainstay run`, from a loaded config to the last process gone.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mainstay_auth::access::Access;
use mainstay_auth::gate::Gate;
use mainstay_config::colour_wanted;
use mainstay_config::store::LastGood;
use mainstay_core::module::lifecycle::START_TIMEOUT;
use mainstay_model::duration::parse as parse_duration;
use mainstay_model::machine_path;
use mainstay_pki::authority::Authority;
use mainstay_process::cgroup::Tree;
use mainstay_process::claim::claim;
use mainstay_process::control_peers::ModuleProcesses;
use mainstay_process::guardian::GuardianLink;
use mainstay_process::identity::IdentityClaim;
use mainstay_process::path_listener::PathListener;
use mainstay_process::shutdown_signals::ShutdownSignals;
use mainstay_process::upkeep::Upkeep;
use mainstay_process::{cgroup, descriptors, guardian, orphans, program_text, runtime_dir, sockets};
use mainstay_proxy::ingress::Routes;
use mainstay_proxy::operations::Operations;
use mainstay_proxy::sessions::Sessions;
use mainstay_runtime::machine::view::ViewCell;
use mainstay_runtime::machine::{Machine, MachineOptions};
use mainstay_runtime::remote::hand_down;
use mainstay_runtime::rollout::network;
use mainstay_runtime::rollout::part_watch::PartWatch;
use mainstay_runtime::rollout::{Addresses, ClientListeners, Driver, Overrides, Start, Tools};
use mainstay_runtime::{model_links, rollout, wall_clock};
use mainstay_server::control::{Control, CoreInfo, States};
use mainstay_server::followers::Followers;
use mainstay_server::jobs;
use mainstay_server::jobs::Jobs;
use mainstay_server::listeners::{serve_control, serve_parents};
use mainstay_server::local_services::OwnServices;
use mainstay_server::log::Levels;
use mainstay_server::log::machine_log::MachineLog;
use mainstay_server::mdns::Announcer;
use mainstay_server::parts::PartState;
use mainstay_server::robot::RobotState;
use mainstay_server::systemd::Notify;
use mainstay_server::trace_export::Exporter;
use mainstay_trace::Traces;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// Threads that pass calls on. With 8 callers one did better than two in a single comparison on two cores; with one
/// caller the picture was mixed, so a machine with more cores is a reason to measure again (`cargo xtask bench`).
const WORKERS: usize = 1;
/// Window in which signals after the first count as the same request.
const SIGNAL_MERGE: Duration = Duration::from_secs(1);
/// Limit for stops under way at the end of the machine.
const STOPS_UNDER_WAY: Duration = Duration::from_millis(500);
/// Limit for blocking threads at the end of the process.
const BLOCKED: Duration = Duration::from_millis(500);
/// When the start is over for good.
const AFTER_START: Duration = Duration::from_secs(1);
/// Snapshots while the machine starts.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// Time within which the first run of a config that ends by Ctrl-C was a trial, of which nothing is kept.
const TRIAL: Duration = Duration::from_secs(60);

/// A config that can be run, and how.
#[derive(Debug)]
pub struct RunOptions {
    /// The config file, as its path was given: what is followed, and kept as last good.
    pub given: PathBuf,
    /// Absolute paths of the config: as it was given, which is the identity of the machine, and where that leads.
    pub spellings: Vec<PathBuf>,
    /// Overrides that the command line sets over every config.
    pub overrides: Overrides,
    /// First config; its diagnostics were already printed on stderr.
    pub start: Start,
    /// VIAM_HOME for modules; absolute.
    pub home: PathBuf,
}

/// Runs the machine until a signal or a client ends it. 0 if it ran; 1 if it could not start, or broke. `announce` is given the
/// states of the machine as they come, to tell of its start. `guardian_link` ties this process to its guardian.
pub fn run<F>(options: RunOptions, guardian_link: GuardianLink, announce: impl FnOnce(States) -> F) -> ExitCode
where
    F: Future<Output = ()> + Send + 'static,
{
    mainstay_proxy::heap::prepare();
    descriptors::raise_limit();
    // Dropped last: what is told at the end is written, too.
    let (_flush, levels, log) = mainstay_server::log::install(&options.start.loaded.config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("core")
        .thread_stack_size(512 * 1024)
        .max_blocking_threads(4)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(start(options, (levels, log), &guardian_link, announce));
            // A thread that reads about a hung process may never come back.
            runtime.shutdown_timeout(BLOCKED);
            ended
        }
        Err(error) => Err(failure(format_args!(
            "the system refuses to start an event loop: {error}"
        ))),
    };
    if guardian_link.is_cut() {
        // Nobody else is there to do it.
        eprint!("{}", guardian::end_descendants());
    }
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            mainstay_server::log::last_words(&error);
            ExitCode::FAILURE
        }
    }
}

/// Text for the user about a machine that could not start.
type StartFailure = String;

fn failure(error: impl fmt::Display) -> StartFailure {
    format!("error: {error}")
}

async fn start<F>(
    options: RunOptions,
    (levels, log): (Levels, MachineLog),
    guardian_link: &GuardianLink,
    announce: impl FnOnce(States) -> F,
) -> Result<(), StartFailure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (started, mut is_trial) = (wall_clock::now(), false);
    // First of all: whoever wants it to end while it starts must not leave anything behind.
    let mut signals = ShutdownSignals::new(guardian_link.inherited()).map_err(failure)?;
    let lifeline = guardian_link.watch().map_err(failure)?;
    let RunOptions {
        given,
        spellings,
        overrides,
        start,
        home,
    } = options;
    let config_path = spellings.first().cloned().unwrap_or_else(|| given.clone());
    let config = &start.loaded.config;
    // Everything that can be refused is refused before anything starts.
    let store = LastGood::open(&config_path);
    let part_folder = overrides.part.clone();
    let own = Authority::at(store.keys_folder().unwrap_or_else(|| home.join("keys")));
    let prepared = network::prepare(config, &own)
        .await
        .map_err(|diagnostic| diagnostic.render(colour_wanted()))?;
    let xdg = runtime_dir::xdg_runtime_dir();
    let directory = machine_path::for_config(&config_path, runtime_dir::uid(), xdg.as_deref());
    sockets::check(&directory).map_err(failure)?;
    let identity = IdentityClaim::take(&spellings).map_err(failure)?;
    let directory = claim(&directory, guardian_link).await.map_err(failure)?;
    let control_listener = PathListener::bind(directory.control_socket()).map_err(failure)?;

    let cgroups = match Tree::open(directory.path()) {
        Ok(tree) => Some(Arc::new(tree)),
        Err(why) => {
            debug!("modules are ended by process group alone: {why}");
            None
        }
    };
    let locks = guardian_link.lock_sender().map_err(failure)?;
    let keeper = Arc::new(directory.keeper(locks, cgroups.clone()));
    let upkeep = Upkeep::new(keeper.clone(), identity, home.clone());
    let (parent_sockets, parents) = mpsc::unbounded_channel();
    let operations = Operations::default();
    let options = MachineOptions {
        runtime: directory.path().to_owned(),
        directory: keeper,
        home,
        builtins: overrides.builtins.clone(),
        operations: operations.clone(),
        parent_sockets,
        cgroups: cgroups.clone(),
        start_timeout: limit("VIAM_MODULE_STARTUP_TIMEOUT", START_TIMEOUT),
        build_timeout: limit(
            "VIAM_RESOURCE_CONFIGURATION_TIMEOUT",
            mainstay_runtime::machine::BUILD_TIMEOUT,
        ),
    };
    let (traces, records) = Traces::new();
    let home = options.home.clone();
    model_links::link_models(&config.packages, &home);
    let (machine, handle) = Machine::new(config.clone(), options).map_err(failure)?;
    let shutdown = CancellationToken::new();
    let jobs = jobs::JobsHandle::default();
    let robot = RobotState {
        machine: handle.clone(),
        sessions: Arc::new(Sessions::new(config.network.heartbeat_window)),
        operations,
        jobs: jobs.clone(),
        shutdown: shutdown.clone(),
        traces: traces.clone(),
        stops: TaskTracker::new(),
    };
    let stops = robot.stops.clone();
    let addresses = Addresses::default();
    let access = Arc::new(Access::new(config).map_err(failure)?);
    let (hang_up, hang_ups) = mpsc::unbounded_channel();
    let part_watch = part_folder
        .clone()
        .map(|folder| PartWatch::new(folder, overrides.part_unread.clone(), hang_up.clone()));
    let changed = part_watch.as_ref().map(PartWatch::changed).unwrap_or_default();
    let published = handle.published.clone();
    let files = (part_folder, changed);
    let (configs, inbox) = rollout::channel(&given, &start, handle.clone(), overrides);
    let views = (published, configs.clone());
    let part = PartState::new(files, own.clone(), addresses.clone(), access.clone(), views);
    let (applied, applied_configs) = watch::channel(config.clone());
    let (announcer, mdns) = Announcer::new(applied_configs.clone(), &addresses, part.inviting());
    let facts = CoreInfo {
        config_path: config_path.clone(),
        addresses: addresses.clone(),
        access: access.clone(),
        mdns,
        started,
    };
    let is_first = !store.holds_something();
    // A config from standard input leaves nothing on the disk.
    let is_kept = !mainstay_config::is_stdin(&given);
    let control = Control::new(
        facts,
        handle.clone(),
        configs,
        robot.operations.clone(),
        log.clone(),
        shutdown.clone(),
    );
    let (exporter, export_settings) = Exporter::new(traces.clone(), records, home);
    let followers = Followers {
        levels,
        traces: export_settings,
        jobs: jobs.clone(),
        sessions: robot.sessions.clone(),
        access: access.clone(),
    };
    followers.take_up(config);
    let routes = Arc::new(Routes {
        table: handle.published.table.clone(),
        gate: Arc::new(Gate::new(
            access.clone(),
            robot.sessions.clone(),
            handle.published.table.clone(),
        )),
        local: Arc::new(OwnServices::new(robot.clone(), control.clone(), access, part)),
        operations: robot.operations.clone(),
        traces,
    });

    // Clients are served from the first moment: what is not built yet says so.
    let (public, inner) = (CancellationToken::new(), CancellationToken::new());
    let mut network = ClientListeners::new(routes.clone(), own, public.clone(), addresses);
    network.serve(prepared, config);
    let notify = Arc::new(Notify::from_environment());
    let (reloads, reload_news) = mpsc::unbounded_channel();
    let tools = Tools {
        path: given,
        machine: handle.clone(),
        network,
        applied,
        reloads,
    };
    let driver = Driver::new(tools, &start, inbox);
    // The driver has what it needs of it.
    drop(start);
    let mut clients = JoinSet::new();
    let ending = public.clone();
    clients.spawn(async move { driver.run(hang_ups, ending).await.finish().await });
    let mut rooms = JoinSet::new();
    rooms.spawn(serve_parents(parents, routes.clone(), inner.clone()));
    let modules = ModuleProcesses::of_this_core(cgroups.as_ref().map(|tree| tree.path()));
    rooms.spawn(serve_control(control_listener, routes.clone(), modules, inner.clone()));
    rooms.spawn(robot.clone().watch_modules(inner.clone()));
    let caller = jobs::JobContext::new(handle.published.clone(), routes);
    // Jobs end first: what stops must not be set moving again.
    clients.spawn(Jobs::new(jobs, caller).run(public.clone()));
    rooms.spawn(robot.watch_sessions());
    rooms.spawn(exporter.run(inner.clone()));
    rooms.spawn(hand_down(applied_configs.clone(), inner.clone()));
    rooms.spawn(followers.follow(applied_configs, inner.clone()));
    // Others are told that it goes before it goes.
    rooms.spawn(announcer.run(public.clone()));
    rooms.spawn(orphans::reap(inner.clone()));
    rooms.spawn(upkeep.run(inner.clone()));
    if let Some(watch) = part_watch {
        rooms.spawn(watch.run(inner.clone()));
    }
    if is_kept {
        rooms.spawn(log.keep(store.clone(), inner.clone()));
    }
    rooms.spawn(notify.clone().follow_reloads(reload_news));
    rooms.spawn(notify.report(control.states(ANNOUNCE_EVERY), shutdown.clone(), inner.clone()));
    rooms.spawn(announce(control.states(ANNOUNCE_EVERY)));
    let (text, until) = (release_text(handle.published.clone()), inner.clone());
    rooms.spawn(async move { until.run_until_cancelled(text).await.unwrap_or_default() });
    let mut machines = JoinSet::new();
    machines.spawn(machine.run());

    let ended = tokio::select! {
        name = signals.ending(&hang_up) => {
            info!(signal = name, "stopping");
            is_trial = is_first && name == "SIGINT" && wall_clock::now() < started + TRIAL;
            Ok(())
        }
        () = lifeline.cut() => Ok(()),
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = machines.join_next() => Err(failure(format_args!("the machine ended early: {ended:?}"))),
    };
    // The kernel's signal may have come first.
    if guardian_link.is_cut() {
        warn!("the guardian has ended; stopping, because nobody would clear up after us");
    }
    shutdown.cancel();
    public.cancel();
    let orderly = async {
        stops.close();
        // A module that does not answer Stop is ended a moment later, which stops it, too.
        let _late = tokio::time::timeout(STOPS_UNDER_WAY, stops.wait()).await;
        handle.shut_down();
        while clients.join_next().await.is_some() {}
        while machines.join_next().await.is_some() {}
        // Modules may log and call to the end, so their own doors close last.
        inner.cancel();
        while rooms.join_next().await.is_some() {}
    };
    let asked_again = async {
        // Some tools signal a process and its group, which is one wish told twice.
        let patience = tokio::time::Instant::now() + SIGNAL_MERGE;
        loop {
            let name = signals.ending(&hang_up).await;
            if tokio::time::Instant::now() >= patience {
                return name;
            }
        }
    };
    tokio::select! {
        () = orderly => {}
        name = asked_again => {
            warn!(signal = name, "asked twice: ending at once");
            // First of all, so that none of its modules is told to be started again.
            machines.shutdown().await;
        }
    }
    if cgroups.is_some()
        && let Err(error) = cgroup::sweep(directory.path())
    {
        warn!("cgroups are left: {error}");
    }
    if is_trial {
        store.forget();
    }
    drop(directory);
    ended
}

/// Gives back the pages of program text that the start alone needed, once it is over.
async fn release_text(published: ViewCell) {
    let mut changes = published.changes.follow();
    while !published.load().running {
        if changes.changed().await.is_err() {
            return;
        }
    }
    // Whoever started it asks for its state once more.
    tokio::time::sleep(AFTER_START).await;
    if let Err(error) = program_text::release() {
        debug!("program text of the start stays in memory: {error}");
    }
}

/// A limit that the environment may override with a Go duration text.
fn limit(variable: &str, default: Duration) -> Duration {
    let Some(text) = std::env::var_os(variable) else {
        return default;
    };
    match text.to_str().map(parse_duration) {
        Some(Ok(limit)) => limit,
        _ => {
            warn!(
                "{variable} is `{}`, which is no duration such as `90s` or `5m`; using {default:?}",
                text.display()
            );
            default
        }
    }
}
