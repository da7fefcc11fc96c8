//! Entries of `modules`, `components` and `services` as plain values. Two compare equal when nothing but their place in
//! the file differs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use mainstay_ids::{Model, ResourceName};

use crate::frame::Frame;
use crate::levels::Level;
use crate::policy::Policy;
use crate::span::SourceSpan;
use crate::value::Object;

/// Origin of a module's program.
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
    /// Words of the config.
    pub const WORDS: [(&'static str, Self); 2] = [("local", Self::Local), ("registry", Self::Registry)];

    /// The word of the config file, empty for unset.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, kind)| *kind == self);
        known.map_or("", |(word, _)| word)
    }
}

/// Entry of `modules`.
#[derive(Clone)]
pub struct ModuleConfig {
    /// Identity: unique, also the name of its socket, logger and data directory.
    pub name: String,
    /// Origin of the program.
    pub kind: ModuleType,
    /// The program: `~/` expanded, relative paths resolved against the folder of the config file.
    pub executable: PathBuf,
    /// Name in the registry, `namespace:name`. Empty if it has none.
    pub module_id: String,
    /// Passed on as `--log-level=`, unchecked.
    pub log_level: Option<String>,
    /// Added to its environment; wins over what the core sets.
    pub env: BTreeMap<String, String>,
    /// Speak TCP instead of a UNIX socket.
    pub tcp_mode: bool,
    /// Longest time for its first-run script.
    pub first_run_timeout: Duration,
    /// Policy for its process.
    pub policy: Policy,
    /// Reason why a cloud refuses this module. It is not started then, and `fault` says the same.
    pub status_error: Option<String>,
    /// Place of the entry.
    pub place: SourceSpan,
    /// Place of the executable's path, for diagnostics about the program.
    pub executable_place: SourceSpan,
    /// Reason why it cannot run. It is not started; the status shows this text.
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

/// Entry of `components` or `services`.
#[derive(Clone)]
pub struct ResourceConfig {
    /// Identity. A broken entry keeps what it has: a name against the rules as written, an API that is missing as
    /// `rdk:component:unknown` or `rdk:service:unknown`.
    pub name: ResourceName,
    /// Model that implements it. `rdk:builtin:unknown` in a broken entry without one.
    pub model: Model,
    /// Handed to the module as they are.
    pub attributes: Object,
    /// Explicit dependencies, simple or full names, in their order.
    pub depends_on: Vec<String>,
    /// Frame in the frame system. `None`: it has none.
    pub frame: Option<Frame>,
    /// Settings that services want for this resource.
    pub service_configs: Vec<ServiceConfig>,
    /// Log level of the resource. `None`: inherited.
    pub log_level: Option<Level>,
    /// Place of the entry.
    pub place: SourceSpan,
    /// Place of the model, for diagnostics about it; the entry itself if it has none.
    pub model_place: SourceSpan,
    /// Places of the dependencies, in the order of `depends_on`.
    pub depends_on_places: Vec<SourceSpan>,
    /// Reason why it cannot be built: it is UNHEALTHY with exactly this text.
    pub fault: Option<String>,
}

impl ResourceConfig {
    /// True if whoever built this resource has nothing to do when it becomes `other`. `service_configs` do not count:
    /// they concern the service that they are for.
    #[must_use]
    pub fn builds_the_same_as(&self, other: &Self) -> bool {
        self.serves_the_same_as(other) && self.frame == other.frame && self.log_level == other.log_level
    }

    /// True if whoever holds this resource has nothing to do when it becomes `other`: `frame` and `log_configuration`
    /// travel to its own module, with AddResource, and concern nobody else.
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
        let attributes: Vec<_> = self.attributes.keys().collect();
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

/// Settings that one service wants for a resource or remote, for example what to capture from it.
#[derive(Clone, PartialEq)]
pub struct ServiceConfig {
    /// The API of the service, as a full triplet.
    pub api: String,
    /// Free form; the service looks inside.
    pub attributes: Object,
}

impl fmt::Debug for ServiceConfig {
    /// Shows only the service: attributes may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceConfig")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}
