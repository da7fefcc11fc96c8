//! How a module is to be treated.

use super::{Key, Section, Takes};

/// After which ends a module is started again.
pub(super) const RESTARTS: &[&str] = &["always", "on-failure", "never"];

/// `restart` as a map.
pub(crate) static RESTART: Section = Section::new(
    "`restart`",
    "restart",
    &[
        Key::new(
            "policy",
            Takes::Word(RESTARTS),
            "After which unasked ends it is started again; `on-failure` is all but exit code 0.",
        )
        .usual("\"always\""),
        Key::new(
            "first",
            Takes::Duration,
            "Pause before the first try after a quiet time, and before the others of the burst.",
        )
        .usual("\"0s\""),
        Key::new(
            "burst",
            Takes::Whole(0, 100),
            "How many tries within `quiet` wait only `first`, each after an end of a process that had been ready; with 0 or 1 the first alone.",
        )
        .usual("5"),
        Key::new("then", Takes::Duration, "Pause before the try that follows the burst.").usual("\"500ms\""),
        Key::new(
            "factor",
            Takes::Number(1.0, 100.0),
            "By how much each further pause is longer.",
        )
        .usual("2"),
        Key::new(
            "jitter",
            Takes::Number(0.0, 1.0),
            "Share by which each pause varies at random.",
        )
        .usual("0.2"),
        Key::new("max_delay", Takes::Duration, "Longest pause between two tries.").usual("\"30s\""),
        Key::new(
            "limit",
            Takes::Either(&[Takes::Whole(1, 1_000_000), Takes::Word(&["none"])]),
            "Failures in a row after which it stays stopped; a failed start counts as one.",
        )
        .usual("\"none\""),
        Key::new(
            "quiet",
            Takes::Duration,
            "How long it must be ready for the count of failures to begin anew.",
        )
        .usual("\"1m\""),
    ],
);

/// `health`.
pub(crate) static HEALTH: Section = Section::new(
    "`health`",
    "health",
    &[
        Key::new("interval", Takes::Duration, "How often it is asked whether it is alive.").usual("\"2s\""),
        Key::new("timeout", Takes::Duration, "How long the answer may take before it counts as missing.").usual("\"2s\""),
        Key::new("kill_after", Takes::Duration, "How long it may show no sign of life (answer nothing, send nothing, call nothing) before it is killed.").usual("\"30s\""),
        Key::new(
            "stuck_after",
            Takes::Duration,
            "After how long a unary call is shown as stuck. Ten times that for what moves something, and for DoCommand.",
        )
        .usual("\"30s\""),
        Key::new(
            "on_stuck_call",
            Takes::Word(&["report", "restart"]),
            "What follows then: it is shown in the status, or the module is restarted.",
        )
        .usual("\"report\""),
        Key::new("start_timeout", Takes::Duration, "Longest time from start to ready; 5m, or what `VIAM_MODULE_STARTUP_TIMEOUT` says, if it is not there."),
    ],
);

/// `stop`.
pub(crate) static STOP: Section = Section::new(
    "`stop`",
    "stop",
    &[
        Key::new("drain", Takes::Duration, "How long running calls may go on before a planned stop, while new ones are refused (Stop is not). What has not ended by then is cut off.").usual("\"2s\""),
        Key::new("grace", Takes::Duration, "Time from SIGTERM to SIGKILL.").usual("\"10s\""),
    ],
);

/// `limits`.
pub(crate) static LIMITS: Section = Section::new(
    "`limits`",
    "limits",
    &[
        Key::new(
            "memory",
            Takes::Size,
            "Memory of all its processes together: held by cgroup version 2, else watched each second.",
        ),
        Key::new(
            "cpu",
            Takes::Number(0.01, 4096.0),
            "Processors; 0.5 is half of one. Needs cgroup version 2.",
        ),
        Key::new(
            "pids",
            Takes::Whole(1, 4_194_304),
            "Processes and threads. Needs cgroup version 2, or a `sandbox.user`.",
        ),
        Key::new("open_files", Takes::Whole(16, 1_048_576), "Open files of each process."),
    ],
);

/// `sandbox`.
pub(crate) static SANDBOX: Section = Section::new(
    "`sandbox`",
    "sandbox",
    &[
        Key::new(
            "no_new_privs",
            Takes::Flag,
            "Nothing that it runs can gain rights. On as soon as another key of `sandbox` is set.",
        ),
        Key::new(
            "writable",
            Takes::List(&Takes::Text),
            "The only paths below which it may write, besides its own data and sockets. Devices have to be named.",
        ),
        Key::new("hidden", Takes::List(&Takes::Text), "Paths that it cannot see."),
        Key::new(
            "seccomp",
            Takes::Word(&["default", "no-network"]),
            "Which system calls it may not make: `default` refuses what changes the machine as a whole, `no-network` also all sockets but UNIX ones.",
        ),
        Key::new("user", Takes::Text, "User to run as; the core must run as root."),
        Key::new(
            "group",
            Takes::Text,
            "Group to run as; the user's own if it is not there.",
        ),
    ],
);

/// `output` as a map.
pub(crate) static OUTPUT: Section = Section::new(
    "`output`",
    "output",
    &[
        Key::new(
            "file",
            Takes::Text,
            "The file; relative paths start at the folder of the config. Older files get a number behind their name.",
        ),
        Key::new("max_size", Takes::Size, "Size after which a new file is begun.").usual("\"10MiB\""),
        Key::new(
            "keep",
            Takes::Whole(1, 1000),
            "How many files are kept, the present one included.",
        )
        .usual("3"),
    ],
)
.requiring(&["file"]);
