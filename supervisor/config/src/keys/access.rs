//! Authentication and rights.

use super::ValueType::{Free, List, Map, Named, Text, Word};
use super::{Section, keys};

/// `auth`.
pub(crate) static AUTH: Section = Section::new(
    "`auth`",
    "auth",
    keys! {
        "handlers": List(&Map(&HANDLER)), "Ways to prove who one is. Without any, and without `tls_auth_entities`, nobody is asked.";
        "tls_auth_entities": List(&Text), "DNS names of client certificates whose holders need no token.";
        "external_auth_config": Map(&EXTERNAL_AUTH), "Whose tokens are accepted besides.";
        "roles": Named(&ROLE),
            "Who may do what, by role: `owner`, `operator` and `viewer`, and roles of your own. Without it whoever proved who they are may do everything; with it who is in no role may stop things and little else.";
    },
);

/// An item of `auth.handlers`.
pub(crate) static HANDLER: Section = Section::new(
    "an auth handler",
    "auth_handler",
    keys! {
        "type": Word(&["api-key"]), "Which way.";
        "config": Free,
            "`keys` lists ids; each id is a key of its own, with the secret, or with `{key_hash: \"$argon2id$…\"}`, in which a `name` may tell people whose it is. `mainstay keys new` writes all of it.";
    },
)
.requiring(&["type", "config"]);

/// `auth.external_auth_config`.
pub(crate) static EXTERNAL_AUTH: Section = Section::new(
    "`external_auth_config`",
    "external_auth",
    keys! {
        "jwks": Free, "A JSON Web Key Set of RSA keys.";
    },
)
.requiring(&["jwks"]);

/// A value in `auth.roles`.
pub(crate) static ROLE: Section = Section::new(
    "a role",
    "role",
    keys! {
        "entities": List(&Text), "Who has the role: ids of keys, names of certificates, subjects of external tokens.";
        "allow": List(&Map(&ACCESS_RULE)), "What it may do; the built-in roles take none.";
    },
);

/// An item of `auth.roles.NAME.allow`.
pub(crate) static ACCESS_RULE: Section = Section::new(
    "a rule of a role",
    "access_rule",
    keys! {
        "resource": Text, "Name of the resource, simple or full; `*` stands for any text, here and below.";
        "api": Text, "API of the resource, like `rdk:component:motor`.";
        "service": Text, "gRPC service, like `viam.robot.v1.RobotService`.";
        "methods": List(&Text), "Names of methods, like `SetPower` or `Get*`. All of them unless given.";
    },
);
