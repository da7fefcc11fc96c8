//! Manifest of the built-in modules: the models of each, from the binary that holds them or the manifest beside it.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use mainstay_ids::{Api, Model};
use mainstay_model::{Builtins, Config, ModuleName};
use serde::Deserialize;

/// Limit for the binary to print its own manifest; it prints some lines and does nothing else.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Reason why the built-in models are unknown.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// The binary is not there.
    #[error("cannot find the built-in modules at `{}`: install `mainstay-builtins` beside `mainstay`, or give its path with --builtins", .0.display())]
    Missing(PathBuf),
    /// The binary or its manifest cannot be run or read.
    #[error("cannot read which models `{}` holds", .path.display())]
    Io {
        /// The binary or its manifest.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The binary does not answer the question for its manifest.
    #[error("`{} manifest` did not answer within {ASK_TIMEOUT:?}", .0.display())]
    Timeout(PathBuf),
    /// The manifest is not one.
    #[error("`{}` is not a manifest of built-in modules", .path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Fault of the JSON.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Manifest {
    modules: Vec<ManifestModule>,
}

#[derive(Deserialize)]
struct ManifestModule {
    name: String,
    models: Vec<ManifestModel>,
}

#[derive(Deserialize)]
struct ManifestModel {
    api: Api,
    model: Model,
}

/// Default path of the binary: beside our own.
pub fn default_path() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("mainstay-builtins")
}

/// Reads the manifest beside `executable`. One that is missing, or older than the binary, is no manifest: then
/// the binary is asked for it. Blocks for as long as that takes.
///
/// # Errors
/// See [`BuiltinError`].
pub fn load(executable: &Path) -> Result<Builtins, BuiltinError> {
    let binary = std::fs::metadata(executable).map_err(|_| BuiltinError::Missing(executable.into()))?;
    let beside = executable.with_extension("json");
    let fresh = std::fs::metadata(&beside).ok().filter(
        |manifest| matches!((manifest.modified(), binary.modified()), (Ok(manifest), Ok(binary)) if manifest >= binary),
    );
    let text = match fresh {
        Some(_) => std::fs::read(&beside).map_err(|source| BuiltinError::Io {
            path: beside.clone(),
            source,
        })?,
        None => ask(executable)?,
    };
    parse(executable, &text).map_err(|source| BuiltinError::Format { path: beside, source })
}

fn parse(executable: &Path, text: &[u8]) -> Result<Builtins, serde_json::Error> {
    let manifest: Manifest = serde_json::from_slice(text)?;
    let models = manifest
        .modules
        .into_iter()
        .flat_map(|module| {
            let name = ModuleName::builtin(&module.name);
            module
                .models
                .into_iter()
                .map(move |model| ((model.api, model.model), name.clone()))
        })
        .collect();
    Ok(Builtins {
        executable: executable.into(),
        problem: None,
        models,
    })
}

/// The built-in modules of one machine, looked at when a config first uses one of their models.
#[derive(Debug, Default)]
pub struct BuiltinModels {
    at: PathBuf,
    present: ArcSwap<Builtins>,
}

impl BuiltinModels {
    /// Built-in models of the binary at this path.
    pub fn at(executable: PathBuf) -> Arc<Self> {
        Arc::new(Self {
            at: executable,
            present: ArcSwap::default(),
        })
    }

    /// Reads the manifest if `config` uses a built-in model and it is not known yet. Without them the rest of the machine
    /// runs. Blocks.
    pub fn look_for(&self, config: &Config) {
        let uses = config.resources.iter().any(|resource| resource.model.is_builtin());
        let present = self.present.load();
        let known = present.problem.is_none() && !present.executable.as_os_str().is_empty();
        if !uses || known {
            return;
        }
        let builtins = load(&self.at).unwrap_or_else(|problem| Builtins::missing(with_source(&problem)));
        self.present.store(Arc::new(builtins));
    }

    /// Built-in models as far as they are known.
    pub fn present(&self) -> Arc<Builtins> {
        self.present.load_full()
    }
}

fn with_source(problem: &BuiltinError) -> String {
    match std::error::Error::source(problem) {
        Some(source) => format!("{problem}: {source}"),
        None => problem.to_string(),
    }
}

fn ask(executable: &Path) -> Result<Vec<u8>, BuiltinError> {
    let io = |source| BuiltinError::Io {
        path: executable.into(),
        source,
    };
    let mut command = Command::new(executable);
    command.arg("manifest").stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(io)?;
    let Some(mut printed) = child.stdout.take() else {
        return Err(io(std::io::Error::other("nothing can be read from it")));
    };
    let (done, text) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        // Nobody waits any more for one that is too slow.
        let _ = done.send(printed.read_to_end(&mut text).map(|_| text));
    });
    let text = text.recv_timeout(ASK_TIMEOUT);
    if text.is_err() {
        // It may have ended meanwhile.
        let _ = child.kill();
    }
    // Where the core reaps what it adopted, somebody else may have been told: then the text must do.
    let ended = child.wait();
    let text = text
        .map_err(|_| BuiltinError::Timeout(executable.into()))?
        .map_err(io)?;
    match ended {
        Ok(status) if !status.success() => Err(io(std::io::Error::other(format!("{status} from `manifest`")))),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_tells_which_module_holds_a_model() {
        let text =
            br#"{"modules":[{"name":"fake","models":[{"api":"rdk:component:motor","model":"rdk:builtin:fake"}]}]}"#;
        let builtins = parse(Path::new("/b"), text).expect("a good manifest");
        let motor: Api = "rdk:component:motor".parse().expect("an api");
        let fake: Model = "fake".parse().expect("a model");
        assert_eq!(builtins.module_of(&motor, &fake), Some(&ModuleName::builtin("fake")));
        assert!(builtins.offers().has(&motor, &fake));
        assert_eq!(
            builtins.module_of(&"rdk:component:arm".parse().expect("an api"), &fake),
            None
        );
    }
}
