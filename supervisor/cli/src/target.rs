//! Finding the machine that a verb talks to: by its config, by its address, or because it is the only one here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_model::machine_path;
use mainstay_model::text::plain;
use mainstay_process::identity::IdentityClaim;
use mainstay_process::{identity, runtime_dir};
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Status};
use tokio::time::timeout;
use tonic::Code;

use crate::config_text::ConfigTarget;
use crate::connection::{DialFailure, MachineConnection, NetworkMachine};
use crate::failure::{CliError, Exit};
use crate::output::note;
use crate::selector::{MachineSelector, Selected, VARIABLE};
use crate::table::TextTable;
use crate::terminal::Style;

/// Limit for a machine to accept a connection and to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Client of the control service, for verbs that no robot service has words for.
    ///
    /// # Errors
    /// The machine is on the network, and does not serve it to us: to nobody (exit 2), or not with this key (1).
    pub async fn control(&self, verb: &str) -> Result<ControlServiceClient<MachineConnection>, CliError> {
        match self.withheld(verb).await {
            None => Ok(self.connection.control()),
            Some(why) => Err(why),
        }
    }

    /// True if the control service is served to us.
    pub async fn offers_control(&self) -> bool {
        self.withheld("").await.is_none()
    }

    /// Reason why the control service is not served to us; `None` if it is.
    async fn withheld(&self, verb: &str) -> Option<CliError> {
        let Socket::Network { address } = &self.socket else {
            return None;
        };
        let there = format!("`mainstay {verb}` on its own host needs no key:  ssh HOST mainstay {verb} …");
        let told = timeout(PATIENCE, self.connection.who_am_i()).await;
        let told = told.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in time")));
        Some(match told {
            Ok(caller) if caller.control => return None,
            Ok(caller) if caller.entity.is_empty() => CliError::usage(format!(
                "the machine at {address} asks nobody who they are, so it serves `mainstay {verb}` on its own host alone\n  {there}\n  or give it API keys:  mainstay keys new --role owner --name ME"
            )),
            Ok(caller) => CliError::wrong(format!(
                "the machine at {address} serves `mainstay {verb}` to its owners alone, and `{}` ({}) is none\n  an owner lists it in `auth.roles` of the machine's config\n  {there}",
                plain(&caller.entity),
                roles_text(&caller.roles)
            )),
            Err(status) if status.code() == Code::Unimplemented => CliError::usage(format!(
                "the machine at {address} does not know what `mainstay {verb}` asks: it is no Mainstay, or an earlier one\n  {there}"
            )),
            Err(status) if status.code() == Code::Unauthenticated => CliError::wrong(format!(
                "the machine at {address} serves `mainstay {verb}` to its owners alone: {}\n  log in as one:  mainstay login {address}\n  {there}",
                plain(status.message())
            )),
            Err(status) => CliError::from(status),
        })
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
    /// The network address, which offers what any client of a robot sees, and everything to owners.
    Network {
        /// Address as it was dialled, `host:port`.
        address: String,
    },
}

/// Roles of an entity, in words.
pub fn roles_text(roles: &[String]) -> String {
    match roles {
        [] => "in no role".to_owned(),
        [one] => format!("role {}", plain(one)),
        several => format!("roles {}", plain(&several.join(", "))),
    }
}

/// Finds and connects.
///
/// # Errors
/// No machine (exit 3), or several and none was named (exit 2).
pub async fn find(selector: &MachineSelector) -> Result<Target, CliError> {
    let found = match selector.selected() {
        Ok(Selected::Config(config)) => by_config(&config).await,
        Ok(Selected::Network(machine)) => dial(machine).await,
        Ok(Selected::Only) => only_one().await,
        Err(failure) => Err(failure),
    };
    found.map_err(|failure| match selector.is_from_environment() {
        true => named_by_variable(failure),
        false => failure,
    })
}

/// Config file of a machine, for verbs that work on files beside it: the one given, the one that the environment names, or that of
/// the running machine.
///
/// # Errors
/// None is given, and no machine runs here (exit 3), or several do, or it runs on another host (exit 2).
pub async fn config_of(given: Option<PathBuf>, verb: &str) -> Result<PathBuf, CliError> {
    let selector = MachineSelector::local(given);
    if let Some(file) = selector.named_config() {
        return Ok(file);
    }
    ConfigTarget::new(&find(&selector).await?, verb).await?.own_file().await
}

fn named_by_variable(failure: CliError) -> CliError {
    CliError {
        message: format!("{}\n  it is named by {VARIABLE}", failure.message),
        ..failure
    }
}

/// Finds a machine and connects to its control service, for verbs that no robot service has words for.
///
/// # Errors
/// As [`find`], and [`Target::control`].
pub async fn control(
    selector: &MachineSelector,
    verb: &str,
) -> Result<ControlServiceClient<MachineConnection>, CliError> {
    let target = find(selector).await?;
    if verb == "apply" {
        target.tell_if_elsewhere();
    }
    target.control(verb).await
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

/// Connects to a machine on the network.
///
/// # Errors
/// Nobody answers there (exit 3), or it does not take the key (1).
pub async fn dial(machine: NetworkMachine) -> Result<Target, CliError> {
    match timeout(PATIENCE, MachineConnection::network(&machine)).await {
        Ok(Ok(connection)) => Ok(Target {
            connection,
            socket: Socket::Network {
                address: machine.address,
            },
            elsewhere: None,
        }),
        Ok(Err(failure)) => Err(refusal(&machine.address, failure)),
        Err(_) => Err(refusal(
            &machine.address,
            DialFailure::Unreachable("no answer".to_owned()),
        )),
    }
}

/// Failure to connect to a machine on the network, in words.
pub fn refusal(address: &str, failure: DialFailure) -> CliError {
    let unreachable =
        |why: &str, cure: &str| CliError::no_machine(format!("no machine answers at {address}: {why}\n  {cure}"));
    match failure {
        DialFailure::Unreachable(why) => unreachable(
            &why,
            "check the address, that the machine runs, and that `network.bind_address` in its config lets other hosts in",
        ),
        DialFailure::Untrusted(why) => unreachable(
            &why,
            &format!(
                "or let `mainstay login {address}` show whose certificate it is, and keep a profile that trusts it"
            ),
        ),
        DialFailure::Refused(status) if status.code() == Code::Unimplemented => CliError::wrong(format!(
            "the machine at {address} takes no API keys: its config has no `auth`; leave the key out"
        )),
        DialFailure::Refused(status) => CliError::wrong(format!(
            "the machine at {address} does not take the API key: {}",
            plain(status.message())
        )),
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
            if let Some((target, _)) = probe_directory(&dir).await? {
                return Ok(target);
            }
            places.push(dir);
        }
    }
    // It may go by another path that leads to the same file, or lie where only its group finds it.
    for dir in runtime_dir::all(&bases) {
        if let Ok(Some((target, status))) = probe_directory(&dir).await
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
    let (mut found, mut refused) = (Vec::new(), None);
    for dir in runtime_dir::all(&bases) {
        match probe_directory(&dir).await {
            Ok(answered) => found.extend(answered),
            Err(failure) => refused = Some(failure),
        }
    }
    match found.len() {
        0 if refused.is_some() => Err(refused.unwrap_or_else(CliError::reader_gone)),
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
///
/// # Errors
/// A machine is there, and does not let us in.
async fn probe_directory(dir: &Path) -> Result<Option<(Target, Status)>, CliError> {
    let socket = dir.join(machine_path::CONTROL_SOCKET);
    let Ok(Ok(connection)) = timeout(PATIENCE, MachineConnection::unix(&socket)).await else {
        return Ok(None);
    };
    let mut client = connection.control();
    let status = match timeout(PATIENCE, client.get_status(GetStatusRequest {})).await {
        Ok(Ok(status)) => status.into_inner(),
        Ok(Err(refused)) if refused.code() == Code::PermissionDenied => return Err(refused.into()),
        Ok(Err(_)) | Err(_) => return Ok(None),
    };
    let target = Target {
        connection,
        socket: Socket::Control,
        elsewhere: None,
    };
    Ok(Some((target, status)))
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
