//! A machine's state as a person reads it: the two tables, and what changed. Pure functions.

use std::time::{Duration, SystemTime};

use mainstay_model::ModuleName;
use mainstay_model::text::{plain, plain_lines};
use mainstay_proto::mainstay::control::v1::{Module, ModuleState, Remote, Resource, ResourceState, Status, StuckCalls};
use mainstay_proto::words::resource_state;

use crate::call::resolve;
use crate::output::joined;
use crate::status_json::{machine_state, module_state};
use crate::table::{Cell, TextTable, wrap};
use crate::terminal::{Colour, Style};
use crate::times::{length, since, until};
use crate::{human, status_config};

/// Placeholder of an empty cell.
const NOTHING: &str = "–";

/// The whole machine: a line about itself, its modules, its resources.
pub fn machine(status: &Status, now: SystemTime, style: Style) -> Vec<String> {
    let mut lines = wrap(&headline(status, now), style.width);
    if let Some(first) = lines.first_mut() {
        let name = file_name(&status.config_path);
        *first = first.replacen(name, &style.paint(Colour::Bold, name), usize::from(!name.is_empty()));
    }
    for shortage in &status.shortages {
        lines.extend(wrap(&style.paint(Colour::Red, &plain(shortage)), style.width));
    }
    if let Some(mdns) = status.mdns.as_ref().filter(|mdns| !mdns.problem.is_empty()) {
        lines.extend(wrap(&format!("mDNS: {}", plain(&mdns.problem)), style.width));
    }
    if let Some(config) = &status.config {
        lines.extend(status_config::lines(config, now, style));
    }
    if !status.modules.is_empty() {
        lines.push(String::new());
        // Only the control socket knows process ids, and then memory and restarts too.
        lines.extend(if status.pid == 0 {
            modules_from_afar(&status.modules, now, style)
        } else {
            modules(&status.modules, now, style)
        });
    }
    if !status.remotes.is_empty() {
        lines.push(String::new());
        lines.extend(remotes(&status.remotes, now, style));
    }
    if !status.resources.is_empty() {
        lines.push(String::new());
        lines.extend(resources(&status.resources, style));
    }
    if !status.diagnostics.is_empty() {
        lines.push(String::new());
        let diagnostics = status.diagnostics.iter().flat_map(|diagnostic| diagnostic.lines());
        lines.extend(diagnostics.map(str::to_owned));
    }
    lines
}

fn headline(status: &Status, now: SystemTime) -> String {
    let state = machine_state(status.state());
    let up = since(status.started_at.as_ref(), now).map(|up| format!(" {}", human::duration(up)));
    let listeners = status.listeners.iter().map(|listener| {
        match joined([listener.tls.clone(), listener.authentication.clone()], "; ").as_str() {
            "" => listener.address.clone(),
            how => format!("{} ({how})", listener.address),
        }
    });
    let parts = [file_name(&status.config_path).to_owned()]
        .into_iter()
        .chain(revision(status).map(|revision| format!("revision {revision}")))
        .chain(Some(plain(&status.part)).filter(|part| !part.is_empty()))
        .chain([format!("{state}{}", up.unwrap_or_default())])
        .chain((status.pid != 0).then(|| format!("pid {}", status.pid)))
        .chain(status.rss_bytes.map(human::bytes))
        .chain(listeners);
    joined(parts, "  ")
}

/// Revision as the config calls it, or else the number of its commit.
fn revision(status: &Status) -> Option<String> {
    let number = || Some(status.config.as_ref()?.revision?.to_string());
    Some(status.revision.clone())
        .filter(|text| !text.is_empty())
        .or_else(number)
}

/// The last part of a path; people know their config by it.
pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn or_nothing(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty())
        .unwrap_or_else(|| NOTHING.to_owned())
}

fn modules(modules: &[Module], now: SystemTime, style: Style) -> Vec<String> {
    let mut table = TextTable::new(["MODULE", "STATE", "PID", "UP", "RESTARTS", "MEMORY", "CPU", "LAST"]);
    for module in modules {
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

fn modules_from_afar(modules: &[Module], now: SystemTime, style: Style) -> Vec<String> {
    let mut table = TextTable::new(["MODULE", "STATE", "LAST"]);
    for module in modules {
        let state = state_cell(module_state(module.state()), module_colour(module.state()));
        table.row([module.name.as_str().into(), state, last(module, now).into()]);
    }
    table.lines(style)
}

/// Newest event in a line, and when the next try is.
pub fn last(module: &Module, now: SystemTime) -> String {
    let news = plain(module.last.lines().next().unwrap_or_default());
    // News about a process that lives is old news; say how old. Of one that does not, the next try matters more.
    let ago = (module.state() == ModuleState::Ready && !news.is_empty())
        .then(|| since(module.last_at.as_ref(), now))
        .flatten()
        .map(|ago| format!(" ({} ago)", human::duration(ago)));
    let waits = module.state() == ModuleState::BackOff;
    let next = until(module.next_try_at.as_ref(), now).filter(|_| waits);
    let next = next.map(|left| format!("next try in {}", human::duration(left)));
    let news = format!("{news}{}", ago.unwrap_or_default());
    joined([news, next.unwrap_or_default()], "; ")
}

/// `: ` and what is wrong with a module that is not at work; empty for one that is, or is about to be.
pub(super) fn failure_text(module: &Module, now: SystemTime) -> String {
    match module.state() {
        ModuleState::Unresponsive | ModuleState::BackOff | ModuleState::Stopped => {
            let last = last(module, now);
            if last.is_empty() { last } else { format!(": {last}") }
        }
        _ => String::new(),
    }
}

pub(super) fn remotes(remotes: &[Remote], now: SystemTime, style: Style) -> Vec<String> {
    let mut table = TextTable::new(["REMOTE", "ADDRESS", "STATE", "FOR", "RESOURCES"]);
    for remote in remotes {
        let (state, colour) = if remote.cause.is_empty() {
            ("connected".to_owned(), Colour::Green)
        } else {
            (plain(&format!("away: {}", remote.cause)), Colour::Red)
        };
        table.row([
            remote.name.as_str().into(),
            remote.address.as_str().into(),
            state_cell(&state, colour),
            Cell::right(or_nothing(since(remote.since.as_ref(), now).map(human::duration))),
            Cell::right(remote.resources.to_string()),
        ]);
    }
    let mut lines = table.lines(style);
    for remote in remotes {
        let left_out = remote.left_out.iter();
        lines.extend(left_out.flat_map(|text| wrap(&plain(&format!("{}: {text}", remote.name)), style.width)));
    }
    lines
}

/// The model, or the machine that has the resource.
fn model_or_machine(resource: &Resource) -> String {
    match resource.module.strip_prefix(ModuleName::REMOTE) {
        Some(remote) => format!("on {remote}"),
        None => or_nothing(Some(short(&resource.model, "rdk:builtin:"))),
    }
}

pub(super) fn resources(resources: &[Resource], style: Style) -> Vec<String> {
    let mut table = TextTable::new(["RESOURCE", "API", "MODEL", "STATE"]);
    for resource in resources {
        let (name, api) = names(resource);
        table.row([
            name.into(),
            short(&api, "rdk:").into(),
            model_or_machine(resource).into(),
            state_cell(&state_and_stuck(resource), colour_of(resource)),
        ]);
    }
    table.lines(style)
}

/// Short form of an id: what every machine has needs no namespace.
fn short(id: &str, prefix: &str) -> String {
    id.strip_prefix(prefix)
        .filter(|rest| !rest.is_empty())
        .unwrap_or(id)
        .to_owned()
}

pub(super) fn names(resource: &Resource) -> (String, String) {
    let name = resource.name.clone().unwrap_or_default();
    (name.name.clone(), resolve::api(&name))
}

/// The state, and why it is not READY: the first line of it or all.
pub fn state_text(resource: &Resource, in_full: bool) -> String {
    let word = resource_state(resource.state());
    let lines = if in_full { usize::MAX } else { 1 };
    let error = cleaned(&resource.error);
    let error = error.lines().take(lines).collect::<Vec<_>>().join("\n");
    if error.is_empty() {
        word.to_owned()
    } else {
        format!("{word}: {error}")
    }
}

/// `stuck: GetReadings for 41 s, 3 callers`, for each method of which calls do not return; empty if all do.
pub fn stuck_text(resource: &Resource) -> String {
    let texts = resource.stuck.iter().map(|stuck| {
        let callers = human::count(stuck.callers.len(), "caller");
        format!("stuck: {} for {}, {callers}", stuck.method, human::duration(age(stuck)))
    });
    joined(texts, "; ")
}

/// Age of the oldest of the stuck calls.
pub(super) fn age(stuck: &StuckCalls) -> Duration {
    length(stuck.age.as_ref()).unwrap_or_default()
}

/// The state, and what is stuck.
fn state_and_stuck(resource: &Resource) -> String {
    joined([state_text(resource, false), stuck_text(resource)], "; ")
}

pub(super) fn state_cell(text: &str, colour: Colour) -> Cell {
    Cell::from(text).colour(colour)
}

pub(super) fn module_colour(state: ModuleState) -> Colour {
    match state {
        ModuleState::Ready => Colour::Green,
        ModuleState::Unresponsive | ModuleState::BackOff => Colour::Red,
        ModuleState::Stopped => Colour::Dim,
        ModuleState::Unspecified | ModuleState::Pending | ModuleState::Starting | ModuleState::Stopping => {
            Colour::Yellow
        }
    }
}

pub(super) fn resource_colour(state: ResourceState) -> Colour {
    match state {
        ResourceState::Ready => Colour::Green,
        ResourceState::Unhealthy => Colour::Red,
        _ => Colour::Yellow,
    }
}

/// Red for what is stuck, whatever its state.
fn colour_of(resource: &Resource) -> Colour {
    if resource.stuck.is_empty() {
        resource_colour(resource.state())
    } else {
        Colour::Red
    }
}

/// Lines for a person following in a pipe: one for each module and resource whose state is another one.
pub fn changes(before: &Status, after: &Status, now: SystemTime) -> Vec<String> {
    let mut lines = Vec::new();
    for module in &after.modules {
        let old = before.modules.iter().find(|old| old.name == module.name);
        if old.is_none_or(|old| (old.state, old.pid) != (module.state, module.pid)) {
            let pid = module.pid.map(|pid| format!(" pid {pid}")).unwrap_or_default();
            lines.push(format!(
                "module {} {}{pid}{}",
                module.name,
                module_state(module.state()),
                failure_text(module, now)
            ));
        }
    }
    for resource in &after.resources {
        let old = before.resources.iter().find(|old| old.name == resource.name);
        let same = |old: &Resource| {
            let methods = |of: &Resource| of.stuck.iter().map(|stuck| stuck.method.clone()).collect::<Vec<_>>();
            (old.state, &old.error) == (resource.state, &resource.error) && methods(old) == methods(resource)
        };
        if !old.is_some_and(same) {
            lines.push(format!(
                "{} {}",
                resource.name.as_ref().map(resolve::full).unwrap_or_default(),
                state_and_stuck(resource)
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

/// Printed lines of a module, without what would steer the terminal.
pub fn cleaned(text: &str) -> String {
    plain_lines(text)
}
