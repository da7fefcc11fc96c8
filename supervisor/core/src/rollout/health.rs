//! Health of a change: a pure verdict over two looks at the machine: before the change, and now.
//!
//! Healthy means: every part that was READY before and is still wanted is READY, every added or changed part is READY,
//! and no module died. What was broken before does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mainstay_ids::ResourceName;
use mainstay_model::{Config, ModuleName};

/// Part of a machine that can be well or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HealthPart {
    /// A module.
    Module(ModuleName),
    /// A resource.
    Resource(ResourceName),
}

impl fmt::Display for HealthPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name) => write!(f, "module {name}"),
            Self::Resource(name) => write!(f, "{name}"),
        }
    }
}

/// Condition of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// READY.
    Ready,
    /// On its way to READY.
    Pending(String),
    /// Not READY, and why.
    Broken(String),
}

/// All parts of a machine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// Every part that the config names, and the built-in modules in use.
    pub parts: BTreeMap<HealthPart, Condition>,
    /// Modules of which a process has ended unasked since the change began, and how.
    pub deaths: BTreeMap<ModuleName, String>,
}

/// Verdict on the health of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every part that counts is READY.
    Healthy,
    /// Parts that are not well, with their reasons; they may become so.
    Unwell(Vec<String>),
    /// Modules that died, which nothing makes good.
    Died(Vec<String>),
}

/// The parts that `to` adds to `from`, or has otherwise.
pub fn touched(from: &Config, to: &Config) -> BTreeSet<HealthPart> {
    let modules: BTreeMap<_, _> = from.modules.iter().map(|module| (&module.name, module)).collect();
    let resources: BTreeMap<_, _> = from.resources.iter().map(|config| (&config.name, config)).collect();
    let touched = to
        .modules
        .iter()
        .filter(|module| modules.get(&module.name) != Some(module));
    let touched = touched.map(|module| HealthPart::Module(module.name.as_str().into()));
    let built = to
        .resources
        .iter()
        .filter(|config| resources.get(&config.name) != Some(config));
    touched
        .chain(built.map(|config| HealthPart::Resource(config.name.clone())))
        .collect()
}

/// The verdict on `now`. `before`: as it was when the change began. `touched`: what the change adds or changes.
pub fn judge(before: &HealthSnapshot, touched: &BTreeSet<HealthPart>, now: &HealthSnapshot) -> Verdict {
    let counts = |part: &HealthPart| match before.parts.get(part) {
        Some(Condition::Ready) => true,
        Some(Condition::Broken(_)) => false,
        Some(Condition::Pending(_)) | None => touched.contains(part),
    };
    let died = now
        .deaths
        .iter()
        .filter(|(name, _)| counts(&HealthPart::Module((*name).clone())));
    let died: Vec<_> = died.map(|(name, how)| format!("module {name} died: {how}")).collect();
    if !died.is_empty() {
        return Verdict::Died(died);
    }
    let absent = Condition::Broken("it is not there".to_owned());
    let unwell = touched
        .iter()
        .filter(|part| !now.parts.contains_key(part))
        .map(|part| (part, &absent))
        .chain(&now.parts)
        .filter(|(part, _)| counts(part))
        .filter_map(|(part, condition)| match condition {
            Condition::Ready => None,
            Condition::Pending(why) if why.is_empty() => Some(format!("{part} is not ready yet")),
            Condition::Pending(why) => Some(format!("{part} is not ready yet: {why}")),
            Condition::Broken(why) => Some(format!("{part}: {why}")),
        });
    let unwell: Vec<_> = unwell.collect();
    if unwell.is_empty() {
        Verdict::Healthy
    } else {
        Verdict::Unwell(unwell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name+` is READY, `name?` on its way, `name-` broken, `name!` died and is READY again.
    fn picture(text: &str) -> HealthSnapshot {
        let mut picture = HealthSnapshot::default();
        for word in text.split_whitespace() {
            let (name, mark) = word.split_at(word.len() - 1);
            let condition = match mark {
                "+" | "!" => Condition::Ready,
                "?" => Condition::Pending(String::new()),
                _ => Condition::Broken("broken".into()),
            };
            if mark == "!" {
                picture.deaths.insert(name.into(), "killed".into());
            }
            picture.parts.insert(part(name), condition);
        }
        picture
    }

    fn part(name: &str) -> HealthPart {
        if name.starts_with('m') {
            HealthPart::Module(name.into())
        } else {
            HealthPart::Resource(format!("rdk:component:motor/{name}").parse().expect("a name"))
        }
    }

    #[test]
    fn what_was_ready_or_is_touched_has_to_be_ready_and_what_was_broken_does_not_count() {
        for (before, touched, now, expected) in [
            ("", "", "", "well"),
            ("a+ m+", "", "a+ m+", "well"),
            ("a+", "", "a-", "a"),
            ("a+", "", "a?", "a"),
            ("a+ b+", "", "b+", "well"), // No longer wanted.
            ("a-", "", "a-", "well"),
            ("a-", "a", "a-", "well"),
            ("a?", "", "a-", "well"),
            ("a?", "a", "a-", "a"),
            ("", "a", "a+", "well"),
            ("", "a", "a-", "a"),
            ("", "a", "", "a"),     // Wanted, and nothing shows it.
            ("", "", "a-", "well"), // At a start: the last commit has it, too.
            ("m+", "", "m!", "died"),
            ("m-", "", "m!", "well"),
            ("", "m", "m!", "died"),
            ("m+ a+", "b", "m! a- b-", "died"),
            ("a+ b+", "c", "a- b+ c-", "a c"),
        ] {
            let touched = touched.split_whitespace().map(part).collect();
            let verdict = judge(&picture(before), &touched, &picture(now));
            let shown = match &verdict {
                Verdict::Healthy => "well".to_owned(),
                Verdict::Died(_) => "died".to_owned(),
                Verdict::Unwell(reasons) => {
                    let name = |reason: &String| {
                        let name = reason.rsplit('/').next().unwrap_or_default();
                        name[..1].to_owned()
                    };
                    let mut names: Vec<_> = reasons.iter().map(name).collect();
                    names.sort();
                    names.join(" ")
                }
            };
            assert_eq!(shown, expected, "{before} | {now}: {verdict:?}");
        }
    }
}
