//! `mainstay discover`: the machines on the local network that tell others of themselves, and how to reach them.

use std::net::SocketAddrV4;
use std::time::Duration;

use mainstay_mdns::{Sighting, browse, dashed};
use mainstay_model::text::plain;
use serde_json::{Value, json};

use crate::failure::{CliError, Exit};
use crate::human;
use crate::output::{note, print};
use crate::table::TextTable;
use crate::terminal::Style;

/// Arguments of `mainstay discover`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay discover                 machines that answer within 2 s
  mainstay discover --timeout 10s   on a slow network
  mainstay discover --json          for scripts")]
pub struct Arguments {
    /// How long to listen
    #[arg(long, value_name = "DURATION", value_parser = human::parse_duration, default_value = "2s")]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// Nobody can be asked.
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let found = browse(arguments.timeout, &[]).await;
    let found = found.map_err(|error| CliError::wrong(format!("nobody can be asked by mDNS: {error}")))?;
    let machines = machines(found);
    if arguments.json {
        print(&machines.iter().map(shown).collect::<Value>().to_string())?;
    } else if machines.is_empty() {
        note(&nobody(arguments.timeout));
    } else {
        print(&table(&machines, Style::stdout()).join("\n"))?;
    }
    Ok(if machines.is_empty() {
        Exit::NoMachine
    } else {
        Exit::Done
    })
}

/// Each machine once: those with dots in their names tell themselves with dashes, too.
fn machines(found: Vec<Sighting>) -> Vec<Sighting> {
    let is_other_spelling = |one: &Sighting| {
        found
            .iter()
            .any(|other| other.name != one.name && dashed(&other.name) == one.name && other.addresses == one.addresses)
    };
    found.iter().filter(|one| !is_other_spelling(one)).cloned().collect()
}

fn tells(machine: &Sighting, word: &str) -> bool {
    // Some write a word, some a key without a value.
    machine.txt.iter().any(|told| told.trim_end_matches('=') == word)
}

/// What it says that it speaks.
fn speaks(machine: &Sighting) -> Vec<&'static str> {
    let words = [
        ("grpc", "gRPC"),
        ("webrtc", "WebRTC"),
        ("tls", "TLS"),
        ("keys", "API keys"),
    ];
    let told = words.iter().filter(|(word, _)| tells(machine, word));
    told.map(|(_, shown)| *shown).collect()
}

/// Name for a command line, or the address of a machine whose name is none.
fn named(machine: &Sighting) -> String {
    let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    match is_plain(&machine.name) && !machine.name.starts_with('-') {
        true => machine.name.clone(),
        false => first(machine),
    }
}

fn first(machine: &Sighting) -> String {
    machine
        .addresses
        .first()
        .map(SocketAddrV4::to_string)
        .unwrap_or_default()
}

/// Command that reaches it.
fn reach(machine: &Sighting) -> String {
    let keys = if tells(machine, "keys") {
        " --api-key ID:KEY"
    } else {
        ""
    };
    let cleartext = !keys.is_empty() && !tells(machine, "tls");
    let insecure = if cleartext { " --insecure" } else { "" };
    format!("mainstay status --address {}{keys}{insecure}", named(machine))
}

fn table(machines: &[Sighting], style: Style) -> Vec<String> {
    let mut table = TextTable::new(["NAME", "ADDRESS", "SPEAKS", "REACH IT BY"]);
    for machine in machines {
        table.row([
            plain(&machine.name).into(),
            first(machine).into(),
            speaks(machine).join(", ").into(),
            reach(machine).into(),
        ]);
    }
    table.lines(style)
}

fn shown(machine: &Sighting) -> Value {
    json!({
        "name": machine.name,
        // The likeliest first.
        "addresses": machine.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "grpc": tells(machine, "grpc"),
        "webrtc": tells(machine, "webrtc"),
        // Of machines that are no Mainstay `null`: they do not tell.
        "tls": is_ours(machine).then(|| tells(machine, "tls")),
        "api_keys": is_ours(machine).then(|| tells(machine, "keys")),
        // All that it tells.
        "txt": machine.txt,
        "reach": reach(machine),
    })
}

fn is_ours(machine: &Sighting) -> bool {
    tells(machine, "server=mainstay")
}

fn nobody(time: Duration) -> String {
    format!(
        "no machine answered within {} (mDNS: UDP port 5353, group 224.0.0.251)\n\
         \x20 a machine tells other hosts of itself if they may call it: `network.bind_address` is no loopback address, and\n\
         \x20   `auth.handlers` asks for API keys or `network.allow_unauthenticated` is true\n\
         \x20 it is silent with `network.mdns: false` or `mainstay run --no-mdns`; `mainstay status` there says what else is wrong\n\
         \x20 firewalls, containers, other subnets and some access points hold mDNS back: by its address it is reached all the same,\n\
         \x20   mainstay status --address HOST:8080",
        human::duration(time)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, address: &str, txt: &[&str]) -> Sighting {
        Sighting {
            name: name.to_owned(),
            addresses: vec![address.parse().expect("an address")],
            txt: txt.iter().map(|told| (*told).to_owned()).collect(),
        }
    }

    #[test]
    fn machines_are_listed_once_with_a_way_to_reach_them() {
        let found = vec![
            machine("arm-lab", "10.0.0.7:8080", &["grpc", "server=mainstay", "tls", "keys"]),
            machine("arm.lab", "10.0.0.7:8080", &["grpc", "server=mainstay", "tls", "keys"]),
            machine("other", "10.0.0.8:40001", &["grpc=", "webrtc="]),
            machine("x; rm\u{1b}[2J", "10.0.0.9:1", &["grpc"]),
        ];
        let expected = "\
NAME   ADDRESS         SPEAKS               REACH IT BY
arm.lab  10.0.0.7:8080   gRPC, TLS, API keys  mainstay status --address arm.lab --api-key ID:KEY
other    10.0.0.8:40001  gRPC, WebRTC         mainstay status --address other
x; rm    10.0.0.9:1      gRPC                 mainstay status --address 10.0.0.9:1";
        let lines = table(&machines(found.clone()), Style::PLAIN);
        assert_eq!(lines[1..].join("\n"), expected.split_once('\n').expect("two lines").1);
        assert_eq!(shown(&found[0])["tls"], true);
        assert_eq!(shown(&found[2])["tls"], Value::Null);
    }
}
