//! Resources, who needs whom, and the circles among them, to be drawn.
//!
//! `of_config` makes such a graph from a config, `of_machine` from what a running machine tells, `drawing` shows it.

mod drawing;
mod of_config;
mod of_machine;

use std::collections::HashMap;

use mainstay_core::graph::walk;
use mainstay_ids::ResourceName;
use serde_json::{Value, json};

pub use self::drawing::{dot, mermaid};
pub use self::of_config::graph as of_config;
pub use self::of_machine::graph as of_machine;

/// Resource in a diagram.
#[derive(Clone, Debug)]
pub struct GraphNode {
    /// Identity.
    pub name: ResourceName,
    /// Full model; empty if unknown.
    pub model: String,
    /// The module that holds it; empty if unknown, as in a file.
    pub module: String,
    /// State as `mainstay status` calls it; `configured` or `broken` for an entry of a file.
    pub state: &'static str,
    /// Reason why it is not as it should be; empty if it is.
    pub error: String,
}

/// Kind of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyKind {
    /// Dependency without which it cannot be built: `depends_on`, or its module asks for it.
    Required,
    /// Dependency that it takes if it is there.
    Optional,
}

/// Dependency in a diagram.
#[derive(Clone, Debug)]
pub struct GraphEdge {
    /// Resource that needs: an index of [`Graph::nodes`].
    pub from: usize,
    /// Target that is needed.
    pub to: EdgeTarget,
    /// Whether it can do without.
    pub kind: DependencyKind,
    /// True if it was built with it. Never in a file.
    pub held: bool,
    /// The circle that it would close, which is why it is let go: names from `from` to `from`. Else empty.
    pub circle: Vec<String>,
}

/// Target of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EdgeTarget {
    /// Index in [`Graph::nodes`].
    Node(usize),
    /// Text that names no single resource, and why it does not.
    Nothing {
        /// Text as it is written.
        text: String,
        /// Reason why the text names nothing, or too much.
        problem: String,
    },
}

/// Graph of the resources and their dependencies.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Nodes in config order.
    pub nodes: Vec<GraphNode>,
    /// Edges by `from`, in the order in which dependencies are declared.
    pub edges: Vec<GraphEdge>,
    /// Circles of required dependencies, each as its members in order.
    pub cycles: Vec<Vec<usize>>,
}

impl Graph {
    /// A graph with its circles.
    pub fn new(nodes: Vec<GraphNode>, edges: Vec<GraphEdge>) -> Self {
        let place: HashMap<&ResourceName, usize> = nodes
            .iter()
            .enumerate()
            .map(|(place, node)| (&node.name, place))
            .collect();
        let mut required: Vec<Vec<ResourceName>> = vec![Vec::new(); nodes.len()];
        for edge in edges.iter().filter(|edge| edge.kind == DependencyKind::Required) {
            if let EdgeTarget::Node(to) = edge.to {
                required[edge.from].push(nodes[to].name.clone());
            }
        }
        let next = |name: &ResourceName| place.get(name).map_or(&[][..], |place| &required[*place]);
        let found = walk(nodes.iter().map(|node| &node.name), next).circles;
        let cycles = found
            .iter()
            .map(|cycle| cycle.iter().filter_map(|name| place.get(name).copied()).collect())
            .collect();
        Self { nodes, edges, cycles }
    }

    /// The dependencies of one node.
    pub fn needs(&self, from: usize) -> impl DoubleEndedIterator<Item = &GraphEdge> {
        let start = self.edges.partition_point(|edge| edge.from < from);
        let end = self.edges.partition_point(|edge| edge.from <= from);
        self.edges[start..end].iter()
    }

    /// `base → left → base`
    pub fn cycle_text(&self, cycle: &[usize]) -> String {
        let members = cycle.iter().chain(cycle.first());
        members
            .map(|member| self.nodes[*member].name.name.as_str())
            .collect::<Vec<_>>()
            .join(" → ")
    }

    /// The keys here are a promise to scripts.
    pub fn json(&self) -> Value {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let resources = self.nodes.iter().map(|node| {
            json!({
                "name": node.name.name,
                "api": node.name.api.to_string(),
                "model": some(&node.model),
                "module": some(&node.module),
                "state": node.state,
                "error": some(&node.error),
            })
        });
        let edges = self.edges.iter().map(|edge| {
            let (to, problem) = match &edge.to {
                EdgeTarget::Node(to) => (self.nodes[*to].name.to_string(), None),
                EdgeTarget::Nothing { text, problem } => (text.clone(), Some(problem)),
            };
            json!({
                "from": self.nodes[edge.from].name.to_string(),
                "to": to,
                "kind": match edge.kind {
                    DependencyKind::Required => "required",
                    DependencyKind::Optional => "optional",
                },
                "held": edge.held,
                "let_go": (!edge.circle.is_empty()).then_some(&edge.circle),
                "problem": problem,
            })
        });
        let names = |cycle: &Vec<usize>| -> Vec<String> {
            cycle
                .iter()
                .map(|member| self.nodes[*member].name.to_string())
                .collect()
        };
        json!({
            "resources": resources.collect::<Vec<_>>(),
            "edges": edges.collect::<Vec<_>>(),
            "cycles": self.cycles.iter().map(names).collect::<Vec<_>>(),
        })
    }
}
