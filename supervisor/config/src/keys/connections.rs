//! Network, authentication, cloud and remotes.

use super::entries::{FRAME, SERVICE_CONFIG};
use super::{Key, Section, ValueType};

/// `network`.
pub(crate) static NETWORK: Section = Section::new(
    "`network`",
    "network",
    &[
        Key::new(
            "bind_address",
            ValueType::Text,
            "`host:port`; `:port` listens on all addresses, port 0 takes any free one.",
        )
        .default("\"localhost:8080\""),
        Key::new(
            "fqdn",
            ValueType::Text,
            "The name that the machine tells others. Not in force yet.",
        ),
        Key::new(
            "tls_cert_file",
            ValueType::Text,
            "Certificate, in PEM. Not in force yet.",
        ),
        Key::new("tls_key_file", ValueType::Text, "Its key, in PEM. Not in force yet."),
        Key::new(
            "no_tls",
            ValueType::Flag,
            "Serve cleartext even where a certificate is at hand.",
        )
        .default("false"),
        Key::new(
            "sessions",
            ValueType::Map(&SESSIONS),
            "What happens to clients that fall silent.",
        ),
        Key::new(
            "traffic_tunnel_endpoints",
            ValueType::List(&ValueType::Map(&TUNNEL)),
            "Local ports that clients may reach through the machine. Not in force yet.",
        ),
    ],
);

/// `network.sessions`.
pub(crate) static SESSIONS: Section = Section::new(
    "`sessions`",
    "sessions",
    &[Key::new(
        "heartbeat_window",
        ValueType::Duration,
        "How long a client that moves something may be silent before that is stopped, 30 ms to 1 min.",
    )
    .default("\"2s\"")],
);

/// An item of `network.traffic_tunnel_endpoints`.
pub(crate) static TUNNEL: Section = Section::new(
    "an item of `traffic_tunnel_endpoints`",
    "tunnel",
    &[
        Key::new("port", ValueType::Whole(1, 65535), "The port."),
        Key::new(
            "connection_timeout",
            ValueType::Duration,
            "How long connecting may take.",
        )
        .default("\"10s\""),
    ],
)
.requiring(&["port"]);

/// `auth`.
pub(crate) static AUTH: Section = Section::new(
    "`auth`",
    "auth",
    &[
        Key::new(
            "handlers",
            ValueType::List(&ValueType::Map(&HANDLER)),
            "Ways to prove who one is.",
        ),
        Key::new(
            "tls_auth_entities",
            ValueType::List(&ValueType::Text),
            "Names accepted by client certificate.",
        ),
        Key::new(
            "external_auth_config",
            ValueType::Map(&EXTERNAL_AUTH),
            "Whose tokens are accepted besides.",
        ),
    ],
);

/// An item of `auth.handlers`.
pub(crate) static HANDLER: Section = Section::new(
    "an auth handler",
    "auth_handler",
    &[
        Key::new("type", ValueType::Word(&["api-key"]), "Which way."),
        Key::new(
            "config",
            ValueType::Free,
            "`keys` lists ids; each id is a key of its own, with the secret.",
        ),
    ],
)
.requiring(&["type", "config"]);

/// `auth.external_auth_config`.
pub(crate) static EXTERNAL_AUTH: Section = Section::new(
    "`external_auth_config`",
    "external_auth",
    &[Key::new("jwks", ValueType::Free, "A JSON Web Key Set of RSA keys.")],
)
.requiring(&["jwks"]);

/// `cloud`.
pub(crate) static CLOUD: Section = Section::new(
    "`cloud`",
    "cloud",
    &[
        Key::new("id", ValueType::Text, "Id of this machine part."),
        Key::new("api_key", ValueType::Map(&API_KEY), "Id and key."),
        Key::new("secret", ValueType::Text, "The older way to authenticate."),
        Key::new("app_address", ValueType::Text, "URL; `http` means cleartext."),
        Key::new(
            "refresh_interval",
            ValueType::Duration,
            "How often it is asked for changes.",
        )
        .default("\"10s\""),
        // These come from the cloud; in a file they do nothing.
        Key::new("fqdn", ValueType::Ignored, "Comes from the cloud."),
        Key::new("local_fqdn", ValueType::Ignored, "Comes from the cloud."),
        Key::new("location_id", ValueType::Ignored, "Comes from the cloud."),
        Key::new("primary_org_id", ValueType::Ignored, "Comes from the cloud."),
        Key::new("machine_id", ValueType::Ignored, "Comes from the cloud."),
        Key::new("managed_by", ValueType::Ignored, "Comes from the cloud."),
        Key::new("signaling_address", ValueType::Ignored, "Comes from the cloud."),
        Key::new("signaling_insecure", ValueType::Ignored, "Comes from the cloud."),
        Key::new("location_secret", ValueType::Ignored, "Comes from the cloud."),
        Key::new("location_secrets", ValueType::Ignored, "Comes from the cloud."),
        Key::new("tls_certificate", ValueType::Ignored, "Comes from the cloud."),
        Key::new("tls_private_key", ValueType::Ignored, "Comes from the cloud."),
    ],
)
.requiring(&["id"]);

/// `cloud.api_key`.
pub(crate) static API_KEY: Section = Section::new(
    "`api_key`",
    "api_key",
    &[
        Key::new("id", ValueType::Text, "Its id."),
        Key::new("key", ValueType::Text, "The secret."),
    ],
)
.requiring(&["id", "key"]);

/// An item of `remotes`.
pub(crate) static REMOTE: Section = Section::new(
    "a remote",
    "remote",
    &[
        Key::new("name", ValueType::Text, "Its name here."),
        Key::new("address", ValueType::Text, "`host:port`, or the name of a machine."),
        Key::new("frame", ValueType::Map(&FRAME), "Where its frames hang in ours."),
        Key::new("auth", ValueType::Map(&REMOTE_AUTH), "How to authenticate."),
        Key::new(
            "secret",
            ValueType::Text,
            "Short for credentials of the type `robot-location-secret`.",
        ),
        Key::new(
            "prefix",
            ValueType::Text,
            "Put in front of each simple name of its resources.",
        )
        .default("\"\""),
        Key::new("insecure", ValueType::Flag, "Cleartext.").default("false"),
        Key::new(
            "connection_check_interval",
            ValueType::Duration,
            "How often the connection is looked at.",
        )
        .default("\"10s\""),
        Key::new(
            "reconnect_interval",
            ValueType::Duration,
            "How often a lost connection is tried again.",
        )
        .default("\"1s\""),
        Key::new(
            "service_configs",
            ValueType::List(&ValueType::Map(&SERVICE_CONFIG)),
            "What services want to know about it.",
        ),
        Key::new("managed_by", ValueType::Ignored, "Not used."),
    ],
)
.requiring(&["name", "address"]);

/// `remotes[].auth`.
pub(crate) static REMOTE_AUTH: Section = Section::new(
    "`auth`",
    "remote_auth",
    &[
        Key::new("credentials", ValueType::Map(&CREDENTIALS), "Type and payload."),
        Key::new("entity", ValueType::Text, "On whose behalf."),
    ],
);

/// `remotes[].auth.credentials`.
pub(crate) static CREDENTIALS: Section = Section::new(
    "`credentials`",
    "credentials",
    &[
        Key::new("type", ValueType::Text, "For example `api-key`."),
        Key::new("payload", ValueType::Text, "The secret."),
    ],
);
