//! First config of a machine: its config file, or the last good config if that cannot be used.

use std::path::Path;
use std::sync::Arc;

use mainstay_config::store::LastGood;
use mainstay_config::{Refused, load_in};
use mainstay_core::rollout::{FileState, Origin, Revision, Transaction};

use super::loaded_config::{LoadedConfig, Overrides};

/// The config to start with.
#[derive(Debug)]
pub struct Start {
    /// Config that runs first.
    pub loaded: Arc<LoadedConfig>,
    /// The last commit, and its number.
    pub kept: Option<(Arc<LoadedConfig>, u64)>,
    /// State of the file.
    pub file: FileState,
    /// Notes to print before anything else: why it is not the file's text that runs. With excerpts, if `colour`.
    pub notes: Vec<String>,
    /// Reason why no last good config is known.
    pub unkept: Option<Arc<str>>,
}

/// Text for the user about a machine that cannot start.
pub type StartError = String;

/// Chooses. `strict`: the file or nothing. A config from standard input is that one or nothing, too: no other run need have had
/// the same one.
///
/// # Errors
/// There is nothing to start with.
pub fn choose(path: &Path, overrides: &Overrides, strict: bool, colour: bool) -> Result<Start, StartError> {
    if mainstay_config::is_stdin(path) {
        return from_stdin(path, overrides, colour);
    }
    let store = LastGood::open(path);
    let (record, unkept) = match store.read() {
        Ok(record) => (record, None),
        Err(problem) => (None, Some(problem.to_string().into())),
    };
    let mut notes = Vec::new();
    let kept = record.and_then(|record| match LoadedConfig::read(&record.bundle, overrides) {
        Ok(loaded) => Some((Arc::new(loaded), record.revision)),
        Err(refused) => {
            // Another version wrote it, or a variable that it needs is gone.
            notes.push(format!(
                "the last good config cannot be used:\n{}",
                refused.render(colour)
            ));
            None
        }
    });
    let mut open = false;
    let refused = match load_in(path, &overrides.context(path)) {
        Ok(loaded) => {
            let loaded = LoadedConfig::new(loaded, overrides);
            let rejection = store.rejection(&loaded.digest).map(|rejection| rejection.reasons);
            match objection(&loaded, kept.as_ref().map(|(kept, _)| &**kept), rejection) {
                None => {
                    let file = FileState::Holds(loaded.digest.clone());
                    return Ok(Start {
                        loaded: Arc::new(loaded),
                        kept,
                        file,
                        notes,
                        unkept,
                    });
                }
                Some(file) => {
                    let text = match &file {
                        FileState::Rejected(why) => {
                            format!("it was applied before and taken back:\n  {}", why.join("\n  "))
                        }
                        FileState::Refused(why) => format!(
                            "with `on_failure: revert` nothing new may be wrong with it:\n  {}",
                            why.join("\n  ")
                        ),
                        FileState::Holds(_) | FileState::Away(_) => String::new(),
                    };
                    (file, format!("{}: {text}", path.display()))
                }
            }
        }
        Err(mut refused) => {
            overrides.look_further(&mut refused);
            let text = refused.render(colour);
            open = refused.asks_for_protection();
            (describe(path, &refused), text)
        }
    };
    let (file, text) = refused;
    match kept {
        Some(_) if open => Err(format!(
            "{text}\nthe last good config does not run instead: it would be as open"
        )),
        Some((kept, revision)) if !strict => {
            notes.push(text);
            notes.push(format!(
                "warning: {} cannot be used; the last good config runs instead (revision {revision})",
                path.display()
            ));
            Ok(Start {
                loaded: kept.clone(),
                kept: Some((kept, revision)),
                file,
                notes,
                unkept,
            })
        }
        Some((_, revision)) => Err(format!(
            "{text}\nwithout --strict the last good config would run (revision {revision})"
        )),
        None => Err(text),
    }
}

fn from_stdin(path: &Path, overrides: &Overrides, colour: bool) -> Result<Start, StartError> {
    let loaded = load_in(path, &overrides.context(path)).map_err(|mut refused| {
        overrides.look_further(&mut refused);
        refused.render(colour)
    })?;
    let loaded = Arc::new(LoadedConfig::new(loaded, overrides));
    Ok(Start {
        file: FileState::Holds(loaded.digest.clone()),
        loaded,
        kept: None,
        notes: Vec::new(),
        unkept: None,
    })
}

/// Reason against running a text that could be run.
fn objection(loaded: &LoadedConfig, kept: Option<&LoadedConfig>, rejection: Option<Vec<String>>) -> Option<FileState> {
    // Without something better it is run all the same, and what was committed later counts more than a rejection.
    let kept = kept.filter(|kept| kept.digest != loaded.digest)?;
    if let Some(reasons) = rejection {
        return Some(FileState::Rejected(reasons));
    }
    if loaded.config.apply.on_failure == mainstay_model::OnFailure::Revert {
        let new: Vec<_> = loaded.faults().difference(&kept.faults()).cloned().collect();
        if !new.is_empty() {
            return Some(FileState::Refused(new));
        }
    }
    None
}

/// The file is gone or cannot be read, or its text cannot be used.
pub fn describe(path: &Path, refused: &Refused) -> FileState {
    match std::fs::metadata(path) {
        Err(error) => FileState::Away(away(&error)),
        Ok(_) => FileState::Refused(reasons(refused)),
    }
}

/// Text for a file that is away.
pub fn away(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "the file is gone".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    }
}

/// Errors that keep a text from being used, one line each.
pub fn reasons(refused: &Refused) -> Vec<String> {
    let fatal = refused
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == mainstay_config::diagnostic::Severity::Refused);
    fatal.map(mainstay_config::diagnostic::Diagnostic::line).collect()
}

impl Start {
    /// The transaction of a machine that starts with it.
    pub fn transaction(&self) -> Transaction<Arc<LoadedConfig>> {
        let revision = |loaded: &Arc<LoadedConfig>| -> Revision<Arc<LoadedConfig>> {
            LoadedConfig::clone(loaded).revision(Origin::File, None)
        };
        let kept = self.kept.as_ref().map(|(kept, _)| revision(kept));
        Transaction::new(revision(&self.loaded), kept, self.file.clone())
    }
}
