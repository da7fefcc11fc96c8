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
            "Files that placeholders `${packages.TYPE.NAME}` stand for. Nothing is downloaded; an `ml_model` that is there is linked as `VIAM_HOME/packages/NAME`.",
        ),
        Key::new(
            "remotes",
            Takes::List(&Takes::Map(&REMOTE)),
            "Other machines whose resources are imported. Read and kept; not in force yet.",
        ),
        Key::new("network", Takes::Map(&NETWORK), "Where and how the machine listens."),
        Key::new(
            "auth",
            Takes::Map(&AUTH),
            "Who may connect. Read and kept; not in force yet, so everybody who reaches the port may.",
        ),
        Key::new(
            "cloud",
            Takes::Map(&CLOUD),
            "How the machine reaches its cloud. Read and kept; not in force yet, so every machine is a purely local one.",
        ),
        Key::new(
            "jobs",
            Takes::List(&Takes::Map(&JOB)),
            "Calls that the machine makes by itself, by the clock. The last 10 runs of each that went well and that failed are in the machine's status.",
        ),
        Key::new(
            "log",
            Takes::List(&Takes::Map(&LOG_RULE)),
            "Levels by logger name. Of several rules that match the last one counts.",
        ),
        Key::new("disable_log_deduplication", Takes::Flag, "Write every line of the log. Otherwise a message is written three times a minute and then counted (never at level debug).").usual("false"),
        Key::new("debug", Takes::Flag, "Log everything.").usual("false"),
        Key::new("tracing", Takes::Map(&TRACING), "Traces of calls: a span for each, between its caller's and the module's."),
        Key::new(
            "maintenance",
            Takes::Map(&MAINTENANCE),
            "A sensor that says when changes of the config may be applied.",
        ),
        Key::new("enable_web_profile", Takes::Flag, "Serve `/debug/graph` (who needs whom, for Graphviz) and `/debug/pprof/` to whoever reaches the port, as `mainstay run --webprofile` does.").usual("false"),
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
        Key::new("apply", Takes::Map(&APPLY), "How a changed config is applied, and whether it goes back by itself."),
        Key::new(
            include::KEY,
            Takes::Either(&[Takes::Text, Takes::List(&Takes::Text)]),
            "One further file, or a list of them, relative to the file that names it. Lists of entries are put behind each other, anything else may stand in one file only. Takes no variables.",
        ),
    ],
);

/// An item of `log`.
pub(crate) static LOG_RULE: Section = Section::new(
    "an item of `log`",
    "log_rule",
    &[
        Key::new("pattern", Takes::Text, "A logger name such as `rdk.modmanager.*`: a regular expression in which `.` is a dot and `*` any text, for the whole name."),
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
            "`continuous`, a duration like `30s`, or cron fields like `0 3 * * *` in local time, with seconds if there are six. One run at a time: an interval makes up for one run that it missed, cron for none.",
        ),
        Key::new("resource", Takes::Text, "Simple name of the resource that is called."),
        Key::new("method", Takes::Text, "Method of its API as on the wire, for example `DoCommand`. It is sent with the name of the resource alone."),
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
            Takes::Word(&["keep", "revert"]),
            "What follows when a changed part does not come up: what works stays applied (`keep`), or the whole change goes back (`revert`).",
        )
        .usual("\"keep\""),
        Key::new(
            "window",
            Takes::Duration,
            "With `revert`: how long a change is watched before it counts as good.",
        )
        .usual("\"10s\""),
        Key::new(
            "preflight",
            Takes::Word(&["running", "spare"]),
            "How a change is tried before anything is touched: `running` modules are asked about new and changed entries; with `spare` each new or changed module is also started next to the one that runs, asked, and ended. What does not pass refuses the change under `revert`, and is a warning under `keep`.",
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
