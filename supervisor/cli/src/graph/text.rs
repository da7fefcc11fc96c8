//! The graph as a tree: who needs others stands at the edge, what it needs below it.

use mainstay_model::text::plain;
use mainstay_wire::diagram::{DependencyKind, EdgeTarget, Graph, GraphEdge};

use crate::table::{Cell, TextTable};
use crate::terminal::{Colour, Style};

/// The tree, and a line for each circle.
pub fn lines(graph: &Graph, style: Style) -> Vec<String> {
    if graph.nodes.is_empty() {
        return vec!["no resources".to_owned()];
    }
    let mut walk = TreeWriter {
        graph,
        table: TextTable::new(["RESOURCE", "API", "STATE"]),
        shown: vec![false; graph.nodes.len()],
    };
    let mut needed = vec![false; graph.nodes.len()];
    for edge in &graph.edges {
        if let EdgeTarget::Node(to) = edge.to {
            needed[to] |= to != edge.from && edge.circle.is_empty();
        }
    }
    // First those that nobody needs, then what is left: circles, and what only they need.
    for root in (0..graph.nodes.len()).filter(|node| !needed[*node]) {
        walk.tree(root);
    }
    for root in 0..graph.nodes.len() {
        if !walk.shown[root] {
            walk.tree(root);
        }
    }
    let mut lines = walk.table.lines(style);
    let circles = graph.cycles.iter().map(|cycle| {
        let text = format!("dependency cycle: {}", graph.cycle_text(cycle));
        style.paint(Colour::Red, &text)
    });
    let circles: Vec<_> = circles.collect();
    if !circles.is_empty() {
        lines.push(String::new());
        lines.extend(circles);
    }
    lines
}

struct TreeWriter<'g> {
    graph: &'g Graph,
    table: TextTable,
    /// Nodes of which the dependencies were listed already.
    shown: Vec<bool>,
}

/// Line that is still to be written.
struct PendingLine<'g> {
    to: EdgeTarget,
    edge: Option<&'g GraphEdge>,
    /// Prefix of the line, and of those below it.
    lead: String,
    below: String,
    /// Depth of the line, which is how much of the path leads to it.
    depth: usize,
}

impl<'g> TreeWriter<'g> {
    /// Writes a node and all below it. A stack of our own: chains may be longer than that of the thread.
    fn tree(&mut self, root: usize) {
        let mut path: Vec<usize> = Vec::new();
        let mut open = vec![PendingLine {
            to: EdgeTarget::Node(root),
            edge: None,
            lead: String::new(),
            below: String::new(),
            depth: 0,
        }];
        while let Some(pending) = open.pop() {
            path.truncate(pending.depth);
            let EdgeTarget::Node(node) = pending.to else {
                self.gap(&pending);
                continue;
            };
            if pending.edge.is_some_and(|edge| !edge.circle.is_empty()) {
                // Let go: what is below it has nothing to do with who would like it.
                self.node(node, &pending, false, false);
                continue;
            }
            let circle = path.contains(&node);
            let seen = self.shown[node] && self.graph.needs(node).next().is_some();
            self.node(node, &pending, circle, seen);
            if circle || seen {
                continue;
            }
            self.shown[node] = true;
            path.push(node);
            let count = self.graph.needs(node).count();
            let children = self.graph.needs(node).enumerate().map(|(at, edge)| {
                let last = at + 1 == count;
                PendingLine {
                    to: edge.to.clone(),
                    edge: Some(edge),
                    lead: format!("{}{}", pending.below, if last { "└─ " } else { "├─ " }),
                    below: format!("{}{}", pending.below, if last { "   " } else { "│  " }),
                    depth: path.len(),
                }
            });
            let children: Vec<_> = children.collect();
            open.extend(children.into_iter().rev());
        }
    }

    fn node(&mut self, node: usize, pending: &PendingLine<'_>, circle: bool, seen: bool) {
        let node = &self.graph.nodes[node];
        let mut notes = Vec::new();
        match node.state {
            "configured" | "broken" if node.error.is_empty() => {}
            state if node.error.is_empty() => notes.push(state.to_owned()),
            state => notes.push(format!("{state}: {}", plain(&node.error.replace('\n', " ")))),
        }
        notes.extend(pending.edge.and_then(note_of));
        if circle {
            notes.push("closes a dependency cycle".to_owned());
        } else if seen {
            notes.push("its dependencies: see above".to_owned());
        }
        let bad = circle || matches!(node.state, "broken" | "unhealthy");
        let api = node.name.api.to_string();
        let api = api.strip_prefix("rdk:").unwrap_or(&api).to_owned();
        let mut cell = Cell::from(notes.join("; "));
        if bad {
            cell = cell.colour(Colour::Red);
        }
        self.table
            .row([format!("{}{}", pending.lead, node.name.name).into(), api.into(), cell]);
    }

    fn gap(&mut self, pending: &PendingLine<'_>) {
        let EdgeTarget::Nothing { text, problem } = &pending.to else {
            return;
        };
        let optional = pending
            .edge
            .and_then(note_of)
            .map(|note| format!("; {note}"))
            .unwrap_or_default();
        let cell = Cell::from(format!("missing: {problem}{optional}")).colour(Colour::Red);
        self.table
            .row([format!("{}{}", pending.lead, plain(text)).into(), "".into(), cell]);
    }
}

fn note_of(edge: &GraphEdge) -> Option<String> {
    match (edge.kind, edge.held) {
        (DependencyKind::Required, _) => None,
        (DependencyKind::Optional, true) => Some("optional, in use".to_owned()),
        (DependencyKind::Optional, false) if !edge.circle.is_empty() => {
            let circle = plain(&edge.circle.join(" → "));
            Some(format!("optional, let go: it would close a circle, {circle}"))
        }
        (DependencyKind::Optional, false) => Some("optional, not in use".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_wire::diagram::of_config;

    use super::*;

    /// The graph of a YAML text with these entries and what each depends on.
    fn of(entries: &[(&str, &[&str])]) -> Graph {
        let entries = entries.iter().map(|(name, needs)| {
            let needs = needs.join(", ");
            format!("- {{name: {name}, api: rdk:component:generic, model: fake, depends_on: [{needs}]}}\n")
        });
        let text = format!("components:\n{}", entries.collect::<String>());
        let bundle = mainstay_config::ConfigFiles::single("/rover.yaml", text);
        let loaded = mainstay_config::parse(&bundle, &mainstay_config::LoadContext::default()).expect("usable");
        of_config(&loaded.config)
    }

    fn check(entries: &[(&str, &[&str])], expected: &str) {
        assert_eq!(lines(&of(entries), Style::PLAIN).join("\n"), expected);
    }

    #[test]
    fn what_needs_others_comes_first_and_each_is_unfolded_once() {
        check(
            &[
                ("left", &[]),
                ("right", &[]),
                ("base", &["left", "right", "ghost"]),
                ("slam", &["lidar", "base"]),
                ("lidar", &[]),
                ("nav", &["base"]),
            ],
            "\
RESOURCE     API                STATE
slam         component:generic
├─ lidar     component:generic
└─ base      component:generic
   ├─ left   component:generic
   ├─ right  component:generic
   └─ ghost                     missing: no resource has this name
nav          component:generic
└─ base      component:generic  its dependencies: see above",
        );
    }

    #[test]
    fn a_circle_is_shown_where_it_closes() {
        check(
            &[("a", &["b"]), ("b", &["c"]), ("c", &["b"])],
            "\
RESOURCE    API                STATE
a           component:generic
└─ b        component:generic
   └─ c     component:generic
      └─ b  component:generic  closes a dependency cycle

dependency cycle: b → c → b",
        );
        check(
            &[("a", &["a"])],
            "\
RESOURCE  API                STATE
a         component:generic
└─ a      component:generic  closes a dependency cycle

dependency cycle: a → a",
        );
    }

    #[test]
    fn what_is_let_go_says_which_circle_it_would_close_and_is_not_followed() {
        let mut graph = of(&[("x", &["y"]), ("y", &["x"])]);
        for edge in &mut graph.edges {
            edge.kind = DependencyKind::Optional;
        }
        graph.edges[0].circle = ["x", "y", "x"].map(str::to_owned).to_vec();
        graph.edges[1].held = true;
        graph.cycles.clear();
        let expected = "\
RESOURCE  API                STATE
y         component:generic
└─ x      component:generic  optional, in use
   └─ y   component:generic  optional, let go: it would close a circle, x → y → x";
        assert_eq!(lines(&graph, Style::PLAIN).join("\n"), expected);
        assert_eq!(graph.json()["edges"][0]["let_go"], serde_json::json!(["x", "y", "x"]));
        assert_eq!(graph.json()["edges"][1]["let_go"], serde_json::Value::Null);
    }

    #[test]
    fn an_empty_machine_says_so() {
        assert_eq!(lines(&Graph::default(), Style::PLAIN), ["no resources"]);
    }
}
