//! Child process of a module: start, watch, restart and end.
//!
//! `lifecycle` decides (pure), `actor` does it for one module, `process` is the guarded child, `handshake` and
//! `reflect` are the first talk with it, `probe` decides whether it hangs (pure) and `health` asks it, `evidence` is what is
//! written down then, `output` reads what it prints, `history` remembers how its processes ended, `problem` says what went
//! wrong, `orphans` finds and ends what it leaves behind.
//!
//! `source` is where its program comes from (`package`: meta.json, `unpack`: tarballs, `watch`: changes), `first_run` the
//! script before it, `address`, `parent` and `loopback` where both sides listen.
//!
//! `limits` decides how much it may use (pure) and `sandbox` prepares what it may touch; `bounds` brings both to one
//! module, with `memory` (the watch), `members` (who belongs to it) and `peers` (who may call on its socket).

pub mod activity;
pub mod actor;
pub mod address;
pub mod bounds;
pub mod entry;
pub mod environment;
pub mod file_mark;
pub mod first_run;
pub mod handshake;
pub mod health;
pub mod output;
pub mod package;
pub mod parent;
pub mod problem;
pub mod reflect;
pub mod source;
pub mod unpack;
pub mod watch;
