//! Plan from one config to another, as a value: which parts of the machine change, how, in which order and why.

use std::collections::HashSet;
use std::fmt;

use mainstay_ids::ResourceName;

use crate::module_name::ModuleName;

/// Part of a machine that can change by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Listening address and TLS.
    Network,
    /// Authentication.
    Auth,
    /// Connection to the cloud.
    Cloud,
    /// Log levels.
    Log,
    /// Sinks of traces.
    Tracing,
    /// Maintenance window.
    Maintenance,
    /// A package.
    Package(String),
    /// Remote machine, by name.
    Remote(String),
    /// A module.
    Module(ModuleName),
    /// A component or service.
    Resource(ResourceName),
    /// A job.
    Job(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str("network"),
            Self::Auth => f.write_str("auth"),
            Self::Cloud => f.write_str("cloud"),
            Self::Log => f.write_str("log"),
            Self::Tracing => f.write_str("tracing"),
            Self::Maintenance => f.write_str("maintenance"),
            Self::Package(name) => write!(f, "package {name}"),
            Self::Remote(name) => write!(f, "remote {name}"),
            Self::Module(name) => write!(f, "module {name}"),
            Self::Resource(name) => write!(f, "{name}"),
            Self::Job(name) => write!(f, "job {name}"),
        }
    }
}

/// Kind of a change to a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// The part begins to run.
    Start,
    /// The part ends and begins anew.
    Restart,
    /// The part ends.
    Stop,
    /// The resource is put into its module.
    Build,
    /// The resource is taken out of its module and put in again.
    Rebuild,
    /// The resource is taken out of its module. One that is still in the config stays visible, UNHEALTHY.
    Close,
    /// Other settings apply from now on; nothing is started, stopped, built or taken out for that.
    Update,
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Build => "build",
            Self::Rebuild => "rebuild",
            Self::Close => "close",
            Self::Update => "update",
        })
    }
}

/// Change of one part: the unit of work of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Part that changes.
    pub part: Part,
    /// Kind of the change.
    pub how: ChangeKind,
    /// Reason, for people.
    pub because: String,
    /// Whether, or how far, this happens is decided by what is not known yet: a module that does not run, or whether
    /// something becomes READY.
    pub known_after_start: bool,
    /// The change that it follows from, if its own entry is not the reason.
    pub through: Option<Part>,
    /// A resource that is rebuilt while those who hold it keep it.
    pub in_place: bool,
}

impl Change {
    /// Change that is certain, and follows from the part's own entry.
    #[must_use]
    pub fn new(part: Part, how: ChangeKind, because: impl Into<String>) -> Self {
        Self {
            part,
            how,
            because: because.into(),
            known_after_start: false,
            through: None,
            in_place: false,
        }
    }
}

/// Changes from one config to another, in order: what is closed, modules, then what is built, after what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes in the order in which they are made.
    pub changes: Vec<Change>,
    /// Modules and resources that nothing happens to.
    pub stays: Vec<Part>,
    /// Optional dependencies that are let go because they would close a circle, as far as is known.
    pub dropped_optional: Vec<DroppedOptional>,
}

impl Plan {
    /// Resources that are rebuilt while those who hold them keep them.
    #[must_use]
    pub fn in_place(&self) -> HashSet<ResourceName> {
        let in_place = self.changes.iter().filter(|change| change.in_place);
        let names = in_place.filter_map(|change| match &change.part {
            Part::Resource(name) => Some(name.clone()),
            _ => None,
        });
        names.collect()
    }

    /// The change of one part, if it has one.
    #[must_use]
    pub fn of(&self, part: &Part) -> Option<&Change> {
        self.changes.iter().find(|change| change.part == *part)
    }
}

/// An optional dependency that is let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedOptional {
    /// Resource that goes without.
    pub by: ResourceName,
    /// Without what.
    pub what: ResourceName,
    /// The circle that it would close: `by`, `what`, and on to `by` again.
    pub circle: Vec<ResourceName>,
}

impl DroppedOptional {
    /// `x → y → x`
    #[must_use]
    pub fn way(&self) -> String {
        let names: Vec<_> = self.circle.iter().map(|name| name.name.as_str()).collect();
        names.join(" → ")
    }
}
