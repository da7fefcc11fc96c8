//! `mainstay graph`: which resource needs which, of a config file or of what runs, as a tree, for Graphviz, for Mermaid, as JSON.
//!
//! The graph itself, and how it is drawn, is `mainstay_wire::diagram`; `text` shows it as a tree.

mod text;

use std::path::PathBuf;

use mainstay_config as config;
use mainstay_proto::mainstay::control::v1::GetGraphRequest;
use mainstay_wire::diagram;
use mainstay_wire::diagram::Graph;

use crate::failure::{CliError, Exit};
use crate::output::print;
use crate::selector::MachineSelector;
use crate::terminal::Style;
use crate::{diagnostics, target};

/// Arguments of `mainstay graph`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay graph                          the running machine
  mainstay graph rover.yaml
  mainstay graph rover.yaml --format dot | dot -Tsvg > rover.svg
  mainstay graph rover.yaml --format mermaid

The graph of a file has the dependencies in `depends_on`; those that modules declare are known once they run.

JSON: {resources: [{name, api, model, module, state, error}], edges: [{from, to, kind, held, let_go, problem}], cycles: [[name]]}; \
names are full names, `namespace:type:subtype/name`, except that `resources` have the simple name and the API apart. `let_go` is the circle that an optional dependency would close.")]
pub struct Arguments {
    /// A config file, JSON or YAML [default: the running machine]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    selector: MachineSelector,
    /// Output format
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    format: GraphFormat,
    /// The same as `--format json`
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum GraphFormat {
    /// A tree: each resource with its dependencies below it
    Text,
    /// Graphviz
    Dot,
    /// Mermaid, as rendered in Markdown pages
    Mermaid,
    /// JSON, for scripts
    Json,
}

/// Runs the verb.
///
/// # Errors
/// A file that is no config (1); without a file, no machine (3), or several and none was named (2).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let format = if arguments.json {
        GraphFormat::Json
    } else {
        arguments.format
    };
    let Some(file) = arguments.file else {
        let mut machine = target::control(&arguments.selector, "graph").await?;
        let told = machine.get_graph(GetGraphRequest {}).await?.into_inner();
        return show(&diagram::of_machine(told), format);
    };
    arguments
        .selector
        .check_unused("the graph of a file asks no machine: leave FILE out for that of a machine")?;
    let loaded = config::load(&file).map_err(|refused| {
        let shown = diagnostics::render(&refused.diagnostics, config::colour_wanted());
        CliError::wrong(format!("this config cannot be used:\n\n{shown}"))
    })?;
    show(&diagram::of_config(&loaded.config), format)
}

fn show(graph: &Graph, format: GraphFormat) -> Result<Exit, CliError> {
    print(&match format {
        GraphFormat::Text => text::lines(graph, Style::stdout()).join("\n"),
        GraphFormat::Dot => diagram::dot(graph),
        GraphFormat::Mermaid => diagram::mermaid(graph),
        GraphFormat::Json => graph.json().to_string(),
    })?;
    Ok(Exit::Done)
}
