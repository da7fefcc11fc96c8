//! Keys of a module's policy.

use super::{Key, Section, ValueType};

/// After which ends a module is started again.
pub(super) const RESTARTS: &[&str] = &["always", "on-failure", "never"];

/// `restart` as a map.
pub(crate) static RESTART: Section = Section::new(
    "`restart`",
    "restart",
    &[
        Key::new(
            "policy",
            ValueType::Word(RESTARTS),
            "After which unasked ends it is started again; `on-failure` is all but exit code 0.",
        )
        .default("\"always\""),
        Key::new(
            "first",
            ValueType::Duration,
            "Pause before the first try after a quiet time, and before the others of the burst.",
        )
        .default("\"0s\""),
        Key::new(
            "burst",
            ValueType::Whole(0, 100),
            "How many tries within `quiet` wait only `first`, each after an end of a process that had been ready; with 0 or 1 the first alone.",
        )
        .default("5"),
        Key::new("then", ValueType::Duration, "Pause before the try that follows the burst.").default("\"500ms\""),
        Key::new(
            "factor",
            ValueType::Number(1.0, 100.0),
            "By how much each further pause is longer.",
        )
        .default("2"),
        Key::new(
            "jitter",
            ValueType::Number(0.0, 1.0),
            "Share by which each pause varies at random.",
        )
        .default("0.2"),
        Key::new("max_delay", ValueType::Duration, "Longest pause between two tries.").default("\"30s\""),
        Key::new(
            "limit",
            ValueType::Either(&[ValueType::Whole(1, 1_000_000), ValueType::Word(&["none"])]),
            "Failures in a row after which it stays stopped; a failed start counts as one.",
        )
        .default("\"none\""),
        Key::new(
            "quiet",
            ValueType::Duration,
            "How long it must be ready for the count of failures to begin anew.",
        )
        .default("\"1m\""),
    ],
);

/// `health`.
pub(crate) static HEALTH: Section = Section::new(
    "`health`",
    "health",
    &[
        Key::new("interval", ValueType::Duration, "How often it is asked whether it is alive.").default("\"2s\""),
        Key::new("timeout", ValueType::Duration, "How long the answer may take before it counts as missing.").default("\"2s\""),
        Key::new("kill_after", ValueType::Duration, "How long it may show no sign of life (answer nothing, send nothing, call nothing) before it is killed.").default("\"30s\""),
        Key::new(
            "stuck_after",
            ValueType::Duration,
            "After how long a unary call is shown as stuck. Ten times that for what moves something, and for DoCommand.",
        )
        .default("\"30s\""),
        Key::new(
            "on_stuck_call",
            ValueType::Word(&["report", "restart"]),
            "What follows then: it is shown in the status, or the module is restarted.",
        )
        .default("\"report\""),
        Key::new("start_timeout", ValueType::Duration, "Longest time from start to ready; 5m, or what `VIAM_MODULE_STARTUP_TIMEOUT` says, if it is not there."),
    ],
);

/// `stop`.
pub(crate) static STOP: Section = Section::new(
    "`stop`",
    "stop",
    &[
        Key::new("drain", ValueType::Duration, "How long running calls may go on before a planned stop, while new ones are refused (Stop is not). What has not ended by then is cut off.").default("\"2s\""),
        Key::new("grace", ValueType::Duration, "Time from SIGTERM to SIGKILL.").default("\"10s\""),
    ],
);

/// `limits`.
pub(crate) static LIMITS: Section = Section::new(
    "`limits`",
    "limits",
    &[
        Key::new(
            "memory",
            ValueType::Size,
            "Memory of all its processes together: held by cgroup version 2, else watched each second.",
        ),
        Key::new(
            "cpu",
            ValueType::Number(0.01, 4096.0),
            "Processors; 0.5 is half of one. Needs cgroup version 2.",
        ),
        Key::new(
            "pids",
            ValueType::Whole(1, 4_194_304),
            "Processes and threads. Needs cgroup version 2, or a `sandbox.user`.",
        ),
        Key::new(
            "open_files",
            ValueType::Whole(16, 1_048_576),
            "Open files of each process.",
        ),
    ],
);

/// `sandbox`.
pub(crate) static SANDBOX: Section = Section::new(
    "`sandbox`",
    "sandbox",
    &[
        Key::new(
            "no_new_privs",
            ValueType::Flag,
            "Nothing that it runs can gain rights. On as soon as another key of `sandbox` is set.",
        ),
        Key::new(
            "writable",
            ValueType::List(&ValueType::Text),
            "The only paths below which it may write, besides its own data and sockets. Devices have to be named.",
        ),
        Key::new("hidden", ValueType::List(&ValueType::Text), "Paths that it cannot see."),
        Key::new(
            "seccomp",
            ValueType::Word(&["default", "no-network"]),
            "Which system calls it may not make: `default` refuses what changes the machine as a whole, `no-network` also all sockets but UNIX ones.",
        ),
        Key::new("user", ValueType::Text, "User to run as; the core must run as root."),
        Key::new(
            "group",
            ValueType::Text,
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
            ValueType::Text,
            "The file; relative paths start at the folder of the config. Older files get a number behind their name.",
        ),
        Key::new("max_size", ValueType::Size, "Size after which a new file is begun.").default("\"10MiB\""),
        Key::new(
            "keep",
            ValueType::Whole(1, 1000),
            "How many files are kept, the present one included.",
        )
        .default("3"),
    ],
)
.requiring(&["file"]);
