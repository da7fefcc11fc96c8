//! The checked config as plain values: what the rest of the core sees of a config file.
//!
//! Texts are kept as written where they travel on (levels of modules, dependency names) and parsed where the core
//! itself acts on them. Two entries compare equal when nothing but their place in the file differs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_proto::{Model, ResourceName};
use prost_types::Struct;

use super::bundle::Bundle;
use super::complaint::{Complaint, Grade, Place};
use super::frame::Frame;
use super::source::Source;
use crate::policy::{ApplyPolicy, Policy};

/// A usable config and what is to be said about it: warnings and local errors, in the order of the file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the machine shall be.
    pub config: Config,
    /// Complaints of the grades [`Grade::Warning`] and [`Grade::Local`].
    pub complaints: Vec<Complaint>,
    /// The files it was read from.
    pub bundle: Arc<Bundle>,
}

/// One machine, as its config file describes it.
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
    /// Where and how to listen.
    pub network: Network,
    /// Levels by logger name. A later rule wins over an earlier one.
    pub log: Vec<LogRule>,
    /// Log everything at debug level.
    pub debug: bool,
    /// Keep repeated log lines.
    pub disable_log_deduplication: bool,
    /// Serve profiles of the process.
    pub enable_web_profile: bool,
    /// Other machines whose resources are imported.
    pub remotes: Vec<Remote>,
    /// Who may connect.
    pub auth: Auth,
    /// How the machine reaches its cloud. `None`: a purely local machine.
    pub cloud: Option<Cloud>,
    /// Files that a cloud delivers.
    pub packages: Vec<Package>,
    /// Calls made by the machine itself, by schedule.
    pub jobs: Vec<Job>,
    /// Where traces go.
    pub tracing: Tracing,
    /// When changes may be applied. `None`: always.
    pub maintenance: Option<Maintenance>,
    /// How a changed config is applied.
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
            network: Network::standard(Place::file(path)),
            log: Vec::new(),
            debug: false,
            disable_log_deduplication: false,
            enable_web_profile: false,
            remotes: Vec::new(),
            auth: Auth::default(),
            cloud: None,
            packages: Vec::new(),
            jobs: Vec::new(),
            tracing: Tracing::default(),
            maintenance: None,
            apply: ApplyPolicy::default(),
            source: Arc::new(Source::new([(path, String::new())])),
        }
    }

    /// A complaint about a place in this config, with the line underlined as in those that [`load`](super::load) makes.
    #[must_use]
    pub fn complaint(&self, grade: Grade, place: &Place, message: impl Into<String>) -> Complaint {
        Complaint::new(grade, message, place.clone()).with_source(Arc::clone(&self.source))
    }

    /// What the config puts into the environment of `module`: its own `env`, and the word that the machine is traced.
    #[must_use]
    pub fn module_env(&self, module: &ModuleConfig) -> BTreeMap<String, String> {
        let mut env = module.env.clone();
        if self.tracing.is_active() {
            env.entry("VIAM_MODULE_TRACING".to_owned())
                .or_insert_with(|| "1".to_owned());
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

/// Where a module program comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModuleType {
    /// The file does not say. Treated like [`ModuleType::Local`].
    #[default]
    Unset,
    /// A program on this machine.
    Local,
    /// A program that a cloud delivers as a package.
    Registry,
}

impl ModuleType {
    /// The word of the config file, empty for unset.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Local => "local",
            Self::Registry => "registry",
        }
    }
}

/// One entry of `modules`.
#[derive(Clone)]
pub struct ModuleConfig {
    /// Its identity: unique, also the name of its socket, logger and data directory.
    pub name: String,
    /// Where the program comes from.
    pub kind: ModuleType,
    /// The program: `~/` expanded, relative paths resolved against the folder of the config file.
    pub executable: PathBuf,
    /// Its name in the registry, `namespace:name`. Empty if it has none.
    pub module_id: String,
    /// Passed on as `--log-level=`, unchecked.
    pub log_level: Option<String>,
    /// Added to its environment; wins over what the core sets.
    pub env: BTreeMap<String, String>,
    /// Speak TCP instead of a UNIX socket.
    pub tcp_mode: bool,
    /// How long its first-run script may take. One hour unless set.
    pub first_run_timeout: Duration,
    /// How it is to be treated.
    pub policy: Policy,
    /// Why a cloud refuses this module. It is not started then, and `fault` says the same.
    pub status_error: Option<String>,
    /// Where the entry begins.
    pub place: Place,
    /// Where its path is written, for complaints about the program.
    pub executable_place: Place,
    /// Why it cannot run. It is not started; the status shows this text.
    pub fault: Option<String>,
}

impl ModuleConfig {
    /// True if the path names a local tarball, which is unpacked before it is run.
    #[must_use]
    pub fn is_tarball(&self) -> bool {
        let path = self.executable.as_os_str().as_encoded_bytes().to_ascii_lowercase();
        self.kind == ModuleType::Local && (path.ends_with(b".tgz") || path.ends_with(b".tar.gz"))
    }
}

impl fmt::Debug for ModuleConfig {
    /// Without the values of its environment: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ModuleConfig");
        shown
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("executable", &self.executable);
        shown
            .field("env", &self.env.keys())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl PartialEq for ModuleConfig {
    fn eq(&self, other: &Self) -> bool {
        // Taken apart so that a new field cannot be forgotten here.
        let Self {
            name,
            kind,
            executable,
            module_id,
            log_level,
            env,
            tcp_mode,
            first_run_timeout,
            policy,
            status_error,
            place: _,
            executable_place: _,
            fault,
        } = self;
        *name == other.name
            && *kind == other.kind
            && *executable == other.executable
            && *module_id == other.module_id
            && *log_level == other.log_level
            && *env == other.env
            && *tcp_mode == other.tcp_mode
            && *first_run_timeout == other.first_run_timeout
            && *policy == other.policy
            && *status_error == other.status_error
            && *fault == other.fault
    }
}

/// One entry of `components` or `services`.
#[derive(Clone)]
pub struct ResourceConfig {
    /// Its identity. A broken entry keeps what it has: a name against the rules as written, an API that is missing as
    /// `rdk:component:unknown` or `rdk:service:unknown`.
    pub name: ResourceName,
    /// Who implements it. `rdk:builtin:unknown` in a broken entry without one.
    pub model: Model,
    /// Handed to the module as they are.
    pub attributes: Struct,
    /// Explicit dependencies, simple or full names, in their order.
    pub depends_on: Vec<String>,
    /// Its place in the frame system. `None`: it has none.
    pub frame: Option<Frame>,
    /// What services want to know about this resource.
    pub service_configs: Vec<ServiceConfig>,
    /// Its own log level. `None`: inherited.
    pub log_level: Option<Level>,
    /// Where the entry begins.
    pub place: Place,
    /// Where its model is written, for complaints about it; the entry itself if it has none.
    pub model_place: Place,
    /// Where its dependencies are written, in the order of `depends_on`.
    pub depends_on_places: Vec<Place>,
    /// Why it cannot be built: it is UNHEALTHY with exactly this text.
    pub fault: Option<String>,
}

impl ResourceConfig {
    /// True if whoever built this resource has nothing to do when it becomes `other`. `service_configs` do not count:
    /// they concern the service that they are for.
    #[must_use]
    pub fn builds_the_same_as(&self, other: &Self) -> bool {
        self.serves_the_same_as(other) && self.frame == other.frame && self.log_level == other.log_level
    }

    /// True if whoever holds this resource has nothing to do when it becomes `other`: `frame` and `log_configuration` travel
    /// to its own module, with AddResource, and concern nobody else.
    #[must_use]
    pub fn serves_the_same_as(&self, other: &Self) -> bool {
        // Taken apart so that a new field cannot be forgotten here.
        let Self {
            name,
            model,
            attributes,
            depends_on,
            frame: _,
            service_configs: _,
            log_level: _,
            place: _,
            model_place: _,
            depends_on_places: _,
            fault,
        } = self;
        *name == other.name
            && *model == other.model
            && *attributes == other.attributes
            && *depends_on == other.depends_on
            && *fault == other.fault
    }
}

impl fmt::Debug for ResourceConfig {
    /// Without the values of its attributes: they may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ResourceConfig");
        shown
            .field("name", &self.name)
            .field("model", &self.model)
            .field("depends_on", &self.depends_on);
        let attributes: Vec<_> = self.attributes.fields.keys().collect();
        shown
            .field("attributes", &attributes)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

impl PartialEq for ResourceConfig {
    fn eq(&self, other: &Self) -> bool {
        self.builds_the_same_as(other) && self.service_configs == other.service_configs
    }
}

/// What one service wants to know about a resource or remote, for example what to capture from it.
#[derive(Clone, PartialEq)]
pub struct ServiceConfig {
    /// The API of the service, as a full triplet.
    pub api: String,
    /// Free form; the service looks inside.
    pub attributes: Struct,
}

impl fmt::Debug for ServiceConfig {
    /// Only whom it is for: attributes may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConfig")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Debug,
    /// What a person may want to know.
    Info,
    /// What may be wrong.
    Warn,
    /// What is wrong.
    Error,
}

impl Level {
    /// The lower-case word that travels to modules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no log level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level: \"{0}\"")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Reads a level in any case; `warning` is `warn`.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err(UnknownLevel(text.to_owned())),
        }
    }
}

/// One entry of `log`: the level of all loggers whose name it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRule {
    /// A whole logger name in which `*` stands for any text.
    pub pattern: String,
    /// What they log.
    pub level: Level,
}

impl LogRule {
    /// True if the pattern covers the whole of `logger`.
    #[must_use]
    pub fn matches(&self, logger: &str) -> bool {
        let mut parts = self.pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = logger.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            // The earliest match leaves the most for the parts after it.
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

/// Where and how the machine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// `host:port`; `localhost:8080` unless set.
    pub bind_address: String,
    /// Where the address is written, for the complaint when the port is taken. The file itself if it is not.
    pub bind_place: Place,
    /// The name that the machine tells others. Empty: derived from the address.
    pub fqdn: String,
    /// Certificate and key files, if it serves TLS with its own.
    pub tls_files: Option<(PathBuf, PathBuf)>,
    /// Serve cleartext even where a certificate is at hand.
    pub no_tls: bool,
    /// How long a silent session keeps what it moves moving. 2 s unless set, between 30 ms and 1 min.
    pub heartbeat_window: Duration,
    /// Local ports that clients may reach through the machine.
    pub tunnels: Vec<Tunnel>,
}

/// One entry of `network.traffic_tunnel_endpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The local port.
    pub port: u16,
    /// How long a connection may take. 10 s unless set.
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

/// One entry of `remotes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Its name here; the first part of the names of its resources.
    pub name: String,
    /// `host:port` or the name of a machine.
    pub address: String,
    /// Where its frames hang in ours.
    pub frame: Option<Frame>,
    /// On whose behalf to authenticate. Empty: the address.
    pub auth_entity: String,
    /// Type and payload of the credentials.
    pub credentials: Option<(String, Secret)>,
    /// Put in front of every simple name of the remote.
    pub prefix: String,
    /// Cleartext.
    pub insecure: bool,
    /// How often a connection is looked at. 10 s unless set.
    pub connection_check_interval: Duration,
    /// How often a lost connection is tried again. 1 s unless set.
    pub reconnect_interval: Duration,
    /// As on resources, with explicit names inside.
    pub service_configs: Vec<ServiceConfig>,
    /// Why it cannot be used: a local error.
    pub fault: Option<String>,
}

/// Who may connect. Empty: everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auth {
    /// Ways to prove who one is.
    pub handlers: Vec<AuthHandler>,
    /// Names accepted by client certificate.
    pub tls_auth_entities: Vec<String>,
    /// A JSON Web Key Set whose tokens are accepted, as JSON.
    pub external_jwks: Option<Struct>,
}

/// One way to prove who one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthHandler {
    /// API keys by their ids.
    ApiKeys(BTreeMap<String, Secret>),
}

/// How the machine reaches its cloud: the rows of `cloud` that a file may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Id of this machine part.
    pub id: String,
    /// Id and key.
    pub api_key: Option<(String, Secret)>,
    /// The older way to authenticate.
    pub secret: Option<Secret>,
    /// URL; the scheme `http` means cleartext.
    pub app_address: String,
    /// How often it is asked for changes. 10 s unless set.
    pub refresh_interval: Duration,
}

/// One entry of `packages`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name in this config.
    pub name: String,
    /// `<org>/<name>`.
    pub package: String,
    /// Passed on as written.
    pub version: String,
    /// `ml_model`, `module`, `slam_map` or `archive`.
    pub kind: String,
    /// Why it cannot be used: a local error.
    pub fault: Option<String>,
}

/// One entry of `jobs`.
#[derive(Clone, PartialEq)]
pub struct Job {
    /// Its identity.
    pub name: String,
    /// `continuous`, a duration, or cron fields.
    pub schedule: String,
    /// Simple name of the resource that is called.
    pub resource: String,
    /// gRPC method.
    pub method: String,
    /// The command, for `DoCommand`.
    pub command: Option<Struct>,
    /// Its own log level. `None`: inherited.
    pub log_level: Option<Level>,
    /// Why it cannot run: a local error.
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

/// Where traces go. All off unless set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracing {
    /// Trace at all.
    pub enabled: bool,
    /// Into files below the home directory.
    pub disk: bool,
    /// Onto the terminal.
    pub console: bool,
    /// To a collector at `host:port`. Empty: none.
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
