//! `mainstay explain`: how the processes of a module came to their ends, what was going on, what followed, and what was done to it;
//! or what happened to a resource.

use std::time::{Duration, SystemTime};

use mainstay_model::text;
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::event::What;
use mainstay_proto::mainstay::control::v1::{
    CallInFlight, DenialsRequest, Event, EventsRequest, ExplainRequest, Explanation, GetStatusRequest, ProcessEnd,
    RebuiltResource, Resource,
};
use serde_json::{Value, json};

use crate::call::resolve;
use crate::connection::MachineConnection;
use crate::events;
use crate::failure::{CliError, Exit};
use crate::output::{filled, joined, print};
use crate::selector::MachineSelector;
use crate::status_json::module_state;
use crate::status_text::{last, module_colour, state_text};
use crate::terminal::{Colour, Style};
use crate::times::{at, length, rfc3339, seconds, since, until};
use crate::{explain_denied, human, target};

/// Arguments of `mainstay explain`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay explain wheels          the last 20 ends of its processes, the newest at the bottom
  mainstay explain wheels --json   the same as one JSON document
  mainstay explain left            a resource: what happened to it, and who stopped it and why
  mainstay explain --denied        calls that were refused lately, and what would have allowed them")]
pub struct Arguments {
    /// Name of a module or a resource, as in `mainstay status`; built-in modules are `builtin:fake` and so on
    #[arg(value_name = "NAME", required_unless_present = "denied")]
    module: Option<String>,
    /// Show the calls that were refused lately because their callers had no right to
    #[arg(long, conflicts_with = "module")]
    denied: bool,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// All events that the machine keeps.
async fn kept_events(client: &mut ControlServiceClient<MachineConnection>) -> Result<Vec<Event>, CliError> {
    let request = EventsRequest {
        follow: false,
        from: None,
    };
    let mut stream = client.events(request).await?.into_inner();
    let mut events = Vec::new();
    while let Some(event) = stream.message().await? {
        events.push(event);
    }
    Ok(events)
}

/// True for something that was done to a module, or to one of its resources.
fn is_done_to(event: &Event, module: &str, resources: &[Resource]) -> bool {
    let Some(What::Note(note)) = &event.what else {
        return false;
    };
    let is_its = |named: &String| {
        let mut own = resources.iter().filter(|resource| resource.module == module);
        own.any(|resource| resource.name.as_ref().is_some_and(|name| resolve::full(name) == *named))
    };
    events::is_about(event, module) || note.resources.iter().any(is_its)
}

/// What happened to a resource, as far as the machine keeps it, and how it is now.
async fn explain_resource(
    client: &mut ControlServiceClient<MachineConnection>,
    resource: Option<&Resource>,
    name: &str,
    as_json: bool,
) -> Result<Exit, CliError> {
    let events = kept_events(client).await?;
    let about = events.iter().filter(|event| events::is_about(event, name));
    let mut lines: Vec<_> = about
        .map(|event| events::render(event, as_json, Style::stdout()))
        .collect();
    let state = resource.map(|resource| state_text(resource, false)).unwrap_or_default();
    if as_json {
        let events: Vec<Value> = lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        print(&json!({ "resource": name, "state": state, "events": events }).to_string())?;
        return Ok(Exit::Done);
    }
    if lines.is_empty() {
        lines.push(format!("nothing that the machine keeps has happened to {name}"));
    }
    lines.push(String::new());
    lines.push(format!("now {state}"));
    print(&lines.join("\n"))?;
    Ok(Exit::Done)
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), or no such module (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let mut client = target::control(&arguments.selector, "explain").await?;
    let Some(module) = arguments.module else {
        let denials = client.denials(DenialsRequest {}).await?.into_inner().denials;
        let text = if arguments.json {
            explain_denied::json(&denials).to_string()
        } else {
            explain_denied::lines(&denials, SystemTime::now(), Style::stdout()).join("\n")
        };
        print(&text)?;
        return Ok(Exit::Done);
    };
    let status = client.get_status(GetStatusRequest {}).await?.into_inner();
    if !status.modules.iter().any(|entry| entry.name == module) {
        let names: Vec<_> = status
            .resources
            .iter()
            .filter_map(|resource| resource.name.clone())
            .collect();
        if !resolve::matching(&names, &module).is_empty() {
            let name = resolve::resource(&names, &module)?.clone();
            let resource = status
                .resources
                .iter()
                .find(|resource| resource.name.as_ref() == Some(&name));
            return explain_resource(&mut client, resource, &resolve::full(&name), arguments.json).await;
        }
    }
    let request = ExplainRequest { module: module.clone() };
    let explanation = client.explain(request).await?.into_inner();
    let mut done = kept_events(&mut client).await?;
    done.retain(|event| is_done_to(event, &module, &status.resources));
    let text = if arguments.json {
        json(&explanation, &done).to_string()
    } else {
        lines(&explanation, &done, SystemTime::now(), Style::stdout()).join("\n")
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// Columns before what stands below a line.
const INDENT: &str = "                    ";

/// Text of an explanation, with what was done to the module besides.
fn lines(explanation: &Explanation, done: &[Event], now: SystemTime, style: Style) -> Vec<String> {
    let ends = explanation.ends.iter();
    let mut told: Vec<_> = ends.map(|end| (at(end.time.as_ref()), of_end(end, style))).collect();
    told.extend(done.iter().map(|event| {
        let at = at(event.time.as_ref());
        (at, vec![format!("{}{}", stamp(at), events::told(event, style))])
    }));
    told.sort_by_key(|(at, _)| *at);
    let mut lines = Vec::new();
    for (_, text) in told {
        lines.extend(text);
        lines.push(String::new());
    }
    let Some(module) = &explanation.module else {
        return lines;
    };
    if explanation.ends.is_empty() {
        lines.push(format!(
            "no process of {} has ended since the machine started",
            module.name
        ));
    }
    let state = style.paint(module_colour(module.state()), module_state(module.state()));
    let up = since(module.ready_at.as_ref(), now).map(|up| format!(" for {}", human::duration(up)));
    let pid = module.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let news = Some(last(module, now)).filter(|_| module.ready_at.is_none());
    let news = news.filter(|news| !news.is_empty()).map(|news| format!(": {news}"));
    let (up, news) = (up.unwrap_or_default(), news.unwrap_or_default());
    lines.push(format!("now {state}{up}{pid}{news}"));
    let reached = module.limits.iter().filter(|limit| !limit.reached.is_empty());
    lines.extend(reached.map(|limit| {
        let (name, limit, reached) = (&limit.name, &limit.limit, &limit.reached);
        format!("    limit of {limit} {name} {reached}")
    }));
    lines
}

fn of_end(end: &ProcessEnd, style: Style) -> Vec<String> {
    let at = at(end.time.as_ref());
    let up = length(end.up.as_ref()).unwrap_or_default();
    let up = if end.was_ready {
        format!(" after {}", human::duration(up))
    } else {
        format!(" after {}, before it was ready", human::duration(up))
    };
    let often = match end.within_day {
        _ if end.asked => String::new(),
        0 | 1 => String::new(),
        times => format!("   ({} time in 24 h)", ordinal(times)),
    };
    let colour = if end.asked { Colour::Bold } else { Colour::Red };
    let mut lines = vec![format!("{}{}{up}{often}", stamp(at), style.paint(colour, &end.cause))];
    // The cause may be that it did not answer; how it ended after that is worth a word, too.
    let how = match (end.signal.as_str(), end.exit_code) {
        ("", Some(code)) => format!("exit code {code}"),
        ("", None) => String::new(),
        (signal, _) => format!("killed by {signal}"),
    };
    if !how.is_empty() && !end.asked && how != end.cause {
        lines.push(format!("{INDENT}ended: {how}"));
    }
    lines.extend(
        end.in_flight
            .iter()
            .map(|call| format!("{INDENT}in flight: {}", of_call(call))),
    );
    let more = (end.calls as usize).saturating_sub(end.in_flight.len());
    if more > 0 {
        lines.push(format!("{INDENT}in flight: {}", human::count(more, "more call")));
    }
    if !end.last_output.is_empty() && !end.asked {
        lines.push(format!("{INDENT}last output:"));
        lines.extend(end.last_output.iter().map(|line| format!("{INDENT}  | {line}")));
    }
    if !end.evidence.is_empty() {
        lines.push(format!("{INDENT}evidence: {}", end.evidence));
    }
    lines.extend(of_next_start(end, at));
    lines
}

fn of_call(call: &CallInFlight) -> String {
    let age = length(call.age.as_ref()).unwrap_or_default();
    format!(
        "{} on {}, {}, from {}",
        call.method,
        short(&call.resource),
        human::duration(age),
        call.caller
    )
}

fn of_next_start(end: &ProcessEnd, at: Option<SystemTime>) -> Option<String> {
    let Some(started_after) = length(end.started_after.as_ref()) else {
        let next = until(end.next_try_at.as_ref(), at?)?;
        return Some(format!("{INDENT}next start after {}", human::duration(next)));
    };
    let when = if started_after < Duration::from_millis(100) {
        "restarted at once".to_owned()
    } else {
        format!("restarted after {}", human::duration(started_after))
    };
    let ready = match length(end.ready_after.as_ref()) {
        Some(took) => format!(" → ready in {}", human::duration(took)),
        None => String::new(),
    };
    let rebuilt = of_rebuilt(&end.rebuilt, end.more_rebuilt);
    Some(format!(
        "{}{when}{ready}{rebuilt}",
        stamp(at.map(|at| at + started_after))
    ))
}

/// `; rebuilt lidar, then slam (holds lidar)`.
fn of_rebuilt(rebuilt: &[RebuiltResource], more: u32) -> String {
    let of_one = |rebuilt: &RebuiltResource| match rebuilt.because.as_str() {
        "" => short(&rebuilt.name).to_owned(),
        because => format!("{} (holds {})", short(&rebuilt.name), short(because)),
    };
    let names = |own: bool| {
        let named = rebuilt.iter().filter(|rebuilt| rebuilt.because.is_empty() == own);
        joined(named.map(of_one), ", ")
    };
    let parts = joined([names(true), names(false)], ", then ");
    match (parts.as_str(), more) {
        ("", _) => String::new(),
        (_, 0) => format!("; rebuilt {parts}"),
        (_, more) => format!("; rebuilt {parts} and {more} more"),
    }
}

/// A date and a time of day, as wide as `INDENT`.
fn stamp(at: Option<SystemTime>) -> String {
    let Some(at) = at else { return INDENT.to_owned() };
    let text = text::time(at);
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {}  ", clock.get(..8).unwrap_or_default())
        .chars()
        .take(INDENT.len())
        .collect()
}

fn short(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, short)| short)
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// The explanation as JSON: the keys are a promise to scripts.
fn json(explanation: &Explanation, done: &[Event]) -> Value {
    let module = explanation.module.as_ref();
    json!({
        "module": module.map_or("", |module| &module.name),
        // State as in `status --json`.
        "state": module.map_or("unknown", |module| module_state(module.state())),
        // Oldest first.
        "ends": explanation.ends.iter().map(end_json).collect::<Value>(),
        // What was done to it and to its resources: events as in `events --json`, oldest first.
        "notes": done.iter().map(events::json).collect::<Value>(),
    })
}

fn end_json(end: &ProcessEnd) -> Value {
    let call = |call: &CallInFlight| {
        json!({
            "method": call.method,
            "resource": call.resource,
            "age_s": seconds(call.age.as_ref()),
            "caller": call.caller,
        })
    };
    // `because`: the dependency because of which it was rebuilt, if that lives in another module.
    let rebuilt = |rebuilt: &RebuiltResource| json!({ "name": rebuilt.name, "because": filled(&rebuilt.because) });
    json!({
        "life": end.life,
        "time": rfc3339(end.time.as_ref()),
        "up_s": seconds(end.up.as_ref()),
        "was_ready": end.was_ready,
        "cause": end.cause,
        // True if a user or the machine requested the end.
        "asked": end.asked,
        "exit_code": end.exit_code,
        "signal": filled(&end.signal),
        "in_flight": end.in_flight.iter().map(call).collect::<Value>(),
        // Number of calls under way; some of them are in `in_flight`.
        "calls": end.calls,
        "last_output": end.last_output,
        "evidence": filled(&end.evidence),
        "within_day": end.within_day,
        "next_try_at": rfc3339(end.next_try_at.as_ref()),
        "started_after_s": seconds(end.started_after.as_ref()),
        "ready_after_s": seconds(end.ready_after.as_ref()),
        "rebuilt": end.rebuilt.iter().map(rebuilt).collect::<Value>(),
        "more_rebuilt": end.more_rebuilt,
    })
}

#[cfg(test)]
mod tests {
    use mainstay_proto::mainstay::control::v1::{Module, ModuleState};

    use super::*;

    const BEGIN: i64 = 1_700_000_000;

    fn millis(ms: i32) -> Option<prost_types::Duration> {
        Some(prost_types::Duration {
            seconds: i64::from(ms / 1000),
            nanos: ms % 1000 * 1_000_000,
        })
    }

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp {
            seconds: BEGIN + seconds,
            nanos: 0,
        })
    }

    fn sample() -> Explanation {
        let crash = ProcessEnd {
            life: 1,
            time: at(0),
            up: millis(10_680_000),
            was_ready: true,
            cause: "killed by SIGSEGV".into(),
            signal: "SIGSEGV".into(),
            in_flight: vec![CallInFlight {
                method: "GetPointCloud".into(),
                resource: "rdk:component:camera/lidar".into(),
                age: millis(1200),
                caller: "module slam".into(),
            }],
            calls: 3,
            last_output: vec!["scan 88121 ok".into(), "realloc(): invalid next size".into()],
            evidence: "/state/evidence/acme-0002".into(),
            within_day: 2,
            started_after: millis(4),
            ready_after: millis(610),
            rebuilt: vec![
                RebuiltResource {
                    name: "rdk:component:camera/lidar".into(),
                    because: String::new(),
                },
                RebuiltResource {
                    name: "rdk:service:slam/slam".into(),
                    because: "rdk:component:camera/lidar".into(),
                },
            ],
            ..ProcessEnd::default()
        };
        let start = ProcessEnd {
            life: 2,
            time: at(60),
            up: millis(31),
            cause: "did not answer".into(),
            exit_code: Some(2),
            within_day: 1,
            next_try_at: at(74),
            ..ProcessEnd::default()
        };
        Explanation {
            module: Some(Module {
                name: "acme".into(),
                state: ModuleState::BackOff.into(),
                last: "exit code 2".into(),
                next_try_at: at(74),
                ..Module::default()
            }),
            ends: vec![crash, start],
        }
    }

    #[test]
    fn an_end_is_told_with_what_was_going_on_and_what_followed() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN.unsigned_abs() + 60);
        let expected = "\
2023-11-14 22:13:20 killed by SIGSEGV after 2 h 58 min   (2nd time in 24 h)
                    in flight: GetPointCloud on lidar, 1.2 s, from module slam
                    in flight: 2 more calls
                    last output:
                      | scan 88121 ok
                      | realloc(): invalid next size
                    evidence: /state/evidence/acme-0002
2023-11-14 22:13:20 restarted at once → ready in 610 ms; rebuilt lidar, then slam (holds lidar)

2023-11-14 22:14:20 did not answer after 31 ms, before it was ready
                    ended: exit code 2
                    next start after 14 s

now back-off: exit code 2; next try in 14 s";
        assert_eq!(lines(&sample(), &[], now, Style::PLAIN).join("\n"), expected);
    }

    #[test]
    fn a_module_that_never_failed_says_so() {
        let explanation = Explanation {
            module: Some(Module {
                name: "acme".into(),
                state: ModuleState::Ready.into(),
                pid: Some(7),
                ready_at: at(0),
                ..Module::default()
            }),
            ends: Vec::new(),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN.unsigned_abs() + 41);
        let expected = "no process of acme has ended since the machine started\nnow ready for 41 s, pid 7";
        assert_eq!(lines(&explanation, &[], now, Style::PLAIN).join("\n"), expected);
    }

    #[test]
    fn ordinals_are_english() {
        let texts = [1, 2, 3, 4, 11, 12, 13, 21, 112].map(ordinal);
        assert_eq!(
            texts,
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th"]
        );
    }
}
