//! Names to resources: how a dependency text finds the resource that it means. And the order and circles among them.

pub mod circles;

use std::collections::{BTreeSet, HashMap};

use mainstay_ids::ResourceName;

/// Texts by which modules ask for the frame system; the core offers it by RPC, never as a resource.
const FRAME_SYSTEM_ALIASES: [&str; 3] = [
    "framesystem",
    "$framesystem",
    "rdk-internal:service:framesystem/$framesystem",
];

/// True for a text that names the frame system, which a host leaves out of every dependency list.
pub fn is_frame_system(text: &str) -> bool {
    FRAME_SYSTEM_ALIASES.contains(&text)
}

/// Reason why a dependency text names no single resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// No resource has that name.
    Missing,
    /// The text meant this resource, which is no longer in the config.
    Removed(ResourceName),
    /// Several resources have that simple name; the text must give the full one.
    Ambiguous(Vec<ResourceName>),
}

/// The simple names whose holders decide what `text` means: whoever has one of them, as its name or as an alias.
pub fn simple_names(text: &str) -> Vec<String> {
    match text.parse::<ResourceName>() {
        Err(_) => vec![text.to_owned()],
        Ok(full) => match full.name.rsplit_once(':') {
            Some((_, behind)) => vec![behind.to_owned(), full.name],
            None => vec![full.name],
        },
    }
}

/// Finds resources by full name (`rdk:component:motor/left`) or, where only one has it, by simple name (`left`).
///
/// What other machines have is found by its whole name here (`left` of the remote `arm` is `arm:left`), and by a shorter one
/// that means nothing of this machine.
#[derive(Debug, Default)]
pub struct Index {
    by_simple: HashMap<String, Vec<ResourceName>>,
    aliases: HashMap<String, Vec<ResourceName>>,
    /// Remotes of the config: a name with one of them in front means nothing else.
    remotes: BTreeSet<String>,
}

impl Index {
    /// An index of these names; a name that is given twice counts once.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a ResourceName>) -> Self {
        let mut index = Self::default();
        for name in names {
            index.add(name);
        }
        index
    }

    /// Takes a name up. True if it is new.
    pub fn add(&mut self, name: &ResourceName) -> bool {
        let same = self.by_simple.entry(name.name.clone()).or_default();
        let new = !same.contains(name);
        if new {
            same.push(name.clone());
        }
        new
    }

    /// Takes up other texts by which the resource is found, where no resource has them as its name.
    pub fn add_aliases(&mut self, name: &ResourceName, aliases: &[String]) {
        for alias in aliases {
            let same = self.aliases.entry(alias.clone()).or_default();
            if !same.contains(name) {
                same.push(name.clone());
            }
        }
    }

    /// Sets the remotes of the config.
    pub fn set_remotes(&mut self, remotes: impl IntoIterator<Item = String>) {
        self.remotes = remotes.into_iter().collect();
    }

    /// Forgets a name and its aliases.
    pub fn remove(&mut self, name: &ResourceName, aliases: &[String]) {
        let forget = |map: &mut HashMap<String, Vec<ResourceName>>, key: &str| {
            if let Some(same) = map.get_mut(key) {
                same.retain(|known| known != name);
                if same.is_empty() {
                    map.remove(key);
                }
            }
        };
        forget(&mut self.by_simple, &name.name);
        for alias in aliases {
            forget(&mut self.aliases, alias);
        }
    }

    /// The resource that `text` means.
    pub fn resolve(&self, text: &str) -> Result<ResourceName, Unresolved> {
        if let Ok(full) = text.parse::<ResourceName>() {
            let of_api = |same: Option<&Vec<ResourceName>>| {
                let same = same.into_iter().flatten().filter(|name| name.api == full.api);
                same.cloned().collect::<Vec<_>>()
            };
            let mut found = of_api(self.by_simple.get(&full.name));
            if found.is_empty() {
                found = of_api(self.aliases.get(&full.name));
            }
            if let Some((remote, _)) = full.name.split_once(':')
                && found.is_empty()
                && !self.remotes.contains(remote)
            {
                // A name with something else in front (`part:arm`) is that of the resource behind it.
                let behind = full.name.rsplit(':').next().unwrap_or(&full.name);
                found = of_api(self.by_simple.get(behind));
            }
            return one_of(found);
        }
        let own = self.by_simple.get(text).filter(|same| !same.is_empty());
        one_of(own.or_else(|| self.aliases.get(text)).cloned().unwrap_or_default())
    }
}

fn one_of(mut found: Vec<ResourceName>) -> Result<ResourceName, Unresolved> {
    if found.len() > 1 {
        // By name: in which order they came must not show.
        found.sort();
        return Err(Unresolved::Ambiguous(found));
    }
    found.pop().ok_or(Unresolved::Missing)
}

/// Outcome of a walk along dependencies.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Every resource that was met, each after those that it leads to. Members of a circle come somewhere.
    pub order: Vec<&'a ResourceName>,
    /// Circles, each as its members in order. Every circle has a member in one of them.
    pub circles: Vec<Vec<ResourceName>>,
}

/// Walks along `next` from each of `starts`, depth first. Each resource is followed once, so the cost grows with the
/// edges.
pub fn walk<'a, E>(starts: impl IntoIterator<Item = &'a ResourceName>, next: impl Fn(&'a ResourceName) -> E) -> Walk<'a>
where
    E: IntoIterator<Item = &'a ResourceName>,
{
    let (mut order, mut circles) = (Vec::new(), Vec::new());
    // The place on the present path, or none once everything behind the name was followed.
    let mut seen: HashMap<&ResourceName, Option<usize>> = HashMap::new();
    for start in starts {
        if seen.contains_key(start) {
            continue;
        }
        // A name and what is left of its list; an explicit stack keeps long chains off the real one.
        let mut path = vec![(start, next(start).into_iter())];
        seen.insert(start, Some(0));
        while let Some((name, rest)) = path.last_mut() {
            let Some(dependency) = rest.next() else {
                seen.insert(name, None);
                order.push(*name);
                path.pop();
                continue;
            };
            match seen.get(dependency) {
                None => {
                    seen.insert(dependency, Some(path.len()));
                    path.push((dependency, next(dependency).into_iter()));
                }
                Some(Some(place)) => circles.push(path[*place..].iter().map(|(name, _)| (*name).clone()).collect()),
                Some(None) => {}
            }
        }
    }
    Walk { order, circles }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<ResourceName> {
        texts.iter().map(|text| text.parse().expect("a good name")).collect()
    }

    #[test]
    fn a_text_finds_its_resource_by_full_or_by_unique_simple_name() {
        let all = names(&[
            "rdk:component:motor/left",
            "rdk:component:encoder/left",
            "rdk:component:arm/a",
        ]);
        let index = Index::new(&all);
        assert_eq!(index.resolve("a"), Ok(all[2].clone()));
        assert_eq!(index.resolve("rdk:component:encoder/left"), Ok(all[1].clone()));
        assert_eq!(index.resolve("rdk:component:arm/r1:a"), Ok(all[2].clone()));
        let both = vec![all[1].clone(), all[0].clone()];
        assert_eq!(index.resolve("left"), Err(Unresolved::Ambiguous(both)));
        assert_eq!(index.resolve("b"), Err(Unresolved::Missing));
        assert_eq!(index.resolve("rdk:component:gantry/a"), Err(Unresolved::Missing));
        assert_eq!(index.resolve(""), Err(Unresolved::Missing));
    }

    #[test]
    fn what_another_machine_has_is_found_in_full_and_in_short_where_nothing_here_is_meant() {
        let all = names(&[
            "rdk:component:arm/a",
            "rdk:component:arm/b:a",
            "rdk:component:arm/b:g",
            "rdk:component:arm/c:g",
        ]);
        let mut index = Index::new(&all);
        for name in &all[1..] {
            index.add_aliases(name, &[name.name[2..].to_owned()]);
        }
        index.set_remotes(["b".to_owned(), "c".to_owned()]);
        assert_eq!(index.resolve("a"), Ok(all[0].clone()), "our own counts");
        assert_eq!(index.resolve("b:a"), Ok(all[1].clone()));
        assert_eq!(index.resolve("rdk:component:arm/b:a"), Ok(all[1].clone()));
        assert_eq!(
            index.resolve("rdk:component:arm/c:a"),
            Err(Unresolved::Missing),
            "a remote that has none"
        );
        assert_eq!(index.resolve("rdk:component:arm/d:a"), Ok(all[0].clone()), "no remote");
        let both = vec![all[2].clone(), all[3].clone()];
        assert_eq!(index.resolve("g"), Err(Unresolved::Ambiguous(both.clone())));
        assert_eq!(index.resolve("rdk:component:arm/g"), Err(Unresolved::Ambiguous(both)));
        index.remove(&all[3], &["g".to_owned()]);
        assert_eq!(index.resolve("g"), Ok(all[2].clone()));
    }

    #[test]
    fn circles_are_found_wherever_they_are_entered() {
        let all = names(&[
            "a:component:c/x",
            "a:component:c/y",
            "a:component:c/z",
            "a:component:c/self",
        ]);
        let edges: HashMap<_, _> = [
            (all[0].clone(), vec![all[1].clone(), all[2].clone()]),
            (all[1].clone(), vec![all[2].clone()]),
            (all[2].clone(), vec![all[1].clone()]),
            (all[3].clone(), vec![all[3].clone()]),
        ]
        .into();
        let next = |name: &ResourceName| edges.get(name).map_or(&[][..], Vec::as_slice);
        assert!(walk([], next).circles.is_empty());
        let found = walk(&all, next).circles;
        assert_eq!(found, [vec![all[1].clone(), all[2].clone()], vec![all[3].clone()]]);
        let chain: Vec<_> = (0..100_000)
            .map(|number| names(&[&format!("a:component:c/r{number}")]).remove(0))
            .collect();
        let next = |name: &ResourceName| {
            let number: usize = name.name[1..].parse().expect("a number");
            if number == 0 {
                &[][..]
            } else {
                &chain[number - 1..number]
            }
        };
        let walk = walk(chain.iter().rev(), next);
        assert!(
            walk.circles.is_empty(),
            "a long chain is no circle, and no deep recursion"
        );
        assert!(walk.order.into_iter().eq(&chain), "each comes after what it leads to");
    }
}
