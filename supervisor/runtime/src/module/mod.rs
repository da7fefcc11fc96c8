//! Child process of a module: start, watch, restart and end.
//!
//! `actor` does for one module what core's `lifecycle` decides. `handshake` and `reflect` are the first talk with a process,
//! `health` asks it whether it hangs, `output` reads what it prints, `problem` says what went wrong, `entry` is what everybody
//! else sees of it.
//!
//! `source` is where its program comes from (`package`: meta.json, `unpack`: tarballs; `watch`: its changes; `program_files` and
//! `file_watch`: the files behind it; `build`: how it is made), `first_run` the script before it, `environment` how it is launched, within `bounds`; `address` and `parent` are where both sides listen,
//! `socket_place` keeps the sockets there.

pub(crate) mod activity;
pub(crate) mod actor;
pub(crate) mod address;
pub(crate) mod bounds;
pub(crate) mod build;
pub mod entry;
mod environment;
pub(crate) mod file_mark;
pub(crate) mod file_watch;
mod first_run;
pub(crate) mod handshake;
mod health;
pub mod output;
mod package;
pub mod parent;
mod problem;
pub mod program_files;
pub(crate) mod reflect;
pub(crate) mod socket_place;
pub(crate) mod source;
mod unpack;
pub(crate) mod watch;
