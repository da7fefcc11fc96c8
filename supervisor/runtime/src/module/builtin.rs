//! Which model lives in which built-in module: the manifest beside the binary that holds them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_model::{Builtins, ModuleName};
use mainstay_proto::{Api, Model};
use serde::Deserialize;

/// How long the binary may take to print its own manifest; it prints some lines and does nothing else.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the built-in models are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum BuiltinError {
    /// The binary is not there.
    #[error("cannot find the built-in modules at `{}`: install `mainstay-builtins` beside `mainstay`, or give its path with --builtins", .0.display())]
    Missing(PathBuf),
    /// It cannot be run or read.
    #[error("cannot read which models `{}` holds", .path.display())]
    Io {
        /// The binary or its manifest.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// It does not answer the question for its manifest.
    #[error("`{} manifest` did not answer within {ASK_TIMEOUT:?}", .0.display())]
    Timeout(PathBuf),
    /// The manifest is not one.
    #[error("`{}` is not a manifest of built-in modules", .path.display())]
    Format {
        /// The manifest.
        path: PathBuf,
        /// What is wrong in it.
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

/// Where the binary is unless a flag says otherwise: beside our own.
pub fn default_path() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("mainstay-builtins")
}

/// Reads the manifest beside `executable`. One that is missing, or older than the binary, is no manifest: then
/// the binary is asked for it.
pub async fn load(executable: &Path) -> Result<Builtins, BuiltinError> {
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
        None => ask(executable).await?,
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

async fn ask(executable: &Path) -> Result<Vec<u8>, BuiltinError> {
    let io = |source| BuiltinError::Io {
        path: executable.into(),
        source,
    };
    let mut command = tokio::process::Command::new(executable);
    command
        .arg("manifest")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(ASK_TIMEOUT, command.output())
        .await
        .map_err(|_| BuiltinError::Timeout(executable.into()))?
        .map_err(io)?;
    if !output.status.success() {
        return Err(io(std::io::Error::other(format!("{} from `manifest`", output.status))));
    }
    Ok(output.stdout)
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
        assert_eq!(builtins.models_of(&motor), ["rdk:builtin:fake"]);
        assert_eq!(
            builtins.module_of(&"rdk:component:arm".parse().expect("an api"), &fake),
            None
        );
    }
}
