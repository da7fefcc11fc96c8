//! Resources, their frames, and modules.

use super::policy::{HEALTH, LIMITS, OUTPUT, RESTART, SANDBOX, STOP};
use super::{Key, NUMBER, Section, ValueType};
use crate::frame::{ORIENTATIONS, SHAPES};

/// The log levels.
pub(super) const LEVELS: &[&str] = &["debug", "info", "warn", "warning", "error"];

/// A component or a service, which differ in the standard APIs.
macro_rules! resource_keys {
    ($kind:literal) => {
        &[
            Key::new(
                "name",
                ValueType::Text,
                "Its name: letters, digits, dashes and underscores, at most 60.",
            ),
            Key::new(
                "api",
                ValueType::Either(&[ValueType::Api, ValueType::Map(&API)]),
                "Which calls it takes: `namespace:type:subtype`, like `rdk:component:motor`.",
            ),
            Key::new(
                "namespace",
                ValueType::Text,
                "The older way to say the first part of `api`.",
            )
            .default("\"rdk\""),
            Key::new(
                "type",
                ValueType::Subtype($kind),
                "The older way to say the last part of `api`, like `motor`, or all of it.",
            ),
            Key::new(
                "model",
                ValueType::Either(&[ValueType::Model, ValueType::Map(&MODEL)]),
                "Who implements it: `namespace:family:name`, or one word for what is built in.",
            ),
            Key::new(
                "attributes",
                ValueType::Free,
                "What its model wants to know; the module looks inside. Texts may hold `${packages.TYPE.NAME}` and \
                 `${environment.NAME}`.",
            ),
            Key::new(
                "depends_on",
                ValueType::List(&ValueType::Text),
                "Names of resources that must be ready before it.",
            ),
            Key::new(
                "frame",
                ValueType::Map(&FRAME),
                "Where it sits, for whatever calculates with places.",
            ),
            Key::new(
                "service_configs",
                ValueType::List(&ValueType::Map(&SERVICE_CONFIG)),
                "What services want to know about it.",
            ),
            Key::new(
                "log_configuration",
                ValueType::Map(&LOG_CONFIGURATION),
                "How much it logs.",
            ),
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
        Key::new("namespace", ValueType::Text, "Who defined it.").default("\"rdk\""),
        Key::new("type", ValueType::Word(&["component", "service"]), "Which kind of API."),
        Key::new("subtype", ValueType::Text, "Which API."),
    ],
)
.requiring(&["subtype"]);

/// `model` in parts.
pub(crate) static MODEL: Section = Section::new(
    "`model`",
    "model",
    &[
        Key::new("namespace", ValueType::Text, "Who made it.").default("\"rdk\""),
        Key::new("model_family", ValueType::Text, "The family.").default("\"builtin\""),
        Key::new("name", ValueType::Text, "The model."),
    ],
)
.requiring(&["name"]);

/// `log_configuration`.
pub(crate) static LOG_CONFIGURATION: Section = Section::new(
    "`log_configuration`",
    "log_configuration",
    &[Key::new(
        "level",
        ValueType::AnyCase(LEVELS),
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
            ValueType::Subtype("service"),
            "The service, like `data_manager`, or its API.",
        ),
        Key::new("attributes", ValueType::Free, "What it wants to know."),
    ],
)
.requiring(&["type"]);

/// `status` of a module or package.
pub(crate) static STATUS: Section = Section::new(
    "`status`",
    "status",
    &[Key::new("error", ValueType::Text, "Why a cloud refuses it.")],
);

/// `frame`.
pub(crate) static FRAME: Section = Section::new(
    "`frame`",
    "frame",
    &[
        Key::new("parent", ValueType::Text, "The frame it hangs in, for example `world`."),
        Key::new(
            "id",
            ValueType::Text,
            "Its own name, if it is not that of the resource.",
        ),
        Key::new(
            "translation",
            ValueType::Map(&TRANSLATION),
            "From the parent's origin, in millimetres.",
        ),
        Key::new("orientation", ValueType::Map(&ORIENTATION), "How it is turned."),
        Key::new("geometry", ValueType::Map(&GEOMETRY), "Its shape, in millimetres."),
    ],
)
.requiring(&["parent"]);

const X: Key = Key::new("x", NUMBER, "Along x.").default("0");
const Y: Key = Key::new("y", NUMBER, "Along y.").default("0");
const Z: Key = Key::new("z", NUMBER, "Along z.").default("0");

/// `translation`.
pub(crate) static TRANSLATION: Section = Section::new("`translation`", "translation", &[X, Y, Z]);

/// `orientation`.
pub(crate) static ORIENTATION: Section = Section::new(
    "`orientation`",
    "orientation",
    &[
        Key::new("type", ValueType::Word(&ORIENTATIONS), "How it is written."),
        Key::new(
            "value",
            ValueType::Either(&[
                ValueType::Map(&VECTOR),
                ValueType::Map(&EULER),
                ValueType::Map(&QUATERNION),
            ]),
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
        .default("0"),
    ],
);

/// The value of an orientation by Euler angles.
pub(crate) static EULER: Section = Section::new(
    "`value`",
    "orientation_euler",
    &[
        Key::new("roll", NUMBER, "Around x, in radians.").default("0"),
        Key::new("pitch", NUMBER, "Around y, in radians.").default("0"),
        Key::new("yaw", NUMBER, "Around z, in radians.").default("0"),
    ],
);

/// The value of an orientation by a quaternion.
pub(crate) static QUATERNION: Section = Section::new(
    "`value`",
    "orientation_quaternion",
    &[Key::new("w", NUMBER, "The real part.").default("0"), X, Y, Z],
);

/// `geometry`.
pub(crate) static GEOMETRY: Section = Section::new(
    "`geometry`",
    "geometry",
    &[
        Key::new(
            "type",
            ValueType::Word(&SHAPES),
            "What it is; guessed from the other keys if it is not there.",
        ),
        Key::new("x", NUMBER, "Edge of a box along x."),
        Key::new("y", NUMBER, "Edge of a box along y."),
        Key::new("z", NUMBER, "Edge of a box along z."),
        Key::new("r", NUMBER, "Radius of a sphere or capsule."),
        Key::new("l", NUMBER, "Length of a capsule, from end to end."),
        Key::new(
            "translation",
            ValueType::Map(&TRANSLATION),
            "From the origin of the frame to its centre.",
        ),
        Key::new(
            "orientation",
            ValueType::Map(&ORIENTATION),
            "How it is turned against the frame.",
        ),
        Key::new("label", ValueType::Text, "Its name."),
        Key::new("mesh_data", ValueType::Text, "Content of a mesh file, as base64."),
        Key::new(
            "mesh_content_type",
            ValueType::Text,
            "What kind of file, for example `ply`.",
        ),
        Key::new("mesh_file_path", ValueType::Text, "Where it came from."),
    ],
);

/// An item of `modules`.
pub(crate) static MODULE: Section = Section::new(
    "a module",
    "module",
    &[
        Key::new("name", ValueType::Text, "Its name; no other module has the same."),
        Key::new(
            "type",
            ValueType::Word(&["local", "registry"]),
            "Where the program comes from. Nothing is downloaded: a `registry` module has to be there already.",
        ),
        Key::new(
            "executable_path",
            ValueType::Text,
            "The program, or a tarball (`.tgz`, `.tar.gz`) that holds it: absolute, `~/…`, or relative to this file. May hold placeholders.",
        ),
        Key::new("module_id", ValueType::Text, "Its name in the registry, `namespace:name`."),
        Key::new("log_level", ValueType::Text, "How much it logs; passed on as `--log-level`."),
        Key::new(
            "env",
            ValueType::Texts,
            "Variables of its environment. Values may hold placeholders.",
        ),
        Key::new("tcp_mode", ValueType::Flag, "Speak TCP on a loopback port instead of a UNIX socket. `VIAM_TCP_SOCKETS=1` in the machine's environment is the same for all modules.").default("false"),
        Key::new(
            "first_run_timeout",
            ValueType::Duration,
            "How long the script `first_run` of its `meta.json` may take, once, before its first start.",
        )
        .default("\"1h\""),
        Key::new("status", ValueType::Map(&STATUS), "Set by a cloud that refuses it."),
        Key::new(
            "restart",
            ValueType::Either(&[ValueType::Word(super::policy::RESTARTS), ValueType::Map(&RESTART)]),
            "After which unasked ends it is started again: a word, or a map with pauses and limits.",
        )
        .default("\"always\""),
        Key::new("health", ValueType::Map(&HEALTH), "How it is noticed that it hangs."),
        Key::new("stop", ValueType::Map(&STOP), "How it is stopped when somebody asks for it."),
        Key::new("limits", ValueType::Map(&LIMITS), "What it may use; `mainstay status MODULE` shows how each limit is held."),
        Key::new("sandbox", ValueType::Map(&SANDBOX), "What it may touch. A key that this host cannot honour keeps the module from starting."),
        Key::new(
            "output",
            ValueType::Either(&[ValueType::Text, ValueType::Map(&OUTPUT)]),
            "A file for what it prints and logs, besides the log of the machine: a path, or a map.",
        ),
        Key::new("watch", ValueType::Flag, "Restart it when its program's file changes.").default("false"),
        Key::new(
            "keep_moving",
            ValueType::Flag,
            "Leave what it moved in other modules moving when it dies, hangs or is stopped.",
        )
        .default("false"),
    ],
)
.requiring(&["name", "executable_path"]);
