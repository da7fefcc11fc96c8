//! Construction of a machine that is ready to run, from its config. The parts of the machine as a whole are here; those of
//! each module are in `modules`.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_config::builtins::BuiltinModels;
use mainstay_core::machine::world::World;
use mainstay_model::{Config, ModuleName};
use mainstay_process::cgroup::Tree;
use mainstay_process::child::Spawner;
use mainstay_process::runtime_dir::RuntimeDirKeeper;
use mainstay_proxy::operations::Operations;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::actor::{Course, Machine, MachineResources, MachineTasks};
use super::handle::MachineHandle;
use super::preflight::PreflightAnswers;
use super::view::ViewCell;
use crate::module::actor::ModuleEvent;
use crate::module::build::Builds;
use crate::module::parent::ParentSocket;
use crate::remote::RemoteEvent;

/// Dependencies of a machine on the rest of the core.
#[derive(Debug)]
pub struct MachineOptions {
    /// Private directory for sockets.
    pub runtime: PathBuf,
    /// Keeper of that directory.
    pub directory: Arc<RuntimeDirKeeper>,
    /// VIAM_HOME.
    pub home: PathBuf,
    /// Built-in modules, as looked up by the reader of a config.
    pub builtins: Arc<BuiltinModels>,
    /// The calls that run.
    pub operations: Operations,
    /// Sender for the parent socket of each module, which is served before the module is started.
    pub parent_sockets: mpsc::UnboundedSender<ParentSocket>,
    /// The machine's cgroups, where there are any.
    pub cgroups: Option<Arc<Tree>>,
    /// Limit from spawn to Ready.
    pub start_timeout: Duration,
    /// Limit for building one resource.
    pub build_timeout: Duration,
}

/// Values that every module uses, made once.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) runtime: PathBuf,
    pub(super) directory: Arc<RuntimeDirKeeper>,
    pub(super) home: PathBuf,
    /// The built-in modules, once a config used one.
    pub(super) builtins: Arc<BuiltinModels>,
    pub(super) operations: Operations,
    pub(super) parent_sockets: mpsc::UnboundedSender<ParentSocket>,
    pub(super) cgroups: Option<Arc<Tree>>,
    pub(super) spawner: Spawner,
    pub(super) events: mpsc::UnboundedSender<(ModuleName, ModuleEvent)>,
    pub(super) remote_events: mpsc::UnboundedSender<(ModuleName, u64, RemoteEvent)>,
    /// Id of this machine from its start to its end, for others who use its resources.
    pub(super) id: Arc<str>,
    pub(super) start_timeout: Duration,
    pub(super) build_timeout: Duration,
    /// Held by who runs spare instances.
    pub(super) spares: tokio::sync::Mutex<()>,
    /// Builds of modules' programs.
    pub(super) builds: Builds,
}

impl Machine {
    /// Sets up the machine of `config`; nothing starts before `run`.
    ///
    /// # Errors
    /// The system refuses what processes are started with.
    pub fn new(config: Arc<Config>, options: MachineOptions) -> std::io::Result<(Self, MachineHandle)> {
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        let (remote_sender, remote_events) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            runtime: options.runtime,
            directory: options.directory,
            home: options.home,
            builtins: options.builtins,
            operations: options.operations,
            parent_sockets: options.parent_sockets,
            cgroups: options.cgroups,
            spawner: Spawner::start()?,
            events: event_sender,
            remote_events: remote_sender,
            id: Uuid::new_v4().to_string().into(),
            start_timeout: options.start_timeout,
            build_timeout: options.build_timeout,
            spares: tokio::sync::Mutex::default(),
            builds: Builds::default(),
        });
        let handle = MachineHandle {
            published: ViewCell::default(),
            commands: command_sender,
            shared,
        };
        let mut machine = Self {
            world: World::default(),
            config: Arc::new(Config::empty(&config.path)),
            commands,
            events,
            handle: handle.clone(),
            modules: BTreeMap::new(),
            remotes: BTreeMap::new(),
            remote_events,
            resources: MachineResources::default(),
            tasks: MachineTasks::default(),
            watched: Vec::new(),
            early_answers: HashMap::new(),
            course: Course::default(),
        };
        // The start is the change from nothing.
        machine.apply_now(config, PreflightAnswers::default());
        Ok((machine, handle))
    }
}
