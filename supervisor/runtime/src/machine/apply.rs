//! Applying another config to the running machine: the plan is made here, and its steps are the steps done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mainstay_core::machine::adopt::DesiredModules;
use mainstay_core::machine::change::Known;
use mainstay_core::machine::node::{BuildStage, ModuleCondition, ResourceNode};
use mainstay_core::machine::{change, desired};
use mainstay_model::dependencies::Declared;
use mainstay_model::failure::Failure;
use mainstay_model::plan::{ChangeKind, Part, Plan};
use mainstay_model::{Config, ModuleName, Phase};
use mainstay_proto::ResourceName;
use mainstay_proxy::resource::{Resource, ResourceState};
use tokio::sync::oneshot;
use tracing::debug;

use super::actor::Machine;
use super::handle::{Command, MachineHandle};
use super::modules::AfterEnd;
use super::preflight::PreflightAnswers;
use super::view::{Rejected, View};
use crate::remote::RemoteEntry;

/// Limit for the first outcome of everything that changes. The change goes on after that all the same.
const FIRST_OUTCOME: Duration = Duration::from_secs(30);

/// Answers of running modules about entries that are not applied yet.
pub type DeclaredAnswers = HashMap<ResourceName, Result<Declared, Failure>>;

/// Outcome of an applied config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Plan that was carried out.
    pub plan: Plan,
    /// Parts that had no outcome yet when the limit was over; they go on.
    pub unfinished: Vec<Part>,
}

/// Failure to apply a config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The machine is shutting down.
    #[error("the machine is shutting down")]
    ShuttingDown,
}

/// Change whose first outcome a caller waits for.
#[derive(Debug)]
pub(super) struct Watched {
    plan: Plan,
    /// Parts without an outcome; looked at from behind, each until it has one.
    pending: Vec<(Part, ChangeKind)>,
    pub(super) by: Instant,
    done: oneshot::Sender<Applied>,
}

impl MachineHandle {
    /// Makes the running machine the one of `config`. Returns when everything that this touches had its first outcome, good
    /// or bad, or after 30 s.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn apply(&self, config: Arc<Config>) -> Result<Applied, ApplyError> {
        self.apply_with(config, PreflightAnswers::default()).await
    }

    /// Applies a config with the modules' answers about its entries: that makes the plan more certain, and modules that
    /// still run are not asked a second time.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn apply_with(&self, config: Arc<Config>, asked: PreflightAnswers) -> Result<Applied, ApplyError> {
        let asked = Box::new(asked);
        self.request(|done| Command::Apply { config, asked, done }).await
    }

    /// Facts of the running machine that a plan needs and no config holds.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn known(&self) -> Result<Known, ApplyError> {
        self.request(Command::Know).await
    }
}

impl Machine {
    /// Facts that a plan needs.
    pub(super) fn known(&self) -> Known {
        Known {
            builtins: self.handle.shared.builtins.present(),
            ..self.world.known()
        }
    }

    /// Removes everything: the change to an empty config, but for the modules, which end last.
    pub(super) fn remove_everything(&mut self) {
        let nothing = Config::empty(&self.config.path);
        let desired = DesiredModules {
            modules: self.world.modules_in_order().to_vec(),
            ..DesiredModules::default()
        };
        self.remotes.clear();
        self.world.end_imports();
        self.world.take_up(&nothing, &HashSet::new(), desired);
    }

    /// Takes up a config while the machine runs.
    pub(super) fn apply(&mut self, config: Arc<Config>, asked: PreflightAnswers, done: oneshot::Sender<Applied>) {
        if self.course.stopping.is_cancelled() {
            return;
        }
        let plan = self.apply_now(config, asked);
        debug!(
            changes = plan.changes.len(),
            stays = plan.stays.len(),
            "config taken up"
        );
        let touched = plan.changes.iter().map(|change| (change.part.clone(), change.how));
        self.watched.push(Watched {
            pending: touched.collect(),
            plan,
            by: Instant::now() + FIRST_OUTCOME,
            done,
        });
    }

    /// Wants `config` from now on: makes the plan, and does what it says.
    pub fn apply_now(&mut self, config: Arc<Config>, asked: PreflightAnswers) -> Plan {
        self.remember(&asked);
        let known = Known {
            answers: asked.answers,
            ..self.known()
        };
        let plan = change::plan(&self.config, &config, &known);
        let wanted = desired::modules(&config, &known.builtins);
        let desired = DesiredModules {
            modules: wanted.iter().map(|wanted| wanted.spec.name.clone()).collect(),
            builtin: desired::builtin_models(&config, &known.builtins),
            builtins: known.builtins.clone(),
        };
        let mut wanted: BTreeMap<_, _> = wanted
            .into_iter()
            .map(|wanted| (wanted.spec.name.clone(), wanted))
            .collect();
        let before = self.handle.published.load().revision.clone();
        let revision: Arc<str> = config.revision.as_str().into();
        self.config = config.clone();
        for change in &plan.changes {
            if let Part::Remote(name) = &change.part {
                match config.remotes.iter().find(|remote| remote.name == *name) {
                    Some(remote) => self.start_remote(remote),
                    None => self.end_remote(name),
                }
            }
            let Part::Module(name) = &change.part else { continue };
            match (change.how, wanted.remove(name)) {
                (ChangeKind::Start, Some(wanted)) => self.start_module(wanted),
                (ChangeKind::Restart, Some(wanted)) => self.end_module(name, AfterEnd::Restart(Box::new(wanted))),
                (ChangeKind::Update, Some(wanted)) => self.treat_module(name, wanted),
                (_, None) => self.end_module(name, AfterEnd::Gone),
                (how, Some(_)) => debug!(module = %name, "no module can {how}"),
            }
        }
        self.world.take_up(&config, &plan.in_place(), desired);
        for config in &config.resources {
            let model = &config.model;
            match self.resources.cells.get(&config.name) {
                Some(known) if known.model == *model => {}
                known => {
                    let resource = Resource::new(config.name.clone(), model.clone());
                    // What another machine had by this name says nothing of ours.
                    if let Some(known) = known.filter(|known| known.origin.is_none()) {
                        resource.publish(ResourceState::clone(&known.state()));
                    }
                    self.resources.cells.insert(config.name.clone(), Arc::new(resource));
                }
            }
        }
        if revision != before || before.is_empty() {
            self.raise_revision(&revision);
        }
        self.publish_all();
        plan
    }

    /// Raises the revision of whatever already runs as the new config wants it.
    fn raise_revision(&self, revision: &Arc<str>) {
        for (name, resource) in &self.resources.cells {
            let state = resource.state();
            if state.phase == Phase::Ready && self.world.node(name).is_some_and(ResourceNode::stays) {
                resource.publish(ResourceState {
                    revision: revision.clone(),
                    ..ResourceState::clone(&state)
                });
            }
        }
    }

    /// Publishes which modules and resources there are. Those that leave are the last, until they are gone.
    pub(super) fn publish_all(&self) {
        let modules = self
            .world
            .modules_in_order()
            .iter()
            .filter_map(|name| self.modules.get(name));
        let config = &self.config;
        let wanted = config
            .resources
            .iter()
            .filter_map(|config| self.resources.cells.get(&config.name));
        let mut resources: Vec<_> = wanted.cloned().collect();
        let imported = self
            .world
            .imports()
            .filter_map(|(_, import)| self.resources.cells.get(&import.name));
        resources.extend(imported.cloned());
        if resources.len() < self.resources.cells.len() {
            let leaves = |name: &&ResourceName| self.world.node(name).is_none_or(|node| !node.wanted);
            let mut leaving: Vec<_> = self.resources.cells.keys().filter(leaves).collect();
            leaving.sort();
            resources.extend(
                leaving
                    .into_iter()
                    .filter_map(|name| self.resources.cells.get(name))
                    .cloned(),
            );
        }
        let rejected = config.duplicates.resources.iter().map(|config| Rejected {
            name: config.name.clone(),
            model: config.model.clone(),
            error: config.fault.clone().unwrap_or_default(),
        });
        let before = self.handle.published.load_full();
        let same_config = Arc::ptr_eq(&before.config, config);
        let view = View {
            running: before.running,
            revision: config.revision.as_str().into(),
            config_time: before
                .config_time
                .filter(|_| same_config)
                .or_else(|| Some(SystemTime::now())),
            config: config.clone(),
            modules: modules.map(|running| running.entry.clone()).collect(),
            remotes: self.remotes_in_order(),
            rejected: rejected.collect(),
            table: Arc::new(self.table(&resources)),
            resources: resources.into(),
        };
        self.handle.published.publish(view);
    }

    fn remotes_in_order(&self) -> Arc<[Arc<RemoteEntry>]> {
        let names = self
            .config
            .remotes
            .iter()
            .map(|remote| ModuleName::remote(&remote.name));
        let running = names.filter_map(|name| self.remotes.get(&name));
        running.map(|running| running.entry.clone()).collect()
    }

    /// Resources that nobody wants are gone: nobody is to see them any more.
    pub(super) fn publish_forgotten(&mut self, now: Instant) {
        let wanted = self.config.resources.len() + self.course.imports.1;
        let leaving = self.resources.cells.len().saturating_sub(wanted);
        if self.resources.pending_removals.take(leaving, now) && !self.course.stopping.is_cancelled() {
            self.publish_all();
        }
    }

    /// Answers those who wait for the first outcome of a change.
    pub(super) fn answer_watched(&mut self, now: Instant) {
        for mut watched in std::mem::take(&mut self.watched) {
            while let Some((part, how)) = watched.pending.last() {
                if !self.has_outcome(part, *how) {
                    break;
                }
                watched.pending.pop();
            }
            if !watched.pending.is_empty() && now < watched.by && !watched.done.is_closed() {
                self.watched.push(watched);
                continue;
            }
            let rest = watched
                .pending
                .into_iter()
                .filter(|(part, how)| !self.has_outcome(part, *how));
            let unfinished = rest.map(|(part, _)| part).collect();
            let _gone = watched.done.send(Applied {
                plan: watched.plan,
                unfinished,
            });
        }
    }

    fn has_outcome(&self, part: &Part, how: ChangeKind) -> bool {
        match (part, how) {
            (Part::Module(_), ChangeKind::Update) => true,
            (Part::Module(name), ChangeKind::Stop) => {
                self.modules.get(name).is_none_or(|running| running.then.is_none())
            }
            (Part::Module(name), _) => self.modules.get(name).is_none_or(|running| {
                let facts = self.world.condition(name);
                running.then.is_none()
                    && matches!(facts, Some(ModuleCondition::Ready | ModuleCondition::Down(_)) | None)
            }),
            (Part::Resource(name), _) => self.world.node(name).is_none_or(|node| {
                let phase = node.shown.as_ref().map(|shown| shown.phase);
                let rests = matches!(node.stage, BuildStage::Idle | BuildStage::Built) && !node.is_being_removed();
                node.wanted && rests && matches!(phase, Some(Phase::Ready | Phase::Unhealthy))
            }),
            _ => true,
        }
    }
}
