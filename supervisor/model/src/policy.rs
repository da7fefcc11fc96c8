//! Policies for a module's process and for applying a changed config: what the own optional keys of a config say
//! (`restart`, `health`, `stop`, `limits`, `sandbox`, `output` and so on of a module's entry, `apply` of the whole), as
//! values. The defaults need no thought: they are what a config without any of these keys gets.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Policy for applying a changed config: the top-level key `apply`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyPolicy {
    /// Reaction to a changed part that does not come up.
    pub on_failure: OnFailure,
    /// Time after its end for which a change is watched, for [`OnFailure::Revert`].
    pub window: Duration,
    /// Trial of a change before it is applied.
    pub preflight: Preflight,
}

impl ApplyPolicy {
    /// Values of a config without this section.
    pub const DEFAULT: Self = Self {
        on_failure: OnFailure::Keep,
        window: Duration::from_secs(10),
        preflight: Preflight::Running,
    };
}

impl Default for ApplyPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reaction to a changed part that does not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Keep the change: what works stays applied, the rest is tried again.
    #[default]
    Keep,
    /// The whole change goes back.
    Revert,
}

impl OnFailure {
    /// Words of the config, the default first.
    pub const WORDS: [(&'static str, Self); 2] = [("keep", Self::Keep), ("revert", Self::Revert)];
}

/// Trial of a change before it is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preflight {
    /// Running modules are asked what they think of it.
    #[default]
    Running,
    /// Besides, each changed module is started once more beside the running one, asked, and ended.
    Spare,
}

impl Preflight {
    /// Words of the config, the default first.
    pub const WORDS: [(&'static str, Self); 2] = [("running", Self::Running), ("spare", Self::Spare)];
}

/// Policy of a module: all that its entry says of its process.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Restarts after an end that nobody asked for.
    pub restart: Restart,
    /// Detection of a hang, and the reaction.
    pub health: Health,
    /// Way to stop it.
    pub stop: Stop,
    /// Resources that it may use.
    pub limits: Limits,
    /// Parts of the system that it may touch.
    pub sandbox: Sandbox,
    /// Destinations of its output besides the log.
    pub output: Output,
    /// Files whose change restarts it by itself.
    pub watch: Watch,
    /// Build of its program before a reload.
    pub build: Option<Build>,
    /// Whether what it left moving in *other* modules is left alone when it dies, hangs or is stopped.
    pub keep_moving: bool,
    /// Calls that it may make.
    pub access: ModuleAccess,
}

/// Calls that a module may make of other resources and of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ModuleAccess {
    /// All.
    #[default]
    Everything,
    /// Those of what its resources depend on, and those that read the machine.
    Dependencies,
    /// Those that the roles of these names allow.
    Roles(Vec<String>),
}

impl ModuleAccess {
    /// Words of the config, the default first.
    pub const WORDS: [(&'static str, Self); 2] =
        [("everything", Self::Everything), ("dependencies", Self::Dependencies)];
}

impl Policy {
    /// The same without all that a process cannot tell: one that was started with the one is as good with the other.
    #[must_use]
    pub fn seen_by_process(&self) -> Self {
        // Taken apart so that whoever adds a key has to say which kind it is.
        let Self {
            restart: _,
            health: _,
            stop: _,
            limits,
            sandbox,
            output: _,
            watch: _,
            build: _,
            keep_moving: _,
            access: _,
        } = self.clone();
        Self {
            limits,
            sandbox,
            ..Self::default()
        }
    }

    /// Keys of the config by which `other` differs.
    #[must_use]
    pub fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart so that a new key cannot be forgotten here.
        let Self {
            restart,
            health,
            stop,
            limits,
            sandbox,
            output,
            watch,
            build,
            keep_moving,
            access,
        } = self;
        let keys = [
            ("restart", *restart != other.restart),
            ("health", *health != other.health),
            ("stop", *stop != other.stop),
            ("limits", *limits != other.limits),
            ("sandbox", *sandbox != other.sandbox),
            ("output", *output != other.output),
            ("watch", *watch != other.watch),
            ("reload", *build != other.build),
            ("keep_moving", *keep_moving != other.keep_moving),
            ("access", *access != other.access),
        ];
        let changed = keys.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| key).collect()
    }
}

/// Restarts of a module. An end of its own accord, and a failed start, count as failures in the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct Restart {
    /// After which ends.
    pub when: RestartWhen,
    /// Pause before the first try after a quiet time, and before all others of the burst.
    pub first: Duration,
    /// Budget of tries between two quiet times that wait for [`first`](Self::first) only, after an end of a process
    /// that had become READY. The first try waits for no more in any case, so 0 and 1 are the same: no burst.
    pub burst: u32,
    /// Pause before the try that follows the burst.
    pub then: Duration,
    /// Factor by which each further pause is longer than the one before.
    pub factor: f64,
    /// Share of a pause, 0 to 1, by which it is made longer or shorter at random, so that modules that died together do
    /// not start together.
    pub jitter: f64,
    /// Longest pause, before jitter.
    pub max_delay: Duration,
    /// Failures in a row, none of them followed by a quiet time, after which no try follows. `None`: never give up.
    pub limit: Option<u32>,
    /// Uninterrupted READY after which the next failure counts as the first, and the whole burst may be used again.
    pub quiet: Duration,
}

impl Restart {
    /// Values of a config without this section.
    pub const DEFAULT: Self = Self {
        when: RestartWhen::Always,
        first: Duration::ZERO,
        burst: 5,
        then: Duration::from_millis(500),
        factor: 2.0,
        jitter: 0.2,
        max_delay: Duration::from_secs(30),
        limit: None,
        quiet: Duration::from_secs(60),
    };
}

impl Default for Restart {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// After which ends a module is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartWhen {
    /// After every end that nobody asked for.
    #[default]
    Always,
    /// After all but an exit with code 0.
    OnFailure,
    /// After none.
    Never,
}

impl RestartWhen {
    /// Words of the config, the default first.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("always", Self::Always),
        ("on-failure", Self::OnFailure),
        ("never", Self::Never),
    ];
}

/// Detection of a module that hangs.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Pause between two probes.
    pub interval: Duration,
    /// Longest time for the answer to a probe.
    pub timeout: Duration,
    /// Longest time that a module which answers no probe, sends no frame and makes no call is left alive.
    pub kill_after: Duration,
    /// After how long a unary call counts as one that never returns. Ten times as much where a call may rightly last:
    /// one that sets something moving, and DoCommand, which may do anything.
    pub stuck_after: Duration,
    /// Reaction to a call that never returns, to a resource in a module that is otherwise alive.
    pub on_stuck_call: OnStuckCall,
    /// Longest time from spawn to Ready. `None`: the core's own limit (`VIAM_MODULE_STARTUP_TIMEOUT`, 5 min).
    pub start_timeout: Option<Duration>,
}

impl Health {
    /// Values of a config without this section.
    pub const DEFAULT: Self = Self {
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(2),
        kill_after: Duration::from_secs(30),
        // A reading takes milliseconds, the slowest of cameras some seconds, and what waits for a model to be loaded
        // perhaps ten; whoever waits for half a minute wants to know. Default deadlines of SDKs are a minute and more.
        stuck_after: Duration::from_secs(30),
        on_stuck_call: OnStuckCall::Report,
        start_timeout: None,
    };
}

impl Default for Health {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Reaction to a call that never returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStuckCall {
    /// The status shows it.
    #[default]
    Report,
    /// The module is restarted.
    Restart,
}

impl OnStuckCall {
    /// Words of the config, the default first.
    pub const WORDS: [(&'static str, Self); 2] = [("report", Self::Report), ("restart", Self::Restart)];
}

/// Way to stop a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// Time for calls in flight before a planned stop.
    pub drain: Duration,
    /// Time from SIGTERM to SIGKILL.
    pub grace: Duration,
}

impl Stop {
    /// Values of a config without this section.
    pub const DEFAULT: Self = Self {
        drain: Duration::from_secs(2),
        grace: Duration::from_secs(10),
    };
}

impl Default for Stop {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Limits of a module's resources. `None`: as much as it likes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Limits {
    /// Memory of all its processes together, in bytes.
    pub memory: Option<u64>,
    /// Processors: 0.5 is half of one.
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub pids: Option<u32>,
    /// Open files of each of its processes.
    pub open_files: Option<u64>,
}

/// Sandbox of a module.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sandbox {
    /// Whether nothing that it runs can gain rights (setuid programs, file capabilities). On as soon as anything else
    /// here is set.
    pub no_new_privs: bool,
    /// The only paths below which it may write, its own data directory and runtime sockets besides. `None`: no limit.
    pub writable: Option<Vec<PathBuf>>,
    /// Paths that it cannot see.
    pub hidden: Vec<PathBuf>,
    /// Filter of system calls.
    pub seccomp: Option<Seccomp>,
    /// User to run as.
    pub user: Option<String>,
    /// Group to run as. `None`: the user's own.
    pub group: Option<String>,
}

/// A set of forbidden system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seccomp {
    /// Filter of all that changes the machine as a whole: mounting, loading kernel modules, tracing others, rebooting,
    /// setting the clock, BPF, kexec and the like.
    Default,
    /// Same filter, and no sockets but UNIX ones.
    NoNetwork,
}

impl Seccomp {
    /// Words of the config.
    pub const WORDS: [(&'static str, Self); 2] = [("default", Self::Default), ("no-network", Self::NoNetwork)];
}

/// Files whose change restarts a module by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Watch {
    /// None.
    #[default]
    Off,
    /// Its program; if that is a script, also the code in its folder.
    Program,
    /// Its program, these files, and what lies in these folders.
    Paths(Vec<PathBuf>),
}

impl Watch {
    /// True if it looks at anything.
    #[must_use]
    pub fn is_on(&self) -> bool {
        *self != Self::Off
    }

    /// Paths that the config names.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Paths(paths) => paths,
            Self::Off | Self::Program => &[],
        }
    }
}

/// As it is written in a config.
impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("false"),
            Self::Program => f.write_str("true"),
            Self::Paths(paths) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "[{}]", paths.join(", "))
            }
        }
    }
}

/// Build of a module's program before a reload: the key `reload` with a `build` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Command for `/bin/sh -c`.
    pub command: String,
    /// Working directory.
    pub directory: PathBuf,
    /// Longest time that it may take.
    pub timeout: Duration,
}

impl Build {
    /// `timeout` of a config without it.
    pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);
}

/// Files in which a module's output is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The file; `None`: memory alone. Older ones get `.1`, `.2` and so on behind their name.
    pub file: Option<PathBuf>,
    /// Bytes after which a new file is begun.
    pub max_size: u64,
    /// Files that are kept, the present one included.
    pub keep: u32,
}

impl Output {
    /// Values of a config without this section.
    pub const DEFAULT: Self = Self {
        file: None,
        max_size: 10 << 20,
        keep: 3,
    };
}

impl Default for Output {
    fn default() -> Self {
        Self::DEFAULT
    }
}
