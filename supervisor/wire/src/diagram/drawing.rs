//! The graph in the languages of two programs that draw: Graphviz and Mermaid. Arrows lead to what is needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{DependencyKind, EdgeTarget, Graph, GraphEdge, GraphNode};

/// Fill colour of a node, by state.
fn fill(node: &GraphNode) -> Option<&'static str> {
    match node.state {
        "unhealthy" | "broken" => Some("#f8d0d0"),
        "pending" | "configuring" | "removing" => Some("#f8ecc0"),
        _ => None,
    }
}

fn lines_of(node: &GraphNode) -> [String; 2] {
    let api = node.name.api.to_string();
    let api = api.strip_prefix("rdk:").unwrap_or(&api);
    let state = match node.state {
        "configured" | "ready" => String::new(),
        state => format!(", {state}"),
    };
    [node.name.name.clone(), format!("{api}{state}")]
}

/// Nodes by module, those without one last.
fn by_module(graph: &Graph) -> Vec<(&str, Vec<usize>)> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, node) in graph.nodes.iter().enumerate() {
        groups.entry(&node.module).or_default().push(place);
    }
    let loose = groups.remove("");
    groups.into_iter().chain(loose.map(|loose| ("", loose))).collect()
}

/// True for an edge that closes one of the circles.
fn in_circle(graph: &Graph, edge: &GraphEdge) -> bool {
    let EdgeTarget::Node(to) = edge.to else { return false };
    graph.cycles.iter().any(|cycle| {
        let next = cycle.iter().skip(1).chain(cycle.first());
        cycle
            .iter()
            .zip(next)
            .any(|(from, next)| (*from, *next) == (edge.from, to))
    })
}

/// Drawing for Graphviz.
pub fn dot(graph: &Graph) -> String {
    let mut out = String::from(
        "digraph machine {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white];\n",
    );
    for (at, (module, nodes)) in by_module(graph).into_iter().enumerate() {
        let indent = if module.is_empty() { "  " } else { "    " };
        if !module.is_empty() {
            let _ = writeln!(out, "  subgraph cluster_{at} {{\n    label={};", quoted(&[module]));
        }
        for node in nodes {
            let fill = fill(&graph.nodes[node])
                .map(|fill| format!(", fillcolor=\"{fill}\""))
                .unwrap_or_default();
            let [name, what] = lines_of(&graph.nodes[node]);
            let _ = writeln!(out, "{indent}n{node} [label={}{fill}];", quoted(&[&name, &what]));
        }
        if !module.is_empty() {
            out.push_str("  }\n");
        }
    }
    for (at, edge) in graph.edges.iter().enumerate() {
        let mut looks = Vec::new();
        if edge.kind == DependencyKind::Optional {
            looks.push(if edge.held { "style=dashed" } else { "style=dotted" });
        }
        let to = match &edge.to {
            EdgeTarget::Node(to) => format!("n{to}"),
            EdgeTarget::Nothing { text, .. } => {
                let _ = writeln!(
                    out,
                    "  m{at} [label={}, color=red, fontcolor=red];",
                    quoted(&[text, "missing"])
                );
                format!("m{at}")
            }
        };
        if in_circle(graph, edge) || matches!(edge.to, EdgeTarget::Nothing { .. }) {
            looks.push("color=red");
        }
        let looks = if looks.is_empty() {
            String::new()
        } else {
            format!(" [{}]", looks.join(", "))
        };
        let _ = writeln!(out, "  n{} -> {to}{looks};", edge.from);
    }
    out.push('}');
    out
}

fn quoted(lines: &[&str]) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            line.replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace(char::is_control, "\u{fffd}")
        })
        .collect();
    format!("\"{}\"", lines.join("\\n"))
}

/// Drawing for Mermaid.
pub fn mermaid(graph: &Graph) -> String {
    let mut out = String::from("graph LR\n");
    for (at, (module, nodes)) in by_module(graph).into_iter().enumerate() {
        let indent = if module.is_empty() { "  " } else { "    " };
        if !module.is_empty() {
            let _ = writeln!(out, "  subgraph g{at} [{}]", escaped(&[module]));
        }
        for node in nodes {
            let [name, what] = lines_of(&graph.nodes[node]);
            let _ = writeln!(out, "{indent}n{node}[{}]", escaped(&[&name, &what]));
        }
        if !module.is_empty() {
            out.push_str("  end\n");
        }
    }
    let mut red = Vec::new();
    for (at, edge) in graph.edges.iter().enumerate() {
        let to = match &edge.to {
            EdgeTarget::Node(to) => format!("n{to}"),
            EdgeTarget::Nothing { text, .. } => format!("m{at}[{}]", escaped(&[text, "missing"])),
        };
        let arrow = match (edge.kind, edge.held) {
            (DependencyKind::Required, _) => "-->",
            (DependencyKind::Optional, true) => "-. optional .->",
            (DependencyKind::Optional, false) if !edge.circle.is_empty() => "-. let go .->",
            (DependencyKind::Optional, false) => "-. not in use .->",
        };
        let _ = writeln!(out, "  n{} {arrow} {to}", edge.from);
        if in_circle(graph, edge) || matches!(edge.to, EdgeTarget::Nothing { .. }) {
            red.push(at.to_string());
        }
    }
    for (place, node) in graph.nodes.iter().enumerate() {
        if let Some(fill) = fill(node) {
            let _ = writeln!(out, "  style n{place} fill:{fill}");
        }
    }
    if !red.is_empty() {
        let _ = writeln!(out, "  linkStyle {} stroke:red", red.join(","));
    }
    out.trim_end().to_owned()
}

/// Text in quotes; what Mermaid would take for its own is written as an entity.
fn escaped(lines: &[&str]) -> String {
    let escape = |line: &&str| -> String {
        let part = |c: char| match c {
            '"' | '#' | '<' | '>' | '&' | ';' | '`' => format!("#{};", u32::from(c)),
            c if c.is_control() => "\u{fffd}".to_owned(),
            c => c.to_string(),
        };
        line.chars().map(part).collect()
    };
    format!("\"{}\"", lines.iter().map(escape).collect::<Vec<_>>().join("<br/>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagram::of_config::tests::of;

    fn sample() -> Graph {
        let mut graph = of(&[("base", &["left", "gh\\\"ost"]), ("left", &["base"]), ("cam", &[])]);
        graph.nodes[1].module = "wheels".to_owned();
        graph.nodes[1].state = "unhealthy";
        graph.edges.push(GraphEdge {
            from: 2,
            to: EdgeTarget::Node(1),
            kind: DependencyKind::Optional,
            held: true,
            circle: Vec::new(),
        });
        graph
    }

    #[test]
    fn graphviz_gets_modules_as_boxes_and_circles_in_red() {
        let expected = "\
digraph machine {
  rankdir=LR;
  node [shape=box, style=\"rounded,filled\", fillcolor=white];
  subgraph cluster_0 {
    label=\"wheels\";
    n1 [label=\"left\\ncomponent:generic, unhealthy\", fillcolor=\"#f8d0d0\"];
  }
  n0 [label=\"base\\ncomponent:generic\"];
  n2 [label=\"cam\\ncomponent:generic\"];
  n0 -> n1 [color=red];
  m1 [label=\"gh\\\\\\\"ost\\nmissing\", color=red, fontcolor=red];
  n0 -> m1 [color=red];
  n1 -> n0 [color=red];
  n2 -> n1 [style=dashed];
}";
        assert_eq!(dot(&sample()), expected);
    }

    #[test]
    fn mermaid_gets_the_same() {
        let expected = "\
graph LR
  subgraph g0 [\"wheels\"]
    n1[\"left<br/>component:generic, unhealthy\"]
  end
  n0[\"base<br/>component:generic\"]
  n2[\"cam<br/>component:generic\"]
  n0 --> n1
  n0 --> m1[\"gh\\#34;ost<br/>missing\"]
  n1 --> n0
  n2 -. optional .-> n1
  style n1 fill:#f8d0d0
  linkStyle 0,1,2 stroke:red";
        assert_eq!(mermaid(&sample()), expected);
    }
}
