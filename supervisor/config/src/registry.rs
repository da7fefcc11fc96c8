//! Modules of a registry that are not here. Nothing downloads them, so an entry with no program is one line that says how
//! to get it and who waits for it.

use mainstay_ids::Model;
use mainstay_model::{Config, ModuleConfig, ModuleType, ResourceConfig};

use crate::diagnostic::{Diagnostic, Severity};

/// The way to a module that is not here.
pub(super) const DOWNLOAD: &str = "get its tarball, for example with Viam's own `viam module download`, and write `type: local` with `executable_path`: the tarball, or the program in it";

/// True for a module of a registry of which no program is named.
pub(super) fn is_absent(module: &ModuleConfig) -> bool {
    let registry = module.kind == ModuleType::Registry || !module.module_id.is_empty();
    registry && module.executable.as_os_str().is_empty()
}

/// Gives a fault to each module that is not here.
pub(super) fn absent(config: &mut Config) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for number in 0..config.modules.len() {
        let module = &config.modules[number];
        if !is_absent(module) {
            continue;
        }
        let mut message = format!("module `{}`", module.name.escape_debug());
        if !module.module_id.is_empty() {
            message += &format!(" ({})", module.module_id.escape_debug());
        }
        message += " is not here, and nothing is downloaded from a registry";
        let waiting = config.resources.iter().filter(|entry| awaits(config, entry, module));
        let waiting: Vec<String> = waiting
            .map(|entry| format!("`{}`", entry.name.name.escape_debug()))
            .collect();
        match waiting.as_slice() {
            [] => {}
            [only] => message += &format!("; {only} waits for it"),
            [others @ .., last] => message += &format!("; {} and {last} wait for it", others.join(", ")),
        }
        let diagnostic = Diagnostic::about(config, Severity::Local, &module.place, message).with_help(DOWNLOAD);
        let fault = format!("{}; {DOWNLOAD} ({})", diagnostic.message, module.place);
        diagnostics.push(diagnostic);
        config.modules[number].fault.get_or_insert(fault);
    }
    diagnostics
}

/// True if one of the modules that are not here is the one that an entry needs.
pub(super) fn is_awaited(config: &Config, entry: &ResourceConfig) -> bool {
    config
        .modules
        .iter()
        .any(|module| is_absent(module) && awaits(config, entry, module))
}

/// True if an entry most likely needs this module: its model has the name of the module, or its namespace where no module
/// has the name.
fn awaits(config: &Config, entry: &ResourceConfig, module: &ModuleConfig) -> bool {
    let named = |module: &ModuleConfig, model: &Model| {
        module.module_id.split_once(':') == Some((model.namespace(), model.family()))
    };
    let near = |module: &ModuleConfig, model: &Model| {
        module
            .module_id
            .split_once(':')
            .is_some_and(|(namespace, _)| namespace == model.namespace())
    };
    named(module, &entry.model)
        || near(module, &entry.model) && !config.modules.iter().any(|other| named(other, &entry.model))
}
