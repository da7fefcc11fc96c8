//! Network, cloud and remotes.

use std::time::Duration as Time;

use mainstay_model::Network;

use super::ValueType::{Duration, Flag, Ignored, Interval, List, Map, Text, Whole, Word};
use super::entries::{FRAME, SERVICE_CONFIG};
use super::machine::MACHINE;
use super::{Section, keys};

/// `network`.
pub(crate) static NETWORK: Section = Section::new(
    "`network`",
    "network",
    keys! {
        "bind_address": Text, default Text(Network::BIND_ADDRESS),
            "`host:port`; `:port` listens on all addresses, port 0 takes any free one.";
        "fqdn": Text, "A name by which this machine is reached: mDNS tells it, and the certificate of `tls: own` is for it, too. Without it that is the name of the config file and that of the host, `rover-pi`.";
        "mdns": Flag, default Flag(true),
            "Tell others on the local network that this machine is there, by mDNS. `mainstay run --no-mdns` goes before it.";
        "tls": Word(&["own"]), "`own`: serve TLS with the certificate that `mainstay keys init` made for this machine; it is renewed by itself.";
        "tls_cert_file": Text, "Certificate to serve TLS with, and its chain, in PEM; taken up again when the file changes.";
        "tls_key_file": Text, "Its key, in PEM.";
        "no_tls": Flag, default Flag(false), "Serve cleartext even where a certificate is at hand.";
        "sessions": Map(&SESSIONS), "What happens to clients that fall silent.";
        "traffic_tunnel_endpoints": List(&Map(&TUNNEL)),
            "Local ports that clients may reach through the machine.";
        "allow_unauthenticated": Flag, default Flag(false),
            "Serve callers on other hosts although `auth` asks nobody who they are. Without it only callers on this host are served then.";
    },
);

/// `network.sessions`.
pub(crate) static SESSIONS: Section = Section::new(
    "`sessions`",
    "sessions",
    keys! {
        "heartbeat_window": Duration(Time::from_millis(30), Time::from_secs(60)), default Duration(Network::HEARTBEAT_WINDOW),
            "How long a client that moves something may be silent before that is stopped.";
    },
);

/// An item of `network.traffic_tunnel_endpoints`.
pub(crate) static TUNNEL: Section = Section::new(
    "an item of `traffic_tunnel_endpoints`",
    "tunnel",
    keys! {
        "port": Whole(1, 65535), "The port.";
        "connection_timeout": Interval, default Duration(Time::from_secs(10)), "How long connecting may take.";
    },
)
.requiring(&["port"]);

/// `cloud`.
pub(crate) static CLOUD: Section = Section::new(
    "`cloud`",
    "cloud",
    keys! {
        "id": Text, "Id of this machine part.";
        "machine_id": Text, "Id of the machine. Modules get it, and the next three, in their environment.";
        "location_id": Text, "Id of its location.";
        "primary_org_id": Text, "Id of the organization that the location belongs to.";
        "fqdn": Text, "Name by which the cloud knows the part.";
        "api_key": Map(&API_KEY), "Id and key.";
        "secret": Text, "The older way to authenticate.";
        "app_address": Text, "URL; `http` means cleartext.";
        "refresh_interval": Interval, default Duration(Time::from_secs(10)), "How often it is asked for changes.";
        "local_fqdn": Ignored, "Comes from the cloud.";
        "managed_by": Ignored, "Comes from the cloud.";
        "signaling_address": Ignored, "Comes from the cloud.";
        "signaling_insecure": Ignored, "Comes from the cloud.";
        "location_secret": Ignored, "Comes from the cloud.";
        "location_secrets": Ignored, "Comes from the cloud.";
        "tls_certificate": Ignored, "Comes from the cloud.";
        "tls_private_key": Ignored, "Comes from the cloud.";
    },
)
.requiring(&["id"]);

/// `cloud.api_key`.
pub(crate) static API_KEY: Section = Section::new(
    "`api_key`",
    "api_key",
    keys! {
        "id": Text, "Its id.";
        "key": Text, "The secret.";
    },
)
.requiring(&["id", "key"]);

/// An item of `remotes`.
pub(crate) static REMOTE: Section = Section::new(
    "a remote",
    "remote",
    keys! {
        "name": Text, "Its name here.";
        "address": Text, "`host:port`, or the name of a machine on the local network, which mDNS finds.";
        "frame": Map(&FRAME), but Unmet("its frames are not used"), "Where its frames hang in ours.";
        "auth": Map(&REMOTE_AUTH), "How to authenticate.";
        "secret": Text, "Short for credentials of the type `robot-location-secret`.";
        "prefix": Text, default Text(""), "Put in front of each simple name of its resources, in place of its name and a colon.";
        "insecure": Flag, default Flag(false),
            "Cleartext. Without it TLS is spoken; a machine that speaks none is reached in cleartext only if there are no credentials.";
        "connection_check_interval": Interval, default Duration(Time::from_secs(10)),
            "A machine that is silent for so long is given up.";
        "reconnect_interval": Interval, default Duration(Time::from_secs(1)),
            "How long after a failure it is tried again; longer each time, up to 30 s.";
        "service_configs": List(&Map(&SERVICE_CONFIG)), "What services want to know about it.";
        "managed_by": Ignored, "Not used.";
    },
)
.requiring(&["name", "address"]);

/// An item of `parts`.
pub(crate) static PART: Section = Section::new(
    "a part",
    "part",
    keys! {
        "name": Text, "Its name, as `mainstay part invite` gave it.";
        "config_file": Text, "File of the config that is handed down to it, which includes it there. Relative to the folder of this file. Variables in it are those of the part.";
        "config": Map(&MACHINE), "The same config written here, in place of a file. Variables in it are those of this machine, paths those of the part.";
    },
)
.requiring(&["name"]);

/// `remotes[].auth`.
pub(crate) static REMOTE_AUTH: Section = Section::new(
    "`auth`",
    "remote_auth",
    keys! {
        "credentials": Map(&CREDENTIALS), "Type and payload.";
        "entity": Text, "On whose behalf; for an API key, its id.";
    },
);

/// `remotes[].auth.credentials`.
pub(crate) static CREDENTIALS: Section = Section::new(
    "`credentials`",
    "credentials",
    keys! {
        "type": Text, "For example `api-key`.";
        "payload": Text, "The secret.";
    },
);
