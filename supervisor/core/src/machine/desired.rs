//! Modules that a config wants run, with their specs: built-in ones that it uses, then the configured ones.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use mainstay_ids::{Api, Model};
use mainstay_model::module_spec::log_level_argument;
use mainstay_model::{Builtins, Config, ModuleConfig, ModuleName, ModuleSpec, ModuleType, Policy, ResourceConfig};

/// A module that a config wants.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredModule {
    /// Program and settings.
    pub spec: ModuleSpec,
    /// Reason why it cannot run. It is shown, not run.
    pub fault: Option<String>,
    /// The level that its own entry asks for. One that follows from `log` or `debug` is in the spec alone.
    level: Option<String>,
}

impl DesiredModule {
    /// True if a process started for `self` serves `other`, too. What it cannot see does not count: how its end and its
    /// silence are answered, where its output goes, how long its first run may take, how its path is shown. Nor does
    /// the level that `log` and `debug` give: it is that of the next start.
    pub(super) fn runs_the_same_as(&self, other: &Self) -> bool {
        let seen = |wanted: &Self| ModuleSpec {
            arguments: wanted.level.clone().into_iter().collect(),
            shown: String::new(),
            first_run_timeout: Duration::ZERO,
            policy: wanted.spec.policy.seen_by_process(),
            ..wanted.spec.clone()
        };
        self.fault == other.fault && seen(self) == seen(other)
    }

    /// True if the next process is given another level, which nothing in its own entry says.
    pub(super) fn has_other_level(&self, other: &Self) -> bool {
        self.level == other.level && self.spec.arguments != other.spec.arguments
    }
}

/// The modules to run: built-in ones that the config uses, then the configured ones.
pub fn modules(config: &Config, builtins: &Builtins) -> Vec<DesiredModule> {
    let used = |config: &ResourceConfig| builtins.module_of(&config.name.api, &config.model).cloned();
    let used: BTreeSet<_> = config
        .resources
        .iter()
        .filter(|config| config.fault.is_none())
        .filter_map(used)
        .collect();
    let builtin = used.into_iter().map(|name| {
        let which = name.as_str().trim_start_matches("builtin:").to_owned();
        let mut arguments = vec![format!("--builtin={which}")];
        arguments.extend(log_level_argument(None, config.debug));
        let spec = ModuleSpec {
            name,
            id: String::new(),
            local: false,
            registry: false,
            executable: builtins.executable.clone(),
            shown: builtins.executable.display().to_string(),
            tarball: false,
            // Ours speak over UNIX sockets, which are private, whatever others need.
            tcp: false,
            first_run_timeout: Duration::ZERO,
            arguments,
            env: BTreeMap::new(),
            policy: Policy::default(),
            data: None,
        };
        DesiredModule {
            spec,
            fault: None,
            level: None,
        }
    });
    let configured = config.modules.iter().map(|module| DesiredModule {
        spec: spec(config, module),
        fault: module.fault.clone(),
        level: module.log_level.clone(),
    });
    builtin.chain(configured).collect()
}

/// The module that builds a resource: a built-in one, else the first that offers its model. `offers` in config order.
pub(super) fn module_of<'a>(
    config: &ResourceConfig,
    builtin: &'a HashMap<(Api, Model), ModuleName>,
    mut offers: impl Iterator<Item = (&'a ModuleName, &'a HashSet<(Api, Model)>)>,
) -> Option<&'a ModuleName> {
    let key = (config.name.api.clone(), config.model.clone());
    let first = || offers.find(|(_, models)| models.contains(&key)).map(|(name, _)| name);
    builtin.get(&key).or_else(first)
}

/// Built-in models that a config uses, with their modules.
pub fn builtin_models(config: &Config, builtins: &Builtins) -> HashMap<(Api, Model), ModuleName> {
    let models = config.resources.iter().filter_map(|config| {
        let module = builtins.module_of(&config.name.api, &config.model)?;
        Some(((config.name.api.clone(), config.model.clone()), module.clone()))
    });
    models.collect()
}

fn spec(config: &Config, module: &ModuleConfig) -> ModuleSpec {
    let level = config.module_log_level(module, config.debug);
    ModuleSpec {
        name: module.name.as_str().into(),
        id: module.module_id.clone(),
        local: module.kind == ModuleType::Local,
        registry: module.kind == ModuleType::Registry,
        executable: module.executable.clone(),
        shown: config.shown_executable(module),
        tarball: module.is_tarball(),
        tcp: module.tcp_mode,
        first_run_timeout: module.first_run_timeout,
        arguments: log_level_argument(level.as_deref(), config.debug).into_iter().collect(),
        env: config.module_env(module),
        policy: module.policy.clone(),
        data: None,
    }
}
