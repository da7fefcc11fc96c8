//! Names to resources: how a dependency text finds the resource that it means. And the order and circles among them.

pub mod circles;

use std::collections::HashMap;

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

/// The simple names whose holders decide what `text` means.
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
#[derive(Debug, Default)]
pub struct Index {
    by_simple: HashMap<String, Vec<ResourceName>>,
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

    /// Forgets a name.
    pub fn remove(&mut self, name: &ResourceName) {
        let Some(same) = self.by_simple.get_mut(&name.name) else {
            return;
        };
        same.retain(|known| known != name);
        if same.is_empty() {
            self.by_simple.remove(&name.name);
        }
    }

    /// The resource that `text` means.
    pub fn resolve(&self, text: &str) -> Result<ResourceName, Unresolved> {
        if let Ok(full) = text.parse::<ResourceName>() {
            // A name with a remote in front (`remote:arm`) is that of the resource behind it.
            let simple = full.name.rsplit(':').next().unwrap_or(&full.name).to_string();
            let known = self
                .by_simple
                .get(&full.name)
                .or_else(|| self.by_simple.get(simple.as_str()));
            return known
                .and_then(|same| same.iter().find(|name| name.api == full.api))
                .cloned()
                .ok_or(Unresolved::Missing);
        }
        match self.by_simple.get(text).map(Vec::as_slice) {
            None | Some([]) => Err(Unresolved::Missing),
            Some([only]) => Ok(only.clone()),
            Some(several) => {
                // By name: in which order they came must not show.
                let mut several = several.to_vec();
                several.sort();
                Err(Unresolved::Ambiguous(several))
            }
        }
    }
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
