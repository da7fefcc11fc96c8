//! A plan as people read it and as scripts do. Pure functions.

use std::collections::HashMap;

use mainstay_proto::mainstay::control::v1::{ConfigPlan, PlannedChange};
use serde_json::{Value, json};

use super::human::count;
use super::table::{Cell, Table};
use super::terminal::{Colour, Style};
use crate::text::plain;

/// A line for each change, and one for what stays.
pub fn lines(plan: &ConfigPlan, style: Style) -> Vec<String> {
    let mut table = Table::plain(0);
    let names = Names::of(plan);
    for change in &plan.changes {
        let (sign, colour) = sign(change);
        let mut because = plain(&change.because);
        if change.known_after_start {
            because += " (known after start)";
        }
        table.row([
            Cell::from(format!("{sign} {}", names.show(change))).colour(colour),
            change.how.as_str().into(),
            because.into(),
        ]);
    }
    let mut lines = table.lines(style);
    lines.push(stays(plan));
    lines
}

/// `+` comes, `-` goes, `~` is there before and after.
fn sign(change: &PlannedChange) -> (char, Colour) {
    match change.how.as_str() {
        "start" | "build" => ('+', Colour::Green),
        "stop" | "close" => ('-', Colour::Red),
        _ => ('~', Colour::Yellow),
    }
}

fn stays(plan: &ConfigPlan) -> String {
    let (resources, modules) = (plan.resources_stay.len(), plan.modules_stay.len());
    let counted = match (resources, modules) {
        (0, 0) if plan.changes.is_empty() => return "= nothing to do, and nothing runs".to_owned(),
        (0, 0) => return "= nothing else runs".to_owned(),
        (_, 0) => count(resources, "resource"),
        (0, _) => count(modules, "module"),
        _ => format!("{} and {}", count(resources, "resource"), count(modules, "module")),
    };
    let (stay, they) = if resources + modules == 1 {
        ("stays", "it is")
    } else {
        ("stay", "they are")
    };
    let all = if plan.changes.is_empty() { "nothing to do: " } else { "" };
    format!("= {all}{counted} {stay} as {they}")
}

/// The names of what changes: as short as they can be without being mistaken for each other.
pub struct Names<'p> {
    /// How many resources of the plan have a simple name.
    simple: HashMap<&'p str, usize>,
}

impl<'p> Names<'p> {
    pub fn of(plan: &'p ConfigPlan) -> Self {
        let mut simple = HashMap::new();
        for change in plan.changes.iter().filter(|change| change.part == "resource") {
            *simple.entry(simple_name(&change.name)).or_default() += 1;
        }
        Self { simple }
    }

    /// The simple name of a resource if no other one has it; the part in front of any other name.
    pub fn show(&self, change: &PlannedChange) -> String {
        match (change.part.as_str(), change.name.as_str()) {
            (part, "") => part.to_owned(),
            ("resource", name) => {
                let simple = simple_name(name);
                let unique = self.simple.get(simple) == Some(&1);
                plain(if unique { simple } else { name })
            }
            (part, name) => plain(&format!("{part} {name}")),
        }
    }
}

/// `left` of `rdk:component:motor/left`.
pub fn simple_name(full: &str) -> &str {
    full.split_once('/').map_or(full, |(_, name)| name)
}

/// The keys here are a promise to scripts.
pub fn json(plan: &ConfigPlan) -> Value {
    let change = |change: &PlannedChange| {
        json!({
            "part": change.part,
            "name": (!change.name.is_empty()).then_some(&change.name),
            "how": change.how,
            "because": change.because,
            "known_after_start": change.known_after_start,
        })
    };
    json!({
        "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "stays": { "resources": plan.resources_stay, "modules": plan.modules_stay },
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn change(part: &str, name: &str, how: &str, because: &str) -> PlannedChange {
        PlannedChange {
            part: part.into(),
            name: name.into(),
            how: how.into(),
            because: because.into(),
            known_after_start: because.is_empty(),
        }
    }

    pub fn sample() -> ConfigPlan {
        ConfigPlan {
            changes: vec![
                change(
                    "network",
                    "",
                    "update",
                    "network.bind_address localhost:1 → localhost:2",
                ),
                change(
                    "resource",
                    "rdk:component:servo/old",
                    "close",
                    "no longer in the config",
                ),
                change("module", "wheels", "restart", "executable_path changed"),
                change(
                    "resource",
                    "rdk:component:camera/lidar",
                    "rebuild",
                    "attributes.rate_hz 10 → 20",
                ),
                change("resource", "rdk:component:arm/arm", "build", ""),
            ],
            modules_stay: vec!["eyes".into()],
            resources_stay: vec!["rdk:component:motor/a".into(), "rdk:component:motor/b".into()],
        }
    }

    #[test]
    fn each_change_is_a_line_with_its_reason() {
        let expected = "\
~ network        update   network.bind_address localhost:1 → localhost:2
- old            close    no longer in the config
~ module wheels  restart  executable_path changed
~ lidar          rebuild  attributes.rate_hz 10 → 20
+ arm            build     (known after start)
= 2 resources and 1 module stay as they are";
        assert_eq!(lines(&sample(), Style::PLAIN).join("\n"), expected);
    }

    #[test]
    fn resources_of_one_name_are_told_apart() {
        let mut plan = sample();
        plan.changes
            .push(change("resource", "rdk:component:sensor/arm", "build", "new"));
        let shown = lines(&plan, Style::PLAIN).join("\n");
        assert!(
            shown.contains("+ rdk:component:sensor/arm") && shown.contains("+ rdk:component:arm/arm"),
            "{shown}"
        );
    }

    #[test]
    fn what_stays_is_counted() {
        for (resources, modules, changes, expected) in [
            (0, 0, 0, "= nothing to do, and nothing runs"),
            (1, 0, 0, "= nothing to do: 1 resource stays as it is"),
            (0, 2, 5, "= 2 modules stay as they are"),
            (0, 0, 5, "= nothing else runs"),
        ] {
            let mut plan = sample();
            plan.changes.truncate(changes);
            plan.resources_stay = vec!["x".into(); resources];
            plan.modules_stay = vec!["x".into(); modules];
            assert_eq!(lines(&plan, Style::PLAIN).last().map(String::as_str), Some(expected));
        }
    }
}
