//! The machine config: from the bytes of a file to checked, typed values, and every complaint about it at once.
//!
//! The way through: [`Bundle::gather`] reads the file and what it includes → `substitute` puts in what the environment has →
//! `json` or `yaml` makes a tree in which every node knows its place (`document`) → `sections`, `entries`, `policy`, `network`
//! and `frame` walk the trees with the typed reader of `read` and collect complaints instead of stopping at the first →
//! `check` compares the entries with each other and with the file system.
//! Nothing here starts, stops or remembers anything; what is read is plain data, compared by the machine.

mod apply;
mod bundle;
pub mod check;
mod complaint;
pub mod declared;
mod dependencies;
pub mod difference;
mod document;
pub mod edit;
mod entries;
mod entry;
mod frame;
mod include;
mod jobs;
mod json;
mod keys;
mod levels;
mod load;
mod model;
pub mod models;
mod names;
mod network;
mod node;
mod packages;
mod placeholder;
mod policy;
mod processes;
mod proto;
mod read;
mod schema;
mod secrets;
mod sections;
mod size;
mod source;
mod substitute;
mod suggest;
mod surroundings;
#[cfg(test)]
mod tests;
mod yaml;

pub use crate::duration::{parse as parse_duration, show as show_duration};
pub use bundle::{Bundle, MAX_SIZE, RawFile};
pub use complaint::{Complaint, Grade, Place, Refused, colour_wanted};
pub use frame::{Frame, Geometry, Orientation, Shape};
pub use load::{load, load_in, models_of_modules, parse, read_file};
pub use model::{
    Auth, AuthHandler, Cloud, Config, Duplicates, Job, Level, Loaded, LogRule, Maintenance, ModuleConfig, ModuleType,
    Network, Package, Remote, ResourceConfig, Secret, ServiceConfig, Tracing, Tunnel,
};
pub use schema::schema;
pub use source::Source;
pub use suggest::nearest;
pub use surroundings::Surroundings;

pub use crate::policy::{ApplyPolicy, OnFailure, Preflight};
