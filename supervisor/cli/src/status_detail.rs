//! Text of one resource or one module in full. Pure functions.

use std::time::SystemTime;

use mainstay_proto::mainstay::control::v1::{Limit, Module, Resource, Status};

use crate::call::resolve;
use crate::human;
use crate::status_json::module_state;
use crate::status_text::{
    age, cleaned, failure_text, module_colour, names, resource_colour, resources, state_cell, state_text,
};
use crate::table::{Cell, TextTable};
use crate::terminal::{Colour, Style};
use crate::times::{since, until};

/// Text of one resource in full: its module, and its dependencies both ways.
pub fn resource(status: &Status, resource: &Resource, now: SystemTime, style: Style) -> Vec<String> {
    let (name, api) = names(resource);
    let mut table = TextTable::plain(2);
    let mut row = |label: &str, value: Cell| table.row([Cell::from(label).colour(Colour::Dim), value]);
    row(
        "state",
        state_cell(&state_text(resource, true), resource_colour(resource.state())),
    );
    for stuck in &resource.stuck {
        let (method, callers) = (&stuck.method, stuck.callers.join(", "));
        let calls = human::count(stuck.calls as usize, "call");
        let text = format!("{method} for {}: {calls} by {callers}", human::duration(age(stuck)));
        row("stuck", state_cell(&text, Colour::Red));
    }
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
    let users = status.resources.iter().filter_map(|other| {
        let needs = |name| other.dependencies.contains(name);
        let name = other
            .name
            .as_ref()
            .filter(|_| resource.name.as_ref().is_some_and(needs))?;
        Some(format!("{}  {}", resolve::full(name), state_text(other, false)))
    });
    let users: Vec<String> = users.collect();
    if !users.is_empty() {
        row("needed by", users.join("\n").into());
    }
    let mut lines = vec![style.paint(Colour::Bold, &name)];
    lines.extend(table.lines(style));
    lines
}

fn module_summary(module: &Module, now: SystemTime) -> String {
    let pid = module.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    format!(
        "{} ({}{pid}){}",
        module.name,
        module_state(module.state()),
        failure_text(module, now)
    )
}

fn limit_cell(limit: &Limit) -> Cell {
    let text = format!("{}: {} ({})", limit.limit, limit.held, limit.note);
    if limit.reached.is_empty() {
        return text.into();
    }
    Cell::from(format!("{text}; {}", limit.reached)).colour(Colour::Yellow)
}

fn limit_label(limit: &Limit) -> String {
    format!("max {}", limit.name.replace('_', " "))
}

/// Text of one module in full, with its last output and its resources.
pub fn module(status: &Status, module: &Module, now: SystemTime, style: Style) -> Vec<String> {
    let mut table = TextTable::plain(2);
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
    for limit in &module.limits {
        row(&limit_label(limit), limit_cell(limit));
    }
    if !module.executable.is_empty() {
        row("runs", module.executable.as_str().into());
    }
    if !module.last.is_empty() {
        let ago = since(module.last_at.as_ref(), now).map(|ago| format!("{} ago: ", human::duration(ago)));
        row(
            "last",
            format!("{}{}", ago.unwrap_or_default(), cleaned(&module.last)).into(),
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
