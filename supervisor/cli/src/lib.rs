//! The command line: one file per verb, each a client of a running machine over its control socket. Results go to stdout,
//! everything else to stderr.
//!
//! Never runs a machine: that is the program's own part.
//!
//! Exit codes: 0 done, 1 the thing asked about is wrong, 2 bad usage, 3 no machine to talk to (`failure`).

mod api_keys;
mod apply;
mod ask_builtins;
mod auth_edit;
mod call;
mod check;
mod completions;
mod config;
mod config_files;
mod config_text;
mod connection;
mod diagnostics;
mod diff;
mod discover;
mod events;
mod explain;
mod explain_denied;
pub mod failure;
mod graph;
mod human;
mod keys;
mod login;
mod logs;
pub mod output;
mod part;
mod plan;
mod plan_text;
mod profiles;
mod remotes;
mod replace_file;
mod restart;
pub mod run;
mod running_offers;
#[cfg(test)]
mod samples;
mod schema;
mod secret_prompt;
mod selector;
pub mod startup;
mod status;
mod status_config;
mod status_detail;
mod status_json;
mod status_text;
mod status_wire;
mod table;
mod target;
mod terminal;
mod times;
mod tunnel;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::failure::{CliError, Exit};

/// A robot server in which everything is a module
///
/// Mainstay runs a robot from one config file. It starts a small process for each module (the drivers of motors,
/// cameras, sensors …), watches and restarts them, and serves all of them at one network address that every Viam
/// client can talk to.
#[derive(Debug, Parser)]
#[command(
    name = "mainstay",
    version,
    propagate_version = true,
    after_help = "\
First steps:
  mainstay run rover.yaml     start the machine that the file describes
  mainstay status             what runs, and what is wrong; in another terminal
  mainstay call left-motor    what the resource `left-motor` can do, and then:
  mainstay call left-motor set_power '{\"power_pct\": 0.5}'

A rover.yaml of one fake motor, for a start:
  components:
    - {name: left-motor, api: rdk:component:motor, model: fake}

Exit codes: 0 success, 1 failure (an invalid config, a failed call, an unknown resource …), 2 bad usage, 3 no running \
machine found.

Environment:
  MAINSTAY_MACHINE the machine of every verb but `run`: its config file, its profile or HOST:PORT; options go before it
  MAINSTAY_API_KEY ID:KEY for a machine on the network that asks for one
  VIAM_HOME        folder for the data of modules (default ~/.viam)
  XDG_RUNTIME_DIR  the machine's sockets are in $XDG_RUNTIME_DIR/mainstay (default /tmp/mainstay-<uid>)
  NO_COLOR         print without colours"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a machine from its config file, until Ctrl-C
    Run(run::Arguments),
    /// Show a running machine: its modules, its resources and what is wrong
    Status(status::Arguments),
    /// Show the other machines whose resources are used here
    Remotes(remotes::Arguments),
    /// Find machines on the local network
    Discover(discover::Arguments),
    /// Call a method of a resource, or list the methods it has
    Call(call::Arguments),
    /// Restart a module, and wait until it is ready
    Restart(restart::RestartArguments),
    /// Restart a module if its program file has changed
    Reload(restart::ReloadArguments),
    /// Show what a module printed and logged
    Logs(logs::Arguments),
    /// Show why a module was restarted: how its processes ended, the calls in flight, and what followed
    Explain(explain::Arguments),
    /// Show the events of the machine, its modules and its resources
    Events(events::Arguments),
    /// Check a config file and show all its errors and warnings
    Check(check::Arguments),
    /// Print the JSON Schema of config files, for completion and checks in editors
    Schema(schema::Arguments),
    /// Show what a config would start, stop, rebuild and leave alone, and why
    Plan(plan::Arguments),
    /// Apply a config to the running machine and show the result
    Apply(apply::Arguments),
    /// Show how a config file differs from the running config
    Diff(diff::Arguments),
    /// Show or change one value of a config file
    Config(config::Arguments),
    /// Show the dependencies between resources
    Graph(graph::Arguments),
    /// Reach a port of the machine's host through the machine
    Tunnel(tunnel::Arguments),
    /// Make one machine of several computers: a main part and its sub-parts
    Part(part::Arguments),
    /// Make, list and revoke the API keys and the certificates of a machine
    Keys(keys::Arguments),
    /// Keep a machine on the network with its key as a profile, or list the profiles
    Login(login::LoginArguments),
    /// Forget a profile
    Logout(login::LogoutArguments),
    /// Print the script with which a shell completes command lines, names of resources included
    Completions(completions::Arguments),
}

/// Parses the command line, runs the verb and tells how it ended. The whole program, but for `run`, the verb that starts a
/// machine.
pub fn main(run: impl FnOnce(run::Arguments) -> ExitCode) -> ExitCode {
    if completions::answer(Arguments::command) {
        return ExitCode::SUCCESS;
    }
    // Bad usage ends here with 2, `--help` and `--version` with 0.
    let arguments = Arguments::try_parse().unwrap_or_else(|error| explained(error).exit());
    match arguments.verb {
        Verb::Run(arguments) => run(arguments),
        Verb::Status(arguments) => client(arguments.json, status::run(arguments)),
        Verb::Remotes(arguments) => client(arguments.json, remotes::run(arguments)),
        Verb::Discover(arguments) => client(arguments.json, discover::run(arguments)),
        Verb::Call(arguments) => client(arguments.json, call::run(arguments)),
        Verb::Restart(arguments) => client(arguments.json, restart::restart(arguments)),
        Verb::Reload(arguments) => client(arguments.json, restart::reload(arguments)),
        Verb::Logs(arguments) => client(arguments.json, logs::run(arguments)),
        Verb::Explain(arguments) => client(arguments.json, explain::run(arguments)),
        Verb::Events(arguments) => client(arguments.json, events::run(arguments)),
        Verb::Check(arguments) => client(arguments.json, check::run(arguments)),
        Verb::Schema(arguments) => ended(false, schema::run(&arguments)),
        Verb::Plan(arguments) => client(arguments.json, plan::run(arguments)),
        Verb::Apply(arguments) => client(arguments.json, apply::run(arguments)),
        Verb::Diff(arguments) => client(arguments.json, diff::run(arguments)),
        Verb::Config(arguments) => ended(arguments.json(), config::run(&arguments)),
        Verb::Graph(arguments) => client(arguments.json, graph::run(arguments)),
        Verb::Tunnel(arguments) => client(false, tunnel::run(arguments)),
        Verb::Part(arguments) => client(arguments.json(), part::run(arguments)),
        Verb::Keys(arguments) => client(arguments.json(), keys::run(arguments)),
        Verb::Login(arguments) => client(arguments.json, login::login(arguments)),
        Verb::Logout(arguments) => ended(false, login::logout(&arguments)),
        Verb::Completions(arguments) => ended(false, completions::run(&arguments)),
    }
}

/// Options that choose a machine.
const SELECTING: [&str; 5] = ["--machine", "--address", "--profile", "--api-key", "--insecure"];

/// The error of a command line, with a word about verbs that ask no machine where somebody chose one for such a verb.
fn explained(mut error: clap::Error) -> clap::Error {
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    let given = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(given)) if unknown => given.split('=').next().unwrap_or_default().to_owned(),
        _ => return error,
    };
    if SELECTING.contains(&given.as_str()) {
        let why = "this verb works with files of this host and asks no machine; run it on the host that has them";
        let told = ContextValue::StyledStrs(vec![why.into()]);
        error.insert(ContextKind::Suggested, told);
    }
    error
}

fn ended(json: bool, outcome: Result<Exit, CliError>) -> ExitCode {
    outcome.unwrap_or_else(|failure| failure.report(json)).into()
}

/// Runs a verb that talks to a machine. One thread is enough for one conversation.
fn client(json: bool, verb: impl Future<Output = Result<Exit, CliError>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(verb),
        Err(error) => Err(CliError::wrong(format!(
            "the system refuses to start an event loop: {error}"
        ))),
    };
    crate::ended(json, ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_newcomer_finds_the_first_three_commands_in_the_help() {
        let help = Arguments::command().render_long_help().to_string();
        for needed in [
            "everything is a module",
            "mainstay run rover.yaml",
            "mainstay status",
            "mainstay call left-motor",
            "Exit codes",
        ] {
            assert!(help.contains(needed), "{needed:?} is missing in:\n{help}");
        }
    }

    #[test]
    fn command_lines_parse_as_documented() {
        let good = [
            "run",
            "run -",
            "run rover.yaml",
            "run rover.yaml --home /tmp/h --bind 127.0.0.1:0 --builtins /opt/b --debug",
            "run rover.yaml --no-mdns",
            "run rover.yaml --disable-mdns",
            "status",
            "status -w --json left",
            "status --machine rover.yaml",
            "status --address rover:8080",
            "status --profile rover",
            "login",
            "login rover --name r --api-key a:b --ca ca.pem",
            "login rover --api-key - --insecure",
            "logout rover",
            "logs --address rover --api-key a:b",
            "plan rover.yaml --address rover --insecure",
            "check rover.yaml --live --profile rover",
            "reload acme-lidar --address rover",
            "graph --profile rover",
            "keys new --role operator --name laptop",
            "keys new rover.yaml --role owner --json",
            "keys new --role viewer --print",
            "keys revoke 3f0b6d9e rover.yaml",
            "call left",
            "call left set_power {} --json --timeout 2s",
            "call left set_power {} --for 2s",
            "call left set_power {} --leave-moving",
            "call left set_power {} --every 1s --for 2s",
            "call cam get_images --out pictures --every 200ms",
            "call walker steps -",
            "discover",
            "discover --json --timeout 500ms",
            "restart acme-lidar",
            "restart builtin:fake --json --address rover",
            "reload acme-lidar --force --machine rover.yaml",
            "logs",
            "logs wheels -f -n 20",
            "logs -f --since 10m --level warn",
            "logs builtin:fake --json --machine rover.yaml",
            "events -f --json left",
            "explain wheels --json",
            "check rover.yaml --json",
            "check rover.yaml --live --machine rover.yaml",
            "check rover.yaml --builtins /opt/b",
            "schema",
            "schema --markdown",
            "plan rover.yaml --json",
            "apply rover.yaml --revert-after 10s --yes",
            "diff",
            "diff rover.yaml --last-good",
            "config get rover.yaml components[0].name --reveal",
            "config set rover.yaml components.a.attributes.x -1.5 --dry-run --json",
            "graph rover.yaml --format mermaid",
            "keys init rover.yaml",
            "keys list --json",
            "keys ca",
            "keys client laptop rover.yaml --out /tmp",
            "part init rover.yaml --name rover",
            "part invite arm --replace",
            "part join k7q-4m2x-9trb arm.yaml --main 10.0.0.5",
            "part join k7q-4m2x-9trb",
            "part list --json",
            "part remove arm rover.yaml",
            "part address arm 10.0.0.7:8080",
            "part leave",
            "completions bash",
        ];
        for line in good {
            let parsed = Arguments::try_parse_from(["mainstay"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
        let bad = [
            "",
            "call",
            "call left set_power {} --every fast",
            "call left set_power {} --for 2s --leave-moving",
            "status --machine a --address b",
            "status --machine a --profile b",
            "status --profile a --address b",
            "status --profile a --api-key b:c",
            "status --profile a/b",
            "status --api-key b",
            "login --name rover",
            "login rover --ca a --fingerprint b",
            "login rover --fingerprint b --insecure",
            "logout",
            "keys new rover.yaml",
            "keys revoke",
            "run --address rover",
            "schema --profile rover",
            "keys list --address rover",
            "logs wheels -n many",
            "logs --since yesterday",
            "logs --level loud",
            "explode",
            "discover rover",
            "discover --timeout soon",
            "restart",
            "check",
            "schema rover.yaml",
            "config set rover.yaml debug",
            "diff --last-good",
            "apply rover.yaml --revert-after soon",
            "plan",
            "graph rover.yaml --format ascii",
            "keys",
            "keys client",
            "part join k7q --main 10.0.0.5",
            "part invite",
            "completions csh",
        ];
        for line in bad {
            let parsed = Arguments::try_parse_from(
                ["mainstay"]
                    .into_iter()
                    .chain(line.split(' ').filter(|word| !word.is_empty())),
            );
            assert_eq!(parsed.unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
