//! The operating system below modules: child processes and what becomes of them, process groups, cgroups, sandboxes, the
//! guardian of the core, the runtime directory.
//!
//! Never decides when a process starts or ends, and knows neither configs nor calls.
//!
//! Reading order: [`launch`], [`signals`] and [`child`] (a process and whatever it forked), [`sandbox`] and [`cgroup`] (what binds it),
//! [`orphans`] and [`process_table`] (what left it), [`guardian`] (what outlives the core), [`runtime_dir`] and [`claim`],
//! [`identity`], [`sockets`] and [`path_listener`], [`upkeep`] (what was removed under a running machine);
//! [`members`], [`peers`], [`loopback`] and [`control_peers`] (who belongs to a module); [`memory`], [`usage`] and [`evidence`] (what is seen of it);
//! [`descriptors`] and [`shortage`] (what runs out); [`shutdown_signals`]; [`program_text`] (what we keep in memory ourselves).

pub mod cgroup;
pub mod child;
pub mod claim;
pub mod control_peers;
pub mod descriptors;
pub mod evidence;
pub mod guardian;
pub mod identity;
pub mod launch;
pub mod loopback;
pub mod members;
pub mod memory;
pub mod orphans;
pub mod path_listener;
pub mod peers;
pub mod process_table;
mod program_file;
pub mod program_text;
pub mod runtime_dir;
pub mod sandbox;
pub mod shortage;
pub mod shutdown_signals;
pub mod signals;
pub mod sockets;
pub mod upkeep;
pub mod usage;
