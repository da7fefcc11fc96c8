//! The guarded child: one module process and whatever it forked.
//!
//! All children are spawned by one thread that lasts as long as the core, because the kernel's parent-death signal
//! fires when the *thread* that spawned them ends.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::environment::Launch;

/// Spawns children from its own lasting thread.
#[derive(Debug, Clone)]
pub struct Spawner {
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    launch: Launch,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("spawner".into())
            .stack_size(256 * 1024)
            .spawn(move || {
                for request in inbox {
                    // Nobody waits for the answer any more: the guard below ends what was started.
                    if let Err(Ok(child)) = request.reply.send(spawn(&request.launch)) {
                        drop(Process::unwatched(child));
                    }
                }
            })?;
        Ok(Self { requests })
    }

    /// Runs `launch`: a new session, stdin from the null device, output through pipes.
    pub async fn spawn(&self, launch: Launch) -> io::Result<Process> {
        let (reply, answer) = oneshot::channel();
        let ended = || io::Error::other("the spawning thread has ended");
        self.requests.send(Request { launch, reply }).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?.and_then(Process::guard)
    }
}

#[expect(unsafe_code, reason = "pre_exec: only async-signal-safe calls between fork and exec")]
fn spawn(launch: &Launch) -> io::Result<Child> {
    let core = Pid::this();
    let mut command = Command::new(&launch.executable);
    command
        .args(&launch.arguments)
        .envs(&launch.env)
        .current_dir(&launch.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: the closure only makes system calls; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            #[cfg(target_os = "linux")]
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            // The core may have died before the line above took hold.
            if nix::unistd::getppid() != core {
                return Err(nix::errno::Errno::ESRCH.into());
            }
            Ok(())
        });
    }
    command.spawn()
}

/// A running process that leads its own group. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Option<Pid>,
    exit: ExitWatch,
}

impl Process {
    fn guard(child: Child) -> io::Result<Self> {
        let mut guard = Self::unwatched(child);
        guard.exit = ExitWatch::new(Pid::from_raw(guard.pid().cast_signed()))?;
        Ok(guard)
    }

    fn unwatched(child: Child) -> Self {
        let group = Some(Pid::from_raw(child.id().cast_signed()));
        Self {
            child,
            group,
            exit: ExitWatch::None,
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

    /// Signals the process and all that it forked.
    pub fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _gone = killpg(group, signal);
        }
    }

    /// Waits for the end of the process, ends what it left in its group, and reaps it.
    ///
    /// In this order: once a process is reaped the kernel may give its number, and so its group's, to a stranger.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.exit.wait().await?;
        self.end()
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(group) = self.group.take() {
            let _empty = killpg(group, Signal::SIGKILL);
        }
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.group.is_some() {
            let _unused = self.end();
        }
    }
}

/// Tells when a process has ended, without reaping it.
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

/// True if the process has ended and was not reaped: a look, nothing else.
pub fn has_ended(pid: u32) -> bool {
    let id = Id::Pid(Pid::from_raw(pid.cast_signed()));
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    !matches!(waitid(id, flags), Ok(nix::sys::wait::WaitStatus::StillAlive))
}

/// How a process ended, in words: `exit code 2`, `killed by SIGSEGV`.
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
