//! Other machines whose resources are used here: which of what they list is taken, and under which names.
//!
//! To those who need its resources a remote is a module without a process here; what becomes of them when it goes and comes
//! is decided with all others (`machine/imports`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mainstay_ids::ResourceName;

/// Most resources that are taken from one remote.
pub const MAX_IMPORTS: usize = 10_000;
/// Most machines in a row through which a resource is reached.
const MAX_DEPTH: usize = 8;
/// Longest name that is taken, in bytes.
const MAX_NAME_LEN: usize = 500;

/// Longest pause between two tries to connect, unless the config asks for a longer one.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Pause before the next try to connect, after `failures` in a row; the first try after a loss comes nearly at once. `chance`,
/// from 0 to 1, says where in the range of the jitter it lies: many machines that lost one do not come back all at once.
#[must_use]
pub fn pause(failures: u32, interval: Duration, chance: f64) -> Duration {
    let plain = match failures {
        0 => Duration::from_millis(20).min(interval),
        more => {
            let longer = 1.5_f64.powi(i32::try_from(more - 1).unwrap_or(i32::MAX).min(20));
            interval.mul_f64(longer).min(MAX_PAUSE.max(interval))
        }
    };
    plain.mul_f64(0.8 + 0.4 * chance.clamp(0.0, 1.0))
}

/// Resource that a remote lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Full name there.
    pub name: ResourceName,
    /// Ids of the machines from the remote to the one that has it, as far as they are told.
    pub machines: Arc<[String]>,
}

/// Resource of another machine, as it is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Full name here.
    pub name: ResourceName,
    /// Simple name that it has there.
    pub own: Arc<str>,
    /// Other simple names that it is found by here, where they mean nothing else.
    pub aliases: Arc<[String]>,
    /// Ids of the machines from the remote to the one that has it, as far as they are told.
    pub machines: Arc<[String]>,
}

/// Part of what a remote lists that is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imports {
    /// Resources, in the order of the list.
    pub taken: Vec<Import>,
    /// Texts about what was left out for a reason that a person should know.
    pub left_out: Vec<String>,
}

/// Names under which the resources that `remote` lists are known here. With a `prefix`, that stands in front of each name as
/// it is; without one, the remote's name and a colon do, and the part behind the last colon is enough where it means one thing.
/// `machine` is the id of this one: nothing is reached through itself.
#[must_use]
pub fn imports(remote: &str, prefix: &str, machine: &str, listed: &[Listed]) -> Imports {
    let mut imports = Imports::default();
    let mut seen = BTreeSet::new();
    let (mut bad, mut deep) = (0_usize, 0_usize);
    for listed_one in listed {
        let resource = &listed_one.name;
        let own = resource.name.as_str();
        // Every machine has its own of these.
        if own == "builtin" || !seen.insert(resource) || listed_one.machines.iter().any(|id| id == machine) {
            continue;
        }
        if own.is_empty() || own.len() > MAX_NAME_LEN || own.chars().any(|c| c.is_control() || c == '/') {
            bad += 1;
            continue;
        }
        if own.split(':').count() >= MAX_DEPTH {
            deep += 1;
            continue;
        }
        if imports.taken.len() == MAX_IMPORTS {
            let text = format!(
                "only the first {MAX_IMPORTS} of its {} resources are used",
                listed.len()
            );
            imports.left_out.push(text);
            break;
        }
        let with_remote = format!("{remote}:{own}");
        let (name, alias) = if prefix.is_empty() {
            let short = own.rsplit(':').next().unwrap_or(own).to_owned();
            (with_remote, short)
        } else {
            (format!("{prefix}{own}"), with_remote)
        };
        imports.taken.push(Import {
            name: ResourceName {
                api: resource.api.clone(),
                name,
            },
            own: own.into(),
            aliases: [alias].into(),
            machines: listed_one.machines.clone(),
        });
    }
    if bad > 0 {
        imports.left_out.push(format!(
            "{bad} of its resources have names that cannot be called (empty, over {MAX_NAME_LEN} bytes, control characters or `/`)"
        ));
    }
    if deep > 0 {
        let text = format!(
            "{deep} of its resources are reached through more than {MAX_DEPTH} machines; they may run in a circle"
        );
        imports.left_out.push(text);
    }
    imports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(prefix: &str, listed: &[&str]) -> Vec<String> {
        let listed: Vec<Listed> = listed
            .iter()
            .map(|name| Listed {
                name: ResourceName {
                    api: "rdk:component:arm".parse().expect("an API"),
                    name: (*name).to_owned(),
                },
                machines: if name.starts_with("own:") {
                    ["far".to_owned(), "me".to_owned()].into()
                } else {
                    Arc::default()
                },
            })
            .collect();
        let imports = imports("far", prefix, "me", &listed);
        let taken = imports
            .taken
            .iter()
            .map(|import| format!("{} = {} ({})", import.name.name, import.own, import.aliases.join(" ")));
        taken.chain(imports.left_out).collect()
    }

    #[test]
    fn names_have_the_remote_or_its_prefix_in_front() {
        assert_eq!(
            shown("", &["a", "b:a", "builtin", "a"]),
            ["far:a = a (a)", "far:b:a = b:a (a)"]
        );
        assert_eq!(
            shown("far-", &["a", "b:a"]),
            ["far-a = a (far:a)", "far-b:a = b:a (far:b:a)"]
        );
    }

    #[test]
    fn nothing_is_reached_through_this_machine_itself() {
        assert_eq!(shown("", &["own:a", "a"]), ["far:a = a (a)"]);
    }

    #[test]
    fn pauses_grow_to_a_cap_and_the_first_try_comes_at_once() {
        let second = Duration::from_secs(1);
        let after = |failures| pause(failures, second, 0.5).as_millis();
        assert_eq!([0, 1, 2, 3, 9, 1000].map(after), [20, 1000, 1500, 2250, 25_628, 30_000]);
        assert_eq!(pause(1, second, 0.0), Duration::from_millis(800));
        assert_eq!(pause(5, Duration::from_secs(60), 0.5), Duration::from_secs(60));
        assert!(pause(0, Duration::from_millis(5), 1.0) <= Duration::from_millis(6));
    }

    #[test]
    fn what_cannot_be_called_is_left_out_and_told() {
        let long = "x".repeat(MAX_NAME_LEN + 1);
        let shown_bad = shown("", &["", "a\nb", "a/b", &long, "good"]);
        assert_eq!(shown_bad[0], "far:good = good (good)");
        assert!(
            shown_bad[1].starts_with("4 of its resources have names"),
            "{shown_bad:?}"
        );
        let deep = shown("", &["a:b:a:b:a:b:a:b:x"]);
        assert!(deep[0].contains("more than 8 machines"), "{deep:?}");
        let many: Vec<String> = (0..MAX_IMPORTS + 5).map(|number| format!("r{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(shown("", &many).len(), MAX_IMPORTS + 1);
    }
}
