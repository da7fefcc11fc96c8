//! Modules and clients written with the Python SDK.
//!
//! `cargo xtask test` makes the virtual environment and names its interpreter in `MAINSTAY_PYTHON`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::{env, fs};

use serde_json::Value;

use crate::world::{Finished, Place, World, finish};
use crate::{bins, echo};

/// Placeholder in a config for the path of a start script.
pub(crate) const PLACEHOLDER: &str = "python:";

/// Returns the path of the interpreter with the SDK.
///
/// # Panics
/// If there is none.
pub fn interpreter() -> PathBuf {
    // Absolute, because what runs it does so in a folder of its own; not resolved, because it is a link into the system.
    let given = env::var_os("MAINSTAY_PYTHON").and_then(|path| std::path::absolute(path).ok());
    // target/debug or target/<triple>/debug: the environment lies in `target`.
    let made = bins::folder()
        .ancestors()
        .map(|folder| folder.join("venv/bin/python"))
        .find(|path| path.exists());
    given
        .filter(|path| path.exists())
        .or(made)
        .expect("no Python environment with the SDK; `cargo xtask test` makes it in target/venv")
}

fn source(folder: &str, program: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("python")
        .join(folder)
        .join(program);
    assert!(path.exists(), "{} does not exist", path.display());
    path
}

/// Replaces placeholders in a config by start scripts, one per module, as module authors ship them.
pub(crate) fn write_starters(place: &Place, config: &mut Value) {
    for module in config["modules"].as_array_mut().into_iter().flatten() {
        let Some(program) = module["executable_path"]
            .as_str()
            .and_then(|path| path.strip_prefix(PLACEHOLDER))
        else {
            continue;
        };
        let name = module["name"].as_str().unwrap_or_default();
        let folder = place.file(&format!("modules/{name}"));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        let script = folder.join("run.sh");
        let (python, program) = (interpreter(), source("modules", program));
        let text = format!(
            "#!/bin/sh\nexec '{}' '{}' \"$@\"\n",
            python.display(),
            program.display()
        );
        fs::write(&script, text).expect("the temporary folder is writable");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        module["executable_path"] = script.to_str().expect("a path in UTF-8").into();
        module["env"]["ECHO_DESCRIPTORS"] = echo::DESCRIPTOR_PATH.into();
        // The interpreter would write its cache beside the sources otherwise.
        module["env"]["PYTHONDONTWRITEBYTECODE"] = "1".into();
    }
}

impl World {
    /// Runs a program of `tests/python/clients/` against this machine and returns the JSON value of each output line.
    ///
    /// # Panics
    /// If it fails.
    pub async fn python(&self, program: &str, arguments: &[&str]) -> Vec<Value> {
        let mut command = self.python_command(program);
        command.args(arguments);
        let Finished { code, stdout, stderr } = finish(command).await;
        assert_eq!(code, 0, "{program} failed\n{stdout}\n{stderr}");
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{program} printed `{line}`: {error}\n{stderr}"))
        };
        // The SDK logs to stdout as well; results are objects.
        let results = stdout.lines().filter(|line| line.starts_with('{'));
        results.map(parse).collect()
    }

    /// Starts a program of `tests/python/clients/` and returns it running. The caller waits for its first output line.
    pub fn start_python(&self, program: &str, arguments: &[&str]) -> Child {
        let mut command = self.python_command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().expect("the interpreter starts")
    }

    fn python_command(&self, program: &str) -> std::process::Command {
        let mut command = self.place.command(&interpreter());
        command
            .arg(source("clients", program))
            .arg(self.address())
            .env("ECHO_DESCRIPTORS", echo::DESCRIPTOR_PATH)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
