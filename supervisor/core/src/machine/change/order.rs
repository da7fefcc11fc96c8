//! An order in which everything comes after what it needs.

use std::collections::{HashMap, HashSet};

use mainstay_ids::ResourceName;

/// `all`, each after those of them that `needs` gives for it. Who is part of a circle comes somewhere.
pub(super) fn dependencies_first<'a>(
    all: impl IntoIterator<Item = &'a ResourceName>,
    needs: &HashMap<&'a ResourceName, Vec<&'a ResourceName>>,
) -> Vec<&'a ResourceName> {
    let all: Vec<_> = all.into_iter().collect();
    let wanted: HashSet<_> = all.iter().copied().collect();
    let (mut seen, mut order) = (HashSet::new(), Vec::with_capacity(all.len()));
    for start in all {
        if !seen.insert(start) {
            continue;
        }
        // A name and how many of its needs were followed; an explicit stack keeps long chains off the real one.
        let mut path = vec![(start, 0)];
        while let Some((name, followed)) = path.last_mut() {
            let needed = needs.get(*name).and_then(|needed| needed.get(*followed));
            *followed += 1;
            match needed {
                Some(needed) if wanted.contains(needed) && seen.insert(*needed) => path.push((*needed, 0)),
                Some(_) => {}
                None => {
                    order.push(*name);
                    path.pop();
                }
            }
        }
    }
    order
}
