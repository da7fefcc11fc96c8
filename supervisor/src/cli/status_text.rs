//! A machine's state as a person reads it: the two tables, one thing in full, and what changed. Pure functions.

use std::time::{Duration, SystemTime};

use mainstay_proto::mainstay::control::v1::{Module, ModuleState, Resource, ResourceState, Status};
use prost_types::Timestamp;

use super::call::resolve;
use super::human;
use super::status_json::{machine_state, module_state, resource_state};
use super::table::{Cell, Table, wrap};
use super::terminal::{Colour, Style};

/// What stands where there is nothing to tell.
const NOTHING: &str = "–";

/// The whole machine: a line about itself, its modules, its resources.
pub fn machine(status: &Status, now: SystemTime, style: Style) -> Vec<String> {
    let mut lines = wrap(&headline(status, now), style.width);
    if let Some(first) = lines.first_mut() {
        let name = file_name(&status.config_path);
        *first = first.replacen(name, &style.paint(Colour::Bold, name), usize::from(!name.is_empty()));
    }
    if !status.modules.is_empty() {
        lines.push(String::new());
        lines.extend(modules(&status.modules, now, style));
    }
    if !status.resources.is_empty() {
        lines.push(String::new());
        lines.extend(resources(&status.resources, style));
    }
    if !status.complaints.is_empty() {
        lines.push(String::new());
        lines.extend(
            status
                .complaints
                .iter()
                .flat_map(|complaint| complaint.lines().map(str::to_owned)),
        );
    }
    lines
}

fn headline(status: &Status, now: SystemTime) -> String {
    let state = machine_state(status.state());
    let up = since(status.started_at.as_ref(), now).map(|up| format!(" {}", human::duration(up)));
    let listeners = status
        .listeners
        .iter()
        .map(|listener| match listener.authentication.as_str() {
            "" => listener.address.clone(),
            authentication => format!("{} ({authentication})", listener.address),
        });
    let parts = [file_name(&status.config_path).to_owned()]
        .into_iter()
        .chain((!status.revision.is_empty()).then(|| format!("revision {}", status.revision)))
        .chain([format!("{state}{}", up.unwrap_or_default())])
        .chain((status.pid != 0).then(|| format!("pid {}", status.pid)))
        .chain(status.rss_bytes.map(human::bytes))
        .chain(listeners);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// The last part of a path; people know their config by it.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn modules(modules: &[Module], now: SystemTime, style: Style) -> Vec<String> {
    let mut table = Table::new(["MODULE", "STATE", "PID", "UP", "RESTARTS", "MEMORY", "CPU", "LAST"]);
    for module in modules {
        let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
        table.row([
            module.name.as_str().into(),
            state_cell(module_state(module.state()), module_colour(module.state())),
            Cell::right(or_nothing(module.pid.map(|pid| pid.to_string()))),
            Cell::right(or_nothing(since(module.started_at.as_ref(), now).map(human::duration))),
            Cell::right(module.restarts.to_string()),
            Cell::right(or_nothing(module.rss_bytes.map(human::bytes))),
            Cell::right(or_nothing(module.cpu.map(human::percent))),
            last(module, now).into(),
        ]);
    }
    table.lines(style)
}

/// The newest news in a line, and when the next try is.
pub fn last(module: &Module, now: SystemTime) -> String {
    let news = module.last.lines().next().unwrap_or_default();
    // News about a process that lives is old news; say how old. Of one that does not, the next try matters more.
    let ago = (module.state() == ModuleState::Ready && !news.is_empty())
        .then(|| since(module.last_at.as_ref(), now))
        .flatten()
        .map(|ago| format!(" ({} ago)", human::duration(ago)));
    let next = until(module.next_try_at.as_ref(), now).map(|left| format!("next try in {}", human::duration(left)));
    let news = format!("{news}{}", ago.unwrap_or_default());
    [Some(news), next]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn resources(resources: &[Resource], style: Style) -> Vec<String> {
    let mut table = Table::new(["RESOURCE", "API", "MODEL", "STATE"]);
    for resource in resources {
        let (name, api) = names(resource);
        table.row([
            name.into(),
            short(&api, "rdk:").into(),
            short(&resource.model, "rdk:builtin:").into(),
            state_cell(&state_text(resource, false), resource_colour(resource.state())),
        ]);
    }
    table.lines(style)
}

/// What every machine has needs no namespace.
fn short(id: &str, prefix: &str) -> String {
    id.strip_prefix(prefix)
        .filter(|rest| !rest.is_empty())
        .unwrap_or(id)
        .to_owned()
}

fn names(resource: &Resource) -> (String, String) {
    let name = resource.name.clone().unwrap_or_default();
    (name.name.clone(), resolve::api(&name))
}

/// The state, and why it is not READY: the first line of it or all.
pub fn state_text(resource: &Resource, in_full: bool) -> String {
    let word = resource_state(resource.state());
    let error = if in_full {
        resource.error.trim_end()
    } else {
        resource.error.lines().next().unwrap_or_default()
    };
    if error.is_empty() {
        word.to_owned()
    } else {
        format!("{word}: {error}")
    }
}

fn state_cell(text: &str, colour: Colour) -> Cell {
    Cell::from(text).colour(colour)
}

fn module_colour(state: ModuleState) -> Colour {
    match state {
        ModuleState::Ready => Colour::Green,
        ModuleState::Unresponsive | ModuleState::BackOff => Colour::Red,
        ModuleState::Stopped => Colour::Dim,
        ModuleState::Unspecified | ModuleState::Pending | ModuleState::Starting | ModuleState::Stopping => {
            Colour::Yellow
        }
    }
}

fn resource_colour(state: ResourceState) -> Colour {
    match state {
        ResourceState::Ready => Colour::Green,
        ResourceState::Unhealthy => Colour::Red,
        _ => Colour::Yellow,
    }
}

/// One resource in full: its module, and its dependencies both ways.
pub fn resource(status: &Status, resource: &Resource, now: SystemTime, style: Style) -> Vec<String> {
    let (name, api) = names(resource);
    let mut table = Table::plain(2);
    let mut row = |label: &str, value: Cell| table.row([Cell::from(label).colour(Colour::Dim), value]);
    row(
        "state",
        state_cell(&state_text(resource, true), resource_colour(resource.state())),
    );
    if let Some(ago) = since(resource.last_updated.as_ref(), now) {
        row("since", format!("{} ago", human::duration(ago)).into());
    }
    row("api", api.into());
    if !resource.model.is_empty() {
        row("model", resource.model.as_str().into());
    }
    match status.modules.iter().find(|module| module.name == resource.module) {
        Some(module) => row("module", module_summary(module, now).into()),
        None if resource.module.is_empty() => row("module", "none offers this model".into()),
        None => row("module", resource.module.as_str().into()),
    }
    let depends = resource.dependencies.iter().map(|name| {
        let found = status.resources.iter().find(|other| other.name.as_ref() == Some(name));
        let state = found.map_or_else(|| "not configured".to_owned(), |other| state_text(other, false));
        format!("{}  {state}", resolve::full(name))
    });
    let depends: Vec<String> = depends.collect();
    if !depends.is_empty() {
        row("depends on", depends.join("\n").into());
    }
    let users = status.resources.iter().filter(|other| {
        other
            .dependencies
            .iter()
            .any(|name| Some(name) == resource.name.as_ref())
    });
    let users: Vec<String> = users
        .filter_map(|other| {
            Some(format!(
                "{}  {}",
                resolve::full(other.name.as_ref()?),
                state_text(other, false)
            ))
        })
        .collect();
    if !users.is_empty() {
        row("needed by", users.join("\n").into());
    }
    let mut lines = vec![style.paint(Colour::Bold, &name)];
    lines.extend(table.lines(style));
    lines
}

fn module_summary(module: &Module, now: SystemTime) -> String {
    let pid = module.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let last = if module.state() == ModuleState::Ready {
        String::new()
    } else {
        last(module, now)
    };
    let last = if last.is_empty() { last } else { format!(": {last}") };
    format!("{} ({}{pid}){last}", module.name, module_state(module.state()))
}

/// One module in full, with all it said last and its resources.
pub fn module(status: &Status, module: &Module, now: SystemTime, style: Style) -> Vec<String> {
    let mut table = Table::plain(2);
    let mut row = |label: &str, value: Cell| table.row([Cell::from(label).colour(Colour::Dim), value]);
    row(
        "state",
        state_cell(module_state(module.state()), module_colour(module.state())),
    );
    if let Some(pid) = module.pid {
        row("pid", pid.to_string().into());
    }
    if let Some(up) = since(module.started_at.as_ref(), now) {
        row("up", human::duration(up).into());
    }
    row("restarts", module.restarts.to_string().into());
    if let Some(rss) = module.rss_bytes {
        row("memory", human::bytes(rss).into());
    }
    if let Some(cpu) = module.cpu {
        row("cpu", human::percent(cpu).into());
    }
    if !module.executable.is_empty() {
        row("runs", module.executable.as_str().into());
    }
    if !module.last.is_empty() {
        let ago = since(module.last_at.as_ref(), now).map(|ago| format!("{} ago: ", human::duration(ago)));
        row(
            "last",
            format!("{}{}", ago.unwrap_or_default(), module.last.trim_end()).into(),
        );
    }
    if let Some(left) = until(module.next_try_at.as_ref(), now) {
        row("next try", format!("in {}", human::duration(left)).into());
    }
    let mut lines = vec![style.paint(Colour::Bold, &module.name)];
    lines.extend(table.lines(style));
    let held: Vec<Resource> = status
        .resources
        .iter()
        .filter(|resource| resource.module == module.name)
        .cloned()
        .collect();
    if !held.is_empty() {
        lines.push(String::new());
        lines.extend(resources(&held, style));
    }
    lines
}

/// What a person following in a pipe needs to know: a line for each module and resource whose state is another one.
pub fn changes(before: &Status, after: &Status, now: SystemTime) -> Vec<String> {
    let mut lines = Vec::new();
    for module in &after.modules {
        let old = before.modules.iter().find(|old| old.name == module.name);
        if old.is_none_or(|old| (old.state, old.pid) != (module.state, module.pid)) {
            let pid = module.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
            let last = if module.state() == ModuleState::Ready {
                String::new()
            } else {
                last(module, now)
            };
            let last = if last.is_empty() { last } else { format!(": {last}") };
            lines.push(format!(
                "module {} {}{pid}{last}",
                module.name,
                module_state(module.state())
            ));
        }
    }
    for resource in &after.resources {
        let old = before.resources.iter().find(|old| old.name == resource.name);
        if old.is_none_or(|old| (old.state, &old.error) != (resource.state, &resource.error)) {
            lines.push(format!(
                "{} {}",
                resource.name.as_ref().map(resolve::full).unwrap_or_default(),
                state_text(resource, false)
            ));
        }
    }
    let gone = before
        .resources
        .iter()
        .filter(|old| after.resources.iter().all(|resource| resource.name != old.name));
    lines.extend(gone.filter_map(|old| Some(format!("{} removed", resolve::full(old.name.as_ref()?)))));
    if before.state != after.state {
        lines.push(format!("machine {}", machine_state(after.state())));
    }
    lines
}

/// How long ago; a clock that stepped back gives nothing less than zero.
pub fn since(at: Option<&Timestamp>, now: SystemTime) -> Option<Duration> {
    let at = SystemTime::try_from(*at?).ok()?;
    Some(now.duration_since(at).unwrap_or_default())
}

fn until(at: Option<&Timestamp>, now: SystemTime) -> Option<Duration> {
    let at = SystemTime::try_from(*at?).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}
