//! Network, authentication, cloud and remotes.

use super::entries::{FRAME, SERVICE_CONFIG};
use super::{Key, Section, Takes};

/// `network`.
pub(crate) static NETWORK: Section = Section::new(
    "`network`",
    "network",
    &[
        Key::new(
            "bind_address",
            Takes::Text,
            "`host:port`; `:port` listens on all addresses, port 0 takes any free one.",
        )
        .usual("\"localhost:8080\""),
        Key::new(
            "fqdn",
            Takes::Text,
            "The name that the machine tells others. Not in force yet.",
        ),
        Key::new("tls_cert_file", Takes::Text, "Certificate, in PEM. Not in force yet."),
        Key::new("tls_key_file", Takes::Text, "Its key, in PEM. Not in force yet."),
        Key::new(
            "no_tls",
            Takes::Flag,
            "Serve cleartext even where a certificate is at hand.",
        )
        .usual("false"),
        Key::new(
            "sessions",
            Takes::Map(&SESSIONS),
            "What happens to clients that fall silent.",
        ),
        Key::new(
            "traffic_tunnel_endpoints",
            Takes::List(&Takes::Map(&TUNNEL)),
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
        Takes::Duration,
        "How long a client that moves something may be silent before that is stopped, 30 ms to 1 min.",
    )
    .usual("\"2s\"")],
);

/// An item of `network.traffic_tunnel_endpoints`.
pub(crate) static TUNNEL: Section = Section::new(
    "an item of `traffic_tunnel_endpoints`",
    "tunnel",
    &[
        Key::new("port", Takes::Whole(1, 65535), "The port."),
        Key::new("connection_timeout", Takes::Duration, "How long connecting may take.").usual("\"10s\""),
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
            Takes::List(&Takes::Map(&HANDLER)),
            "Ways to prove who one is.",
        ),
        Key::new(
            "tls_auth_entities",
            Takes::List(&Takes::Text),
            "Names accepted by client certificate.",
        ),
        Key::new(
            "external_auth_config",
            Takes::Map(&EXTERNAL_AUTH),
            "Whose tokens are accepted besides.",
        ),
    ],
);

/// An item of `auth.handlers`.
pub(crate) static HANDLER: Section = Section::new(
    "an auth handler",
    "auth_handler",
    &[
        Key::new("type", Takes::Word(&["api-key"]), "Which way."),
        Key::new(
            "config",
            Takes::Free,
            "`keys` lists ids; each id is a key of its own, with the secret.",
        ),
    ],
)
.requiring(&["type", "config"]);

/// `auth.external_auth_config`.
pub(crate) static EXTERNAL_AUTH: Section = Section::new(
    "`external_auth_config`",
    "external_auth",
    &[Key::new("jwks", Takes::Free, "A JSON Web Key Set of RSA keys.")],
)
.requiring(&["jwks"]);

/// `cloud`.
pub(crate) static CLOUD: Section = Section::new(
    "`cloud`",
    "cloud",
    &[
        Key::new("id", Takes::Text, "Id of this machine part."),
        Key::new("api_key", Takes::Map(&API_KEY), "Id and key."),
        Key::new("secret", Takes::Text, "The older way to authenticate."),
        Key::new("app_address", Takes::Text, "URL; `http` means cleartext."),
        Key::new(
            "refresh_interval",
            Takes::Duration,
            "How often it is asked for changes.",
        )
        .usual("\"10s\""),
        // These come from the cloud; in a file they do nothing.
        Key::new("fqdn", Takes::Ignored, "Comes from the cloud."),
        Key::new("local_fqdn", Takes::Ignored, "Comes from the cloud."),
        Key::new("location_id", Takes::Ignored, "Comes from the cloud."),
        Key::new("primary_org_id", Takes::Ignored, "Comes from the cloud."),
        Key::new("machine_id", Takes::Ignored, "Comes from the cloud."),
        Key::new("managed_by", Takes::Ignored, "Comes from the cloud."),
        Key::new("signaling_address", Takes::Ignored, "Comes from the cloud."),
        Key::new("signaling_insecure", Takes::Ignored, "Comes from the cloud."),
        Key::new("location_secret", Takes::Ignored, "Comes from the cloud."),
        Key::new("location_secrets", Takes::Ignored, "Comes from the cloud."),
        Key::new("tls_certificate", Takes::Ignored, "Comes from the cloud."),
        Key::new("tls_private_key", Takes::Ignored, "Comes from the cloud."),
    ],
)
.requiring(&["id"]);

/// `cloud.api_key`.
pub(crate) static API_KEY: Section = Section::new(
    "`api_key`",
    "api_key",
    &[
        Key::new("id", Takes::Text, "Its id."),
        Key::new("key", Takes::Text, "The secret."),
    ],
)
.requiring(&["id", "key"]);

/// An item of `remotes`.
pub(crate) static REMOTE: Section = Section::new(
    "a remote",
    "remote",
    &[
        Key::new("name", Takes::Text, "Its name here."),
        Key::new("address", Takes::Text, "`host:port`, or the name of a machine."),
        Key::new("frame", Takes::Map(&FRAME), "Where its frames hang in ours."),
        Key::new("auth", Takes::Map(&REMOTE_AUTH), "How to authenticate."),
        Key::new(
            "secret",
            Takes::Text,
            "Short for credentials of the type `robot-location-secret`.",
        ),
        Key::new(
            "prefix",
            Takes::Text,
            "Put in front of each simple name of its resources.",
        )
        .usual("\"\""),
        Key::new("insecure", Takes::Flag, "Cleartext.").usual("false"),
        Key::new(
            "connection_check_interval",
            Takes::Duration,
            "How often the connection is looked at.",
        )
        .usual("\"10s\""),
        Key::new(
            "reconnect_interval",
            Takes::Duration,
            "How often a lost connection is tried again.",
        )
        .usual("\"1s\""),
        Key::new(
            "service_configs",
            Takes::List(&Takes::Map(&SERVICE_CONFIG)),
            "What services want to know about it.",
        ),
        Key::new("managed_by", Takes::Ignored, "Not used."),
    ],
)
.requiring(&["name", "address"]);

/// `remotes[].auth`.
pub(crate) static REMOTE_AUTH: Section = Section::new(
    "`auth`",
    "remote_auth",
    &[
        Key::new("credentials", Takes::Map(&CREDENTIALS), "Type and payload."),
        Key::new("entity", Takes::Text, "On whose behalf."),
    ],
);

/// `remotes[].auth.credentials`.
pub(crate) static CREDENTIALS: Section = Section::new(
    "`credentials`",
    "credentials",
    &[
        Key::new("type", Takes::Text, "For example `api-key`."),
        Key::new("payload", Takes::Text, "The secret."),
    ],
);
