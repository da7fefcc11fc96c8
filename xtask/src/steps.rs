//! Helpers that run programs and find paths.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fmt, fs};

/// Failure of an xtask command, as a text for the user.
#[derive(Debug)]
pub struct Failed(pub String);

impl Failed {
    /// Converts an IO error, with its path as prefix.
    pub fn at(path: &Path, error: impl fmt::Display) -> Self {
        Self(format!("{}: {error}", path.display()))
    }
}

/// Runs a program with inherited input and output; fails if its exit code is not 0.
pub fn run(command: &mut Command) -> Result<(), Failed> {
    let status = command.status().map_err(|error| cannot_start(command, &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failed(format!("{} failed: {status}", shown(command))))
    }
}

/// Runs a program and returns its exit status and output.
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

/// Installs Debian packages, as far as this user may; whoever asks for them looks whether they are there.
pub fn install(packages: &[&str]) {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments);
        run(&mut command)
    };
    let install = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    if apt(&install).is_err() {
        // The lists may be too old to know them.
        let _as_before = apt(&["update", "--quiet"]).and_then(|()| apt(&install));
    }
}

/// Programs that the tests run, and Debian's packages of them: networks, a terminal, and what a page for users shows.
const TOOLS: [(&str, &str); 3] = [("ip", "iproute2"), ("script", "bsdutils"), ("curl", "curl")];

/// Installs the programs that the tests run, unless they are there.
pub fn ensure_tools() -> Result<(), Failed> {
    for (program, package) in TOOLS {
        let there = || capture(Command::new(program).arg("-V")).is_ok_and(|output| output.status.success());
        if there() {
            continue;
        }
        println!("installing Debian's {package}");
        install(&[package]);
        if !there() {
            return Err(Failed(format!(
                "the tests need `{program}`; on Debian: apt-get install {package}"
            )));
        }
    }
    Ok(())
}

/// Creates a command of the cargo that runs this program.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    // What `cargo run` says of this crate would reach build scripts: ring's then runs again, and all that depends on it is
    // compiled again, whenever builds from here and from a shell take turns.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Target folder, derived from the path of this program.
pub struct Target(PathBuf);

impl Target {
    /// Finds the target folder.
    pub fn find() -> Result<Self, Failed> {
        let exe = env::current_exe().map_err(|error| Failed(format!("cannot find the running program: {error}")))?;
        let folder = exe
            .ancestors()
            .nth(2)
            .ok_or_else(|| Failed::at(&exe, "not inside a target folder"))?;
        Ok(Self(folder.to_owned()))
    }

    /// Returns a path in the target folder.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// Writes the manifest of built-in modules beside the server of a profile, as the server expects it.
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
            folder.join(format!("mainstay-builtins.json.{}", std::process::id())),
        );
        fs::write(&draft, output.stdout).map_err(|error| Failed::at(&draft, error))?;
        fs::rename(&draft, &path).map_err(|error| Failed::at(&path, error))
    }
}
