//! Resources, their frames, and modules.

use super::policy::{HEALTH, LIMITS, OUTPUT, RESTART, SANDBOX, STOP};
use super::{Key, NUMBER, Section, Takes};
use crate::frame::{ORIENTATIONS, SHAPES};

/// The log levels.
pub(super) const LEVELS: &[&str] = &["debug", "info", "warn", "warning", "error"];

/// A component or a service, which differ in the standard APIs.
macro_rules! resource_keys {
    ($kind:literal) => {
        &[
            Key::new(
                "name",
                Takes::Text,
                "Its name: letters, digits, dashes and underscores, at most 60.",
            ),
            Key::new(
                "api",
                Takes::Either(&[Takes::Api, Takes::Map(&API)]),
                "Which calls it takes: `namespace:type:subtype`, like `rdk:component:motor`.",
            ),
            Key::new(
                "namespace",
                Takes::Text,
                "The older way to say the first part of `api`.",
            )
            .usual("\"rdk\""),
            Key::new(
                "type",
                Takes::Subtype($kind),
                "The older way to say the last part of `api`, like `motor`, or all of it.",
            ),
            Key::new(
                "model",
                Takes::Either(&[Takes::Model, Takes::Map(&MODEL)]),
                "Who implements it: `namespace:family:name`, or one word for what is built in.",
            ),
            Key::new(
                "attributes",
                Takes::Free,
                "What its model wants to know; the module looks inside. Texts may hold `${packages.TYPE.NAME}` and \
                 `${environment.NAME}`.",
            ),
            Key::new(
                "depends_on",
                Takes::List(&Takes::Text),
                "Names of resources that must be ready before it.",
            ),
            Key::new(
                "frame",
                Takes::Map(&FRAME),
                "Where it sits, for whatever calculates with places.",
            ),
            Key::new(
                "service_configs",
                Takes::List(&Takes::Map(&SERVICE_CONFIG)),
                "What services want to know about it.",
            ),
            Key::new("log_configuration", Takes::Map(&LOG_CONFIGURATION), "How much it logs."),
        ]
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
    &[
        Key::new("namespace", Takes::Text, "Who defined it.").usual("\"rdk\""),
        Key::new("type", Takes::Word(&["component", "service"]), "Which kind of API."),
        Key::new("subtype", Takes::Text, "Which API."),
    ],
)
.requiring(&["subtype"]);

/// `model` in parts.
pub(crate) static MODEL: Section = Section::new(
    "`model`",
    "model",
    &[
        Key::new("namespace", Takes::Text, "Who made it.").usual("\"rdk\""),
        Key::new("model_family", Takes::Text, "The family.").usual("\"builtin\""),
        Key::new("name", Takes::Text, "The model."),
    ],
)
.requiring(&["name"]);

/// `log_configuration`.
pub(crate) static LOG_CONFIGURATION: Section = Section::new(
    "`log_configuration`",
    "log_configuration",
    &[Key::new(
        "level",
        Takes::AnyCase(LEVELS),
        "From this level on it is logged.",
    )],
);

/// An item of `service_configs`.
pub(crate) static SERVICE_CONFIG: Section = Section::new(
    "an item of `service_configs`",
    "service_config",
    &[
        Key::new(
            "type",
            Takes::Subtype("service"),
            "The service, like `data_manager`, or its API.",
        ),
        Key::new("attributes", Takes::Free, "What it wants to know."),
    ],
)
.requiring(&["type"]);

/// `status` of a module or package.
pub(crate) static STATUS: Section = Section::new(
    "`status`",
    "status",
    &[Key::new("error", Takes::Text, "Why a cloud refuses it.")],
);

/// `frame`.
pub(crate) static FRAME: Section = Section::new(
    "`frame`",
    "frame",
    &[
        Key::new("parent", Takes::Text, "The frame it hangs in, for example `world`."),
        Key::new("id", Takes::Text, "Its own name, if it is not that of the resource."),
        Key::new(
            "translation",
            Takes::Map(&TRANSLATION),
            "From the parent's origin, in millimetres.",
        ),
        Key::new("orientation", Takes::Map(&ORIENTATION), "How it is turned."),
        Key::new("geometry", Takes::Map(&GEOMETRY), "Its shape, in millimetres."),
    ],
)
.requiring(&["parent"]);

const X: Key = Key::new("x", NUMBER, "Along x.").usual("0");
const Y: Key = Key::new("y", NUMBER, "Along y.").usual("0");
const Z: Key = Key::new("z", NUMBER, "Along z.").usual("0");

/// `translation`.
pub(crate) static TRANSLATION: Section = Section::new("`translation`", "translation", &[X, Y, Z]);

/// `orientation`.
pub(crate) static ORIENTATION: Section = Section::new(
    "`orientation`",
    "orientation",
    &[
        Key::new("type", Takes::Word(&ORIENTATIONS), "How it is written."),
        Key::new(
            "value",
            Takes::Either(&[Takes::Map(&VECTOR), Takes::Map(&EULER), Takes::Map(&QUATERNION)]),
            "The numbers.",
        ),
    ],
);

/// The value of an orientation by a vector or an axis.
pub(crate) static VECTOR: Section = Section::new(
    "`value`",
    "orientation_vector",
    &[
        X,
        Y,
        Z,
        Key::new(
            "th",
            NUMBER,
            "The turn around it, in degrees or radians as the type says.",
        )
        .usual("0"),
    ],
);

/// The value of an orientation by Euler angles.
pub(crate) static EULER: Section = Section::new(
    "`value`",
    "orientation_euler",
    &[
        Key::new("roll", NUMBER, "Around x, in radians.").usual("0"),
        Key::new("pitch", NUMBER, "Around y, in radians.").usual("0"),
        Key::new("yaw", NUMBER, "Around z, in radians.").usual("0"),
    ],
);

/// The value of an orientation by a quaternion.
pub(crate) static QUATERNION: Section = Section::new(
    "`value`",
    "orientation_quaternion",
    &[Key::new("w", NUMBER, "The real part.").usual("0"), X, Y, Z],
);

/// `geometry`.
pub(crate) static GEOMETRY: Section = Section::new(
    "`geometry`",
    "geometry",
    &[
        Key::new(
            "type",
            Takes::Word(&SHAPES),
            "What it is; guessed from the other keys if it is not there.",
        ),
        Key::new("x", NUMBER, "Edge of a box along x."),
        Key::new("y", NUMBER, "Edge of a box along y."),
        Key::new("z", NUMBER, "Edge of a box along z."),
        Key::new("r", NUMBER, "Radius of a sphere or capsule."),
        Key::new("l", NUMBER, "Length of a capsule, from end to end."),
        Key::new(
            "translation",
            Takes::Map(&TRANSLATION),
            "From the origin of the frame to its centre.",
        ),
        Key::new(
            "orientation",
            Takes::Map(&ORIENTATION),
            "How it is turned against the frame.",
        ),
        Key::new("label", Takes::Text, "Its name."),
        Key::new("mesh_data", Takes::Text, "Content of a mesh file, as base64."),
        Key::new(
            "mesh_content_type",
            Takes::Text,
            "What kind of file, for example `ply`.",
        ),
        Key::new("mesh_file_path", Takes::Text, "Where it came from."),
    ],
);

/// An item of `modules`.
pub(crate) static MODULE: Section = Section::new(
    "a module",
    "module",
    &[
        Key::new("name", Takes::Text, "Its name; no other module has the same."),
        Key::new(
            "type",
            Takes::Word(&["local", "registry"]),
            "Where the program comes from. Nothing is downloaded: a `registry` module has to be there already.",
        ),
        Key::new(
            "executable_path",
            Takes::Text,
            "The program, or a tarball (`.tgz`, `.tar.gz`) that holds it: absolute, `~/…`, or relative to this file. May hold placeholders.",
        ),
        Key::new("module_id", Takes::Text, "Its name in the registry, `namespace:name`."),
        Key::new("log_level", Takes::Text, "How much it logs; passed on as `--log-level`."),
        Key::new(
            "env",
            Takes::Texts,
            "Variables of its environment. Values may hold placeholders.",
        ),
        Key::new("tcp_mode", Takes::Flag, "Speak TCP on a loopback port instead of a UNIX socket. `VIAM_TCP_SOCKETS=1` in the machine's environment is the same for all modules.").usual("false"),
        Key::new(
            "first_run_timeout",
            Takes::Duration,
            "How long the script `first_run` of its `meta.json` may take, once, before its first start.",
        )
        .usual("\"1h\""),
        Key::new("status", Takes::Map(&STATUS), "Set by a cloud that refuses it."),
        Key::new(
            "restart",
            Takes::Either(&[Takes::Word(super::policy::RESTARTS), Takes::Map(&RESTART)]),
            "After which unasked ends it is started again: a word, or a map with pauses and limits.",
        )
        .usual("\"always\""),
        Key::new("health", Takes::Map(&HEALTH), "How it is noticed that it hangs."),
        Key::new("stop", Takes::Map(&STOP), "How it is stopped when somebody asks for it."),
        Key::new("limits", Takes::Map(&LIMITS), "What it may use; `mainstay status MODULE` shows how each limit is held."),
        Key::new("sandbox", Takes::Map(&SANDBOX), "What it may touch. A key that this host cannot honour keeps the module from starting."),
        Key::new(
            "output",
            Takes::Either(&[Takes::Text, Takes::Map(&OUTPUT)]),
            "A file for what it prints and logs, besides the log of the machine: a path, or a map.",
        ),
        Key::new("watch", Takes::Flag, "Restart it when its program's file changes.").usual("false"),
        Key::new(
            "keep_moving",
            Takes::Flag,
            "Leave what it moved in other modules moving when it dies, hangs or is stopped.",
        )
        .usual("false"),
    ],
)
.requiring(&["name", "executable_path"]);
