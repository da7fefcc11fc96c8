//! Output of `mainstay run` while a machine starts: a summary, not a flood. Each module is a line when it is ready or has
//! failed, what is wrong is said once and in full, and the last line says where the machine can be reached.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use mainstay_model::text::plain;
use mainstay_proto::mainstay::control::v1::{Module, ModuleState, Resource, ResourceState, Status};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};

use crate::call::resolve;
use crate::output::print;
use crate::status_text::{file_name, last, state_text};
use crate::table::width;
use crate::terminal::{Colour, Style};
use crate::times::{at, since};
use crate::{human, status_json};

/// Limit for a reader of our output to keep the next line waiting.
const READER_PATIENCE: Duration = Duration::from_secs(1);
/// A module that takes longer than this is named, so that nobody wonders what the machine waits for.
const SLOW: Duration = Duration::from_secs(5);

/// Prints a start-up on stdout as it goes, and returns when it is over. Takes what `WatchStatus` sends: a state for
/// each change, and one each second. With `json` it prints two lines of JSON (keys as in `status --json`): one as soon
/// as the address is known, one when everything has settled.
pub async fn announce(states: impl Stream<Item = Status>, json: bool) {
    let mut states = std::pin::pin!(states);
    let mut printer = Printer::new(Style::stdout());
    let mut addressed = false;
    while let Some(status) = states.next().await {
        let now = SystemTime::now();
        let mut lines = printer.update(&status, now);
        if json {
            lines.clear();
            if printer.done || (!addressed && !status.listeners.is_empty()) {
                addressed = true;
                lines.push(status_json::machine(&status, now).to_string());
            }
        }
        if !lines.is_empty() {
            write_on_thread(lines.join("\n")).await;
        }
        if printer.done {
            return;
        }
    }
}

/// Writes on a thread of its own: a reader of our output that sleeps must not hold up the machine.
async fn write_on_thread(text: String) {
    let (done, written) = oneshot::channel();
    std::thread::spawn(move || {
        // A machine runs on when nobody reads what it says.
        let _ = print(&text);
        let _ = done.send(());
    });
    let _ = timeout(READER_PATIENCE, written).await;
}

/// Follows a start-up and says each thing once. Does no IO: feed it every snapshot (and one each second, so that a
/// slow module is noticed), print what it returns, and stop when it is `done`.
#[derive(Debug)]
struct Printer {
    style: Style,
    headline_printed: bool,
    printed: BTreeSet<String>,
    slow: BTreeSet<String>,
    /// True once the last line was returned.
    done: bool,
}

impl Printer {
    fn new(style: Style) -> Self {
        Self {
            style,
            headline_printed: false,
            printed: BTreeSet::new(),
            slow: BTreeSet::new(),
            done: false,
        }
    }

    /// Lines that are new in this snapshot.
    fn update(&mut self, status: &Status, now: SystemTime) -> Vec<String> {
        let mut lines = Vec::new();
        if self.done {
            return lines;
        }
        if !self.headline_printed {
            self.headline_printed = true;
            lines.push(self.greeting(status));
        }
        let columns = status
            .modules
            .iter()
            .map(|module| width(&module.name))
            .max()
            .unwrap_or(0);
        for module in &status.modules {
            if has_ended_its_start(module.state()) && self.printed.insert(module.name.clone()) {
                lines.extend(self.module(module, columns, &status.diagnostics, now));
            } else if !self.printed.contains(&module.name)
                && let Some(up) = since(module.started_at.as_ref(), now).filter(|up| *up > SLOW)
                && self.slow.insert(module.name.clone())
            {
                let name = padded(&module.name, columns);
                lines.push(format!(
                    "  {name}  {}",
                    self.style
                        .paint(Colour::Yellow, &format!("still starting after {}", human::duration(up)))
                ));
            }
        }
        if status.settled_at.is_some() {
            self.done = true;
            lines.extend(self.broken(status));
            lines.push(serving(status));
        }
        lines
    }

    fn greeting(&self, status: &Status) -> String {
        let config = file_name(&status.config_path);
        let resources = human::count(status.resources.len(), "resource");
        let modules = human::count(status.modules.len(), "module");
        // Whoever waits for a free port to be chosen need not wait for the machine to be up.
        let place = place(status).map(|place| format!("  serving on {place}"));
        format!(
            "{} {}  {config}  ({resources}, {modules}){}",
            self.style.paint(Colour::Bold, "mainstay"),
            status.version,
            place.unwrap_or_default()
        )
    }

    fn module(&self, module: &Module, columns: usize, told: &[String], now: SystemTime) -> Vec<String> {
        let took = module.start_took.and_then(|took| Duration::try_from(took).ok());
        let took = format!("{:>7}", took.map(human::duration).unwrap_or_default());
        let name = padded(&module.name, columns);
        if module.state() == ModuleState::Ready {
            let pid = module.pid.map(|pid| format!("  pid {pid}")).unwrap_or_default();
            return vec![format!(
                "  {name}  {}  {took}{pid}",
                self.style.paint(Colour::Green, "ready ")
            )];
        }
        let why = last(module, now);
        let failed = self.style.paint(Colour::Red, "failed");
        let why = told_before(&why, told).unwrap_or(&why);
        let mut lines = vec![format!("  {name}  {failed}  {took}  {why}").trim_end().to_owned()];
        // What the module itself printed usually names the cause.
        lines.extend(module.last.lines().skip(1).map(|line| format!("    | {}", plain(line))));
        lines
    }

    /// Every resource that is not ready, with its reason.
    fn broken(&self, status: &Status) -> Vec<String> {
        let broken: Vec<&Resource> = status
            .resources
            .iter()
            .filter(|resource| resource.state() != ResourceState::Ready)
            .collect();
        let name = |resource: &Resource| resource.name.as_ref().map(resolve::full).unwrap_or_default();
        let columns = broken.iter().map(|resource| width(&name(resource))).max().unwrap_or(0);
        let mut lines = Vec::new();
        for resource in broken {
            let text = state_text(resource, true);
            let text = told_before(&text, &status.diagnostics).unwrap_or(&text);
            let mut text = text.lines();
            let first = text.next().unwrap_or_default();
            lines.push(format!(
                "  {}  {}",
                padded(&name(resource), columns),
                self.style.paint(Colour::Red, first)
            ));
            lines.extend(text.map(|line| format!("    {line}")));
        }
        lines
    }
}

/// The first words of a cause that the complaints about the config have told in full.
fn told_before<'a>(cause: &'a str, complaints: &[String]) -> Option<&'a str> {
    let (head, _) = cause.split_once("; ")?;
    let words = head.split_once("unhealthy: ").map_or(head, |(_, words)| words);
    complaints
        .iter()
        .any(|complaint| complaint.contains(words))
        .then_some(head)
}

fn has_ended_its_start(state: ModuleState) -> bool {
    matches!(
        state,
        ModuleState::Ready | ModuleState::Unresponsive | ModuleState::BackOff | ModuleState::Stopped
    )
}

/// The addresses of the machine; `None` if it has its control socket only.
fn place(status: &Status) -> Option<String> {
    let listeners: Vec<String> = status
        .listeners
        .iter()
        .map(|listener| {
            // What others can reach is told with whom it serves.
            let authentication = listener.authentication.as_str();
            let open = authentication.starts_with("no authentication") && !authentication.ends_with("loopback only");
            let open = open.then_some(authentication);
            let tls = Some(listener.tls.as_str()).filter(|tls| !tls.is_empty());
            match [tls, open].into_iter().flatten().collect::<Vec<_>>().join("; ") {
                plain if plain.is_empty() => listener.address.clone(),
                more => format!("{} ({more})", listener.address),
            }
        })
        .collect();
    (!listeners.is_empty()).then(|| listeners.join(", "))
}

/// Line with the machine's addresses and the result of its start.
fn serving(status: &Status) -> String {
    let place = place(status).unwrap_or_else(|| "its control socket only".to_owned());
    let ready = status
        .resources
        .iter()
        .filter(|resource| resource.state() == ResourceState::Ready)
        .count();
    let took = at(status.settled_at.as_ref())
        .and_then(|settled| since(status.started_at.as_ref(), settled))
        .map(|took| format!(", {}", human::duration(took)));
    format!(
        "serving on {place}   {ready} of {} ready{}   `mainstay status` for details",
        human::count(status.resources.len(), "resource"),
        took.unwrap_or_default()
    )
}

fn padded(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{ago, now, rover};

    #[test]
    fn a_settled_start_is_a_summary_with_each_fault_in_full() {
        let expected = "\
mainstay 0.1.0  rover.yaml  (3 resources, 3 modules)  serving on 127.0.0.1:8080
  builtin:fake  ready     12 ms  pid 4121
  acme-lidar    ready    840 ms  pid 4188
  wheels        failed    31 ms  exit code 2; next try in 14 s
    | ModuleNotFoundError: No module named 'smbus2'
  rdk:component:base/base  unhealthy: module `wheels` is not running: exit code 2
serving on 127.0.0.1:8080   2 of 3 resources ready, 1.0 s   `mainstay status` for details";
        let lines = Printer::new(Style::PLAIN).update(&rover(), now());
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn what_was_complained_about_is_not_told_again_in_full() {
        let mut status = rover();
        status.modules[2].last = "module `wheels` (acme:wheels) is not here; get its tarball (rover.yaml:3:5)".into();
        status.modules[2].set_state(ModuleState::Stopped);
        status.diagnostics = vec!["error: module `wheels` (acme:wheels) is not here\n --> rover.yaml:3:5".into()];
        let lines = Printer::new(Style::PLAIN).update(&status, now());
        assert_eq!(
            lines[3],
            "  wheels        failed    31 ms  module `wheels` (acme:wheels) is not here"
        );
    }

    #[test]
    fn each_thing_is_said_once_and_as_soon_as_it_is_known() {
        let mut printer = Printer::new(Style::PLAIN);
        let mut status = rover();
        status.settled_at = None;
        status.modules[1].set_state(ModuleState::Starting);
        status.modules[1].started_at = ago(2);
        status.modules[2].set_state(ModuleState::Pending);
        let starts = |lines: Vec<String>| {
            lines
                .iter()
                .map(|line| line.trim_start()[..8].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(starts(printer.update(&status, now())), ["mainstay", "builtin:"]);
        assert!(printer.update(&status, now()).is_empty());
        status.modules[1].started_at = ago(7);
        assert_eq!(
            printer.update(&status, now()),
            ["  acme-lidar    still starting after 7.0 s"]
        );
        assert!(printer.update(&status, now()).is_empty());
        assert!(!printer.done);
        assert_eq!(
            starts(printer.update(&rover(), now())),
            ["acme-lid", "wheels  ", "| Module", "rdk:comp", "serving "]
        );
        assert!(printer.done);
        assert!(printer.update(&rover(), now()).is_empty());
    }
}
