//! The checked config as plain values: what the rest of the core sees of a config file. Modules and resources are in
//! `entry`, levels of the log in `levels`.
//!
//! Texts are kept as written where they travel on (levels of modules, dependency names) and parsed where the core
//! itself acts on them. Two entries compare equal when nothing but their place in the file differs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use crate::entry::{ModuleConfig, ModuleType, ResourceConfig, ServiceConfig};
use crate::frame::Frame;
pub use crate::key_hash::{BadKeyHash, KeyHash};
pub use crate::levels::{Level, LogRule, UnknownLevel};
use crate::membership::{Membership, PartLink, SubPart};
use crate::policy::ApplyPolicy;
use crate::source::Source;
use crate::span::SourceSpan;
use crate::value::Object;

/// Config of one machine, as its file describes it.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file, as its path was given.
    pub path: PathBuf,
    /// Set by whoever made the file, reported in the status. Empty if absent.
    pub revision: String,
    /// Modules in the order of the file. The broken ones are here too, with their `fault`.
    pub modules: Vec<ModuleConfig>,
    /// Components, then services, in the order of the file. The broken ones are here too, with their `fault`.
    pub resources: Vec<ResourceConfig>,
    /// Entries whose name an earlier entry has. They are shown in the status and never routed to.
    pub duplicates: Duplicates,
    /// Listening address and TLS.
    pub network: Network,
    /// Levels by logger name. A later rule wins over an earlier one.
    pub log: Vec<LogRule>,
    /// Log everything at debug level.
    pub debug: bool,
    /// Keep repeated log lines.
    pub disable_log_deduplication: bool,
    /// Serve profiles of the process.
    pub enable_web_profile: bool,
    /// Remote machines whose resources are imported.
    pub remotes: Vec<Remote>,
    /// Configs that a main part hands down.
    pub parts: Vec<PartConfig>,
    /// Set if resources of other machines may be here: it has remotes, or is a part of a machine of several.
    pub imports: bool,
    /// Authentication.
    pub auth: Auth,
    /// Place in a machine of several parts, which its own files say. `None`: it is a machine of one.
    pub membership: Option<Membership>,
    /// Connection to the cloud. `None`: a purely local machine.
    pub cloud: Option<Cloud>,
    /// Files that a cloud delivers.
    pub packages: Vec<Package>,
    /// Calls made by the machine itself, by schedule.
    pub jobs: Vec<Job>,
    /// Sinks of traces.
    pub tracing: Tracing,
    /// Condition under which changes may be applied. `None`: always.
    pub maintenance: Option<Maintenance>,
    /// Policy for applying a changed config.
    pub apply: ApplyPolicy,
    /// The text, for complaints that are found later, at run time.
    pub source: Arc<Source>,
}

impl Default for Config {
    fn default() -> Self {
        Self::empty(Path::new(""))
    }
}

impl Config {
    /// The config of a machine that has nothing, for a file at `path`.
    #[must_use]
    pub fn empty(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            revision: String::new(),
            modules: Vec::new(),
            resources: Vec::new(),
            duplicates: Duplicates::default(),
            network: Network::standard(SourceSpan::file(path)),
            log: Vec::new(),
            debug: false,
            disable_log_deduplication: false,
            enable_web_profile: false,
            remotes: Vec::new(),
            parts: Vec::new(),
            imports: false,
            auth: Auth::default(),
            membership: None,
            cloud: None,
            packages: Vec::new(),
            jobs: Vec::new(),
            tracing: Tracing::default(),
            maintenance: None,
            apply: ApplyPolicy::default(),
            source: Arc::new(Source::new([(path, String::new())], |_| Vec::new())),
        }
    }

    /// The path of a module's program, without what came from the environment.
    #[must_use]
    pub fn shown_executable(&self, module: &ModuleConfig) -> String {
        let path = module.executable.display().to_string();
        self.source.scrub(path, &module.executable_place)
    }

    /// Environment of `module` from the config: its own `env`, the variable that says that the machine is traced, and those that
    /// say which machine it is.
    #[must_use]
    pub fn module_env(&self, module: &ModuleConfig) -> BTreeMap<String, String> {
        let mut env = module.env.clone();
        if self.tracing.is_active() {
            env.entry("VIAM_MODULE_TRACING".to_owned())
                .or_insert_with(|| "1".to_owned());
        }
        for (key, value) in self.cloud.iter().flat_map(Cloud::variables) {
            env.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
        env
    }

    /// The level that `module` is started with: its own `log_level`, else `debug` if the process logs at debug level
    /// or a rule of exactly `debug` matches the module's bare name, else none.
    #[must_use]
    pub fn module_log_level(&self, module: &ModuleConfig, process_debugs: bool) -> Option<String> {
        if module.log_level.is_some() {
            return module.log_level.clone();
        }
        let by_rule = || {
            let last = self.log.iter().rev().find(|rule| rule.matches(&module.name));
            last.is_some_and(|rule| rule.level == Level::Debug)
        };
        (process_debugs || self.debug || by_rule()).then(|| "debug".to_owned())
    }
}

/// Second and later holders of a name, each with a `fault` that names both places.
#[derive(Clone, Debug, Default)]
pub struct Duplicates {
    /// Modules whose name is taken.
    pub modules: Vec<ModuleConfig>,
    /// Resources whose API and name together are taken.
    pub resources: Vec<ResourceConfig>,
}

/// Listening address of the machine, TLS and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `host:port`; [`BIND_ADDRESS`](Self::BIND_ADDRESS) unless set.
    pub bind_address: String,
    /// Place of the address, for the diagnostic when the port is taken. The file itself if it is not written.
    pub bind_place: SourceSpan,
    /// The name that the machine tells others. Empty: see [`network_name`](crate::network_name()).
    pub fqdn: String,
    /// Tell others on the local network that the machine is there, by mDNS.
    pub mdns: bool,
    /// Certificate that it serves TLS with.
    pub tls: Tls,
    /// Place of what `tls` was read from, and of the key's file if there is one.
    pub tls_places: [SourceSpan; 2],
    /// Serve cleartext even where a certificate is at hand.
    pub no_tls: bool,
    /// Time that a silent session keeps what it moves moving.
    pub heartbeat_window: Duration,
    /// Local ports that clients may reach through the machine.
    pub tunnels: Vec<Tunnel>,
    /// Serve callers on other hosts although nobody has to prove who they are.
    pub allow_unauthenticated: bool,
}

impl Network {
    /// Address that a machine is served at unless its config says otherwise.
    pub const BIND_ADDRESS: &'static str = "localhost:8080";
    /// Time that a silent session keeps what it moves moving, unless the config says otherwise.
    pub const HEARTBEAT_WINDOW: Duration = Duration::from_secs(2);

    /// Settings of a config which says nothing about it; `whole` is the place to name for what it leaves out.
    #[must_use]
    pub fn standard(whole: SourceSpan) -> Self {
        Self {
            bind_address: Self::BIND_ADDRESS.to_owned(),
            bind_place: whole.clone(),
            fqdn: String::new(),
            mdns: true,
            tls: Tls::None,
            tls_places: [whole.clone(), whole],
            no_tls: false,
            heartbeat_window: Self::HEARTBEAT_WINDOW,
            tunnels: Vec::new(),
            allow_unauthenticated: false,
        }
    }

    /// True if only programs on this host can reach the address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.bind_address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host
                .parse()
                .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    }

    /// Certificate that clients are shown.
    #[must_use]
    pub fn tls_in_force(&self) -> &Tls {
        if self.no_tls { &Tls::None } else { &self.tls }
    }
}

/// Source of the certificate that clients are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tls {
    /// None: cleartext is served.
    #[default]
    None,
    /// Files, in PEM.
    Files {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of its key.
        key: PathBuf,
    },
    /// The machine's own private CA.
    Own,
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Files { certificate, key } => write!(f, "{}, {}", certificate.display(), key.display()),
            Self::Own => f.write_str("own"),
        }
    }
}

/// Entry of `network.traffic_tunnel_endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The local port.
    pub port: u16,
    /// Longest wait for the port to answer; zero for the default of 10 s.
    pub connection_timeout: Duration,
}

/// A text that no log, message or dump shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Entry of `remotes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Name of the remote; the first part of the names of its resources.
    pub name: String,
    /// `host:port` or the name of a machine.
    pub address: String,
    /// Frame in ours that the remote's frames hang from.
    pub frame: Option<Frame>,
    /// Entity to authenticate as. Empty: the address.
    pub auth_entity: String,
    /// Type and payload of the credentials.
    pub credentials: Option<(String, Secret)>,
    /// Put in front of every simple name of the remote.
    pub prefix: String,
    /// Cleartext.
    pub insecure: bool,
    /// Interval at which a connection is checked.
    pub connection_check_interval: Duration,
    /// Interval at which a lost connection is tried again.
    pub reconnect_interval: Duration,
    /// Settings that services want, as on resources, with explicit names inside.
    pub service_configs: Vec<ServiceConfig>,
    /// Connection of a main part to its sub-part, which no config writes.
    pub part: Option<PartLink>,
    /// Local error: the reason why the remote cannot be used.
    pub fault: Option<String>,
}

/// Item of `parts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartConfig {
    /// Name of the part.
    pub name: String,
    /// Its config; `None`: the item is broken.
    pub config: Option<HandedDown>,
}

/// Config that a main part hands down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedDown {
    /// In a file, absolute.
    File(PathBuf),
    /// In the config of the main part itself; here as JSON.
    Inline(Secret),
}

impl Remote {
    /// Interval at which the connection to a sub-part is checked: parts of one robot are on one network, and move together.
    const PART_CHECK: Duration = Duration::from_secs(2);
    /// First pause before a lost sub-part is tried again.
    const PART_RECONNECT: Duration = Duration::from_millis(500);

    /// Connection of the main part to a sub-part; with `mdns` it is looked up where it is not at its address.
    #[must_use]
    pub fn of_part(membership: &Membership, part: &SubPart, mdns: bool) -> Self {
        Self {
            name: part.name.clone(),
            address: part.address.clone(),
            frame: None,
            auth_entity: String::new(),
            credentials: None,
            prefix: String::new(),
            insecure: false,
            connection_check_interval: Self::PART_CHECK,
            reconnect_interval: Self::PART_RECONNECT,
            service_configs: Vec::new(),
            part: Some(membership.link(part, mdns)),
            fault: None,
        }
    }
}

/// Authentication of clients. Empty: everybody may connect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    /// Ways to prove who one is.
    pub handlers: Vec<AuthHandler>,
    /// Names of API keys by their ids, for people.
    pub key_names: BTreeMap<String, String>,
    /// Names accepted by client certificate.
    pub tls_auth_entities: Vec<String>,
    /// A JSON Web Key Set whose tokens are accepted, as JSON.
    pub external_jwks: Option<Object>,
    /// Rights by role. `None`: whoever authenticates is an owner.
    pub roles: Option<Vec<Role>>,
}

impl Auth {
    /// True if a caller has to prove who it is.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        !self.handlers.is_empty() || !self.tls_auth_entities.is_empty()
    }
}

/// Entry of `auth.roles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name: of a built-in role, or of one that its rules make.
    pub name: String,
    /// Ids of API keys, names of certificates, subjects of external tokens.
    pub entities: Vec<String>,
    /// Calls that it may make besides what every authenticated caller may. Empty for built-in roles.
    pub allow: Vec<AccessRule>,
}

impl Role {
    /// Role that may do everything.
    pub const OWNER: &'static str = "owner";
    /// Role that uses resources.
    pub const OPERATOR: &'static str = "operator";
    /// Role that reads, and moves nothing.
    pub const VIEWER: &'static str = "viewer";
    /// Names of the roles that need no rules.
    pub const BUILT_IN: [&'static str; 3] = [Self::OWNER, Self::OPERATOR, Self::VIEWER];
}

/// Rule of a role: allows the calls that all of its patterns match. In a pattern `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRule {
    /// Name of the resource, simple or full (`rdk:component:motor/left`).
    pub resource: Option<String>,
    /// API of the resource.
    pub api: Option<String>,
    /// gRPC service.
    pub service: Option<String>,
    /// Names of methods. Empty: all.
    pub methods: Vec<String>,
}

/// Method of authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthHandler {
    /// API keys by their ids.
    ApiKeys(BTreeMap<String, ApiKey>),
}

/// An API key, as the config keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiKey {
    /// The key itself.
    Plain(Secret),
    /// A hash that only the key leads to.
    Hashed(KeyHash),
}

/// Connection to the cloud: the rows of `cloud` that a file may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Id of this machine part.
    pub id: String,
    /// Id of the machine; empty if the file does not say, as the next three.
    pub machine_id: String,
    /// Id of its location.
    pub location_id: String,
    /// Id of the organization that the location belongs to.
    pub primary_org_id: String,
    /// Name by which the cloud knows the part.
    pub fqdn: String,
    /// Id and key.
    pub api_key: Option<(String, Secret)>,
    /// The older way to authenticate.
    pub secret: Option<Secret>,
    /// URL; the scheme `http` means cleartext.
    pub app_address: String,
    /// Interval at which it is asked for changes.
    pub refresh_interval: Duration,
}

impl Cloud {
    /// Variables by which a module finds which machine it belongs to: what the file says.
    fn variables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("VIAM_PRIMARY_ORG_ID", &self.primary_org_id),
            ("VIAM_LOCATION_ID", &self.location_id),
            ("VIAM_MACHINE_ID", &self.machine_id),
            ("VIAM_MACHINE_PART_ID", &self.id),
            ("VIAM_MACHINE_FQDN", &self.fqdn),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key, value.as_str()))
    }
}

/// Entry of `packages`.
#[derive(Clone, Debug)]
pub struct Package {
    /// Name in this config.
    pub name: String,
    /// `<org>/<name>`.
    pub package: String,
    /// Passed on as written.
    pub version: String,
    /// `ml_model`, `module`, `slam_map` or `archive`.
    pub kind: String,
    /// Local error: the reason why the package cannot be used.
    pub fault: Option<String>,
    /// Folder of its content; `None` where this user has no `VIAM_HOME`.
    pub folder: Option<PathBuf>,
    /// Place of the entry.
    pub place: SourceSpan,
}

impl PartialEq for Package {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart so that a new field cannot be forgotten here.
        let Self {
            name,
            package,
            version,
            kind,
            fault,
            folder,
            place: _,
        } = self;
        (name, package, version) == (&other.name, &other.package, &other.version)
            && (kind, fault, folder) == (&other.kind, &other.fault, &other.folder)
    }
}

impl Package {
    /// The type of a model for machine learning; also what a placeholder without a type means.
    pub const ML_MODEL: &'static str = "ml_model";

    /// Folder of the package, below the home of packages and module data.
    #[must_use]
    pub fn folder_in(&self, viam_home: &Path) -> PathBuf {
        let name = format!("{}-{}", self.package.replace('/', "-"), self.version.replace('.', "_"));
        viam_home.join("packages/data").join(&self.kind).join(name)
    }

    /// True for a model that programs look for by the package's name.
    #[must_use]
    pub fn is_ml_model(&self) -> bool {
        self.kind == Self::ML_MODEL
    }
}

/// Entry of `jobs`.
#[derive(Clone, PartialEq)]
pub struct Job {
    /// Identity.
    pub name: String,
    /// `continuous`, a duration, or cron fields.
    pub schedule: String,
    /// Simple name of the resource that is called.
    pub resource: String,
    /// gRPC method.
    pub method: String,
    /// The command, for `DoCommand`.
    pub command: Option<Object>,
    /// Log level of the job. `None`: inherited.
    pub log_level: Option<Level>,
    /// Local error: the reason why the job cannot run.
    pub fault: Option<String>,
}

impl fmt::Debug for Job {
    /// Without its command, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Job");
        shown
            .field("name", &self.name)
            .field("schedule", &self.schedule)
            .field("resource", &self.resource);
        shown
            .field("method", &self.method)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// Sinks of traces. All off unless set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracing {
    /// Trace at all.
    pub enabled: bool,
    /// Into files below the home directory.
    pub disk: bool,
    /// Onto the terminal.
    pub console: bool,
    /// Address of a collector, `host:port`. Empty: none.
    pub otlp_endpoint: String,
}

impl Tracing {
    /// True if anything is traced: enabled, and with a place to go to.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.enabled && (self.disk || self.console || !self.otlp_endpoint.is_empty())
    }
}

/// A sensor that says when changes may be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintenance {
    /// Full name of the sensor.
    pub sensor_name: String,
    /// The key of its readings that must be true.
    pub allowed_key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_loopback_if_nobody_else_can_reach_it() {
        for (address, loopback) in [
            ("localhost:8080", true),
            ("127.0.0.1:0", true),
            ("127.1.2.3:0", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:1", true),
            (":8080", false),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("10.0.0.5:8080", false),
            ("rover.local:8080", false),
        ] {
            let mut network = Network::standard(SourceSpan::file(Path::new("r.yaml")));
            address.clone_into(&mut network.bind_address);
            assert_eq!(network.is_loopback(), loopback, "{address}");
        }
    }
}
