//! Preflight of a config before anything is touched: running modules are asked about new and changed entries, and those that
//! the config changes may be tried in a spare instance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_core::machine::node::ModuleCondition;
use mainstay_core::machine::{change, desired};
use mainstay_model::dependencies::Declared;
use mainstay_model::failure::Failure;
use mainstay_model::plan::{ChangeKind, Part, Plan};
use mainstay_model::{Config, ModuleName, ModulePhase, Offers, Preflight, ResourceConfig};
use mainstay_proto::{Api, Model, ResourceName};
use mainstay_proxy::upstream::Upstream;
use mainstay_wire::entry::component_config;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::actor::Machine;
use super::apply::{ApplyError, DeclaredAnswers};
use super::handle::{Command, MachineHandle};
use super::spare::SpareError;
use super::{calls, spare};
use crate::module::activity::Activity;

/// Calls that are under way at a time; one module may get all of them.
const AT_A_TIME: usize = 32;

/// Connection on which a module can be asked.
#[derive(Debug, Clone)]
pub(super) struct ModuleLine {
    upstream: Upstream,
    /// Process of the machine that is asked; a spare one has none.
    running: Option<(ModuleLife, Activity)>,
}

/// Process of a module: its name and life number.
pub(super) type ModuleLife = (ModuleName, u64);

/// Modules that can be asked, by the model they build.
pub(super) type ModuleLines = HashMap<(Api, Model), (ModuleName, ModuleLine)>;

/// Outcome of a preflight.
#[derive(Debug, Default)]
pub struct PreflightAnswers {
    /// Answers of modules about new and changed entries.
    pub answers: DeclaredAnswers,
    /// Entries whose modules had no answer at the moment, which counts as a bad one.
    pub unanswered: HashSet<ResourceName>,
    /// Process that gave each answer; missing where it was a spare one.
    pub(super) processes: HashMap<ResourceName, ModuleLife>,
    /// Modules of which a spare instance could not be used, and why.
    pub unfit: Vec<(ModuleName, SpareError)>,
    /// Plan that would be carried out, with these answers.
    pub plan: Plan,
}

impl MachineHandle {
    /// Asks the running modules about the entries of `config` that are new or changed, where the module that builds them
    /// stays as it is. With [`Preflight::Spare`], new and changed modules are tried in a spare instance, too, one after the
    /// other, and asked there.
    ///
    /// `patience`: who takes longer is not waited for, and has not answered; without it, that is an answer, and a bad
    /// one. When `give_up` is cancelled, spare instances are ended, and nothing that this returns is of use.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn ask(
        &self,
        config: &Arc<Config>,
        how: Preflight,
        patience: Option<Duration>,
        give_up: &CancellationToken,
    ) -> Result<PreflightAnswers, ApplyError> {
        let present = self.published.load_full().config.clone();
        let mut known = self.known().await?;
        let plan = change::plan(&present, config, &known);
        let lines = self.lines().await?;
        let moved = |module: &ModuleName| {
            let change = plan.of(&Part::Module(module.clone()));
            change.is_some_and(|change| change.how != ChangeKind::Update)
        };
        let built = plan.changes.iter().filter_map(|change| match &change.part {
            Part::Resource(name) if matches!(change.how, ChangeKind::Build | ChangeKind::Rebuild) => Some(name),
            _ => None,
        });
        let before: HashMap<_, _> = present.resources.iter().map(|entry| (&entry.name, entry)).collect();
        let entries: HashMap<_, _> = config.resources.iter().map(|entry| (&entry.name, entry)).collect();
        let unknown: Vec<&ResourceConfig> = built.filter_map(|name| entries.get(name).copied()).collect();
        let new = |entry: &&&ResourceConfig| before.get(&entry.name).is_none_or(|old| !old.builds_the_same_as(entry));
        let entries = unknown.iter().filter(new).filter_map(|entry| {
            let (module, line) = lines.get(&(entry.name.api.clone(), entry.model.clone()))?;
            (!moved(module)).then(|| (Arc::new(ResourceConfig::clone(entry)), line.clone()))
        });
        let mut asked = PreflightAnswers::default();
        asked.take(ask_all(entries.collect(), patience).await);
        if how == Preflight::Spare {
            // Of one module there is one spare instance at a time: its sockets and its data go by its name.
            let _alone = self.shared.spares.lock().await;
            for wanted in desired::modules(config, &known.builtins) {
                let name = wanted.spec.name.clone();
                if name.is_builtin() || wanted.fault.is_some() || !moved(&name) {
                    continue;
                }
                if give_up.is_cancelled() {
                    break;
                }
                match spare::start(&self.shared, wanted.spec, give_up).await {
                    Ok(spare) => {
                        let line = ModuleLine {
                            upstream: spare.upstream.clone(),
                            running: None,
                        };
                        let offered = unknown
                            .iter()
                            .filter(|entry| spare.offers(&entry.name.api, &entry.model));
                        let entries = offered.map(|entry| (Arc::new(ResourceConfig::clone(entry)), line.clone()));
                        asked.take(ask_all(entries.collect(), patience).await);
                        spare.end().await;
                    }
                    Err(error) => asked.unfit.push((name, error)),
                }
            }
        }
        asked.plan = if asked.answers.is_empty() {
            plan
        } else {
            known.answers.clone_from(&asked.answers);
            change::plan(&present, config, &known)
        };
        Ok(asked)
    }

    /// Asks running modules about these entries, whatever the machine's own config says. Who has no module that could
    /// be asked gets no answer.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn validate(&self, entries: Vec<Arc<ResourceConfig>>) -> Result<DeclaredAnswers, ApplyError> {
        let lines = self.lines().await?;
        let entries = entries.into_iter().filter(|entry| entry.fault.is_none());
        let asked = entries.filter_map(|entry| {
            let (_, line) = lines.get(&(entry.name.api.clone(), entry.model.clone()))?;
            Some((entry, line.clone()))
        });
        let mut all = PreflightAnswers::default();
        all.take(ask_all(asked.collect(), None).await);
        Ok(all.answers)
    }

    /// Models on offer for `config`: of modules that run as it wants them; of others they are unknown before they start.
    pub fn offers(&self, config: &Config) -> Offers {
        let view = self.published.load_full();
        let same = config
            .modules
            .iter()
            .filter(|module| view.config.modules.contains(module));
        let known = same.filter_map(|module| {
            let entry = view.module(&module.name)?;
            let handlers = entry.handlers();
            let models = handlers.iter().flat_map(|handler| {
                let offer = |model: &Model| (handler.api.clone(), model.clone());
                handler.models.iter().map(offer)
            });
            (entry.state().phase == ModulePhase::Ready).then(|| (module.name.clone(), models.collect()))
        });
        Offers {
            modules: known.collect(),
            ..self.shared.builtins.present().offers()
        }
    }

    async fn lines(&self) -> Result<ModuleLines, ApplyError> {
        self.request(Command::ModuleLines).await
    }
}

impl PreflightAnswers {
    fn take(&mut self, given: Vec<PreflightAnswer>) {
        for PreflightAnswer { name, outcome, process } in given {
            if let Some(process) = process {
                self.processes.insert(name.clone(), process);
            }
            if outcome.as_ref().is_err_and(|refusal| refusal.transient) {
                self.unanswered.insert(name.clone());
            }
            self.answers.insert(name, outcome.map_err(|refusal| refusal.failure));
        }
    }
}

impl Machine {
    /// Answer of the present process of `module` about the entry, from before it was applied. Counts once.
    pub(super) fn early_answers(
        &mut self,
        name: &ResourceName,
        module: &ModuleName,
    ) -> Option<Result<Declared, Failure>> {
        let (outcome, (asked, life)) = self.early_answers.remove(name)?;
        let running = self.modules.get(module)?;
        (asked == *module && running.life == life && running.upstream.is_some()).then_some(outcome)
    }

    /// The answers of running processes in `asked` are to be had by `early_answers`, until the next config.
    pub(super) fn remember(&mut self, asked: &PreflightAnswers) {
        let answers = asked.processes.iter().filter_map(|(name, process)| {
            let outcome = asked.answers.get(name)?.clone();
            Some((name.clone(), (outcome, process.clone())))
        });
        self.early_answers = answers.collect();
    }

    /// Running modules by the model they build. A module that is building something may answer nothing else until that is
    /// done, and is not asked.
    pub(super) fn lines(&self) -> ModuleLines {
        let mut lines = ModuleLines::new();
        for name in self.world.modules_in_order() {
            let ready = self.world.condition(name) == Some(&ModuleCondition::Ready) && !self.world.is_adding(name);
            let Some(running) = self.modules.get(name).filter(|_| ready) else {
                continue;
            };
            let Some(upstream) = running.upstream.clone() else {
                continue;
            };
            for handler in running.handlers.iter() {
                for model in &handler.models {
                    let line = ModuleLine {
                        upstream: upstream.clone(),
                        running: Some(((name.clone(), running.life), running.activity.clone())),
                    };
                    lines
                        .entry((handler.api.clone(), model.clone()))
                        .or_insert((name.clone(), line));
                }
            }
        }
        lines
    }
}

/// An answer about one entry.
#[derive(Debug)]
struct PreflightAnswer {
    name: ResourceName,
    outcome: Result<Declared, calls::ModuleRefusal>,
    process: Option<ModuleLife>,
}

/// Asks about each entry where it can be asked about, some at a time.
async fn ask_all(entries: Vec<(Arc<ResourceConfig>, ModuleLine)>, patience: Option<Duration>) -> Vec<PreflightAnswer> {
    let by = patience.map(|patience| Instant::now() + patience);
    let mut answers = Vec::new();
    let mut asking: JoinSet<Option<PreflightAnswer>> = JoinSet::new();
    for (entry, line) in entries {
        if asking.len() >= AT_A_TIME
            && let Some(Ok(Some(answer))) = asking.join_next().await
        {
            answers.push(answer);
        }
        asking.spawn(async move {
            let limit = calls::VALIDATE_TIMEOUT;
            let name = entry.name.clone();
            let (process, activity) = line.running.unzip();
            let doing = activity.map(|activity| activity.begin("ValidateConfig", name.clone(), limit));
            let call = async {
                match component_config(&entry) {
                    Ok(config) => {
                        let module = process.as_ref().map(|(module, _)| module);
                        calls::validate(module, line.upstream.clone(), config, limit).await
                    }
                    Err(problem) => Err(calls::ModuleRefusal::unsendable(problem)),
                }
            };
            let outcome = match by {
                None => call.await,
                Some(by) => tokio::time::timeout_at(by.into(), call).await.ok()?,
            };
            drop(doing);
            // Of a module that went meanwhile nothing is known.
            let known = outcome.is_ok() || !line.upstream.is_closed();
            known.then_some(PreflightAnswer { name, outcome, process })
        });
    }
    while let Some(answer) = asking.join_next().await {
        if let Ok(Some(answer)) = answer {
            answers.push(answer);
        }
    }
    answers
}
