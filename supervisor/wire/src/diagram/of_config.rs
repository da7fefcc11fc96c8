//! The graph that a config file tells of: its `depends_on`.

use std::collections::HashMap;

use mainstay_core::graph::{Index, Unresolved};
use mainstay_model::Config;

use super::{DependencyKind, EdgeTarget, Graph, GraphEdge, GraphNode};

/// Graph of the dependencies, as far as the file says.
pub fn graph(config: &Config) -> Graph {
    let index = Index::new(config.resources.iter().map(|resource| &resource.name));
    let place: HashMap<_, _> = config
        .resources
        .iter()
        .enumerate()
        .map(|(place, resource)| (&resource.name, place))
        .collect();
    let nodes = config.resources.iter().map(|resource| GraphNode {
        name: resource.name.clone(),
        model: resource.model.to_string(),
        module: String::new(),
        state: if resource.fault.is_some() {
            "broken"
        } else {
            "configured"
        },
        error: resource.fault.clone().unwrap_or_default(),
    });
    let mut edges = Vec::new();
    for (from, resource) in config.resources.iter().enumerate() {
        for text in &resource.depends_on {
            let to = match index.resolve(text) {
                Ok(name) => EdgeTarget::Node(place[&name]),
                Err(problem) => nothing(text, &problem),
            };
            edges.push(GraphEdge {
                from,
                to,
                kind: DependencyKind::Required,
                held: false,
                circle: Vec::new(),
            });
        }
    }
    Graph::new(nodes.collect(), edges)
}

/// Target of a text that names no single resource.
fn nothing(text: &str, problem: &Unresolved) -> EdgeTarget {
    let problem = match problem {
        Unresolved::Missing | Unresolved::Removed(_) => "no resource has this name".to_owned(),
        Unresolved::Ambiguous(several) => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!("could mean {}: give the full name", several.join(" or "))
        }
    };
    EdgeTarget::Nothing {
        text: text.to_owned(),
        problem,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use mainstay_config as config;

    /// The graph of a YAML text with the usual entries: `name: [dependency, …]` per line.
    pub fn of(entries: &[(&str, &[&str])]) -> Graph {
        let mut text = String::from("components:\n");
        for (name, needs) in entries {
            text += &format!(
                "- {{name: {name}, api: rdk:component:generic, model: fake, depends_on: [{}]}}\n",
                needs.join(", ")
            );
        }
        let bundle = config::ConfigFiles::single("/rover.yaml", text);
        let loaded = config::parse(&bundle, &config::LoadContext::default()).expect("usable");
        graph(&loaded.config)
    }

    #[test]
    fn dependencies_lead_to_what_they_name_or_say_why_not() {
        let graph = of(&[("base", &["left", "ghost"]), ("left", &[])]);
        let to: Vec<_> = graph.needs(0).map(|edge| &edge.to).collect();
        assert_eq!(to[0], &EdgeTarget::Node(1));
        assert!(
            matches!(to[1], EdgeTarget::Nothing { text, problem } if text == "ghost" && problem.contains("no resource"))
        );
        assert_eq!(graph.needs(1).count(), 0);
        let json = graph.json();
        assert_eq!(json["edges"][0]["to"], "rdk:component:generic/left");
        assert_eq!(json["edges"][1]["to"], "ghost");
        assert!(json["edges"][1]["problem"].is_string());
    }

    #[test]
    fn circles_are_found() {
        let graph = of(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
        let cycles: Vec<_> = graph.cycles.iter().map(|cycle| graph.cycle_text(cycle)).collect();
        assert_eq!(cycles, ["b → c → b"]);
    }
}
