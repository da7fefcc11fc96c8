//! Choice of the optional dependencies that are dropped because they would close a circle.
//!
//! A function of the edges alone: in which order they became known does not show. Those that lead to a resource earlier
//! by name are taken up first, then those that lead to a later one, each kind by the names of their ends; what would
//! close a circle, with what is required and what was taken up before, is dropped. So of two that would like each other
//! the later one by name gets the earlier one, and no more is dropped than has to be.

use std::collections::{BTreeSet, HashMap, VecDeque};

use mainstay_ids::ResourceName;
use mainstay_model::plan::DroppedOptional;

/// A dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge<'a> {
    /// Resource that depends.
    pub from: &'a ResourceName,
    /// Resource that it depends on.
    pub to: &'a ResourceName,
    /// `from` can do without.
    pub optional: bool,
}

/// Optional dependencies that are dropped, by the names of their ends. An optional one that is required as well is
/// required. Linear in the edges, but for optional ones that are part of a circle or lead from one to another: for each of
/// those, the edges of these circles are followed.
#[must_use]
pub fn dropped_optional<'a>(edges: impl IntoIterator<Item = Edge<'a>>) -> Vec<DroppedOptional> {
    let edges: BTreeSet<Edge<'_>> = edges.into_iter().collect();
    if !edges.iter().any(|edge| edge.optional) {
        return Vec::new();
    }
    let names: BTreeSet<_> = edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
    let names: Vec<_> = names.into_iter().collect();
    let places: HashMap<_, _> = names.iter().enumerate().map(|(place, name)| (*name, place)).collect();
    let mut all = vec![Vec::new(); names.len()];
    for edge in &edges {
        all[places[edge.from]].push(places[edge.to]);
    }
    let near = between_circles(&all);
    let (mut kept, mut optional) = (vec![Vec::new(); names.len()], Vec::new());
    // What is required comes before what is optional.
    for edge in &edges {
        let (from, to) = (places[edge.from], places[edge.to]);
        if !near[from] || !near[to] {
            continue;
        }
        if !edge.optional {
            kept[from].push(to);
        } else if !kept[from].contains(&to) {
            optional.push((from < to, from, to));
        }
    }
    optional.sort_unstable();
    let mut found = Vec::new();
    for (_, from, to) in optional {
        match way(&kept, to, from) {
            None => kept[from].push(to),
            Some(way) => {
                let circle = [from].into_iter().chain(way);
                found.push(DroppedOptional {
                    by: names[from].clone(),
                    what: names[to].clone(),
                    circle: circle.map(|place| names[place].clone()).collect(),
                });
            }
        }
    }
    found.sort_by(|one, other| (&one.by, &one.what).cmp(&(&other.by, &other.what)));
    found
}

/// The shortest way from one place to another, both included.
fn way(edges: &[Vec<usize>], from: usize, to: usize) -> Option<Vec<usize>> {
    let mut before = HashMap::from([(from, from)]);
    let mut open = VecDeque::from([from]);
    while let Some(place) = open.pop_front() {
        if place == to {
            let mut way = vec![to];
            while let Some(last) = way.last().filter(|last| **last != from) {
                way.push(before[last]);
            }
            way.reverse();
            return Some(way);
        }
        for next in &edges[place] {
            if let std::collections::hash_map::Entry::Vacant(vacant) = before.entry(*next) {
                vacant.insert(place);
                open.push_back(*next);
            }
        }
    }
    None
}

/// True for each place on a circle, or on a way from one circle to another: what is left when places that lead nowhere,
/// or that nothing leads to, are taken away one after the other.
fn between_circles(edges: &[Vec<usize>]) -> Vec<bool> {
    let mut reversed = vec![Vec::new(); edges.len()];
    for (from, nexts) in edges.iter().enumerate() {
        nexts.iter().for_each(|to| reversed[*to].push(from));
    }
    let mut left = vec![true; edges.len()];
    for (nexts, befores) in [(edges, &reversed[..]), (&reversed[..], edges)] {
        let ways = |nexts: &Vec<usize>| nexts.iter().filter(|next| left[**next]).count();
        let mut ways: Vec<_> = nexts.iter().map(ways).collect();
        let mut ends: Vec<_> = (0..edges.len())
            .filter(|place| left[*place] && ways[*place] == 0)
            .collect();
        while let Some(end) = ends.pop() {
            left[end] = false;
            for before in &befores[end] {
                ways[*before] -= 1;
                if left[*before] && ways[*before] == 0 {
                    ends.push(*before);
                }
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::graph::walk;

    fn name(number: usize) -> ResourceName {
        format!("a:component:c/r{number:04}").parse().expect("a name")
    }

    /// From `a b` (a needs b) and `a ?b` (a would like b).
    fn check(lines: &[&str], expected: &[&str]) {
        let named = |text: &str| format!("a:component:c/{text}").parse::<ResourceName>().expect("a name");
        let edges: Vec<_> = lines
            .iter()
            .map(|line| {
                let (from, to) = line.split_once(' ').expect("two names");
                (named(from), named(to.trim_start_matches('?')), to.starts_with('?'))
            })
            .collect();
        let ways = |edges: &[(ResourceName, ResourceName, bool)]| -> Vec<String> {
            let edges = edges.iter().map(|(from, to, optional)| Edge {
                from,
                to,
                optional: *optional,
            });
            dropped_optional(edges).iter().map(DroppedOptional::way).collect()
        };
        assert_eq!(ways(&edges), expected, "{lines:?}");
        let turned: Vec<_> = edges.into_iter().rev().collect();
        assert_eq!(ways(&turned), expected, "{lines:?}, in another order");
    }

    #[test]
    fn what_is_optional_gives_way_in_a_circle_and_nowhere_else() {
        check(&["a ?b", "b ?c", "a ?c"], &[]);
        check(&["a b", "b a"], &[]);
        check(&["a ?b", "b a"], &["a → b → a"]);
        check(&["b ?a", "a b"], &["b → a → b"]);
        check(&["a ?a"], &["a → a"]);
        check(&["a b", "a ?b"], &[]);
    }

    #[test]
    fn of_two_that_would_like_each_other_the_later_gets_the_earlier() {
        check(&["x ?y", "y ?x"], &["x → y → x"]);
        check(&["a ?b", "b ?c", "c ?a"], &["b → c → a → b"]);
        // What closes no circle once another one is let go is kept.
        check(&["a ?b", "b ?a", "a ?c", "c b"], &["a → b → a", "a → c → b → a"]);
        check(&["b ?a", "a c", "c ?b"], &["c → b → a → c"]);
    }

    /// A thousand that would like a few others each, as far around as can be.
    #[test]
    fn large_circles_are_decided_quickly() {
        let names: Vec<_> = (0..1000).map(name).collect();
        let pairs: Vec<_> = (0..3000)
            .map(|number| (number % 1000, (number * 7 + number / 1000 * 331 + 1) % 1000))
            .collect();
        let edges = pairs.iter().map(|(from, to)| Edge {
            from: &names[*from],
            to: &names[*to],
            optional: true,
        });
        let begun = Instant::now();
        let found = dropped_optional(edges);
        assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
        assert!(!found.is_empty() && found.len() < 2000, "{}", found.len());
    }

    proptest! {
        /// No circle is left but those of required ones, each that is let go would close the circle that is told, and
        /// the order in which edges are given does not matter.
        #[test]
        fn no_circle_is_left_and_nothing_is_let_go_in_vain(
            pairs in prop::collection::btree_map((0usize..9, 0usize..9), any::<bool>(), 0..30),
            turn in any::<prop::sample::Index>(),
        ) {
            let names: Vec<_> = (0..9).map(name).collect();
            let mut edges: Vec<_> = pairs.iter().map(|((from, to), optional)| Edge {
                from: &names[*from],
                to: &names[*to],
                optional: *optional,
            }).collect();
            let found = dropped_optional(edges.clone());
            let gone = |edge: &Edge<'_>| found.iter().any(|gone| gone.by == *edge.from && gone.what == *edge.to);
            let next = |taken: &dyn Fn(&Edge<'_>) -> bool| -> HashMap<ResourceName, Vec<ResourceName>> {
                let mut next: HashMap<_, Vec<_>> = HashMap::new();
                for edge in edges.iter().filter(|edge| taken(edge)) {
                    next.entry(edge.from.clone()).or_default().push(edge.to.clone());
                }
                next
            };
            let circles = |edges: &HashMap<ResourceName, Vec<ResourceName>>| {
                let follow = |name: &ResourceName| edges.get(name).map_or(&[][..], Vec::as_slice);
                walk(&names, follow).circles.len()
            };
            let required = next(&|edge| !edge.optional);
            if circles(&required) == 0 {
                prop_assert_eq!(circles(&next(&|edge| !gone(edge))), 0, "{:?}", &found);
            }
            for gone_one in &found {
                let way = &gone_one.circle;
                prop_assert_eq!((&way[0], &way[1], &way[way.len() - 1]), (&gone_one.by, &gone_one.what, &gone_one.by));
                for (place, step) in way.windows(2).enumerate() {
                    let edge = edges.iter().find(|edge| *edge.from == step[0] && *edge.to == step[1]).expect("an edge");
                    prop_assert!(place == 0 || !gone(edge), "{:?}", gone_one);
                }
            }
            if !edges.is_empty() {
                let turn = turn.index(edges.len());
                edges.rotate_left(turn);
                prop_assert_eq!(dropped_optional(edges.clone()), found);
            }
        }
    }
}
