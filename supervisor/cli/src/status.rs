//! `mainstay status`: the machine, or one resource or module of it, once or followed.

use std::time::{Duration, SystemTime};

use mainstay_model::suggest::nearest;
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Module, Resource, Status, WatchStatusRequest};
use mainstay_proto::viam::robot::v1::{GetMachineStatusRequest, GetVersionRequest};

use crate::call::resolve;
use crate::failure::{CliError, Exit};
use crate::output::print;
use crate::selector::MachineSelector;
use crate::status_wire::from_robot;
use crate::target::{Socket, Target};
use crate::terminal::Style;
use crate::{status_detail, status_json, status_text, target};

/// Period of bringing figures up to date, and of asking another host.
const REFRESH: Duration = Duration::from_secs(1);
/// Moves to the top left corner; what follows is written over, and the rest is cleared.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_REST: &str = "\x1b[J";

/// Arguments of `mainstay status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay status                       everything, in two tables
  mainstay status left-motor            one resource: its module, its dependencies both ways
  mainstay status wheels                one module, with the last lines that it printed
  mainstay status -w                    follow; in a pipe, a line per change
  mainstay status --profile rover       a machine on another host, in full for its owners")]
pub struct Arguments {
    /// A resource (`left`, `motor/left`) or a module; leave it out for everything
    #[arg(value_name = "RESOURCE")]
    subject: Option<String>,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON, one document per line
    #[arg(long)]
    pub json: bool,
    /// Follow until Ctrl-C
    #[arg(short, long)]
    watch: bool,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), an ambiguous name (2), or a name that the machine does not know (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let target = target::find(&arguments.selector).await?;
    let subject = arguments.subject.as_deref();
    if !arguments.watch {
        let status = get(&target).await?;
        print(&render(
            &status,
            subject,
            arguments.json,
            SystemTime::now(),
            Style::stdout(),
        )?)?;
        return Ok(Exit::Done);
    }
    tokio::select! {
        ended = watch(&target, subject, arguments.json) => ended.map(|()| Exit::Done),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

pub(crate) async fn get(target: &Target) -> Result<Status, CliError> {
    match &target.socket {
        Socket::Network { address } if !target.offers_control().await => {
            let mut robot = target.connection.robot();
            let status = robot.get_machine_status(GetMachineStatusRequest {}).await?.into_inner();
            let version = robot.get_version(GetVersionRequest {}).await.ok();
            Ok(from_robot(address, status, version.map(tonic::Response::into_inner)))
        }
        Socket::Control | Socket::Network { .. } => {
            let status = target.connection.control().get_status(GetStatusRequest {}).await?;
            Ok(status.into_inner())
        }
    }
}

/// Shows every new state until the machine stops.
async fn watch(target: &Target, subject: Option<&str>, json: bool) -> Result<(), CliError> {
    let mut follower = Follower::new(subject, json, Style::stdout());
    if !target.offers_control().await {
        loop {
            follower.show(get(target).await?, SystemTime::now())?;
            tokio::time::sleep(REFRESH).await;
        }
    }
    let request = WatchStatusRequest {
        min_interval: None,
        max_interval: REFRESH.try_into().ok(),
    };
    let mut states = target.connection.control().watch_status(request).await?.into_inner();
    while let Some(status) = states.message().await? {
        follower.show(status, SystemTime::now())?;
    }
    Err(CliError::no_machine("the machine has stopped"))
}

/// Turns states into what is written: a picture that is drawn over, JSON lines, or lines about changes.
struct Follower<'a> {
    subject: Option<&'a str>,
    json: bool,
    style: Style,
    before: Option<Status>,
}

impl<'a> Follower<'a> {
    fn new(subject: Option<&'a str>, json: bool, style: Style) -> Self {
        Self {
            subject,
            json,
            style,
            before: None,
        }
    }

    fn show(&mut self, status: Status, now: SystemTime) -> Result<(), CliError> {
        if let Some(text) = self.text(&status, now)? {
            print(&text)?;
        }
        self.before = Some(status);
        Ok(())
    }

    fn text(&self, status: &Status, now: SystemTime) -> Result<Option<String>, CliError> {
        let picture = || render(status, self.subject, self.json, now, self.style);
        let on_terminal = self.style.width.is_some();
        Ok(match &self.before {
            _ if self.json => Some(picture()?),
            before if on_terminal => {
                let start = if before.is_none() {
                    format!("{HOME}{CLEAR_REST}")
                } else {
                    HOME.to_owned()
                };
                let lines = picture()?.replace('\n', &format!("{CLEAR_LINE}\n"));
                Some(format!("{start}{lines}{CLEAR_LINE}{CLEAR_REST}"))
            }
            None => Some(picture()?),
            Some(before) => {
                let wanted = |line: &String| self.subject.is_none_or(|subject| line.contains(subject));
                let lines: Vec<String> = status_text::changes(before, status, now)
                    .into_iter()
                    .filter(wanted)
                    .collect();
                (!lines.is_empty()).then(|| lines.join("\n"))
            }
        })
    }
}

/// Subject of a status query.
#[derive(Debug)]
enum StatusSubject<'a> {
    Machine,
    Module(&'a Module),
    Resource(&'a Resource),
}

fn subject<'a>(status: &'a Status, query: Option<&str>) -> Result<StatusSubject<'a>, CliError> {
    let Some(query) = query else {
        return Ok(StatusSubject::Machine);
    };
    let names: Vec<_> = status
        .resources
        .iter()
        .filter_map(|resource| resource.name.clone())
        .collect();
    let module = status.modules.iter().find(|module| module.name == query);
    match (module, &resolve::matching(&names, query)[..]) {
        (Some(module), []) => Ok(StatusSubject::Module(module)),
        (None, []) => {
            let known = names
                .iter()
                .map(|name| name.name.as_str())
                .chain(status.modules.iter().map(|module| module.name.as_str()));
            let near = nearest(query, known);
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(CliError::wrong(format!(
                "no resource or module `{query}` on this machine{hint}"
            )))
        }
        _ => {
            let name = resolve::resource(&names, query)?;
            let found = status
                .resources
                .iter()
                .find(|resource| resource.name.as_ref() == Some(name));
            found
                .map(StatusSubject::Resource)
                .ok_or_else(|| CliError::wrong(format!("no resource `{query}`")))
        }
    }
}

fn render(status: &Status, query: Option<&str>, json: bool, now: SystemTime, style: Style) -> Result<String, CliError> {
    let subject = subject(status, query)?;
    if json {
        let json = match subject {
            StatusSubject::Machine => status_json::machine(status, now),
            StatusSubject::Module(module) => status_json::module(module, now),
            StatusSubject::Resource(resource) => status_json::resource(resource),
        };
        return Ok(json.to_string());
    }
    let lines = match subject {
        StatusSubject::Machine => status_text::machine(status, now, style),
        StatusSubject::Module(module) => status_detail::module(status, module, now, style),
        StatusSubject::Resource(resource) => status_detail::resource(status, resource, now, style),
    };
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests;
