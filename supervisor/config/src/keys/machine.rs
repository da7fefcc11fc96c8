//! The top level, and the smaller sections.

use std::time::Duration as Time;

use mainstay_model::{ApplyPolicy, OnFailure, Preflight};

use super::ValueType::{AnyCase, Duration, Either, Flag, Free, Ignored, Interval, List, Map, Text, Word};
use super::access::AUTH;
use super::connections::{CLOUD, NETWORK, PART, REMOTE};
use super::entries::{COMPONENT, LOG_CONFIGURATION, MODULE, SERVICE, STATUS};
use super::{HOUR, Section, keys, words};
use crate::packages::PACKAGE_TYPES;

const ON_FAILURE: &[&str] = &words(&OnFailure::WORDS);
const PREFLIGHT: &[&str] = &words(&Preflight::WORDS);

/// The whole config.
pub(crate) static MACHINE: Section = Section::new(
    "the config",
    "machine",
    keys! {
        "components": List(&Map(&COMPONENT)), "Parts of the machine: arms, motors, cameras.";
        "services": List(&Map(&SERVICE)), "What works with parts: vision, navigation.";
        "modules": List(&Map(&MODULE)), "Programs that bring models of components and services.";
        "packages": List(&Map(&PACKAGE)),
            "Files that placeholders `${packages.TYPE.NAME}` stand for. Nothing is downloaded; an `ml_model` that is there is linked as `VIAM_HOME/packages/NAME`.";
        "remotes": List(&Map(&REMOTE)),
            "Other machines whose resources are imported.";
        "parts": List(&Map(&PART)),
            "Configs that this main part hands down to its sub-parts. A sub-part needs no item here to be used.";
        "network": Map(&NETWORK), "Where and how the machine listens.";
        "auth": Map(&AUTH), "Who may connect. Without it everybody who reaches the port may.";
        "cloud": Map(&CLOUD), but Unmet("no cloud is asked for a config or sent anything; this file is the whole config"),
            "How the machine reaches its cloud.";
        "jobs": List(&Map(&JOB)),
            "Calls that the machine makes by itself, by the clock. The last 10 runs of each that went well and that failed are in the machine's status.";
        "log": List(&Map(&LOG_RULE)), "Levels by logger name. Of several rules that match the last one counts.";
        "disable_log_deduplication": Flag, default Flag(false),
            "Write every line of the log. Otherwise a message is written three times a minute and then counted (never at level debug).";
        "debug": Flag, default Flag(false), "Log everything.";
        "tracing": Map(&TRACING), "Traces of calls: a span for each, between its caller's and the module's.";
        "maintenance": Map(&MAINTENANCE), "A sensor that says when changes of the config may be applied.";
        "enable_web_profile": Flag, default Flag(false),
            "Serve `/debug/graph` (who needs whom, for Graphviz) and `/debug/pprof/` to whoever reaches the port, as `mainstay run --webprofile` does.";
        "revision": Text, default Text(""), "Set by whoever made the file; reported in the status.";
        "processes": List(&Map(&PROCESS)), "Abolished: nothing runs them.";
        "apply": Map(&APPLY), "How a changed config is applied, and whether it goes back by itself.";
        "include": Either(&[Text, List(&Text)]),
            "One further file, or a list of them, relative to the file that names it. Lists of entries are put behind each other, anything else may stand in one file only. Takes no variables.";
    },
);

/// An item of `log`.
pub(crate) static LOG_RULE: Section = Section::new(
    "an item of `log`",
    "log_rule",
    keys! {
        "pattern": Text,
            "A logger name such as `rdk.modmanager.*`: a regular expression in which `.` is a dot and `*` any text, for the whole name.";
        "level": AnyCase(super::entries::LEVELS), "What those loggers log.";
    },
)
.requiring(&["pattern", "level"]);

/// An item of `packages`.
pub(crate) static PACKAGE: Section = Section::new(
    "a package",
    "package",
    keys! {
        "name": Text, "Its name here; placeholders use it.";
        "package": Text, "Its id, `org/name`.";
        "version": Text, "Which version.";
        "type": Word(&PACKAGE_TYPES), "What is in it.";
        "status": Map(&STATUS), "Set by a cloud that refuses it.";
    },
)
.requiring(&["name", "package", "type"]);

/// An item of `jobs`.
pub(crate) static JOB: Section = Section::new(
    "a job",
    "job",
    keys! {
        "name": Text, "Its name, of which there is one.";
        "schedule": Text,
            "`continuous`, a duration like `30s`, or cron fields like `0 3 * * *` in local time, with seconds if there are six. One run at a time: an interval makes up for one run that it missed, cron for none.";
        "resource": Text, "Simple name of the resource that is called.";
        "method": Text,
            "Method of its API as on the wire, for example `DoCommand`. It is sent with the name of the resource alone.";
        "command": Free, "The command, for `DoCommand`.";
        "log_configuration": Map(&LOG_CONFIGURATION), "How much is logged of it.";
    },
)
.requiring(&["name", "schedule", "resource", "method"]);

/// `tracing`.
pub(crate) static TRACING: Section = Section::new(
    "`tracing`",
    "tracing",
    keys! {
        "enabled": Flag, default Flag(false), "Trace at all.";
        "disk": Flag, default Flag(false), "Into files below VIAM_HOME.";
        "console": Flag, default Flag(false), "Into the log.";
        "otlpendpoint": Text, default Text(""), "To a collector at `host:port`.";
    },
);

/// `maintenance`.
pub(crate) static MAINTENANCE: Section = Section::new(
    "`maintenance`",
    "maintenance",
    keys! {
        "sensor_name": Text, "Full name of a sensor, like `rdk:component:sensor/idle`.";
        "maintenance_allowed_key": Text,
            "The reading that is `true` when changes may be applied. It is asked again after 1 s, 2 s, … 30 s; without that sensor at work changes are applied.";
    },
);

/// `apply`.
pub(crate) static APPLY: Section = Section::new(
    "`apply`",
    "apply",
    keys! {
        "on_failure": Word(ON_FAILURE), default Text(ON_FAILURE[0]),
            "What follows when a changed part does not come up: what works stays applied (`keep`), or the whole change goes back (`revert`).";
        // A module that dies later than that is a matter of supervision, not of the change.
        "window": Duration(Time::ZERO, HOUR), default Duration(ApplyPolicy::DEFAULT.window),
            "With `revert`: how long a change is watched before it counts as good.";
        "preflight": Word(PREFLIGHT), default Text(PREFLIGHT[0]),
            "How a change is tried before anything is touched: `running` modules are asked about new and changed entries; with `spare` each new or changed module is also started next to the one that runs, asked, and ended. What does not pass refuses the change under `revert`, and is a warning under `keep`.";
    },
)
.prefixed();

/// An item of `processes`.
pub(crate) static PROCESS: Section = Section::new(
    "a process",
    "process",
    keys! {
        "id": Ignored, "Not used.";
        "name": Ignored, "Not used.";
        "args": Ignored, "Not used.";
        "cwd": Ignored, "Not used.";
        "one_shot": Ignored, "Not used.";
        "username": Ignored, "Not used.";
        "env": Ignored, "Not used.";
        "log": Ignored, "Not used.";
        "stop_signal": Text, "Not used.";
        "stop_timeout": Interval, "Not used.";
    },
);
