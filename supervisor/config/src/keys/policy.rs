//! Keys of a module's policy.

use std::time::Duration as Time;

use mainstay_model::{Build, Health, ModuleAccess, OnStuckCall, Output, Restart, RestartWhen, Seccomp, Stop};

use super::ValueType::{Duration, Either, Flag, List, Number, Size, Text, Whole, Word};
use super::{DAY, HOUR, Section, keys, words};

/// After which ends a module is started again.
pub(super) const RESTARTS: &[&str] = &words(&RestartWhen::WORDS);
/// What a module may call.
pub(super) const ACCESSES: &[&str] = &words(&ModuleAccess::WORDS);
const STUCK_CALL: &[&str] = &words(&OnStuckCall::WORDS);
const SECCOMP: &[&str] = &words(&Seccomp::WORDS);
/// Shorter pauses would keep a processor busy with nothing else.
const SHORTEST: Time = Time::from_millis(10);
/// Least memory limit: below this no program starts; a smaller number lacks its unit.
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_BYTES: u64 = 1 << 50;
const OUTPUT_DEFAULT: &Output = &Output::DEFAULT;

/// `restart` as a map.
pub(crate) static RESTART: Section = Section::new(
    "`restart`",
    "restart",
    keys! {
        "policy": Word(RESTARTS), default Text(RESTARTS[0]),
            "After which unasked ends it is started again; `on-failure` is all but exit code 0.";
        "first": Duration(Time::ZERO, DAY), default Duration(Restart::DEFAULT.first),
            "Pause before the first try after a quiet time, and before the others of the burst.";
        "burst": Whole(0, 100), default Number(Restart::DEFAULT.burst as f64),
            "How many tries within `quiet` wait only `first`, each after an end of a process that had been ready; with 0 or 1 the first alone.";
        "then": Duration(SHORTEST, DAY), default Duration(Restart::DEFAULT.then),
            "Pause before the try that follows the burst.";
        "factor": Number(1.0, 100.0), default Number(Restart::DEFAULT.factor),
            "By how much each further pause is longer.";
        "jitter": Number(0.0, 1.0), default Number(Restart::DEFAULT.jitter),
            "Share by which each pause varies at random.";
        "max_delay": Duration(SHORTEST, DAY), default Duration(Restart::DEFAULT.max_delay),
            "Longest pause between two tries.";
        "limit": Either(&[Whole(1, 1_000_000), Word(&["none"])]), default Text("none"),
            "Failures in a row after which it stays stopped; a failed start counts as one.";
        "quiet": Duration(SHORTEST, DAY), default Duration(Restart::DEFAULT.quiet),
            "How long it must be ready for the count of failures to begin anew.";
    },
)
.prefixed();

/// `access` as a map.
pub(crate) static ACCESS: Section = Section::new(
    "`access`",
    "access",
    keys! {
        "roles": List(&Text), "Names of built-in roles and of those in `auth.roles`; it may do what any of them allows.";
    },
)
.prefixed()
.requiring(&["roles"]);

/// `health`.
pub(crate) static HEALTH: Section = Section::new(
    "`health`",
    "health",
    keys! {
        "interval": Duration(SHORTEST, HOUR), default Duration(Health::DEFAULT.interval),
            "How often it is asked whether it is alive.";
        "timeout": Duration(SHORTEST, HOUR), default Duration(Health::DEFAULT.timeout),
            "How long the answer may take before it counts as missing.";
        "kill_after": Duration(SHORTEST, DAY), default Duration(Health::DEFAULT.kill_after),
            "How long it may show no sign of life (answer nothing, send nothing, call nothing) before it is killed.";
        "stuck_after": Duration(SHORTEST, DAY), default Duration(Health::DEFAULT.stuck_after),
            "After how long a unary call is shown as stuck. Ten times that for what moves something, and for DoCommand.";
        "on_stuck_call": Word(STUCK_CALL), default Text(STUCK_CALL[0]),
            "What follows then: it is shown in the status, or the module is restarted.";
        "start_timeout": Duration(SHORTEST, DAY),
            "Longest time from start to ready; 5m, or what `VIAM_MODULE_STARTUP_TIMEOUT` says, if it is not there.";
    },
)
.prefixed();

/// `stop`.
pub(crate) static STOP: Section = Section::new(
    "`stop`",
    "stop",
    keys! {
        "drain": Duration(Time::ZERO, HOUR), default Duration(Stop::DEFAULT.drain),
            "How long running calls may go on before a planned stop, while new ones are refused (Stop is not). What has not ended by then is cut off.";
        "grace": Duration(Time::ZERO, HOUR), default Duration(Stop::DEFAULT.grace), "Time from SIGTERM to SIGKILL.";
    },
)
.prefixed();

/// `limits`.
pub(crate) static LIMITS: Section = Section::new(
    "`limits`",
    "limits",
    keys! {
        "memory": Size(LEAST_MEMORY, MOST_BYTES),
            "Memory of all its processes together: held by cgroup version 2, else watched each second.";
        "cpu": Number(0.01, 4096.0), "Processors; 0.5 is half of one. Needs cgroup version 2.";
        // The most that Linux counts to.
        "pids": Whole(1, 4_194_304), "Processes and threads. Needs cgroup version 2, or a `sandbox.user`.";
        // Fewer than 16 do not hold what a module opens before it is ready.
        "open_files": Whole(16, 1_048_576), "Open files of each process.";
    },
)
.prefixed();

/// `sandbox`.
pub(crate) static SANDBOX: Section = Section::new(
    "`sandbox`",
    "sandbox",
    keys! {
        "no_new_privs": Flag,
            "Nothing that it runs can gain rights. On as soon as another key of `sandbox` is set.";
        "writable": List(&Text),
            "The only paths below which it may write, besides its own data and sockets. Devices have to be named.";
        "hidden": List(&Text), "Paths that it cannot see.";
        "seccomp": Word(SECCOMP),
            "Which system calls it may not make: `default` refuses what changes the machine as a whole, `no-network` also all sockets but UNIX ones.";
        "user": Text, "User to run as; the core must run as root.";
        "group": Text, "Group to run as; the user's own if it is not there.";
    },
)
.prefixed();

/// `reload`.
pub(crate) static RELOAD: Section = Section::new(
    "`reload`",
    "reload",
    keys! {
        "build": Text,
            "A command for `/bin/sh` that makes its program anew, run by `mainstay reload` and when what `watch` names has changed. The old process runs on until it has succeeded, and if it fails.";
        "directory": Text, "Where it runs; the folder of the config if it is not there.";
        "timeout": Duration(SHORTEST, DAY), default Duration(Build::TIMEOUT), "How long it may take.";
    },
)
.requiring(&["build"])
.prefixed();

/// `output` as a map.
pub(crate) static OUTPUT: Section = Section::new(
    "`output`",
    "output",
    keys! {
        "file": Text,
            "The file; relative paths start at the folder of the config. Older files get a number behind their name.";
        "max_size": Size(4096, MOST_BYTES), default Size(OUTPUT_DEFAULT.max_size),
            "Size after which a new file is begun.";
        "keep": Whole(1, 1000), default Number(OUTPUT_DEFAULT.keep as f64),
            "How many files are kept, the present one included.";
    },
)
.requiring(&["file"])
.prefixed();
