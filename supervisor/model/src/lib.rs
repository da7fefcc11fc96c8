//! Values of a machine: its config as typed data, the policies of its modules, what is planned, shown and told of it, names
//! and texts. What every other crate of the core speaks in.
//!
//! Never parses a file, does no IO and decides nothing: whoever makes these values is elsewhere (`mainstay-config` reads them,
//! `mainstay-core` decides by them and about them).
//!
//! Reading order: [`config`] (the machine), [`entry`] (its modules and resources) with [`frame`], [`value`] and [`levels`], and [`key_hash`];
//! [`policy`] (how a module is treated) and [`module_spec`] (how it is run); [`difference`] (two configs, value by value),
//! [`plan`] (what changes from one to the other) and [`apply_state`] (how far that is). State as others see it: [`phase`],
//! [`shown`] (a resource) with [`dependencies`] and [`failure`], [`module_state`] with [`limit`] and [`process_end`],
//! [`event`]; [`descriptors`] (who gets the last ones), [`held`] (how much is buffered, and for whom), [`round_robin`]. Then names ([`module_name`], [`network_name`](mod@network_name), [`machine_path`], [`builtins`], [`offers`]) and texts ([`duration`], [`span`],
//! [`source`], [`redact`], [`suggest`], [`text`]).

pub mod apply_state;
pub mod builtins;
pub mod cgroup;
pub mod config;
pub mod dependencies;
pub mod descriptors;
pub mod difference;
pub mod duration;
pub mod entry;
pub mod event;
pub mod failure;
pub mod frame;
pub mod held;
pub mod key_hash;
pub mod levels;
pub mod limit;
pub mod machine_path;
pub mod membership;
pub mod module_name;
pub mod module_spec;
pub mod module_state;
pub mod network_name;
pub mod offers;
pub mod phase;
pub mod plan;
pub mod policy;
pub mod process_end;
pub mod redact;
pub mod round_robin;
pub mod shown;
pub mod source;
pub mod span;
pub mod suggest;
pub mod text;
pub mod value;

pub use builtins::Builtins;
pub use config::{
    AccessRule, ApiKey, Auth, AuthHandler, BadKeyHash, Cloud, Config, Duplicates, Job, KeyHash, Maintenance, Network,
    Package, Remote, Role, Secret, Tls, Tracing, Tunnel,
};
pub use duration::BadDuration;
pub use entry::{ModuleConfig, ModuleType, ResourceConfig, ServiceConfig};
pub use frame::{Frame, Geometry, Orientation, Shape};
pub use levels::{BadPattern, Level, LogRule, UnknownLevel};
pub use module_name::ModuleName;
pub use module_spec::{ModuleSpec, Rlimits};
pub use network_name::network_name;
pub use offers::{Missing, Offer, Offers};
pub use phase::{ModulePhase, Phase};
pub use policy::{
    ApplyPolicy, Build, Health, Limits, ModuleAccess, OnFailure, OnStuckCall, Output, Policy, Preflight, Restart,
    RestartWhen, Sandbox, Seccomp, Stop, Watch,
};
pub use source::{Excerpt, Source};
pub use span::{SourceSpan, Span};
pub use value::{Object, Value};
