//! The top level, and the smaller sections.

use super::connections::{AUTH, CLOUD, NETWORK, REMOTE};
use super::entries::{COMPONENT, LOG_CONFIGURATION, MODULE, SERVICE, STATUS};
use super::{Key, Section, Takes};
use crate::include;
use crate::packages::PACKAGE_TYPES;

/// The whole config.
pub(crate) static MACHINE: Section = Section::new(
    "the config",
    "machine",
    &[
        Key::new(
            "components",
            Takes::List(&Takes::Map(&COMPONENT)),
            "Parts of the machine: arms, motors, cameras.",
        ),
        Key::new(
            "services",
            Takes::List(&Takes::Map(&SERVICE)),
            "What works with parts: vision, navigation.",
        ),
        Key::new(
            "modules",
            Takes::List(&Takes::Map(&MODULE)),
            "Programs that bring models of components and services.",
        ),
        Key::new(
            "packages",
            Takes::List(&Takes::Map(&PACKAGE)),
            "Files that a cloud delivers.",
        ),
        Key::new(
            "remotes",
            Takes::List(&Takes::Map(&REMOTE)),
            "Other machines whose resources are imported.",
        ),
        Key::new("network", Takes::Map(&NETWORK), "Where and how the machine listens."),
        Key::new(
            "auth",
            Takes::Map(&AUTH),
            "Who may connect. Everybody, if it is not there.",
        ),
        Key::new(
            "cloud",
            Takes::Map(&CLOUD),
            "How the machine reaches its cloud. A purely local machine, if it is not there.",
        ),
        Key::new(
            "jobs",
            Takes::List(&Takes::Map(&JOB)),
            "Calls that the machine makes itself, by schedule.",
        ),
        Key::new(
            "log",
            Takes::List(&Takes::Map(&LOG_RULE)),
            "Levels by logger name. A later rule wins.",
        ),
        Key::new("disable_log_deduplication", Takes::Flag, "Keep repeated log lines.").usual("false"),
        Key::new("debug", Takes::Flag, "Log everything.").usual("false"),
        Key::new("tracing", Takes::Map(&TRACING), "Where traces of calls go."),
        Key::new(
            "maintenance",
            Takes::Map(&MAINTENANCE),
            "A sensor that says when changes may be applied.",
        ),
        Key::new("enable_web_profile", Takes::Flag, "Serve profiles of the process.").usual("false"),
        Key::new(
            "revision",
            Takes::Text,
            "Set by whoever made the file; reported in the status.",
        )
        .usual("\"\""),
        Key::new(
            "processes",
            Takes::List(&Takes::Map(&PROCESS)),
            "Abolished: nothing runs them.",
        ),
        Key::new("apply", Takes::Map(&APPLY), "How a changed config is applied."),
        Key::new(
            include::KEY,
            Takes::Either(&[Takes::Text, Takes::List(&Takes::Text)]),
            "Further files, relative to this one. Lists of entries are put behind each other.",
        ),
    ],
);

/// An item of `log`.
pub(crate) static LOG_RULE: Section = Section::new(
    "an item of `log`",
    "log_rule",
    &[
        Key::new("pattern", Takes::Text, "A whole logger name; `*` stands for any text."),
        Key::new(
            "level",
            Takes::AnyCase(super::entries::LEVELS),
            "What those loggers log.",
        ),
    ],
)
.requiring(&["pattern", "level"]);

/// An item of `packages`.
pub(crate) static PACKAGE: Section = Section::new(
    "a package",
    "package",
    &[
        Key::new("name", Takes::Text, "Its name here; placeholders use it."),
        Key::new("package", Takes::Text, "Its id, `org/name`."),
        Key::new("version", Takes::Text, "Which version."),
        Key::new("type", Takes::Word(&PACKAGE_TYPES), "What is in it."),
        Key::new("status", Takes::Map(&STATUS), "Set by a cloud that refuses it."),
    ],
)
.requiring(&["name", "package", "type"]);

/// An item of `jobs`.
pub(crate) static JOB: Section = Section::new(
    "a job",
    "job",
    &[
        Key::new("name", Takes::Text, "Its name, of which there is one."),
        Key::new(
            "schedule",
            Takes::Text,
            "`continuous`, a duration like `30s`, or cron fields like `0 3 * * *`.",
        ),
        Key::new("resource", Takes::Text, "Simple name of the resource that is called."),
        Key::new("method", Takes::Text, "Method of its API, for example `DoCommand`."),
        Key::new("command", Takes::Free, "The command, for `DoCommand`."),
        Key::new(
            "log_configuration",
            Takes::Map(&LOG_CONFIGURATION),
            "How much is logged of it.",
        ),
    ],
)
.requiring(&["name", "schedule", "resource", "method"]);

/// `tracing`.
pub(crate) static TRACING: Section = Section::new(
    "`tracing`",
    "tracing",
    &[
        Key::new("enabled", Takes::Flag, "Trace at all.").usual("false"),
        Key::new("disk", Takes::Flag, "Into files below VIAM_HOME.").usual("false"),
        Key::new("console", Takes::Flag, "Into the log.").usual("false"),
        Key::new("otlpendpoint", Takes::Text, "To a collector at `host:port`.").usual("\"\""),
    ],
);

/// `maintenance`.
pub(crate) static MAINTENANCE: Section = Section::new(
    "`maintenance`",
    "maintenance",
    &[
        Key::new(
            "sensor_name",
            Takes::Text,
            "Full name of a sensor, like `rdk:component:sensor/idle`.",
        ),
        Key::new(
            "maintenance_allowed_key",
            Takes::Text,
            "The reading that is `true` when changes may be applied.",
        ),
    ],
);

/// `apply`.
pub(crate) static APPLY: Section = Section::new(
    "`apply`",
    "apply",
    &[
        Key::new(
            "on_failure",
            Takes::Word(&["keep", "revert"]),
            "What follows when a changed part does not come up: what works stays, or the whole change goes back.",
        )
        .usual("\"keep\""),
        Key::new(
            "window",
            Takes::Duration,
            "How long a change is watched before it counts as good.",
        )
        .usual("\"10s\""),
        Key::new(
            "preflight",
            Takes::Word(&["running", "spare"]),
            "How a change is tried before: running modules are asked, or changed ones are started beside the running.",
        )
        .usual("\"running\""),
    ],
);

/// An item of `processes`.
pub(crate) static PROCESS: Section = Section::new(
    "a process",
    "process",
    &[
        Key::new("id", Takes::Ignored, "Not used."),
        Key::new("name", Takes::Ignored, "Not used."),
        Key::new("args", Takes::Ignored, "Not used."),
        Key::new("cwd", Takes::Ignored, "Not used."),
        Key::new("one_shot", Takes::Ignored, "Not used."),
        Key::new("username", Takes::Ignored, "Not used."),
        Key::new("env", Takes::Ignored, "Not used."),
        Key::new("log", Takes::Ignored, "Not used."),
        Key::new("stop_signal", Takes::Text, "Not used."),
        Key::new("stop_timeout", Takes::Duration, "Not used."),
    ],
);
