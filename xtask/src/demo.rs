//! `cargo xtask demo`: a small rover of fakes and one example module, to look at and to drive.
//!
//! Config, module data, state and sockets are in a folder below `target/demo` that one demo has for itself (`DemoFolder`). Socket
//! paths are limited to 103 bytes; in a checkout so deep that they would be longer, the machine gets the same folder as
//! `/proc/<pid>/cwd`.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, geteuid};

use crate::drive;
use crate::steps::{Failed, Target, capture, cargo, run as run_program};

/// Length of a runtime directory below its base (`/mainstay/`, 12 hex digits) with the longest socket name of the demo.
const ROOM_FOR_SOCKETS: usize = 60;
/// Longest path of a UNIX socket on every supported system, in bytes.
const MAX_SOCKET_PATH: usize = 103;
/// Timeout for start-up. It takes less than a second on an idle host.
const PATIENCE: Duration = Duration::from_secs(30);

/// Paths and address of the demo.
pub struct Demo {
    /// Binary of the server and command line.
    pub mainstay: PathBuf,
    /// Config file.
    pub config: PathBuf,
    /// Address of the machine, `host:port`.
    pub address: String,
    /// Python interpreter with the SDK, if the tests have set it up.
    pub python: Option<PathBuf>,
    folder: DemoFolder,
    runtime: PathBuf,
}

/// Folder of one demo. Demos beside each other have one each, and the next takes the first that is free again.
#[derive(Debug)]
struct DemoFolder {
    path: PathBuf,
    // Held as long as the demo runs.
    _lock: File,
}

/// Running machine, stopped on drop.
struct Machine(Child);

/// Runs the demo until Ctrl-C.
pub fn run() -> Result<(), Failed> {
    let demo = Demo::prepare(8080)?;
    let mut machine = demo.start()?;
    // Blocked only after the machine was started: it must not inherit that.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals
        .thread_block()
        .map_err(|error| Failed(format!("cannot wait for Ctrl-C: {error}")))?;
    demo.wait_until_up(&mut machine)?;
    print!("{}", drive::instructions(&demo));
    let pid = machine.pid();
    thread::spawn(move || {
        if signals.wait().is_ok() {
            let _ = kill(pid, Signal::SIGTERM);
        }
    });
    let status = machine
        .0
        .wait()
        .map_err(|error| Failed(format!("lost the machine: {error}")))?;
    ended_well(status)
}

/// Starts the machine, drives it through the command line, prints the results and stops it.
pub fn run_once() -> Result<(), Failed> {
    let demo = Demo::prepare(0)?;
    let mut machine = demo.start()?;
    demo.wait_until_up(&mut machine)?;
    let driven = drive::drive(&demo);
    let status = machine.stop()?;
    driven?;
    ended_well(status)
}

fn ended_well(status: ExitStatus) -> Result<(), Failed> {
    if status.success() {
        Ok(())
    } else {
        Err(Failed(format!("the machine ended with {status}")))
    }
}

impl Demo {
    /// Folders that the machine writes to.
    const FOLDERS: [&str; 4] = ["home", "run", "state", "tmp"];

    /// Builds everything and writes the config. The machine listens on `port`, or on a free port if that is taken.
    fn prepare(port: u16) -> Result<Self, Failed> {
        let target = Target::find()?;
        // A development build: the first look must not wait for the optimiser. All of the workspace, as the tests build it,
        // so that neither compiles again what the other has compiled.
        run_program(cargo().args(["build", "--workspace"]))?;
        target.write_manifest("debug")?;
        let folder = DemoFolder::take(&target.join("demo"))?;
        for name in Self::FOLDERS {
            let made = folder.path.join(name);
            fs::create_dir_all(&made).map_err(|error| Failed::at(&made, error))?;
        }
        let programs = target.join("debug");
        let address = free_address(port)?;
        if port != 0 && !address.ends_with(&format!(":{port}")) {
            println!("port {port} is taken by another program; the rover answers at {address}");
        }
        let config = folder.path.join("rover.yaml");
        let text = drive::config(&address, &programs);
        fs::write(&config, text).map_err(|error| Failed::at(&config, error))?;
        let python = Some(target.join("venv/bin/python")).filter(|path| path.exists());
        let runtime = short(folder.path.join("run"))?;
        Ok(Self {
            mainstay: programs.join("mainstay"),
            config,
            address,
            python,
            folder,
            runtime,
        })
    }

    /// Creates a command of the server's command line, with the demo's own folders.
    pub fn mainstay(&self) -> Command {
        let mut command = Command::new(&self.mainstay);
        // Not XDG_STATE_HOME, before which root's own place goes.
        command
            .env("STATE_DIRECTORY", self.folder.path.join("state"))
            .env("VIAM_HOME", self.folder.path.join("home"))
            .env("TMPDIR", self.folder.path.join("tmp"))
            .env("XDG_RUNTIME_DIR", &self.runtime);
        command
    }

    fn start(&self) -> Result<Machine, Failed> {
        let mut command = self.mainstay();
        // Its own process group: Ctrl-C reaches us alone, and we stop it in order.
        command.arg("run").arg(&self.config).process_group(0);
        let child = command.spawn();
        child
            .map(Machine)
            .map_err(|error| Failed::at(&self.mainstay, format!("cannot be started: {error}")))
    }

    fn wait_until_up(&self, machine: &mut Machine) -> Result<(), Failed> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(Some(status)) = machine.0.try_wait() {
                return Err(Failed(format!("the machine ended while it was starting: {status}")));
            }
            let mut status = self.mainstay();
            status.args(["status", "--json", "--machine"]).arg(&self.config);
            let answer = String::from_utf8_lossy(&capture(&mut status)?.stdout).replace(' ', "");
            if answer.contains("\"state\":\"running\"") {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(Failed(format!("the machine is not up after {PATIENCE:?}")))
    }
}

impl DemoFolder {
    /// Takes the first folder that no running demo has. One that another user made is left alone: sockets in it would not be ours.
    fn take(below: &Path) -> Result<Self, Failed> {
        for number in 1.. {
            let path = below.join(number.to_string());
            fs::create_dir_all(&path).map_err(|error| Failed::at(&path, error))?;
            if !fs::metadata(&path).is_ok_and(|there| there.uid() == geteuid().as_raw()) {
                continue;
            }
            let file = path.join("lock");
            let lock = File::create(&file).map_err(|error| Failed::at(&file, error))?;
            if lock.try_lock().is_ok() {
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(Failed::at(below, "has no free folder"))
    }
}

impl Machine {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default())
    }

    fn stop(&mut self) -> Result<ExitStatus, Failed> {
        let _ = kill(self.pid(), Signal::SIGTERM);
        self.0
            .wait()
            .map_err(|error| Failed(format!("lost the machine: {error}")))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.stop();
        }
    }
}

fn free_address(port: u16) -> Result<String, Failed> {
    let listener = TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.to_string())
        .map_err(|error| Failed(format!("no free port on 127.0.0.1: {error}")))
}

/// Returns a path to `folder` that is short enough for socket names.
fn short(folder: PathBuf) -> Result<PathBuf, Failed> {
    if folder.as_os_str().len() + ROOM_FOR_SOCKETS <= MAX_SOCKET_PATH {
        return Ok(folder);
    }
    env::set_current_dir(&folder).map_err(|error| Failed::at(&folder, error))?;
    let alias = PathBuf::from(format!("/proc/{}/cwd", process::id()));
    if Path::new(&alias).is_dir() {
        Ok(alias)
    } else {
        Err(Failed::at(
            &folder,
            "too long a path for sockets; set CARGO_TARGET_DIR to a shorter folder",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demos_beside_each_other_have_folders_of_their_own_and_one_that_ended_leaves_its_to_the_next() {
        let below = env::temp_dir().join(format!("mainstay-demo-{}", process::id()));
        let folders = |demos: &[&DemoFolder]| {
            let names = demos
                .iter()
                .map(|demo| demo.path.file_name().expect("a number").to_owned());
            names.collect::<Vec<_>>()
        };
        let first = DemoFolder::take(&below).expect("free");
        let second = DemoFolder::take(&below).expect("free");
        assert_eq!(folders(&[&first, &second]), ["1", "2"]);
        drop(first);
        let third = DemoFolder::take(&below).expect("free");
        assert_eq!(folders(&[&second, &third]), ["2", "1"]);
        fs::remove_dir_all(below).expect("ours");
    }

    #[test]
    fn a_port_that_is_taken_is_left_to_who_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("some port");
        let port = taken.local_addr().expect("bound").port();
        let other = free_address(port).expect("there are others");
        assert!(!other.ends_with(&format!(":{port}")), "{other}");
        drop(taken);
        assert_eq!(free_address(port).expect("free"), format!("127.0.0.1:{port}"));
    }
}
