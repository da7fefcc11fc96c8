//! From a config to a machine that is ready to run: module tasks with their sockets, resources, the first view.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::actor::{Machine, Running};
use super::handle::Handle;
use super::node::Facts;
use super::reload;
use super::view::{Published, Rejected, View};
use super::world::World;
use crate::config::{Config, ModuleConfig, ModuleType, ResourceConfig};
use crate::identity::ModuleName;
use crate::module::actor::{Actor, Context, Event, Wish};
use crate::module::bounds::Bounds;
use crate::module::builtin::Builtins;
use crate::module::cgroup::Tree;
use crate::module::environment::{ModuleSpec, log_level_argument};
use crate::module::parent::{ParentDoor, ParentListener};
use crate::module::peers;
use crate::module::process::Spawner;
use crate::module::sockets::Sockets;
use crate::module::state::{ModuleEntry, ModulePhase};
use crate::operations::Operations;
use crate::policy::Policy;
use crate::route::resource::Resource;
use crate::route::table::Table;

/// What a machine needs from outside.
#[derive(Debug)]
pub struct MachineOptions {
    /// Private directory for sockets.
    pub runtime: PathBuf,
    /// VIAM_HOME.
    pub home: PathBuf,
    /// The built-in modules.
    pub builtins: Builtins,
    /// The calls that run.
    pub operations: Operations,
    /// True if modules without a level of their own should log at debug level.
    pub debug: bool,
    /// Where the parent socket of each module goes to be served, before the module is started.
    pub doors: mpsc::UnboundedSender<ParentDoor>,
    /// The machine's cgroups, where there are any.
    pub cgroups: Option<Arc<Tree>>,
    /// Limit from spawn to Ready.
    pub start_timeout: Duration,
    /// Limit for building one resource.
    pub build_timeout: Duration,
}

impl Machine {
    /// Sets up the machine of `config`; nothing starts before `run`.
    pub fn new(
        config: &Config,
        options: MachineOptions,
    ) -> Result<(Self, Handle), Box<dyn std::error::Error + Send + Sync>> {
        let published = Published::default();
        let (command_sender, commands) = mpsc::unbounded_channel();
        let (event_sender, events) = mpsc::unbounded_channel();
        let handle = Handle {
            published: published.clone(),
            commands: command_sender,
        };
        let mut machine = Self {
            world: World::default(),
            published,
            commands,
            events,
            modules: BTreeMap::new(),
            resources: HashMap::new(),
            actors: JoinSet::new(),
            calls: JoinSet::new(),
            lost: HashMap::new(),
            vigils: JoinSet::new(),
            build_timeout: options.build_timeout,
            revision: config.revision.as_str().into(),
            started: Instant::now(),
            running: false,
            stopping: CancellationToken::new(),
            stop_by: None,
        };
        machine.set_up(config, options, &event_sender, &handle)?;
        Ok((machine, handle))
    }

    fn set_up(
        &mut self,
        config: &Config,
        options: MachineOptions,
        events: &mpsc::UnboundedSender<(ModuleName, Event)>,
        handle: &Handle,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let MachineOptions {
            runtime,
            home,
            builtins,
            operations,
            debug,
            doors,
            cgroups,
            start_timeout,
            ..
        } = options;
        let spawner = Spawner::start()?;
        let mut entries = Vec::new();
        for (spec, fault) in specs(config, &builtins, debug) {
            let names = Sockets::new(&runtime, spec.name.as_str())?;
            let entry = Arc::new(ModuleEntry::new(&spec, &home, self.published.changes.clone()));
            entries.push(entry.clone());
            self.world.add_module(spec.name.clone());
            let (sender, commands) = mpsc::unbounded_channel();
            let running = Running {
                commands: sender,
                life: 0,
                upstream: None,
                handlers: Arc::default(),
                activity: entry.activity.clone(),
                drain_by: None,
                wish: Wish::Asked,
                waiting: Vec::new(),
            };
            self.modules.insert(spec.name.clone(), running);
            if let Some(fault) = fault {
                let cause: Arc<str> = format!(
                    "module config validation error; skipping; module: {}, error: {fault}",
                    spec.name
                )
                .into();
                entry.publish(|state| {
                    state.phase = ModulePhase::Unhealthy;
                    state.error = Some(cause.clone());
                    state.last = Some(fault.as_str().into());
                    state.last_at = Some(SystemTime::now());
                });
                self.world.module_changed(&spec.name, Facts::Down(cause), None);
                continue;
            }
            names.make_directory()?;
            let (announcer, guests) = peers::pair();
            let (listener, parent) = ParentListener::open(&spec, &names)?;
            doors.send(ParentDoor {
                module: entry.clone(),
                listener,
                guests,
            })?;
            if spec.policy.watch {
                let (follow, stopping) = (reload::follow(entry.clone(), handle.clone()), self.stopping.clone());
                self.actors.spawn(async move {
                    stopping.run_until_cancelled(follow).await;
                });
            }
            let bounds = Bounds::new(&spec, cgroups.clone(), announcer);
            entry.publish(|state| state.limits = bounds.limits());
            let context = Context {
                entry,
                sockets: names,
                parent,
                home: home.clone(),
                spawner: spawner.clone(),
                operations: operations.clone(),
                events: events.clone(),
                start_timeout,
                bounds,
                seed: RandomState::new().hash_one(()),
            };
            self.actors.spawn(Actor::new(spec, context).run(commands));
        }
        let mut resources = Vec::new();
        for config in &config.resources {
            let resource = Arc::new(Resource::new(config.name.clone(), config.model.clone()));
            self.resources.insert(config.name.clone(), resource.clone());
            resources.push(resource);
        }
        let rejected = config.duplicates.resources.iter().map(|config| Rejected {
            name: config.name.clone(),
            model: config.model.clone(),
            error: config.fault.clone().unwrap_or_default(),
        });
        let models = config.resources.iter().filter_map(|config| {
            let module = builtins.module_of(&config.name.api, &config.model)?;
            Some(((config.name.api.clone(), config.model.clone()), module.clone()))
        });
        self.world.want(
            config.resources.iter().cloned().map(Arc::new).collect(),
            models.collect(),
            builtins.problem.clone(),
        );
        let table = Table::new(&resources, std::iter::empty());
        self.published.publish(View {
            running: false,
            revision: self.revision.clone(),
            config_time: Some(SystemTime::now()),
            modules: entries.into(),
            resources: resources.into(),
            rejected: rejected.collect(),
            table: Arc::new(table),
        });
        Ok(())
    }
}

/// The modules to run: built-in ones that the config uses, then the configured ones. With a fault: shown, not run.
fn specs(config: &Config, builtins: &Builtins, debug: bool) -> Vec<(ModuleSpec, Option<String>)> {
    let used = |config: &ResourceConfig| builtins.module_of(&config.name.api, &config.model).cloned();
    let used: std::collections::BTreeSet<_> = config
        .resources
        .iter()
        .filter(|config| config.fault.is_none())
        .filter_map(used)
        .collect();
    let builtin = used.into_iter().map(|name| {
        let which = name.as_str().trim_start_matches("builtin:").to_owned();
        let mut arguments = vec![format!("--builtin={which}")];
        arguments.extend(log_level_argument(None, debug));
        let executable = builtins.executable.clone();
        (
            ModuleSpec {
                name,
                id: String::new(),
                local: false,
                registry: false,
                executable,
                tarball: false,
                // Ours speak over UNIX sockets, which are private, whatever others need.
                tcp: false,
                first_run_timeout: Duration::ZERO,
                arguments,
                env: BTreeMap::new(),
                policy: Policy::default(),
            },
            None,
        )
    });
    let configured = config
        .modules
        .iter()
        .map(|module| (spec(config, module, debug), module.fault.clone()));
    builtin.chain(configured).collect()
}

fn spec(config: &Config, module: &ModuleConfig, debug: bool) -> ModuleSpec {
    let level = config.module_log_level(module, debug);
    ModuleSpec {
        name: module.name.as_str().into(),
        id: module.module_id.clone(),
        local: module.kind == ModuleType::Local,
        registry: module.kind == ModuleType::Registry,
        executable: module.executable.clone(),
        tarball: module.is_tarball(),
        tcp: module.tcp_mode || tcp_for_all(),
        first_run_timeout: module.first_run_timeout,
        arguments: log_level_argument(level.as_deref(), debug).into_iter().collect(),
        env: config.module_env(module),
        policy: module.policy.clone(),
    }
}

/// True if the environment has every configured module speak TCP.
fn tcp_for_all() -> bool {
    let wish = std::env::var_os("VIAM_TCP_SOCKETS");
    wish.is_some_and(|wish| ["true", "TRUE", "yes", "YES", "1"].iter().any(|yes| wish == *yes))
}
