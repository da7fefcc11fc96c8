//! Checks that compare entries with each other, or with the file system. The latter is an argument.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};

use mainstay_model::{Config, ModuleConfig, ModuleType, ResourceConfig, SourceSpan};

use crate::diagnostic::{Diagnostic, Severity};
use crate::executable::{Executable, ProgramProblem};
use crate::registry::DOWNLOAD;

/// Looks for the programs of all modules without a fault and complains about each that cannot be run. A program may come
/// later: its module is tried then, so this is no fault of the entry.
pub fn executables(config: &Config, look: impl Fn(&Path) -> Executable) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let source = &config.source;
    for module in config.modules.iter().filter(|module| module.fault.is_none()) {
        // Where a `meta.json` lies, it names the program.
        let beside = module.executable.with_file_name("meta.json");
        let found = look(&module.executable);
        if module.kind != ModuleType::Local && !matches!(found, Executable::Program) && look(&beside).serves(true) {
            continue;
        }
        let shown = module.executable.display().to_string();
        let Some(ProgramProblem { cause, help }) = found.problem(&shown, module.is_tarball()) else {
            continue;
        };
        let help = match found {
            Executable::Nothing(_) if module.kind == ModuleType::Registry => {
                format!("nothing is downloaded from a registry: {DOWNLOAD}")
            }
            _ => help,
        };
        let place = &module.executable_place;
        let message = format!(
            "module `{}`: executable path error: {cause}",
            module.name.escape_debug()
        );
        diagnostics.push(
            Diagnostic::new(Severity::Local, source.scrub(message, place), place.clone())
                .with_help(source.scrub(help, place))
                .with_source(source.clone()),
        );
    }
    diagnostics
}

/// Moves the second and later holders of a name to `config.duplicates`, each with a fault that names both places
/// unless it has one already. Afterwards names are unique, even those of broken entries.
pub(super) fn duplicates(config: &mut Config) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let modules = std::mem::take(&mut config.modules);
    let (first, later) = split_duplicates(modules, |module: &ModuleConfig| module.name.clone());
    config.modules = first;
    for (mut module, place) in later {
        if module.fault.is_none() {
            let message = format!("Duplicate module {} in robot config", module.name);
            module.fault = Some(fault(&message, &place, &module.place, RENAME));
            diagnostics.push(diagnostic(config, message, &module.place, place, RENAME));
        }
        config.duplicates.modules.push(module);
    }
    let resources = std::mem::take(&mut config.resources);
    let (first, later) = split_duplicates(resources, |resource: &ResourceConfig| resource.name.clone());
    config.resources = first;
    for (mut resource, place) in later {
        if resource.fault.is_none() {
            let message = format!("cannot add duplicate local resource {}", resource.name);
            resource.fault = Some(fault(&message, &place, &resource.place, RENAME));
            diagnostics.push(diagnostic(config, message, &resource.place, place, RENAME));
        }
        config.duplicates.resources.push(resource);
    }
    diagnostics
}

/// Gives a fault to each module whose output would go into the file of an earlier one: two writers that rotate one file
/// lose lines.
pub(super) fn outputs(config: &mut Config) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut taken: HashMap<PathBuf, (String, SourceSpan)> = HashMap::new();
    let mut modules = std::mem::take(&mut config.modules);
    for module in &mut modules {
        let Some(file) = module.policy.output.file.clone() else {
            continue;
        };
        let Some((other, place)) = taken.get(&file) else {
            taken.insert(file, (module.name.clone(), module.place.clone()));
            continue;
        };
        if module.fault.is_none() {
            let message = format!(
                "module `{}` writes its output to the file of `{other}`",
                module.name.escape_debug()
            );
            let help = "give each its own file";
            module.fault = Some(format!("{message}; {help} ({})", module.place));
            let diagnostic = Diagnostic::about(config, Severity::Local, &module.place, message);
            diagnostics.push(
                diagnostic
                    .with_help(help)
                    .with_related(place.clone(), "this one came first"),
            );
        }
    }
    config.modules = modules;
    diagnostics
}

/// Help text for two names that collide.
const RENAME: &str = "rename or remove one";
const REMOVE: &str = "remove one";

/// APIs of which a machine has one resource at most.
const SINGLE: [&str; 1] = ["rdk:service:data_manager"];

/// Gives a fault to the second and later resources of an API that has one at most. Broken ones count for nothing.
pub(super) fn single_instances(config: &mut Config) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut resources = std::mem::take(&mut config.resources);
    for api in SINGLE {
        let of_it = |resource: &&mut ResourceConfig| resource.fault.is_none() && resource.name.api.as_str() == api;
        let mut all = resources.iter_mut().filter(of_it);
        let Some(first) = all.next().map(|first| first.place.clone()) else {
            continue;
        };
        for later in all {
            let message = format!("max instance number reached for resource type: {api}");
            later.fault = Some(format!(
                "resource build error: {}",
                fault(&message, &first, &later.place, REMOVE)
            ));
            diagnostics.push(diagnostic(config, message, &later.place, first.clone(), REMOVE));
        }
    }
    config.resources = resources;
    diagnostics
}

/// The fault of a duplicate: what is shown in the status.
fn fault(message: &str, first: &SourceSpan, again: &SourceSpan, cure: &str) -> String {
    format!("{message}; the first is at {first}, this one at {again}: {cure}")
}

fn diagnostic(config: &Config, message: String, again: &SourceSpan, first: SourceSpan, cure: &str) -> Diagnostic {
    Diagnostic::about(config, Severity::Local, again, message)
        .with_help(format!("the first is at {first} and counts; {cure}"))
        .with_related(first, "first here")
}

trait HasPlace {
    fn place(&self) -> &SourceSpan;
}

impl HasPlace for ModuleConfig {
    fn place(&self) -> &SourceSpan {
        &self.place
    }
}

impl HasPlace for ResourceConfig {
    fn place(&self) -> &SourceSpan {
        &self.place
    }
}

/// The first holder of each key, and the later ones with the place of the first. Both in their order.
fn split_duplicates<T: HasPlace, K: Hash + Eq>(all: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Vec<(T, SourceSpan)>) {
    let mut seen: HashMap<K, SourceSpan> = HashMap::with_capacity(all.len());
    let (mut first, mut later) = (Vec::with_capacity(all.len()), Vec::new());
    for entry in all {
        match seen.get(&key(&entry)) {
            Some(place) => later.push((entry, place.clone())),
            None => {
                seen.insert(key(&entry), entry.place().clone());
                first.push(entry);
            }
        }
    }
    (first, later)
}
