//! The top level, and the smaller sections.

use super::connections::{AUTH, CLOUD, NETWORK, REMOTE};
use super::entries::{COMPONENT, LOG_CONFIGURATION, MODULE, SERVICE, STATUS};
use super::{Key, Section, ValueType};
use crate::include;
use crate::packages::PACKAGE_TYPES;

/// The whole config.
pub(crate) static MACHINE: Section = Section::new(
    "the config",
    "machine",
    &[
        Key::new(
            "components",
            ValueType::List(&ValueType::Map(&COMPONENT)),
            "Parts of the machine: arms, motors, cameras.",
        ),
        Key::new(
            "services",
            ValueType::List(&ValueType::Map(&SERVICE)),
            "What works with parts: vision, navigation.",
        ),
        Key::new(
            "modules",
            ValueType::List(&ValueType::Map(&MODULE)),
            "Programs that bring models of components and services.",
        ),
        Key::new(
            "packages",
            ValueType::List(&ValueType::Map(&PACKAGE)),
            "Files that placeholders `${packages.TYPE.NAME}` stand for. Nothing is downloaded; an `ml_model` that is there is linked as `VIAM_HOME/packages/NAME`.",
        ),
        Key::new(
            "remotes",
            ValueType::List(&ValueType::Map(&REMOTE)),
            "Other machines whose resources are imported. Read and kept; not in force yet.",
        ),
        Key::new("network", ValueType::Map(&NETWORK), "Where and how the machine listens."),
        Key::new(
            "auth",
            ValueType::Map(&AUTH),
            "Who may connect. Read and kept; not in force yet, so everybody who reaches the port may.",
        ),
        Key::new(
            "cloud",
            ValueType::Map(&CLOUD),
            "How the machine reaches its cloud. Read and kept; not in force yet, so every machine is a purely local one.",
        ),
        Key::new(
            "jobs",
            ValueType::List(&ValueType::Map(&JOB)),
            "Calls that the machine makes by itself, by the clock. The last 10 runs of each that went well and that failed are in the machine's status.",
        ),
        Key::new(
            "log",
            ValueType::List(&ValueType::Map(&LOG_RULE)),
            "Levels by logger name. Of several rules that match the last one counts.",
        ),
        Key::new("disable_log_deduplication", ValueType::Flag, "Write every line of the log. Otherwise a message is written three times a minute and then counted (never at level debug).").default("false"),
        Key::new("debug", ValueType::Flag, "Log everything.").default("false"),
        Key::new("tracing", ValueType::Map(&TRACING), "Traces of calls: a span for each, between its caller's and the module's."),
        Key::new(
            "maintenance",
            ValueType::Map(&MAINTENANCE),
            "A sensor that says when changes of the config may be applied.",
        ),
        Key::new("enable_web_profile", ValueType::Flag, "Serve `/debug/graph` (who needs whom, for Graphviz) and `/debug/pprof/` to whoever reaches the port, as `mainstay run --webprofile` does.").default("false"),
        Key::new(
            "revision",
            ValueType::Text,
            "Set by whoever made the file; reported in the status.",
        )
        .default("\"\""),
        Key::new(
            "processes",
            ValueType::List(&ValueType::Map(&PROCESS)),
            "Abolished: nothing runs them.",
        ),
        Key::new("apply", ValueType::Map(&APPLY), "How a changed config is applied, and whether it goes back by itself."),
        Key::new(
            include::KEY,
            ValueType::Either(&[ValueType::Text, ValueType::List(&ValueType::Text)]),
            "One further file, or a list of them, relative to the file that names it. Lists of entries are put behind each other, anything else may stand in one file only. Takes no variables.",
        ),
    ],
);

/// An item of `log`.
pub(crate) static LOG_RULE: Section = Section::new(
    "an item of `log`",
    "log_rule",
    &[
        Key::new("pattern", ValueType::Text, "A logger name such as `rdk.modmanager.*`: a regular expression in which `.` is a dot and `*` any text, for the whole name."),
        Key::new(
            "level",
            ValueType::AnyCase(super::entries::LEVELS),
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
        Key::new("name", ValueType::Text, "Its name here; placeholders use it."),
        Key::new("package", ValueType::Text, "Its id, `org/name`."),
        Key::new("version", ValueType::Text, "Which version."),
        Key::new("type", ValueType::Word(&PACKAGE_TYPES), "What is in it."),
        Key::new("status", ValueType::Map(&STATUS), "Set by a cloud that refuses it."),
    ],
)
.requiring(&["name", "package", "type"]);

/// An item of `jobs`.
pub(crate) static JOB: Section = Section::new(
    "a job",
    "job",
    &[
        Key::new("name", ValueType::Text, "Its name, of which there is one."),
        Key::new(
            "schedule",
            ValueType::Text,
            "`continuous`, a duration like `30s`, or cron fields like `0 3 * * *` in local time, with seconds if there are six. One run at a time: an interval makes up for one run that it missed, cron for none.",
        ),
        Key::new("resource", ValueType::Text, "Simple name of the resource that is called."),
        Key::new("method", ValueType::Text, "Method of its API as on the wire, for example `DoCommand`. It is sent with the name of the resource alone."),
        Key::new("command", ValueType::Free, "The command, for `DoCommand`."),
        Key::new(
            "log_configuration",
            ValueType::Map(&LOG_CONFIGURATION),
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
        Key::new("enabled", ValueType::Flag, "Trace at all.").default("false"),
        Key::new("disk", ValueType::Flag, "Into files below VIAM_HOME.").default("false"),
        Key::new("console", ValueType::Flag, "Into the log.").default("false"),
        Key::new("otlpendpoint", ValueType::Text, "To a collector at `host:port`.").default("\"\""),
    ],
);

/// `maintenance`.
pub(crate) static MAINTENANCE: Section = Section::new(
    "`maintenance`",
    "maintenance",
    &[
        Key::new(
            "sensor_name",
            ValueType::Text,
            "Full name of a sensor, like `rdk:component:sensor/idle`.",
        ),
        Key::new(
            "maintenance_allowed_key",
            ValueType::Text,
            "The reading that is `true` when changes may be applied. It is asked again after 1 s, 2 s, … 30 s; without that sensor at work changes are applied.",
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
            ValueType::Word(&["keep", "revert"]),
            "What follows when a changed part does not come up: what works stays applied (`keep`), or the whole change goes back (`revert`).",
        )
        .default("\"keep\""),
        Key::new(
            "window",
            ValueType::Duration,
            "With `revert`: how long a change is watched before it counts as good.",
        )
        .default("\"10s\""),
        Key::new(
            "preflight",
            ValueType::Word(&["running", "spare"]),
            "How a change is tried before anything is touched: `running` modules are asked about new and changed entries; with `spare` each new or changed module is also started next to the one that runs, asked, and ended. What does not pass refuses the change under `revert`, and is a warning under `keep`.",
        )
        .default("\"running\""),
    ],
);

/// An item of `processes`.
pub(crate) static PROCESS: Section = Section::new(
    "a process",
    "process",
    &[
        Key::new("id", ValueType::Ignored, "Not used."),
        Key::new("name", ValueType::Ignored, "Not used."),
        Key::new("args", ValueType::Ignored, "Not used."),
        Key::new("cwd", ValueType::Ignored, "Not used."),
        Key::new("one_shot", ValueType::Ignored, "Not used."),
        Key::new("username", ValueType::Ignored, "Not used."),
        Key::new("env", ValueType::Ignored, "Not used."),
        Key::new("log", ValueType::Ignored, "Not used."),
        Key::new("stop_signal", ValueType::Text, "Not used."),
        Key::new("stop_timeout", ValueType::Duration, "Not used."),
    ],
);
