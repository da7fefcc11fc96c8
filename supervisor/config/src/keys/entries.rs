//! Resources, their frames, and modules.

use mainstay_model::ModuleType;

use super::ValueType::{
    AnyCase, Api, Either, Flag, Free, Ignored, Interval, List, Map, Model, Number, Subtype, Text, Texts, Word,
};
use super::policy::{ACCESS, ACCESSES, HEALTH, LIMITS, OUTPUT, RELOAD, RESTART, RESTARTS, SANDBOX, STOP};
use super::{HOUR, Section, keys, words};
use crate::frame::{ORIENTATIONS, SHAPES};

/// The log levels.
pub(super) const LEVELS: &[&str] = &["debug", "info", "warn", "warning", "error"];
const MODULE_TYPES: &[&str] = &words(&ModuleType::WORDS);
/// A number of any size.
const NUMBER: super::ValueType = Number(f64::MIN, f64::MAX);

/// A component or a service, which differ in the standard APIs.
macro_rules! resource_keys {
    ($kind:literal) => {
        keys! {
            "name": Text, "Its name: letters, digits, dashes and underscores, at most 60.";
            "api": Either(&[Api, Map(&API)]),
                "Which calls it takes: `namespace:type:subtype`, like `rdk:component:motor`.";
            "namespace": Text, default Text("rdk"), "The older way to say the first part of `api`.";
            "type": Subtype($kind), "The older way to say the last part of `api`, like `motor`, or all of it.";
            "model": Either(&[Model, Map(&MODEL)]),
                "Who implements it: `namespace:family:name`, or one word for what is built in.";
            "attributes": Free,
                "What its model wants to know; the module looks inside. Texts may hold `${packages.TYPE.NAME}` and `${environment.NAME}`.";
            "depends_on": List(&Text), "Names of resources that must be ready before it.";
            "frame": Map(&FRAME), "Where it sits, for whatever calculates with places.";
            "service_configs": List(&Map(&SERVICE_CONFIG)),
                but Unmet("no data manager is built in, so nothing is captured; its module alone gets to see it"),
                "What services want to know about it.";
            "log_configuration": Map(&LOG_CONFIGURATION), "How much it logs.";
        }
    };
}

/// An item of `components`.
pub(crate) static COMPONENT: Section =
    Section::new("a component", "component", resource_keys!("component")).requiring(&["name", "model"]);

/// An item of `services`.
pub(crate) static SERVICE: Section = Section::new("a service", "service", resource_keys!("service"));

/// `api` in parts.
pub(crate) static API: Section = Section::new(
    "`api`",
    "api",
    keys! {
        "namespace": Text, default Text("rdk"), "Who defined it.";
        "type": Word(&["component", "service"]), "Which kind of API.";
        "subtype": Text, "Which API.";
    },
)
.requiring(&["subtype"]);

/// `model` in parts.
pub(crate) static MODEL: Section = Section::new(
    "`model`",
    "model",
    keys! {
        "namespace": Text, default Text("rdk"), "Who made it.";
        "model_family": Text, default Text("builtin"), "The family.";
        "name": Text, "The model.";
    },
)
.requiring(&["name"]);

/// `log_configuration`.
pub(crate) static LOG_CONFIGURATION: Section = Section::new(
    "`log_configuration`",
    "log_configuration",
    keys! {
        "level": AnyCase(LEVELS), "From this level on it is logged.";
    },
);

/// An item of `service_configs`.
pub(crate) static SERVICE_CONFIG: Section = Section::new(
    "an item of `service_configs`",
    "service_config",
    keys! {
        "type": Subtype("service"), "The service, like `data_manager`, or its API.";
        "attributes": Free, "What it wants to know.";
    },
)
.requiring(&["type"]);

/// `status` of a module or package.
pub(crate) static STATUS: Section = Section::new(
    "`status`",
    "status",
    keys! {
        "error": Text, "Why a cloud refuses it.";
    },
);

/// `frame`.
pub(crate) static FRAME: Section = Section::new(
    "`frame`",
    "frame",
    keys! {
        "parent": Text, "The frame it hangs in, for example `world`.";
        "id": Text, "Its own name, if it is not that of the resource.";
        "translation": Map(&TRANSLATION), "From the parent's origin, in millimetres.";
        "orientation": Map(&ORIENTATION), "How it is turned.";
        "geometry": Map(&GEOMETRY), "Its shape, in millimetres.";
    },
)
.requiring(&["parent"]);

/// `translation`.
pub(crate) static TRANSLATION: Section = Section::new(
    "`translation`",
    "translation",
    keys! {
        "x": NUMBER, default Number(0.0), "Along x.";
        "y": NUMBER, default Number(0.0), "Along y.";
        "z": NUMBER, default Number(0.0), "Along z.";
    },
);

/// `orientation`.
pub(crate) static ORIENTATION: Section = Section::new(
    "`orientation`",
    "orientation",
    keys! {
        "type": Word(&ORIENTATIONS), "How it is written.";
        "value": Either(&[Map(&VECTOR), Map(&EULER), Map(&QUATERNION)]), "The numbers.";
    },
);

/// The value of an orientation by a vector or an axis.
pub(crate) static VECTOR: Section = Section::new(
    "`value`",
    "orientation_vector",
    keys! {
        "x": NUMBER, default Number(0.0), "Along x.";
        "y": NUMBER, default Number(0.0), "Along y.";
        "z": NUMBER, default Number(0.0), "Along z.";
        "th": NUMBER, default Number(0.0), "The turn around it, in degrees or radians as the type says.";
    },
);

/// The value of an orientation by Euler angles.
pub(crate) static EULER: Section = Section::new(
    "`value`",
    "orientation_euler",
    keys! {
        "roll": NUMBER, default Number(0.0), "Around x, in radians.";
        "pitch": NUMBER, default Number(0.0), "Around y, in radians.";
        "yaw": NUMBER, default Number(0.0), "Around z, in radians.";
    },
);

/// The value of an orientation by a quaternion.
pub(crate) static QUATERNION: Section = Section::new(
    "`value`",
    "orientation_quaternion",
    keys! {
        "w": NUMBER, default Number(0.0), "The real part.";
        "x": NUMBER, default Number(0.0), "Along x.";
        "y": NUMBER, default Number(0.0), "Along y.";
        "z": NUMBER, default Number(0.0), "Along z.";
    },
);

/// `geometry`.
pub(crate) static GEOMETRY: Section = Section::new(
    "`geometry`",
    "geometry",
    keys! {
        "type": Word(&SHAPES), "What it is; guessed from the other keys if it is not there.";
        "x": NUMBER, "Edge of a box along x.";
        "y": NUMBER, "Edge of a box along y.";
        "z": NUMBER, "Edge of a box along z.";
        "r": NUMBER, "Radius of a sphere or capsule.";
        "l": NUMBER, "Length of a capsule, from end to end.";
        "translation": Map(&TRANSLATION), "From the origin of the frame to its centre.";
        "orientation": Map(&ORIENTATION), "How it is turned against the frame.";
        "label": Text, "Its name.";
        "mesh_data": Text, "Content of a mesh file, as base64.";
        "mesh_content_type": Text, "What kind of file, for example `ply`.";
        "mesh_file_path": Text, "Where it came from.";
    },
);

/// An item of `modules`.
pub(crate) static MODULE: Section = Section::new(
    "a module",
    "module",
    keys! {
        "name": Text, "Its name; no other module has the same.";
        "type": Word(MODULE_TYPES),
            "Where the program comes from. Nothing is downloaded: a `registry` module has to be there already.";
        "executable_path": Text,
            "The program, or a tarball (`.tgz`, `.tar.gz`) that holds it: absolute, `~/…`, or relative to this file. May hold placeholders.";
        "module_id": Text, "Its name in the registry, `namespace:name`.";
        "version": Ignored, "Which version of the registry it is of. Nothing is downloaded: what is there runs.";
        "log_level": Text, "How much it logs; passed on as `--log-level`.";
        "env": Texts, "Variables of its environment. Values may hold placeholders.";
        "tcp_mode": Flag, default Flag(false),
            "Speak TCP on a loopback port instead of a UNIX socket. `VIAM_TCP_SOCKETS=1` in the machine's environment is the same for all modules.";
        "first_run_timeout": Interval, default Duration(HOUR),
            "How long the script `first_run` of its `meta.json` may take, once, before its first start.";
        "status": Map(&STATUS), "Set by a cloud that refuses it.";
        "restart": Either(&[Word(RESTARTS), Map(&RESTART)]), default Text(RESTARTS[0]),
            "After which unasked ends it is started again: a word, or a map with pauses and limits.";
        "health": Map(&HEALTH), "How it is noticed that it hangs.";
        "stop": Map(&STOP), "How it is stopped when somebody asks for it.";
        "limits": Map(&LIMITS), "What it may use; `mainstay status MODULE` shows how each limit is held.";
        "sandbox": Map(&SANDBOX),
            "What it may touch. A key that this host cannot honour keeps the module from starting.";
        "output": Either(&[Text, Map(&OUTPUT)]),
            "A file for what it prints and logs, besides the log of the machine: a path, or a map.";
        "watch": Either(&[Flag, List(&Text)]), default Flag(false),
            "Restart it when its program changes, of a script also the code in its folder; or, as a list of paths, its program, these files and folders.";
        "reload": Map(&RELOAD), "How its program is built before it is reloaded.";
        "keep_moving": Flag, default Flag(false),
            "Leave what it moved in other modules moving when it dies, hangs or is stopped.";
        "access": Either(&[Word(ACCESSES), Map(&ACCESS)]), default Text(ACCESSES[0]),
            "What it may call besides its own resources: `everything`, its `dependencies`, or what roles allow. A change counts at once.";
    },
)
.requiring(&["name", "executable_path"]);
