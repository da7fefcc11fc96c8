//! `mainstay events`: what happened to the machine, its modules and its resources, and what was done for whom, with causes.

use mainstay_model::text;
use mainstay_proto::mainstay::control::v1::event::What;
use mainstay_proto::mainstay::control::v1::{Event, EventsRequest, NoteEvent};
use mainstay_proto::words::resource_state;
use serde_json::{Value, json};

use crate::failure::{CliError, Exit};
use crate::output::{filled, print};
use crate::selector::MachineSelector;
use crate::status_json::{machine_state, module_state};
use crate::status_text::{cleaned, module_colour, resource_colour};
use crate::terminal::{Colour, Style};
use crate::times::{at, rfc3339, until};
use crate::{human, target};

/// Arguments of `mainstay events`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay events            all events that the machine keeps
  mainstay events -f         the same, then new ones as they come
  mainstay events lidar      events of one module or resource
  mainstay events --json     one JSON object per line")]
pub struct Arguments {
    /// A module or a resource (`left`, `rdk:component:motor/left`); leave it out for everything
    #[arg(value_name = "NAME")]
    about: Option<String>,
    /// Follow until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let mut client = target::control(&arguments.selector, "events").await?;
    let request = EventsRequest {
        follow: arguments.follow,
        from: None,
    };
    let mut events = client.events(request).await?.into_inner();
    let style = Style::stdout();
    let show = async {
        while let Some(event) = events.message().await? {
            if arguments.about.as_deref().is_none_or(|about| is_about(&event, about)) {
                print(&render(&event, arguments.json, style))?;
            }
        }
        Ok(())
    };
    target::until_interrupted(arguments.follow, show).await
}

/// True if the event is about `about`: a module, a resource by its simple or full name, or the module of a resource.
pub fn is_about(event: &Event, about: &str) -> bool {
    let is_named = |name: &String| name == about || name.split_once('/').map(|(_, name)| name) == Some(about);
    match &event.what {
        Some(What::Note(note)) => note.module == about || note.resources.iter().any(is_named) || stops_all(note),
        Some(What::Machine(_)) | None => false,
        Some(What::Module(module)) => module.name == about,
        Some(What::Resource(resource)) => {
            let short = resource.name.split_once('/').map(|(_, name)| name);
            resource.name == about || short == Some(about) || resource.module == about
        }
    }
}

/// True if it was done to every resource.
fn stops_all(note: &NoteEvent) -> bool {
    note.kind == "stop" && note.resources.is_empty()
}

/// Event as a line, or as JSON.
pub fn render(event: &Event, as_json: bool, style: Style) -> String {
    if as_json {
        return json(event).to_string();
    }
    let shown = format!(
        "{} {}",
        at(event.time.as_ref()).map(text::time).unwrap_or_default(),
        told(event, style)
    );
    match event.missed {
        0 => shown,
        missed => format!("… {missed} events are not kept any more\n{shown}"),
    }
}

/// Event in words, without its time.
pub fn told(event: &Event, style: Style) -> String {
    let at = at(event.time.as_ref());
    match &event.what {
        None => "something that this version does not know".to_owned(),
        Some(What::Machine(machine)) => {
            let state = style.paint(Colour::Bold, machine_state(machine.state()));
            format!("machine {state}")
        }
        Some(What::Module(module)) => {
            let state = style.paint(module_colour(module.state()), module_state(module.state()));
            let pid = module.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
            // The next try is told as seen from the event, not from now.
            let next = at.and_then(|at| until(module.next_try_at.as_ref(), at));
            let next = next.map(|left| format!("; next try in {}", human::duration(left)));
            let cause = cause(&module.cause);
            format!("module {} {state}{pid}{}{cause}", module.name, next.unwrap_or_default())
        }
        Some(What::Resource(resource)) => {
            let state = style.paint(resource_colour(resource.state()), resource_state(resource.state()));
            format!("resource {} {state}{}", resource.name, cause(&resource.cause))
        }
        Some(What::Note(note)) => format!("{}{}", style.paint(Colour::Bold, &note.kind), cause(&note.text)),
    }
}

/// `: why`, with the further lines below and set apart.
fn cause(text: &str) -> String {
    let text = cleaned(text);
    if text.is_empty() {
        return text;
    }
    format!(": {}", text.replace('\n', "\n    | "))
}

/// Event as JSON: the keys are a promise to scripts.
pub fn json(event: &Event) -> Value {
    let none = (None, None, None, None, None);
    let (about, state, (name, cause, pid, next_try_at, module)) = match &event.what {
        None => ("unknown", "unknown", none),
        Some(What::Machine(machine)) => ("machine", machine_state(machine.state()), none),
        Some(What::Module(module)) => {
            let next = rfc3339(module.next_try_at.as_ref());
            let rest = (Some(&module.name), filled(&module.cause), module.pid, next, None);
            ("module", module_state(module.state()), rest)
        }
        Some(What::Resource(resource)) => {
            let rest = (
                Some(&resource.name),
                filled(&resource.cause),
                None,
                None,
                filled(&resource.module),
            );
            ("resource", resource_state(resource.state()), rest)
        }
        Some(What::Note(note)) => {
            let rest = (None, filled(&note.text), None, None, filled(&note.module));
            (note.kind.as_str(), "done", rest)
        }
    };
    let resources = match &event.what {
        Some(What::Note(note)) => note.resources.as_slice(),
        _ => &[],
    };
    let mut json = json!({
        "number": event.number,
        "time": rfc3339(event.time.as_ref()),
        // `machine`, `module` or `resource`; `session`, `stop`, `config` or `job` for what was done.
        "about": about,
        // Name of the module, or the full name of the resource.
        "name": name,
        // State as in `status --json`, or `done`.
        "state": state,
        "cause": cause,
        "pid": pid,
        "next_try_at": next_try_at,
        // The module that holds the resource, or would.
        "module": module,
        // Events directly before this one that are lost.
        "missed": event.missed,
    });
    if !resources.is_empty() {
        // Full names of the resources that it was done to.
        json["resources"] = resources.into();
    }
    json
}

#[cfg(test)]
mod tests {
    use mainstay_proto::mainstay::control::v1::{
        MachineEvent, MachineState, ModuleEvent, ModuleState, ResourceEvent, ResourceState,
    };

    use super::*;

    fn event(what: What) -> Event {
        Event {
            number: 3,
            time: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 0,
            }),
            missed: 0,
            what: Some(what),
        }
    }

    fn samples() -> [Event; 3] {
        [
            event(What::Machine(MachineEvent {
                state: MachineState::Running.into(),
            })),
            event(What::Module(ModuleEvent {
                name: "acme".into(),
                state: ModuleState::BackOff.into(),
                pid: None,
                cause: "killed by SIGSEGV\nscan ok".into(),
                next_try_at: Some(prost_types::Timestamp {
                    seconds: 1_700_000_000,
                    nanos: 500_000_000,
                }),
            })),
            event(What::Resource(ResourceEvent {
                name: "rdk:component:camera/lidar".into(),
                state: ResourceState::Ready.into(),
                cause: String::new(),
                module: "acme".into(),
            })),
        ]
    }

    #[test]
    fn an_event_is_a_line_with_its_cause() {
        let lines = samples().map(|event| render(&event, false, Style::PLAIN));
        assert_eq!(
            lines,
            [
                "2023-11-14T22:13:20.000Z machine running",
                "2023-11-14T22:13:20.000Z module acme back-off; next try in 500 ms: killed by SIGSEGV\n    | scan ok",
                "2023-11-14T22:13:20.000Z resource rdk:component:camera/lidar ready",
            ]
        );
    }

    #[test]
    fn the_keys_of_an_event_are_stable() {
        let [_, module, _] = samples();
        assert_eq!(
            render(&module, true, Style::PLAIN),
            r#"{"number":3,"time":"2023-11-14T22:13:20Z","about":"module","name":"acme","state":"back-off","cause":"killed by SIGSEGV\nscan ok","pid":null,"next_try_at":"2023-11-14T22:13:20.500Z","module":null,"missed":0}"#
        );
    }

    #[test]
    fn what_was_done_names_whom_it_concerns() {
        let note = |kind: &str, resources: &[&str]| {
            event(What::Note(NoteEvent {
                kind: kind.into(),
                text: "client 10.0.0.5:4 fell silent: stopped left".into(),
                resources: resources.iter().map(|name| (*name).to_owned()).collect(),
                module: String::new(),
            }))
        };
        let silent = note("session", &["rdk:component:motor/left"]);
        assert_eq!(
            render(&silent, false, Style::PLAIN),
            "2023-11-14T22:13:20.000Z session: client 10.0.0.5:4 fell silent: stopped left"
        );
        assert_eq!(
            render(&silent, true, Style::PLAIN),
            r#"{"number":3,"time":"2023-11-14T22:13:20Z","about":"session","name":null,"state":"done","cause":"client 10.0.0.5:4 fell silent: stopped left","pid":null,"next_try_at":null,"module":null,"missed":0,"resources":["rdk:component:motor/left"]}"#
        );
        assert!(is_about(&silent, "left") && !is_about(&silent, "right"));
        assert!(is_about(&note("stop", &[]), "right") && !is_about(&note("config", &[]), "right"));
    }

    #[test]
    fn a_module_or_a_resource_can_be_asked_for() {
        let [machine, module, resource] = samples();
        for (about, expected) in [
            ("acme", [false, true, true]),
            ("lidar", [false, false, true]),
            ("rdk:component:camera/lidar", [false, false, true]),
            ("other", [false, false, false]),
        ] {
            let found = [&machine, &module, &resource].map(|event| is_about(event, about));
            assert_eq!(found, expected, "{about}");
        }
    }
}
