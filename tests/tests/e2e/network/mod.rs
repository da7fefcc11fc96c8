//! The machine among others: the port for clients, what it speaks, whom it shows what and what it bears; and remotes.

mod buffered;
mod grpc_web;
mod health;
mod limits;
mod links;
mod mdns;
mod parts;
mod parts_handover;
mod remotes;
mod remotes_bad;
mod remotes_keys;
mod remotes_lost;
mod rest;
mod tls;
mod tunnel;
mod typescript;

use mainstay_tests::machine::{Machine, Resource};

/// A machine with a motor called `left`.
fn rover() -> Machine {
    Machine::new().resource(Resource::fake("left", "motor"))
}
