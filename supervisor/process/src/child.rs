//! The guarded child: one module process and whatever it forked.
//!
//! All children are spawned by one thread that lasts as long as the core, because the kernel's parent-death signal
//! fires when the *thread* that spawned them ends.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mainstay_model::cgroup::Events;
use nix::sys::signal::{Signal, kill, killpg};
#[cfg(not(target_os = "linux"))]
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use crate::cgroup::Group;
use crate::descriptors;
use crate::guardian::children;
use crate::launch::Launch;
use crate::orphans::Life;
use crate::program_file::{Exec, ProgramHead};
use crate::sandbox::{Confinement, Stage, stages};
use crate::signals;
#[cfg(target_os = "linux")]
use crate::{guardian, process_table};

/// Variables that are meant for this process: a module that spoke in our name would confuse the service manager.
pub const PRIVATE_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// Pauses between two looks for what is left of a group.
#[cfg(target_os = "linux")]
const FIRST_LOOK: Duration = Duration::from_millis(5);
#[cfg(target_os = "linux")]
const LAST_LOOK: Duration = Duration::from_millis(100);
/// Pause for the rest of a group to end, where the system does not report when it is gone.
#[cfg(not(target_os = "linux"))]
const BLIND_GRACE: Duration = Duration::from_millis(300);

/// Limit for the exit of a killed process whose owner was dropped.
const DROPPED: Duration = Duration::from_millis(500);

/// Spawns children from its own lasting thread.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    launch: Launch,
    confinement: Arc<Confinement>,
    reply: oneshot::Sender<Result<Child, SpawnError>>,
}

/// Failure to start a process.
#[derive(Debug)]
pub struct SpawnError {
    /// Step of the confinement that failed, if one did.
    stage: Option<Stage>,
    error: io::Error,
}

impl SpawnError {
    /// Text of the failure for `executable`, with the cure where one is known.
    pub fn explain(&self, executable: &Path) -> String {
        match self.stage {
            Some(stage) => stage.explain(&self.error),
            None => cannot_run(executable, &self.error),
        }
    }
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        Self { stage: None, error }
    }
}

impl Spawner {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("spawner".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                for Request {
                    launch,
                    confinement,
                    reply,
                } in inbox
                {
                    // Nobody waits for the answer any more: the guard below ends what was started.
                    let group = confinement.group().cloned();
                    if let Err(Ok(child)) = reply.send(spawn(&launch, confinement)) {
                        drop(Process::unwatched(child, launch.life, group));
                    }
                }
            })?;
        Ok(Self { requests })
    }

    /// Runs `launch`, confined: a new session, stdin from the null device, output through pipes.
    pub async fn spawn(&self, launch: Launch, confinement: Confinement) -> Result<Process, SpawnError> {
        let (reply, answer) = oneshot::channel();
        let life = launch.life.clone();
        let ended = || io::Error::other("the spawning thread has ended");
        let group = confinement.group().cloned();
        let request = Request {
            launch,
            confinement: Arc::new(confinement),
            reply,
        };
        let spawned = match self.requests.send(request) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(ended().into())),
            Err(_) => Err(ended().into()),
        };
        match spawned {
            Ok(child) => Ok(Process::guard(child, life, group)?),
            Err(error) => {
                if let Some(group) = group {
                    group.remove();
                }
                Err(error)
            }
        }
    }
}

#[expect(unsafe_code, reason = "pre_exec: only async-signal-safe calls between fork and exec")]
fn spawn(launch: &Launch, confinement: Arc<Confinement>) -> Result<Child, SpawnError> {
    let core = Pid::this();
    let head = ProgramHead::read(&launch.executable);
    if let Some(fault) = head.fault_of_script(&launch.executable) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, fault).into());
    }
    let exec = head.is_binary().then(|| Exec::new(launch)).transpose()?;
    let (failed, stage) = stages()?;
    #[cfg(target_os = "linux")]
    let guarded = guardian::is_guarded();
    let mut command = Command::new(&launch.executable);
    command
        .args(&launch.arguments)
        .envs(&launch.env)
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for private in PRIVATE_VARIABLES {
        command.env_remove(private);
    }
    // SAFETY: the closure only makes system calls; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            signals::reset()?;
            descriptors::restore_limit()?;
            confinement.enter(&stage)?;
            // Behind the change of user, which takes it away again.
            // A guardian tells them to end once; the kernel does so once for each thread of the core that dies.
            #[cfg(target_os = "linux")]
            if !guarded {
                nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            }
            // The core may have died before the line above took hold.
            if nix::unistd::getppid() != core {
                return Err(nix::errno::Errno::ESRCH.into());
            }
            confinement.seal(&stage)?;
            match &exec {
                // What the standard library does next lets a shell read what the kernel does not know.
                Some(exec) => Err(exec.run().into()),
                None => Ok(()),
            }
        });
    }
    let spawned = children::spawn(&mut command);
    // The writing end lies in it.
    drop(command);
    spawned.map_err(|error| SpawnError {
        stage: failed.failed(),
        error,
    })
}

/// A running process that leads its own group. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    life: Life,
    group: Option<Pid>,
    cgroup: Option<Arc<Group>>,
    events: Events,
    exit: ExitWatch,
    ended: bool,
    killed: AtomicBool,
}

/// Progress of the end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndProgress {
    /// The process has ended. It is not reaped, so that its group keeps its number.
    Process,
    /// The whole group is gone, and whatever left the group too.
    Group,
}

impl Process {
    fn guard(child: Child, life: Life, cgroup: Option<Arc<Group>>) -> io::Result<Self> {
        let mut guard = Self::unwatched(child, life, cgroup);
        guard.exit = ExitWatch::new(Pid::from_raw(guard.pid().cast_signed()))?;
        Ok(guard)
    }

    fn unwatched(child: Child, life: Life, cgroup: Option<Arc<Group>>) -> Self {
        let group = Some(Pid::from_raw(child.id().cast_signed()));
        Self {
            child,
            life,
            group,
            cgroup,
            events: Events::default(),
            exit: ExitWatch::None,
            ended: false,
            killed: AtomicBool::new(false),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The pipes of stdout and stderr; given out once, on the async side.
    pub fn take_output(&mut self) -> io::Result<(Receiver, Receiver)> {
        let gone = || io::Error::other("output was taken already");
        let stdout: OwnedFd = self.child.stdout.take().ok_or_else(gone)?.into();
        let stderr: OwnedFd = self.child.stderr.take().ok_or_else(gone)?.into();
        Ok((Receiver::from_owned_fd(stdout)?, Receiver::from_owned_fd(stderr)?))
    }

    /// Signals the process alone.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _gone = kill(group, signal);
        }
    }

    /// Signals the process and all that it forked, wherever that went.
    pub fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _gone = killpg(group, signal);
            self.life.signal(group, signal);
        }
        if signal == Signal::SIGKILL {
            self.killed.store(true, Ordering::Relaxed);
            if let Some(cgroup) = &self.cgroup {
                cgroup.kill();
            }
        }
    }

    /// The process as the kernel shows it, if it was killed and waits where no signal reaches it.
    pub fn stuck(&self) -> Option<process_table::ProcessInfo> {
        let killed = self.killed.load(Ordering::Relaxed) && !self.ended;
        let shown = killed.then(|| process_table::look(self.pid().cast_signed())).flatten();
        shown.filter(process_table::ProcessInfo::uninterruptible)
    }

    /// Stops waiting for a process that is stuck. The reaper of adopted processes reaps it, should that wait ever end.
    pub fn give_up(mut self) {
        self.group = None;
        children::forget(self.pid());
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove();
        }
    }

    /// Waits for the end of the process, and at the next call for the end of all that it forked. May be dropped and called
    /// again at any time.
    pub async fn passed(&mut self) -> io::Result<EndProgress> {
        if !self.ended {
            let watched = self.exit.wait().await;
            // What cannot be watched is not waited for a second time.
            self.ended = true;
            watched?;
            return Ok(EndProgress::Process);
        }
        if let Some(group) = self.group {
            self.all_gone(group).await;
        }
        Ok(EndProgress::Group)
    }

    /// Returns when nothing that the process forked lives any more. Its leader, which is dead and not reaped, keeps the
    /// group's number in use, so signals find the group in any case and tell nothing.
    #[cfg(target_os = "linux")]
    async fn all_gone(&self, leader: Pid) {
        let mut pause = FIRST_LOOK;
        while !self.life.processes(leader).await.is_empty() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn all_gone(&self, _: Pid) {
        tokio::time::sleep(BLIND_GRACE).await;
    }

    /// Event counters of the process's cgroup at its end.
    pub fn events(&self) -> Events {
        self.events
    }

    /// Kills what is left of the group and the cgroup, and reaps the process.
    ///
    /// In this order: once a process is reaped the kernel may give its number, and so its group's, to a stranger.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(group) = self.group.take() {
            let _empty = killpg(group, Signal::SIGKILL);
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        let status = self.child.wait();
        children::forget(self.child.id());
        if let Some(cgroup) = &self.cgroup {
            self.events = cgroup.events();
        }
        status
    }

    /// Kills what left the group, after `end` and before the next process is started; then its cgroup goes.
    pub async fn end_orphans(&mut self) {
        self.life.end(Pid::from_raw(self.pid().cast_signed())).await;
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        let _empty = killpg(group, Signal::SIGKILL);
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
        // Whatever the kernel does not let go, and what left the group, is left to the guardian.
        let end = Instant::now() + DROPPED;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        children::forget(self.pid());
    }
}

/// Watch for the exit of a process, without reaping it.
#[derive(Debug)]
enum ExitWatch {
    /// Not watched yet.
    None,
    /// Linux: a descriptor that becomes readable at the end.
    #[cfg(target_os = "linux")]
    Fd(AsyncFd<OwnedFd>),
    /// Elsewhere: a thread that waits.
    #[cfg(not(target_os = "linux"))]
    Thread(oneshot::Receiver<()>),
}

impl ExitWatch {
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "pidfd_open has no safe wrapper in nix or std yet")]
    fn new(pid: Pid) -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        // SAFETY: plain system call with two integers; the result is checked.
        let fd = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_open, pid.as_raw(), 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the descriptor is valid and owned by what watches it.
        Ok(Self::Fd(unsafe {
            AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE)
        }?))
    }

    #[cfg(not(target_os = "linux"))]
    fn new(pid: Pid) -> io::Result<Self> {
        let (ended, watch) = oneshot::channel();
        std::thread::Builder::new()
            .name("wait".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                let _looked = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
                let _nobody = ended.send(());
            })?;
        Ok(Self::Thread(watch))
    }

    async fn wait(&mut self) -> io::Result<()> {
        match self {
            Self::None => Ok(()),
            #[cfg(target_os = "linux")]
            Self::Fd(fd) => fd.readable().await.map(|mut ready| ready.clear_ready()),
            #[cfg(not(target_os = "linux"))]
            Self::Thread(ended) => ended.await.map_err(io::Error::other),
        }
    }
}

/// Text of an exit status: `exit code 2`, `killed by SIGSEGV`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

/// The number that peers put into messages: the exit code, or -1 for a death by signal.
pub fn exit_code(status: ExitStatus) -> i32 {
    status.code().unwrap_or(-1)
}

/// Text for a program that cannot be run, with the cure where one is known.
pub fn cannot_run(executable: &Path, error: &io::Error) -> String {
    let path = executable.display();
    match error.kind() {
        io::ErrorKind::NotFound if executable.exists() => {
            let foreign = ProgramHead::read(executable).foreign_machine(std::env::consts::ARCH);
            match foreign {
                Some(built) => format!("cannot run `{path}`: {built}, and has no loader for it"),
                None => format!("cannot run `{path}`: its interpreter (first line, `#!…`) or loader does not exist"),
            }
        }
        io::ErrorKind::NotFound => format!("cannot run `{path}`: no such file; correct `executable_path`"),
        io::ErrorKind::PermissionDenied => format!("cannot run `{path}`: not executable; try `chmod +x {path}`"),
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => {
            let why = ProgramHead::read(executable).unknown_format(std::env::consts::ARCH);
            format!("cannot run `{path}`: {why}")
        }
        // Of the host, not of the program.
        _ if error.raw_os_error() == Some(nix::libc::EAGAIN) => {
            format!("cannot run `{path}`: the limit of processes is reached (`ulimit -u`, `TasksMax=`, `pids.max`)")
        }
        _ if matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE)) => format!(
            "cannot run `{path}`: the limit of open files is reached (`ulimit -n`, `LimitNOFILE=`, `fs.file-max`)"
        ),
        _ if error.raw_os_error() == Some(nix::libc::ENOMEM) => {
            format!("cannot run `{path}`: the host has no memory left for it")
        }
        _ => format!("cannot run `{path}`: {error}"),
    }
}

/// The name of the signal that ended a process, such as `SIGSEGV`.
pub fn ending_signal(status: ExitStatus) -> Option<String> {
    let number = status.signal()?;
    Some(match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        // As the core is; no other test is harmed.
        nix::sys::prctl::set_child_subreaper(true).expect("always granted");
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        let child = children::spawn(&mut command).expect("there is a shell");
        let life = Life::new("test", &"shell".into(), 1);
        Process::guard(child, life, None).expect("it can be watched")
    }

    #[tokio::test]
    async fn what_a_process_forked_is_waited_for_after_its_end() {
        let mut process = shell("sleep 1000 & exit 3");
        assert_eq!(process.passed().await.expect("watched"), EndProgress::Process);
        let early = tokio::time::timeout(Duration::from_millis(100), process.passed()).await;
        assert!(early.is_err(), "the sleeper still lives");
        process.signal_group(Signal::SIGTERM);
        assert_eq!(process.passed().await.expect("watched"), EndProgress::Group);
        assert_eq!(process.end().expect("reaped").code(), Some(3));
    }
}
