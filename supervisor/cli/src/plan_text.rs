//! A plan as people read it and as scripts do. Pure functions.

use std::collections::{HashMap, HashSet};

use mainstay_model::text::plain;
use mainstay_proto::mainstay::control::v1::{ConfigPlan, PlannedChange};
use serde_json::{Value, json};

use crate::human::count;
use crate::output::filled;
use crate::table::{Cell, TextTable};
use crate::terminal::{Colour, Style};

/// A line for each change, and one for what stays.
pub fn lines(plan: &ConfigPlan, style: Style) -> Vec<String> {
    let mut table = TextTable::plain(0);
    let names = PlannedNames::of(plan);
    for (depth, change) in nested(plan) {
        let (sign, colour) = sign(change);
        let name = match depth {
            0 => format!("{sign} {}", names.show(change)),
            depth => format!("{}└ {}", "  ".repeat(depth), names.show(change)),
        };
        let mut because = plain(&change.because);
        if change.known_after_start {
            because += " (known after start)";
        }
        table.row([
            Cell::from(name).colour(colour),
            change.how.as_str().into(),
            because.into(),
        ]);
    }
    let mut lines = table.lines(style);
    lines.push(stays(plan));
    lines
}

/// Changes with their depth: what follows from another change stands below that, a step further in; the rest as it comes.
fn nested(plan: &ConfigPlan) -> Vec<(usize, &PlannedChange)> {
    let own = |change: &'_ PlannedChange| (change.part.clone(), change.name.clone());
    let known: HashSet<_> = plan.changes.iter().map(own).collect();
    let mut below: HashMap<_, Vec<&PlannedChange>> = HashMap::new();
    let mut first = Vec::new();
    for change in &plan.changes {
        let above = (change.through_part.clone(), change.through_name.clone());
        if known.contains(&above) && above != own(change) {
            below.entry(above).or_default().push(change);
        } else {
            first.push(change);
        }
    }
    let mut found = Vec::with_capacity(plan.changes.len());
    let mut open: Vec<_> = first.into_iter().rev().map(|change| (0, change)).collect();
    loop {
        while let Some((depth, change)) = open.pop() {
            found.push((depth, change));
            let next = below.remove(&own(change)).unwrap_or_default();
            open.extend(next.into_iter().rev().map(|change| (depth + 1, change)));
        }
        // A circle has no beginning; nothing may be missing for that.
        let rest = plan.changes.iter().find_map(|change| {
            let above = (change.through_part.clone(), change.through_name.clone());
            below.remove(&above)
        });
        match rest {
            Some(rest) => open.extend(rest.into_iter().rev().map(|change| (0, change))),
            None => break,
        }
    }
    found
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
pub struct PlannedNames<'p> {
    /// Number of resources of the plan with each simple name.
    simple: HashMap<&'p str, usize>,
}

impl<'p> PlannedNames<'p> {
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
            "name": filled(&change.name),
            "how": change.how,
            "because": change.because,
            "known_after_start": change.known_after_start,
            "through": (!change.through_part.is_empty()).then(|| json!({
                "part": change.through_part,
                "name": change.through_name,
            })),
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
            ..PlannedChange::default()
        }
    }

    fn through(part: &str, name: &str, change: PlannedChange) -> PlannedChange {
        PlannedChange {
            through_part: part.into(),
            through_name: name.into(),
            ..change
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
    fn what_follows_from_another_change_stands_below_it() {
        let resource = |name: &str, how: &str, because: &str| {
            change("resource", &format!("rdk:service:generic/{name}"), how, because)
        };
        let mut plan = sample();
        plan.changes.truncate(1);
        plan.changes.extend([
            through(
                "resource",
                "rdk:service:generic/slam",
                resource("map", "rebuild", "holds slam"),
            ),
            resource("lidar", "rebuild", "attributes.rate_hz 10 → 20"),
            through(
                "resource",
                "rdk:service:generic/lidar",
                resource("slam", "rebuild", "holds lidar"),
            ),
            through("module", "unknown", resource("alone", "build", "new")),
            through(
                "resource",
                "rdk:service:generic/yang",
                resource("yin", "rebuild", "holds yang"),
            ),
            through(
                "resource",
                "rdk:service:generic/yin",
                resource("yang", "rebuild", "holds yin"),
            ),
        ]);
        let expected = "\
~ network  update   network.bind_address localhost:1 → localhost:2
~ lidar    rebuild  attributes.rate_hz 10 → 20
  └ slam   rebuild  holds lidar
    └ map  rebuild  holds slam
+ alone    build    new
~ yin      rebuild  holds yang
  └ yang   rebuild  holds yin
= 2 resources and 1 module stay as they are";
        assert_eq!(lines(&plan, Style::PLAIN).join("\n"), expected);
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
