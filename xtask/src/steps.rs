//! Running one program after the other, and where things lie.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fmt, fs};

/// Why a command of xtask cannot go on, in words for the person who ran it.
#[derive(Debug)]
pub struct Failed(pub String);

impl Failed {
    /// With the place where it happened.
    pub fn at(path: &Path, error: impl fmt::Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

/// Runs a program with our own input and output, and fails if it does.
pub fn run(command: &mut Command) -> Result<(), Failed> {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failed(format!("{} failed: {status}", shown(command))))
    }
}

/// Runs a program and keeps what it prints.
pub fn capture(command: &mut Command) -> Result<Output, Failed> {
    command.output().map_err(|error| cannot_start(command, &error))
}

fn cannot_start(command: &Command, error: &std::io::Error) -> Failed {
    Failed(format!("cannot start {}: {error}", shown(command)))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// The target folder, found from where this program itself was built.
pub struct Target(PathBuf);

impl Target {
    /// Finds it.
    pub fn find() -> Result<Self, Failed> {
        let exe = env::current_exe().map_err(|error| Failed(format!("cannot find the running program: {error}")))?;
        let folder = exe
            .ancestors()
            .nth(2)
            .ok_or_else(|| Failed::at(&exe, "not inside a target folder"))?;
        Ok(Self(folder.to_owned()))
    }

    /// A file or folder in it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// Writes the list of built-in modules beside the server of a profile, where the server looks for it.
    pub fn write_manifest(&self, profile: &str) -> Result<(), Failed> {
        let folder = self.join(profile);
        let output = capture(Command::new(folder.join("mainstay-builtins")).arg("manifest"))?;
        if !output.status.success() {
            return Err(Failed(format!(
                "`mainstay-builtins manifest` failed: {}",
                output.status
            )));
        }
        let (path, draft) = (
            folder.join("mainstay-builtins.json"),
            folder.join("mainstay-builtins.json.tmp"),
        );
        fs::write(&draft, output.stdout).map_err(|error| Failed::at(&draft, error))?;
        fs::rename(&draft, &path).map_err(|error| Failed::at(&path, error))
    }
}
