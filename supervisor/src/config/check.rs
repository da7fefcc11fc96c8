//! Checks that compare entries with each other, or with the file system. The latter is an argument.

use std::collections::HashMap;
use std::fs;
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};

use super::complaint::{Complaint, Grade, Place};
use super::model::{Config, ModuleConfig, ModuleType, ResourceConfig};

/// What lies at the path of a program.
#[derive(Debug)]
pub enum Found {
    /// A file that this process may execute.
    Program,
    /// A file that it may not execute.
    NotExecutable,
    /// A directory or another thing that is no file.
    NoFile,
    /// Nothing that could be looked at.
    Nothing(io::Error),
}

/// Looks at the real file system.
#[must_use]
pub fn on_disk(path: &Path) -> Found {
    match fs::metadata(path) {
        Err(error) => Found::Nothing(error),
        Ok(metadata) if !metadata.is_file() => Found::NoFile,
        Ok(_) if nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_err() => Found::NotExecutable,
        Ok(_) => Found::Program,
    }
}

/// Looks for the programs of all modules without a fault and gives those whose program cannot run one.
pub fn executables(config: &mut Config, look: impl Fn(&Path) -> Found) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let source = &config.source;
    for module in config.modules.iter_mut().filter(|module| module.fault.is_none()) {
        let shown = module.executable.display().to_string();
        // What is unpacked need not be executable itself; and where a `meta.json` lies, it names the program.
        let beside = module.executable.with_file_name("meta.json");
        let meta = |found| matches!(found, Found::Program | Found::NotExecutable);
        let (cause, help) = match look(&module.executable) {
            Found::Program => continue,
            Found::NotExecutable if module.is_tarball() => continue,
            _ if module.kind != ModuleType::Local && meta(look(&beside)) => continue,
            Found::NotExecutable => ("not executable".to_owned(), format!("chmod +x {shown}")),
            Found::NoFile => ("not a file".to_owned(), "name the program in it".to_owned()),
            Found::Nothing(error) if error.kind() == io::ErrorKind::NotFound => (
                "no such file or directory".to_owned(),
                "build or install it, or correct the path; relative paths start at the folder of the config".to_owned(),
            ),
            Found::Nothing(error) => (error.to_string(), "let this user read the way to it".to_owned()),
        };
        let help = not_yet(&shown)
            .filter(|_| !module.is_tarball())
            .map_or(help, str::to_owned);
        let place = &module.executable_place;
        let (cause, help) = (format!("stat {shown}: {cause}"), source.scrub(help, place));
        let cause = source.scrub(cause, place);
        // The two blanks are what peers know.
        let message = format!("module  executable path error: {cause}");
        module.fault = Some(format!("{message}; {help} ({})", module.executable_place));
        let message = format!(
            "module `{}`: executable path error: {cause}",
            module.name.escape_debug()
        );
        let message = source.scrub(message, &module.executable_place);
        complaints.push(
            Complaint::new(Grade::Local, message, module.executable_place.clone())
                .with_help(help)
                .with_source(source.clone()),
        );
    }
    complaints
}

/// The cure for paths that mean something to others and not, or not yet, to us.
fn not_yet(path: &str) -> Option<&'static str> {
    if path.contains("${") {
        Some("the placeholder in it cannot be replaced; a warning says why")
    } else if path.ends_with(".tar.gz") || path.ends_with(".tgz") {
        Some("only modules with `type: local` have their archive unpacked; add it, or name the program itself")
    } else {
        None
    }
}

/// Moves the second and later holders of a name to `config.duplicates`, each with a fault that names both places
/// unless it has one already. Afterwards names are unique, even those of broken entries.
pub(super) fn duplicates(config: &mut Config) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let modules = std::mem::take(&mut config.modules);
    let (first, later) = apart(modules, |module: &ModuleConfig| module.name.clone());
    config.modules = first;
    for (mut module, place) in later {
        if module.fault.is_none() {
            let message = format!("Duplicate module {} in robot config", module.name);
            module.fault = Some(fault(&message, &place, &module.place));
            complaints.push(complaint(config, message, &module.place, place));
        }
        config.duplicates.modules.push(module);
    }
    let resources = std::mem::take(&mut config.resources);
    let (first, later) = apart(resources, |resource: &ResourceConfig| resource.name.clone());
    config.resources = first;
    for (mut resource, place) in later {
        if resource.fault.is_none() {
            let message = format!("cannot add duplicate local resource {}", resource.name);
            resource.fault = Some(fault(&message, &place, &resource.place));
            complaints.push(complaint(config, message, &resource.place, place));
        }
        config.duplicates.resources.push(resource);
    }
    complaints
}

/// Gives a fault to each module whose output would go into the file of an earlier one: two writers that rotate one file
/// lose lines.
pub(super) fn outputs(config: &mut Config) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut taken: HashMap<PathBuf, (String, Place)> = HashMap::new();
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
            let complaint = config.complaint(Grade::Local, &module.place, message);
            complaints.push(
                complaint
                    .with_help(help)
                    .with_also(place.clone(), "this one came first"),
            );
        }
    }
    config.modules = modules;
    complaints
}

/// The fault of a duplicate: what is shown in the status.
fn fault(message: &str, first: &Place, again: &Place) -> String {
    format!("{message}; the first is at {first}, this one at {again}: rename or remove one")
}

fn complaint(config: &Config, message: String, again: &Place, first: Place) -> Complaint {
    config
        .complaint(Grade::Local, again, message)
        .with_help(format!("the first is at {first} and counts; rename or remove one"))
        .with_also(first, "first here")
}

trait Placed {
    fn place(&self) -> &Place;
}

impl Placed for ModuleConfig {
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Placed for ResourceConfig {
    fn place(&self) -> &Place {
        &self.place
    }
}

/// The first holder of each key, and the later ones with the place of the first. Both in their order.
fn apart<T: Placed, K: Hash + Eq>(all: Vec<T>, key: impl Fn(&T) -> K) -> (Vec<T>, Vec<(T, Place)>) {
    let mut seen: HashMap<K, Place> = HashMap::with_capacity(all.len());
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
