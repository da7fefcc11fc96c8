//! The graph of a running machine: what modules asked for, what was built with what, and the states.

use std::collections::HashMap;

use mainstay_proto::mainstay::control::v1 as pb;
use mainstay_proto::words::resource_state;

use crate::diagram::{DependencyKind, EdgeTarget, Graph, GraphEdge, GraphNode};

/// The graph that a machine told.
pub fn graph(told: pb::Graph) -> Graph {
    let mut nodes: Vec<GraphNode> = Vec::new();
    let mut place: HashMap<String, usize> = HashMap::new();
    for resource in told.resources {
        let state = resource_state(resource.state());
        let Some(Ok(name)) = resource.name.map(mainstay_proto::ResourceName::try_from) else {
            continue;
        };
        // The second of two equal names is shown in the status, and bound to nothing.
        if place.contains_key(&name.to_string()) {
            continue;
        }
        place.insert(name.to_string(), nodes.len());
        nodes.push(GraphNode {
            name,
            model: resource.model,
            module: resource.module,
            state,
            error: resource.error,
        });
    }
    let edge = |edge: pb::GraphEdge| {
        let to = match place.get(&edge.to) {
            Some(to) if edge.problem.is_empty() => EdgeTarget::Node(*to),
            _ => EdgeTarget::Nothing {
                text: edge.to,
                problem: edge.problem,
            },
        };
        Some(GraphEdge {
            from: *place.get(&edge.from)?,
            to,
            kind: if edge.optional {
                DependencyKind::Optional
            } else {
                DependencyKind::Required
            },
            held: edge.held,
            circle: edge.circle,
        })
    };
    let mut edges: Vec<_> = told.edges.into_iter().filter_map(edge).collect();
    edges.sort_by_key(|edge| edge.from);
    Graph::new(nodes, edges)
}

#[cfg(test)]
mod tests {
    use mainstay_proto::viam::common::v1::ResourceName;

    use super::*;

    #[test]
    fn edges_lead_to_what_the_machine_named() {
        let edge = |from: &str, to: &str, optional, problem: &str| pb::GraphEdge {
            from: from.into(),
            to: to.into(),
            optional,
            held: optional,
            problem: problem.into(),
            circle: Vec::new(),
        };
        let resource = |subtype: &str, name: &str| pb::Resource {
            name: Some(ResourceName {
                namespace: "rdk".into(),
                r#type: "component".into(),
                subtype: subtype.into(),
                name: name.into(),
            }),
            state: pb::ResourceState::Ready.into(),
            ..pb::Resource::default()
        };
        let told = pb::Graph {
            resources: vec![resource("base", "b"), resource("motor", "m"), resource("motor", "m")],
            edges: vec![
                edge("rdk:component:motor/m", "rdk:component:base/b", true, ""),
                edge("rdk:component:base/b", "rdk:component:motor/m", false, ""),
                edge("rdk:component:base/b", "ghost", false, "no resource has this name"),
            ],
        };
        let graph = graph(told);
        assert_eq!(graph.nodes.len(), 2);
        let of = |from| {
            graph
                .needs(from)
                .map(|edge| (edge.to.clone(), edge.kind, edge.held))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(1), [(EdgeTarget::Node(0), DependencyKind::Optional, true)]);
        assert_eq!(of(0)[0], (EdgeTarget::Node(1), DependencyKind::Required, false));
        assert!(matches!(&of(0)[1].0, EdgeTarget::Nothing { text, .. } if text == "ghost"));
        assert!(graph.cycles.is_empty(), "what is optional closes no circle");
    }
}
