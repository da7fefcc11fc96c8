//! Cgroups (version 2): one for each life of a module, so that all it forked can be limited, counted and killed, even
//! what left its session and group.
//!
//! All cgroups of one machine lie below one directory, `<own cgroup>/mainstay-<key>/<module>-<life>`; the key is that of
//! the runtime directory, so whoever ends or follows a core that was killed finds what it left ([`sweep`]). Controllers
//! may only be handed down by a cgroup without processes of its own: where our own cgroup holds nothing but the core and
//! its guardian, both move to the leaf `mainstay-<key>-core` first. Where no controller is to be had, cgroups still tell
//! who belongs to a module and kill it.
//!
//! `place` finds ours, `tree` is one machine's, `group` one life's, `record` notes what was made, `sweep` ends and removes
//! it, `files` reads and writes the kernel's files.

mod files;
mod group;
mod place;
pub mod record;
mod sweep;
#[cfg(test)]
mod tests;
mod tree;

pub use crate::cgroup::group::Group;
pub use crate::cgroup::place::{CgroupPath, unified};
pub use crate::cgroup::sweep::{clear, sweep};
pub use crate::cgroup::tree::{Tree, Unavailable};
