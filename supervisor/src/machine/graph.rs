//! Names to resources: how a dependency text finds the resource that it means.

use std::collections::HashMap;

use mainstay_proto::ResourceName;

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

/// Why a dependency text names no single resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// Nothing has that name.
    Missing,
    /// Several resources have that simple name; the text must give the full one.
    Ambiguous(Vec<ResourceName>),
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
            let same = index.by_simple.entry(name.name.clone()).or_default();
            if !same.contains(name) {
                same.push(name.clone());
            }
        }
        index
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
            Some(several) => Err(Unresolved::Ambiguous(several.to_vec())),
        }
    }
}

/// The path `a → b → a` if following `next` from `start` comes back to it.
pub fn cycle<'a>(
    start: &ResourceName,
    next: impl Fn(&ResourceName) -> &'a [ResourceName],
) -> Option<Vec<ResourceName>> {
    let mut seen = std::collections::HashSet::new();
    // Each entry is a name and how much of its list was followed; an explicit stack keeps long chains off the real one.
    let mut path = vec![(start.clone(), 0)];
    while let Some((name, followed)) = path.last_mut() {
        let Some(dependency) = next(name).get(*followed) else {
            path.pop();
            continue;
        };
        *followed += 1;
        if dependency == start {
            let mut names: Vec<_> = path.into_iter().map(|(name, _)| name).collect();
            names.push(start.clone());
            return Some(names);
        }
        if seen.insert(dependency.clone()) {
            let dependency = dependency.clone();
            path.push((dependency, 0));
        }
    }
    None
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
        assert_eq!(index.resolve("left"), Err(Unresolved::Ambiguous(all[..2].to_vec())));
        assert_eq!(index.resolve("b"), Err(Unresolved::Missing));
        assert_eq!(index.resolve("rdk:component:gantry/a"), Err(Unresolved::Missing));
        assert_eq!(index.resolve(""), Err(Unresolved::Missing));
    }

    #[test]
    fn a_cycle_is_told_with_its_path() {
        let all = names(&["a:component:c/x", "a:component:c/y", "a:component:c/z"]);
        let edges: HashMap<_, _> = [
            (all[0].clone(), vec![all[1].clone(), all[2].clone()]),
            (all[1].clone(), vec![all[2].clone()]),
            (all[2].clone(), vec![all[1].clone()]),
        ]
        .into();
        let next = |name: &ResourceName| edges.get(name).map_or(&[][..], Vec::as_slice);
        assert_eq!(cycle(&all[0], next), None, "x leads into a cycle but is not in it");
        assert_eq!(
            cycle(&all[1], next),
            Some(vec![all[1].clone(), all[2].clone(), all[1].clone()])
        );
    }
}
