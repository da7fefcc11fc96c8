//! What modules say of a config before anything is touched: the running ones are asked about new and changed entries, and
//! those that the config changes may be tried in a spare instance.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_proto::{Api, Model, ResourceName};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::actor::Machine;
use super::apply::{Answers, ApplyError};
use super::calls;
use super::change::{self, How, Part, Plan};
use super::handle::{Command, Handle};
use super::node::{Declared, Facts};
use super::spare::{self, SpareError};
use super::wanted;
use crate::config::{Config, Preflight, ResourceConfig};
use crate::identity::ModuleName;
use crate::module::activity::Activity;
use crate::route::upstream::Upstream;

/// Calls that are under way at a time; one module may get all of them.
const AT_A_TIME: usize = 32;

/// Where a module can be asked.
#[derive(Debug, Clone)]
pub(super) struct Line {
    upstream: Upstream,
    activity: Option<Activity>,
}

/// Who can be asked about which models.
pub(super) type Lines = HashMap<(Api, Model), (ModuleName, Line)>;

/// What came of asking.
#[derive(Debug, Default)]
pub struct Asked {
    /// What modules say of new and changed entries.
    pub answers: Answers,
    /// Modules of which a spare instance could not be used, and why.
    pub unfit: Vec<(ModuleName, SpareError)>,
    /// What would be done, with these answers.
    pub plan: Plan,
}

impl Handle {
    /// Asks the running modules about the entries of `config` that are new or changed, where the module that builds them
    /// stays as it is.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn preflight(&self, config: Arc<Config>) -> Result<Answers, ApplyError> {
        Ok(self.ask(&config, Preflight::Running).await?.answers)
    }

    /// As `preflight`; with [`Preflight::Spare`], new and changed modules are tried in a spare instance, too, one after the
    /// other, and asked there.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn ask(&self, config: &Arc<Config>, how: Preflight) -> Result<Asked, ApplyError> {
        self.made.load_builtins(config).await;
        let present = self.published.load_full().config.clone();
        let mut known = self.known().await?;
        let plan = change::plan(&present, config, &known);
        let lines = self.lines().await?;
        let moved = |module: &ModuleName| {
            let change = plan.of(&Part::Module(module.clone()));
            change.is_some_and(|change| change.how != How::Update)
        };
        let built = plan.changes.iter().filter_map(|change| match &change.part {
            Part::Resource(name) if matches!(change.how, How::Build | How::Rebuild) => Some(name),
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
        let mut asked = Asked {
            answers: ask_all(entries.collect()).await,
            ..Asked::default()
        };
        if how == Preflight::Spare {
            for wanted in wanted::modules(config, &known.builtins) {
                let name = wanted.spec.name.clone();
                if name.is_builtin() || wanted.fault.is_some() || !moved(&name) {
                    continue;
                }
                match spare::start(&self.made, wanted.spec).await {
                    Ok(spare) => {
                        let line = Line {
                            upstream: spare.upstream.clone(),
                            activity: None,
                        };
                        let offered = unknown
                            .iter()
                            .filter(|entry| spare.offers(&entry.name.api, &entry.model));
                        let entries = offered.map(|entry| (Arc::new(ResourceConfig::clone(entry)), line.clone()));
                        asked.answers.extend(ask_all(entries.collect()).await);
                        spare.end().await;
                    }
                    Err(error) => asked.unfit.push((name, error)),
                }
            }
        }
        known.answers = asked.answers.clone();
        asked.plan = change::plan(&present, config, &known);
        Ok(asked)
    }

    /// Asks running modules about these entries, whatever the machine's own config says. Who has no module that could be
    /// asked gets no answer.
    ///
    /// # Errors
    /// The machine is shutting down.
    pub async fn validate(&self, entries: Vec<Arc<ResourceConfig>>) -> Result<Answers, ApplyError> {
        let lines = self.lines().await?;
        let entries = entries.into_iter().filter(|entry| entry.fault.is_none());
        let asked = entries.filter_map(|entry| {
            let (_, line) = lines.get(&(entry.name.api.clone(), entry.model.clone()))?;
            Some((entry, line.clone()))
        });
        Ok(ask_all(asked.collect()).await)
    }

    async fn lines(&self) -> Result<Lines, ApplyError> {
        let (reply, lines) = oneshot::channel();
        let command = Command::Lines(reply);
        self.commands.send(command).map_err(|_| ApplyError::ShuttingDown)?;
        lines.await.map_err(|_| ApplyError::ShuttingDown)
    }
}

impl Machine {
    /// Which running module builds which model.
    pub(super) fn lines(&self) -> Lines {
        let mut lines = Lines::new();
        for name in &self.world.module_order {
            let ready = self.world.facts(name) == Some(&Facts::Ready);
            let Some(running) = self.modules.get(name).filter(|_| ready) else {
                continue;
            };
            let Some(upstream) = running.upstream.clone() else {
                continue;
            };
            for handler in running.handlers.iter() {
                for model in &handler.models {
                    let line = Line {
                        upstream: upstream.clone(),
                        activity: Some(running.activity.clone()),
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

type Answer = (ResourceName, Result<Declared, String>);

/// Asks about each entry where it can be asked about, some at a time.
async fn ask_all(entries: Vec<(Arc<ResourceConfig>, Line)>) -> Answers {
    let mut answers = Answers::new();
    let mut asking: JoinSet<Option<Answer>> = JoinSet::new();
    for (entry, line) in entries {
        if asking.len() >= AT_A_TIME
            && let Some(Ok(Some((name, answer)))) = asking.join_next().await
        {
            answers.insert(name, answer);
        }
        asking.spawn(async move {
            let limit = calls::VALIDATE_TIMEOUT;
            let name = entry.name.clone();
            let doing = line
                .activity
                .map(|activity| activity.begin("ValidateConfig", name.clone(), limit));
            let answer = match entry.to_proto() {
                Ok(config) => calls::validate(line.upstream.clone(), config, limit).await,
                Err(problem) => Err(format!("resource config validation error: {problem}")),
            };
            drop(doing);
            // Of a module that went meanwhile nothing is known.
            (!(answer.is_err() && line.upstream.is_closed())).then_some((name, answer))
        });
    }
    while let Some(answer) = asking.join_next().await {
        if let Ok(Some((name, answer))) = answer {
            answers.insert(name, answer);
        }
    }
    answers
}
