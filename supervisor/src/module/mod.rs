//! One child process per module: how it is started, watched, restarted and ended.
//!
//! `lifecycle` decides (pure), `actor` does it for one module, `process` is the guarded child, `handshake` and
//! `reflect` are the first talk with it, `probe` decides whether it hangs (pure) and `health` asks it, `evidence` is what is
//! written down then, `output` reads what it prints, `problem` says what went wrong, `orphans` finds and ends what it
//! leaves behind.

pub mod activity;
pub mod actor;
pub mod backoff;
pub mod builtin;
pub mod environment;
pub mod evidence;
pub mod handshake;
pub mod health;
pub mod lifecycle;
pub mod orphans;
pub mod output;
pub mod probe;
pub mod problem;
pub mod process;
pub mod reflect;
pub mod sockets;
pub mod state;
