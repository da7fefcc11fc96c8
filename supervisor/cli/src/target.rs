//! Finding the machine that a verb talks to: by its config, by its address, or because it is the only one here.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_dial::with_port;
use mainstay_mdns::is_bare_name;
use mainstay_model::machine_path;
use mainstay_process::identity::IdentityClaim;
use mainstay_process::{identity, runtime_dir};
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Status};
use tokio::time::timeout;
use tonic::Code;

use crate::connection::{ApiKey, DialFailure, MachineConnection};
use crate::failure::{CliError, Exit};
use crate::output::note;
use crate::table::TextTable;
use crate::terminal::Style;

/// Limit for a machine to accept a connection and to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Environment variable that names the machine of every verb: its config file, or its address.
const VARIABLE: &str = "MAINSTAY_MACHINE";

/// Selection of a machine. Without either option, the one that `MAINSTAY_MACHINE` names, else the only one that runs on this
/// host for this user.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MachineSelector {
    /// The machine on this host that runs this config file
    #[arg(long, value_name = "CONFIG", conflicts_with = "address")]
    pub machine: Option<PathBuf>,
    /// A machine by its network address, or by its name on the local network (mDNS); of a host, port 8080 if none is given
    #[arg(long, value_name = "HOST:PORT|NAME")]
    pub address: Option<String>,
    /// API key of a machine on the network; without it, that of the variable MAINSTAY_API_KEY, which no list of processes shows
    #[arg(long, value_name = "ID:KEY", env = "MAINSTAY_API_KEY", hide_env = true)]
    pub api_key: Option<ApiKey>,
    /// Talk to a machine on the network in cleartext, API key included
    #[arg(long)]
    pub insecure: bool,
}

impl MachineSelector {
    /// The machine on this host that runs a config file, if one is given.
    pub fn local(config: Option<PathBuf>) -> Self {
        Self {
            machine: config,
            ..Self::default()
        }
    }
}

/// A machine that answered.
#[derive(Clone)]
pub struct Target {
    /// The connection, for any client.
    pub connection: MachineConnection,
    /// Socket at its other end.
    pub socket: Socket,
    /// Config file of a machine that nobody named, if it is not in the working directory.
    elsewhere: Option<String>,
}

impl Target {
    /// Checks that it has a control socket, for verbs that no robot service has words for.
    ///
    /// # Errors
    /// It was named by its address (exit 2).
    pub fn check_control(&self, verb: &str) -> Result<(), CliError> {
        match &self.socket {
            Socket::Control => Ok(()),
            Socket::Network { address } => Err(CliError::usage(format!(
                "`mainstay {verb}` asks a machine over its control socket, which {address} has on its own host only\n  run it there:  ssh HOST mainstay {verb} …"
            ))),
        }
    }

    /// Says whose machine this is, if nobody named it and it is not that of this folder. For verbs that change or move something.
    pub fn tell_if_elsewhere(&self) {
        if let Some(config) = &self.elsewhere {
            note(&format!(
                "this is the machine of {config}, the only one here; `--machine` or {VARIABLE} names another"
            ));
        }
    }
}

/// Socket that the machine was reached by; the two offer different services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// The control socket, which offers everything.
    Control,
    /// The network address, which offers what any client of a robot sees.
    Network {
        /// Address as it was dialled, `host:port`.
        address: String,
    },
}

/// Finds and connects.
///
/// # Errors
/// No machine (exit 3), or several and none was named (exit 2).
pub async fn find(selector: &MachineSelector) -> Result<Target, CliError> {
    match (&selector.address, &selector.machine) {
        (Some(address), _) => dial(address, selector).await,
        (None, Some(config)) => by_config(config).await,
        (None, None) => match from_environment() {
            Some(NamedMachine::Address(address)) => dial(&address, selector).await.map_err(named_by_variable),
            Some(NamedMachine::Config(config)) => by_config(&config).await.map_err(named_by_variable),
            None => only_one().await,
        },
    }
}

/// A machine that the environment names.
#[derive(Debug, PartialEq, Eq)]
enum NamedMachine {
    Config(PathBuf),
    Address(String),
}

/// True if the environment names the machine.
pub fn is_named_by_environment() -> bool {
    from_environment().is_some()
}

/// The config of the machine that is asked for, if it is named by that.
pub fn named_config(selector: &MachineSelector) -> Option<PathBuf> {
    selector.machine.clone().or_else(|| match from_environment()? {
        NamedMachine::Config(config) => Some(config),
        NamedMachine::Address(_) => None,
    })
}

/// Config file of a machine, for verbs that work on files beside it: the one given, the one that the environment names, or that of
/// the running machine.
///
/// # Errors
/// None is given, and no machine runs (exit 3), or several do (exit 2).
pub async fn config_of(given: Option<PathBuf>, verb: &str) -> Result<PathBuf, CliError> {
    let selector = MachineSelector::local(given);
    if let Some(file) = named_config(&selector) {
        return Ok(file);
    }
    let mut client = control(&selector, verb).await?;
    let status = client.get_status(GetStatusRequest {}).await?.into_inner();
    Ok(PathBuf::from(status.config_path))
}

fn from_environment() -> Option<NamedMachine> {
    let text = std::env::var_os(VARIABLE).filter(|text| !text.is_empty())?;
    Some(named(&text, |path| path.exists()))
}

/// A file if there is one, or if it cannot be an address.
fn named(text: &OsStr, exists: impl Fn(&Path) -> bool) -> NamedMachine {
    let is_address = |text: &str| {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        !text.contains('/') && (has_port || text.parse::<IpAddr>().is_ok())
    };
    match text.to_str() {
        Some(text) if is_address(text) && !exists(Path::new(text)) => NamedMachine::Address(text.to_owned()),
        _ => NamedMachine::Config(text.into()),
    }
}

fn named_by_variable(failure: CliError) -> CliError {
    CliError {
        message: format!("{}\n  it is named by {VARIABLE}", failure.message),
        ..failure
    }
}

/// Finds a machine on this host and connects to its control service, for verbs that no robot service has words for.
///
/// # Errors
/// As [`find`]; and a machine that was named by its address (exit 2).
pub async fn control(
    selector: &MachineSelector,
    verb: &str,
) -> Result<ControlServiceClient<MachineConnection>, CliError> {
    let target = find(selector).await?;
    target.check_control(verb)?;
    if verb == "apply" {
        target.tell_if_elsewhere();
    }
    Ok(target.connection.control())
}

/// Runs a verb that reads a stream to its end. One that follows ends well at Ctrl-C; otherwise its end is the machine's.
///
/// # Errors
/// Those of the verb; and when following, that the machine stopped (exit 3).
pub async fn until_interrupted(
    follow: bool,
    verb: impl Future<Output = Result<(), CliError>>,
) -> Result<Exit, CliError> {
    if !follow {
        return verb.await.map(|()| Exit::Done);
    }
    tokio::select! {
        ended = verb => ended.and(Err(CliError::no_machine("the machine has stopped"))),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

async fn dial(address: &str, selector: &MachineSelector) -> Result<Target, CliError> {
    let address = match is_bare_name(address) {
        true => address.to_owned(),
        false => with_port(address),
    };
    let unreachable = |why: &str| {
        CliError::no_machine(format!(
            "no machine answers at {address}: {why}\n  check the address, that the machine runs, and that `network.bind_address` in its config lets other hosts in"
        ))
    };
    let connecting = MachineConnection::network(&address, selector.api_key.as_ref(), selector.insecure);
    match timeout(PATIENCE, connecting).await {
        Ok(Ok(connection)) => Ok(Target {
            connection,
            socket: Socket::Network { address },
            elsewhere: None,
        }),
        Ok(Err(DialFailure::Unreachable(why))) => Err(unreachable(&why)),
        Ok(Err(DialFailure::Refused(status))) if status.code() == Code::Unimplemented => Err(CliError::wrong(format!(
            "the machine at {address} takes no API keys: its config has no `auth`; leave `--api-key` out"
        ))),
        Ok(Err(DialFailure::Refused(status))) => Err(CliError::wrong(format!(
            "the machine at {address} does not take the API key: {}",
            status.message()
        ))),
        Err(_) => Err(unreachable("no answer")),
    }
}

async fn by_config(config: &Path) -> Result<Target, CliError> {
    let spellings = identity::spellings(config);
    let spellings = spellings.map_err(|error| CliError::usage(format!("`{}`: {error}", config.display())))?;
    let mut bases = bases();
    // It may have been started from another session, or by another spelling of a path that is gone.
    let holder = IdentityClaim::holder(&spellings);
    if let Some(holder) = holder.as_ref().filter(|holder| !bases.contains(&holder.base)) {
        bases.push(holder.base.clone());
    }
    let mut places = Vec::new();
    for spelling in &spellings {
        for dir in bases.iter().map(|base| base.join(machine_path::machine_key(spelling))) {
            if let Some((target, _)) = probe_directory(&dir).await {
                return Ok(target);
            }
            places.push(dir);
        }
    }
    // It may go by another path that leads to the same file, or lie where only its group finds it.
    for dir in runtime_dir::all(&bases) {
        if let Some((target, status)) = probe_directory(&dir).await
            && (is_same_config(Path::new(&status.config_path), &spellings)
                || holder.as_ref().is_some_and(|holder| holder.pid == status.pid))
        {
            return Ok(target);
        }
    }
    let given = spellings.first().map_or(config, PathBuf::as_path);
    Err(CliError::no_machine(format!(
        "no machine runs {} (looked in {})\n  start it:  mainstay run {}",
        given.display(),
        list(&places),
        config.display()
    )))
}

/// True if the config that runs is one of these, or leads to one of them now.
fn is_same_config(running: &Path, spellings: &[PathBuf]) -> bool {
    spellings.iter().any(|spelling| spelling == running)
        || running.canonicalize().is_ok_and(|real| spellings.contains(&real))
}

async fn only_one() -> Result<Target, CliError> {
    let bases = bases();
    let mut found = Vec::new();
    for dir in runtime_dir::all(&bases) {
        found.extend(probe_directory(&dir).await);
    }
    match found.len() {
        0 => Err(CliError::no_machine(none_here(&bases))),
        1 => {
            let (target, status) = found.remove(0);
            let here = std::env::current_dir().ok();
            let is_here = here.is_some_and(|here| Path::new(&status.config_path).parent() == Some(&*here));
            Ok(Target {
                elsewhere: (!is_here).then_some(status.config_path),
                ..target
            })
        }
        _ => {
            let mut running: Vec<Status> = found.into_iter().map(|(_, status)| status).collect();
            running.sort_by(|a, b| a.config_path.cmp(&b.config_path));
            Err(CliError::usage(several_here(&running)))
        }
    }
}

/// Folders where machines of this user may be: one started from a login session and one started outside differ.
fn bases() -> Vec<PathBuf> {
    let uid = runtime_dir::uid();
    let xdg = runtime_dir::xdg_runtime_dir().map(|xdg| machine_path::base(uid, Some(&xdg)));
    xdg.into_iter().chain([machine_path::base(uid, None)]).collect()
}

/// Asks behind the control socket of one runtime directory. A socket that a killed core left there stays silent.
async fn probe_directory(dir: &Path) -> Option<(Target, Status)> {
    let socket = dir.join(machine_path::CONTROL_SOCKET);
    let connection = timeout(PATIENCE, MachineConnection::unix(&socket)).await.ok()?.ok()?;
    let mut client = connection.control();
    let status = timeout(PATIENCE, client.get_status(GetStatusRequest {}))
        .await
        .ok()?
        .ok()?;
    Some((
        Target {
            connection,
            socket: Socket::Control,
            elsewhere: None,
        },
        status.into_inner(),
    ))
}

fn none_here(bases: &[PathBuf]) -> String {
    let mut table = TextTable::plain(2);
    table.row(["start one:".into(), "mainstay run CONFIG".into()]);
    table.row(["another host:".into(), "mainstay status --address HOST:8080".into()]);
    let hints = table.lines(Style::PLAIN).join("\n");
    format!("no machine is running here (looked in {})\n{hints}", list(bases))
}

fn several_here(running: &[Status]) -> String {
    let mut table = TextTable::plain(2);
    for status in running {
        table.row([
            format!("--machine {}", status.config_path).into(),
            format!("pid {}", status.pid).into(),
        ]);
    }
    format!(
        "{} machines are running here; say which one:\n{}",
        running.len(),
        table.lines(Style::PLAIN).join("\n")
    )
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_file_or_an_address() {
        let address = |text: &str| NamedMachine::Address(text.to_owned());
        let config = |text: &str| NamedMachine::Config(text.into());
        for (text, exists, expected) in [
            ("rover.yaml", false, config("rover.yaml")),
            ("/etc/a:8080", false, config("/etc/a:8080")),
            ("a:8080", true, config("a:8080")),
            ("a:8080", false, address("a:8080")),
            ("10.0.0.5", false, address("10.0.0.5")),
            ("::1", false, address("::1")),
            ("rover", false, config("rover")),
        ] {
            assert_eq!(named(OsStr::new(text), |_| exists), expected, "{text}");
        }
    }

    #[test]
    fn no_machine_says_where_it_looked_and_what_to_do() {
        let text = none_here(&["/run/user/1000/mainstay".into(), "/tmp/mainstay-1000".into()]);
        let expected = "\
no machine is running here (looked in /run/user/1000/mainstay and /tmp/mainstay-1000)
  start one:     mainstay run CONFIG
  another host:  mainstay status --address HOST:8080";
        assert_eq!(text, expected);
    }

    #[test]
    fn several_machines_are_listed_ready_to_copy() {
        let status = |config_path: &str, pid| Status {
            config_path: config_path.into(),
            pid,
            ..Status::default()
        };
        let text = several_here(&[status("/etc/rover.yaml", 41), status("/home/a/arm.json", 5121)]);
        let expected = "\
2 machines are running here; say which one:
  --machine /etc/rover.yaml   pid 41
  --machine /home/a/arm.json  pid 5121";
        assert_eq!(text, expected);
    }
}
