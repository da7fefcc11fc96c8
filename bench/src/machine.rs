//! Machine under measurement: the core as a user starts it, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::Failure;

/// File name of the config.
const CONFIG: &str = "machine.json";
/// Timeout for start-up.
const UP: Duration = Duration::from_secs(120);
/// Timeout for shutdown.
const GONE: Duration = Duration::from_secs(20);
/// Largest window of a stream, and of a connection, in bytes: what tonic's users set who move camera frames.
const WINDOW: u32 = 16 << 20;

/// Core's status, as far as it is used here.
#[derive(Deserialize)]
pub struct MachineStatus {
    pid: u32,
    listeners: Vec<ListenerStatus>,
    modules: Vec<ModuleStatus>,
    resources: Vec<ResourceStatus>,
}

#[derive(Deserialize)]
struct ListenerStatus {
    address: String,
}

#[derive(Deserialize)]
struct ModuleStatus {
    pid: Option<u32>,
}

#[derive(Deserialize)]
struct ResourceStatus {
    name: String,
    state: String,
    error: Option<String>,
}

/// Running machine, killed on drop.
pub struct Machine {
    core: Child,
    output: Lines<BufReader<ChildStdout>>,
    state: MachineStatus,
    folder: tempfile::TempDir,
    /// Time from the start of the process to its port being open.
    pub listening: Duration,
    /// Time from the start of the process to every resource being READY.
    pub ready: Duration,
}

impl Machine {
    /// Starts a machine from its config and waits until all of it is ready.
    pub async fn start(programs: &Path, config: &serde_json::Value) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("msb").tempdir()?;
        let path = folder.path().join(CONFIG);
        std::fs::write(&path, serde_json::to_vec(config)?)?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let core = programs.join("mainstay");
        let begun = Instant::now();
        let mut command = Command::new(&core);
        command
            .args(["run", "--json", "--bind", "127.0.0.1:0"])
            .arg(&path)
            .env("XDG_RUNTIME_DIR", folder.path())
            .env("VIAM_HOME", folder.path().join("home"))
            .env("STATE_DIRECTORY", folder.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        #[expect(
            clippy::disallowed_methods,
            reason = "the core looks after its own children; this one dies with us"
        )]
        let spawned = command.spawn();
        let mut core = spawned.map_err(|error| format!("cannot start {}: {error}", core.display()))?;
        let output = core.stdout.take().ok_or("the core's output is not there")?;
        let mut output = BufReader::new(output).lines();
        let first = told(&mut output, folder.path()).await?;
        let listening = begun.elapsed();
        let mut state = first;
        while state.resources.iter().any(|resource| resource.state != "ready") {
            if let Some(failed) = state.resources.iter().find(|resource| resource.state == "unhealthy") {
                return Err(format!("{}: {}", failed.name, failed.error.as_deref().unwrap_or("unhealthy")).into());
            }
            state = told(&mut output, folder.path()).await?;
        }
        let ready = begun.elapsed();
        Ok(Self {
            core,
            output,
            state,
            folder,
            listening,
            ready,
        })
    }

    /// Process id of the core.
    pub fn core(&self) -> u32 {
        self.state.pid
    }

    /// Process ids of the modules.
    pub fn modules(&self) -> impl Iterator<Item = u32> {
        self.state.modules.iter().filter_map(|module| module.pid)
    }

    /// Address of the core's port.
    pub fn address(&self) -> Result<&str, Failure> {
        let listener = self.state.listeners.first().ok_or("the core listens nowhere")?;
        Ok(&listener.address)
    }

    /// Connects to the core's port.
    pub async fn through(&self) -> Result<Channel, Failure> {
        connect(&format!("http://{}", self.address()?)).await
    }

    /// Connects to the socket of the machine's only module.
    pub async fn straight(&self) -> Result<Channel, Failure> {
        connect(&format!("unix://{}", self.module_socket()?.display())).await
    }

    /// Path of the socket of the machine's only module.
    pub fn module_socket(&self) -> Result<PathBuf, Failure> {
        let mut sockets = Vec::new();
        find_sockets(self.folder.path(), &mut sockets)?;
        // Beside it lie the core's own: the one for the command line, and one for each module to call.
        sockets.retain(|path| !path.ends_with("control.sock") && !path.ends_with("parent.sock"));
        match sockets.pop() {
            Some(socket) if sockets.is_empty() => Ok(socket),
            last => Err(format!("expected one module socket, found {last:?} and {sockets:?}").into()),
        }
    }

    /// Writes a new config into the machine's file.
    pub fn rewrite(&self, config: &serde_json::Value) -> Result<(), Failure> {
        self.rewrite_bytes(&serde_json::to_vec(config)?)
    }

    /// Writes a text into the machine's config file.
    pub fn rewrite_bytes(&self, config: &[u8]) -> Result<(), Failure> {
        Ok(std::fs::write(self.folder.path().join(CONFIG), config)?)
    }

    /// Asks the machine to stop and waits until it is gone.
    pub async fn stop(mut self) -> Result<(), Failure> {
        let pid = self.core.id().ok_or("the core has ended by itself")?;
        std::process::Command::new("kill").arg(pid.to_string()).status()?;
        while timeout(GONE, self.output.next_line()).await??.is_some() {}
        timeout(GONE, self.core.wait())
            .await
            .map_err(|_| "the core does not stop")??;
        Ok(())
    }
}

async fn told(output: &mut Lines<BufReader<ChildStdout>>, folder: &Path) -> Result<MachineStatus, Failure> {
    let line = timeout(UP, output.next_line())
        .await
        .map_err(|_| "the machine does not come up")??;
    let Some(line) = line else {
        let log = std::fs::read_to_string(folder.join("log"))?;
        return Err(format!("the core ended:\n{log}").into());
    };
    Ok(serde_json::from_str(&line)?)
}

fn find_sockets(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_sockets(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "sock") {
            found.push(path);
        }
    }
    Ok(())
}

/// Configures a connection with flow-control windows that camera frames fit in.
pub async fn connect(address: &str) -> Result<Channel, Failure> {
    let endpoint = Endpoint::try_from(address.to_owned())?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .tcp_nodelay(true);
    Ok(endpoint.connect().await?)
}
