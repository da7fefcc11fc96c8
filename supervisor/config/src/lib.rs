//! The config of a machine: from the bytes of its files to checked, typed values (`mainstay-model`), with every diagnostic at
//! once, each with its place. Also the files themselves: watched, and kept as last good.
//!
//! Never starts, stops or remembers anything of a running machine; what is read is plain data.
//!
//! Reading order, as a text flows: [`bundle`] (the files, raw), `substitute` (variables), `document` with `json` and `yaml` (a
//! tree in which every node knows its place), `read` and `values` (the typed reader) with `keys` (every key), then `sections`, `entries`,
//! `policy`, `network`, `auth`, `frame`, `jobs` (typed values), [`check`], `registry` and `dependencies` (entries against each other and the
//! file system), [`models`] and [`declared`] (entries against what modules offer and say), [`diagnostic`] and `secrets` (what is said, and never said); `schema`; [`edit`] (one value replaced in its text);
//! [`store`] (files on the disk); [`schedule`] (when a job runs), [`executable`], [`symlinks`].

mod apply;
mod auth;
pub mod builtins;
pub mod bundle;
pub mod certificate;
pub mod check;
pub mod declared;
mod dependencies;
pub mod diagnostic;
mod document;
pub mod edit;
mod entries;
pub mod executable;
mod frame;
mod include;
mod jobs;
mod json;
mod keys;
pub mod load;
mod load_context;
pub mod models;
mod names;
mod network;
mod node;
mod packages;
mod parts;
mod placeholder;
mod policy;
mod processes;
mod read;
mod reference;
mod registry;
pub mod schedule;
mod schema;
pub mod secrets;
mod sections;
mod size;
pub mod store;
mod substitute;
pub mod symlinks;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

pub use crate::bundle::{ConfigFiles, MAX_SIZE, RawFile};
pub use crate::diagnostic::{Diagnostic, Refused, Severity, colour_wanted};
pub use crate::load::{Loaded, is_stdin, load, load_in, models_of_modules, parse, read_file, read_given};
pub use crate::load_context::LoadContext;
pub use crate::reference::reference;
pub use crate::schema::schema;
