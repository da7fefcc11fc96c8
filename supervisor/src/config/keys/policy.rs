//! How a module is to be treated.

use super::{Key, Section, Takes};

/// After which ends a module is started again.
pub(super) const RESTARTS: &[&str] = &["always", "on-failure", "never"];

/// `restart` as a map.
pub(in crate::config) static RESTART: Section = Section::new(
    "`restart`",
    "restart",
    &[
        Key::new("policy", Takes::Word(RESTARTS), "After which ends it is started again.").usual("\"always\""),
        Key::new(
            "first",
            Takes::Duration,
            "Pause before the first try, and before the others of the burst.",
        )
        .usual("\"0s\""),
        Key::new(
            "burst",
            Takes::Whole(0, 100),
            "How many tries wait only `first`, each after an end of a process that had been ready, before `quiet` is over; with 0 or 1 the first alone.",
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
        Key::new("max_delay", Takes::Duration, "Longest pause.").usual("\"30s\""),
        Key::new(
            "limit",
            Takes::Either(&[Takes::Whole(1, 1_000_000), Takes::Word(&["none"])]),
            "Failures in a row after which it stays stopped.",
        )
        .usual("\"none\""),
        Key::new(
            "quiet",
            Takes::Duration,
            "How long it must be ready for the count to start anew.",
        )
        .usual("\"1m\""),
    ],
);

/// `health`.
pub(in crate::config) static HEALTH: Section = Section::new(
    "`health`",
    "health",
    &[
        Key::new("interval", Takes::Duration, "Pause between two probes.").usual("\"2s\""),
        Key::new("timeout", Takes::Duration, "How long the answer may take.").usual("\"2s\""),
        Key::new("kill_after", Takes::Duration, "How long it may show no sign of life.").usual("\"30s\""),
        Key::new(
            "stuck_after",
            Takes::Duration,
            "After how long a call counts as one that never returns.",
        )
        .usual("\"30s\""),
        Key::new(
            "on_stuck_call",
            Takes::Word(&["report", "restart"]),
            "What follows then.",
        )
        .usual("\"report\""),
        Key::new("start_timeout", Takes::Duration, "Longest time from start to ready."),
    ],
);

/// `stop`.
pub(in crate::config) static STOP: Section = Section::new(
    "`stop`",
    "stop",
    &[
        Key::new("drain", Takes::Duration, "How long running calls may go on.").usual("\"2s\""),
        Key::new("grace", Takes::Duration, "From SIGTERM to SIGKILL.").usual("\"10s\""),
    ],
);

/// `limits`.
pub(in crate::config) static LIMITS: Section = Section::new(
    "`limits`",
    "limits",
    &[
        Key::new("memory", Takes::Size, "Memory of all its processes together."),
        Key::new("cpu", Takes::Number(0.01, 4096.0), "Processors; 0.5 is half of one."),
        Key::new("pids", Takes::Whole(1, 4_194_304), "Processes and threads."),
        Key::new("open_files", Takes::Whole(16, 1_048_576), "Open files of each process."),
    ],
);

/// `sandbox`.
pub(in crate::config) static SANDBOX: Section = Section::new(
    "`sandbox`",
    "sandbox",
    &[
        Key::new("no_new_privs", Takes::Flag, "Nothing that it runs can gain rights."),
        Key::new(
            "writable",
            Takes::List(&Takes::Text),
            "The only paths below which it may write.",
        ),
        Key::new("hidden", Takes::List(&Takes::Text), "Paths that it cannot see."),
        Key::new(
            "seccomp",
            Takes::Word(&["default", "no-network"]),
            "Which system calls it may not make.",
        ),
        Key::new("user", Takes::Text, "User to run as."),
        Key::new("group", Takes::Text, "Group to run as."),
    ],
);

/// `output` as a map.
pub(in crate::config) static OUTPUT: Section = Section::new(
    "`output`",
    "output",
    &[
        Key::new(
            "file",
            Takes::Text,
            "The file; older ones get a number behind their name.",
        ),
        Key::new("max_size", Takes::Size, "Size after which a new file is begun.").usual("\"10MiB\""),
        Key::new("keep", Takes::Whole(1, 1000), "How many files are kept.").usual("3"),
    ],
)
.requiring(&["file"]);
