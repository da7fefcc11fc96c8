//! Folders of one machine, and the commands that run there.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::machine::Machine;
use crate::proc::{self, Process};
use crate::world::{PATIENCE, World};
use crate::{bins, python};

/// Folders of one machine, running or not.
pub struct Place {
    folder: TempDir,
    mark: String,
    env: Vec<(String, String)>,
    server: Option<PathBuf>,
    arguments: Vec<String>,
}

impl Place {
    /// Creates fresh folders.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // A short prefix: socket paths below it have 103 bytes in all.
        let folder = tempfile::Builder::new()
            .prefix("ms")
            .tempdir()
            .expect("a temporary folder");
        for name in ["home", "run"] {
            fs::create_dir(folder.path().join(name)).expect("the temporary folder is writable");
        }
        let mark = format!(
            "MAINSTAY_TEST_WORLD={}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        Self {
            folder,
            mark,
            env: Vec::new(),
            server: None,
            arguments: Vec::new(),
        }
    }

    /// Sets the path of the server.
    pub fn server(mut self, path: &Path) -> Self {
        self.server = Some(path.to_owned());
        self
    }

    /// Adds an argument to `mainstay run`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds a variable to the environment of all commands.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the folder that contains all others.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, content).expect("the temporary folder is writable");
        path
    }

    /// Creates a command with its own home and runtime folder, marked, without robot variables of the caller's environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let (name, value) = self.mark.split_once('=').expect("the mark is an assignment");
        for (key, _) in std::env::vars_os() {
            if key
                .to_str()
                .is_some_and(|key| key.starts_with("VIAM_") || key.starts_with("MAINSTAY_"))
            {
                command.env_remove(key);
            }
        }
        command
            .current_dir(self.folder())
            .env("HOME", self.file("home"))
            .env("VIAM_HOME", self.file("home"))
            .env("XDG_CONFIG_HOME", self.file("config"))
            .env("XDG_RUNTIME_DIR", self.file("run"))
            .env("STATE_DIRECTORY", self.file("state"))
            .env("NO_COLOR", "1")
            // Machines of tests that run side by side would answer each other's questions; those in a namespace of their own
            // take this back.
            .env("MAINSTAY_NO_MDNS", "true")
            .env(name, value)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the command line with `arguments` to its end.
    pub async fn mainstay(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(&bins::mainstay());
        command.args(arguments);
        finish(command).await
    }

    /// Runs `mainstay run` on a config file of this name and content that is expected not to come up.
    pub async fn run_to_the_end(&self, name: &str, content: &str) -> Finished {
        let path = self.write(name, content);
        self.mainstay(&["run", path.to_str().expect("a path in UTF-8")]).await
    }

    /// Starts the machine and waits until it accepts calls.
    pub async fn start(self, mut machine: Machine) -> World {
        python::write_starters(&self, machine.json_mut());
        self.start_text("machine.json", &text(&machine)).await
    }

    /// Starts the machine from a config text of any format.
    pub async fn start_text(self, name: &str, content: &str) -> World {
        let path = self.write(name, content);
        self.start_file(&path).await
    }

    /// Starts the machine from the config file at `path`.
    pub async fn start_file(self, path: &Path) -> World {
        let output = |name| File::create(self.file(name)).expect("the temporary folder is writable");
        let server = self.server.clone().unwrap_or_else(bins::mainstay);
        let child = self
            .command(&server)
            .arg("run")
            .args(&self.arguments)
            .arg(path)
            .stdin(Stdio::null())
            .stdout(output("out.log"))
            .stderr(output("err.log"))
            .spawn()
            .expect("mainstay starts");
        World::of(self, child, path).await
    }

    /// Lists the living processes of everything that was started here.
    pub fn processes(&self) -> Vec<Process> {
        proc::marked(&self.mark)
    }

    /// Lists the socket files in the folders.
    pub fn sockets(&self) -> Vec<PathBuf> {
        proc::sockets_below(self.folder())
    }

    /// Lists the cgroups recorded by machines here.
    pub(crate) fn noted_cgroups(&self) -> Vec<PathBuf> {
        let records = self.runtime_folders().into_iter().map(|folder| folder.join("cgroups"));
        let texts: Vec<_> = records.filter_map(|record| fs::read_to_string(record).ok()).collect();
        texts.iter().flat_map(|text| text.lines()).map(PathBuf::from).collect()
    }

    /// Lists the runtime directories of machines here.
    pub fn runtime_folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.file("run/mainstay")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn text(machine: &Machine) -> String {
    serde_json::to_string_pretty(machine.json()).expect("a Value is JSON")
}

/// Result of a command.
#[derive(Debug)]
pub struct Finished {
    /// Exit code; 128 + signal if one ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end, killing it after [`PATIENCE`].
pub async fn finish(mut command: Command) -> Finished {
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let output = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output());
    let output = output
        .await
        .unwrap_or_else(|_| panic!("still running after {PATIENCE:?}: {shown}"));
    let output = output.unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
    Finished {
        code: exit_code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}
