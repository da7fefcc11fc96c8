//! `mainstay completions SHELL`: the script that a shell reads, and the answers to the questions that the script then asks.
//!
//! Names of resources and modules are those of the machine that runs at that moment. Where none runs there are none, and
//! nothing is said about it: the line that is being typed is no place for errors.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Status};
use mainstay_proto::viam::robot::v1::GetMachineStatusRequest;
use mainstay_proto::viam::robot::v1::robot_service_client::RobotServiceClient;
use tokio::time::timeout;

use crate::failure::{CliError, Exit};
use crate::output::print;
use crate::selector::MachineSelector;
use crate::status_wire::from_robot;
use crate::target;
use crate::target::Socket;

/// Environment variable with which a script asks for candidates.
const ASKED: &str = "MAINSTAY_COMPLETE";
/// Limit for a machine to say its names: somebody waits with a finger on the key.
const PATIENCE: Duration = Duration::from_secs(1);
const SHELLS: Shells<'static> = Shells(&[&Bash, &Fish, &Zsh]);

/// Arguments of `mainstay completions`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(mainstay completions bash)       in ~/.bashrc
  source <(mainstay completions zsh)        in ~/.zshrc, behind compinit
  mainstay completions fish | source        in ~/.config/fish/config.fish

Names of resources and modules complete, too: those of the running machine.")]
pub struct Arguments {
    /// The shell that is to complete
    shell: Shell,
}

/// Shell that can complete.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script of a shell.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    let program = program(std::env::args_os().next(), std::env::current_dir().ok());
    print(script(arguments.shell, &program)?.trim_end())?;
    Ok(Exit::Done)
}

/// Answers and returns true if a shell asks for candidates; `command` is the whole command line.
pub fn answer(command: impl Fn() -> Command) -> bool {
    let asked = CompleteEnv::with_factory(|| with_names(command()))
        .var(ASKED)
        .shells(SHELLS);
    // What cannot be answered is answered with nothing.
    asked
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref())
        .unwrap_or(true)
}

fn script(shell: Shell, program: &str) -> Result<String, CliError> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    let written = shell.write_registration(ASKED, "mainstay", "mainstay", program, &mut script);
    written.map_err(|error| CliError::wrong(format!("cannot write the script: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Program that the script runs: by its name if it was found by it, else by its whole path.
fn program(called: Option<OsString>, folder: Option<PathBuf>) -> String {
    let called = PathBuf::from(called.unwrap_or_else(|| "mainstay".into()));
    let program = match folder {
        Some(folder) if called.components().count() > 1 => folder.join(called),
        _ => called,
    };
    program.to_string_lossy().into_owned()
}

/// Names out of a status.
type Names = fn(&Status) -> Vec<CompletionCandidate>;

/// Arguments that are names of a running machine, by verb.
const NAMED: [(&str, &str, Names); 7] = [
    ("call", "name", resources),
    ("status", "subject", all),
    ("events", "about", all),
    ("restart", "module", modules),
    ("reload", "module", modules),
    ("logs", "module", modules),
    ("explain", "module", modules),
];

fn with_names(command: Command) -> Command {
    NAMED.into_iter().fold(command, |command, (verb, argument, names)| {
        let names = ArgValueCandidates::new(move || running().as_ref().map(names).unwrap_or_default());
        // All of them, because their order is that of positions.
        let known = move |other: Arg| match other.get_id() == argument {
            true => other.add(names.clone()),
            false => other,
        };
        command.mut_subcommand(verb, |verb| verb.mut_args(known))
    })
}

fn resources(status: &Status) -> Vec<CompletionCandidate> {
    let names = status.resources.iter().filter_map(|resource| resource.name.as_ref());
    let candidate = |name: &mainstay_proto::viam::common::v1::ResourceName| {
        CompletionCandidate::new(&name.name).help(Some(format!("{}:{}", name.r#type, name.subtype).into()))
    };
    names.map(candidate).collect()
}

fn modules(status: &Status) -> Vec<CompletionCandidate> {
    let candidate = |name: &String| CompletionCandidate::new(name).help(Some("module".into()));
    status.modules.iter().map(|module| candidate(&module.name)).collect()
}

fn all(status: &Status) -> Vec<CompletionCandidate> {
    resources(status).into_iter().chain(modules(status)).collect()
}

/// Status of the machine that the typed line is about, if it answers in time.
fn running() -> Option<Status> {
    let selector = selector(std::env::args_os());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let asked = async { timeout(PATIENCE, status(&selector)).await.ok()?.ok() };
    runtime.ok()?.block_on(asked)
}

async fn status(selector: &MachineSelector) -> Result<Status, CliError> {
    let target = target::find(selector).await?;
    match target.socket {
        Socket::Control => {
            let mut client = ControlServiceClient::new(target.connection).max_decoding_message_size(usize::MAX);
            Ok(client.get_status(GetStatusRequest {}).await?.into_inner())
        }
        Socket::Network { address } => {
            let mut robot = RobotServiceClient::new(target.connection).max_decoding_message_size(usize::MAX);
            let status = robot.get_machine_status(GetMachineStatusRequest {}).await?;
            Ok(from_robot(&address, status.into_inner(), None))
        }
    }
}

/// Machine that a typed line names; the line may be wrong in every other way.
fn selector(words: impl Iterator<Item = OsString>) -> MachineSelector {
    let mut selector = MachineSelector::default();
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value.to_owned())),
            None => (&*word, None),
        };
        match option {
            "--machine" => selector.machine = value.or_else(|| words.next()).map(PathBuf::from),
            "--address" => selector.address = value.or_else(|| words.next()),
            "--profile" => selector.profile = value.or_else(|| words.next()).and_then(|name| name.parse().ok()),
            _ => {}
        }
    }
    selector
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use mainstay_proto::mainstay::control::v1::{Module, Resource};
    use mainstay_proto::viam::common::v1::ResourceName;

    use super::*;

    #[test]
    fn every_argument_that_takes_names_is_still_called_so() {
        let command = with_names(crate::Arguments::command());
        for (verb, argument, _) in NAMED {
            let verb = command.find_subcommand(verb).expect(verb);
            let argument = verb.get_arguments().find(|found| found.get_id() == argument);
            let argument = argument.unwrap_or_else(|| panic!("{}", verb.get_name()));
            assert!(argument.get::<ArgValueCandidates>().is_some());
            assert!(argument.is_positional());
        }
        command.debug_assert();
    }

    #[test]
    fn resources_and_modules_are_offered_where_they_are_meant() {
        let status = Status {
            modules: vec![Module {
                name: "builtin:fake".into(),
                ..Module::default()
            }],
            resources: vec![Resource {
                name: Some(ResourceName {
                    namespace: "rdk".into(),
                    r#type: "component".into(),
                    subtype: "motor".into(),
                    name: "left".into(),
                }),
                ..Resource::default()
            }],
            ..Status::default()
        };
        let shown = |candidates: Vec<CompletionCandidate>| {
            let shown = candidates.iter().map(|candidate| {
                let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
                format!("{} ({help})", candidate.get_value().display())
            });
            shown.collect::<Vec<_>>()
        };
        assert_eq!(shown(resources(&status)), ["left (component:motor)"]);
        assert_eq!(shown(modules(&status)), ["builtin:fake (module)"]);
        assert_eq!(shown(all(&status)).len(), 2);
    }

    #[test]
    fn the_machine_is_the_one_that_the_line_names() {
        let named = |line: &str| {
            let selector = selector(line.split(' ').map(OsString::from));
            (selector.machine, selector.address)
        };
        assert_eq!(named("mainstay call le"), (None, None));
        assert_eq!(
            named("mainstay call --machine a.yaml le"),
            (Some("a.yaml".into()), None)
        );
        assert_eq!(
            named("mainstay call le --address=rover"),
            (None, Some("rover".to_owned()))
        );
        assert_eq!(named("mainstay call --machine"), (None, None));
    }

    #[test]
    fn a_script_calls_the_program_as_it_was_called() {
        let folder = || Some(PathBuf::from("/work"));
        assert_eq!(program(Some("mainstay".into()), folder()), "mainstay");
        assert_eq!(program(Some("bin/mainstay".into()), folder()), "/work/bin/mainstay");
        assert_eq!(program(None, None), "mainstay");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell, "/opt/it's/mainstay").expect("written");
            assert!(script.contains(ASKED) && script.contains("mainstay"), "{script}");
        }
    }
}
