//! `mainstay plan FILE`: what would start, stop, be rebuilt and stay if this config were applied now, and why.

use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_core::machine::change;
use mainstay_core::machine::change::Known;
use mainstay_model::Config;
use mainstay_proto::mainstay::control::v1::{ConfigDiagnostic, ConfigPlan, PlanConfigRequest};
use mainstay_wire::control;
use serde_json::json;

use crate::config_text::machine_for;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::terminal::Style;
use crate::{diagnostics, plan_text};

/// Arguments of `mainstay plan`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay plan rover.yaml
  mainstay plan rover.yaml --machine /etc/mainstay/rover.yaml

Signs: + added, - removed, ~ changed, = unchanged, └ consequence of the change above it. `known after start` marks what is \
decided by a module that does not run yet. Without a running machine, the plan is that of a start.

JSON: {file, running, usable, changes: [{part, name, how, because, known_after_start, \
through: {part, name}}], stays: {resources, modules}, \
complaints}; complaints as in `mainstay check`. `running` is false without a running machine.")]
pub struct Arguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Dry run of a config.
#[derive(Debug)]
pub struct PlanResult {
    /// `None`: the config cannot be used.
    pub plan: Option<ConfigPlan>,
    pub diagnostics: Vec<ConfigDiagnostic>,
    /// True if a machine runs that it would happen to.
    pub running: bool,
}

/// Runs the verb.
///
/// # Errors
/// A config that cannot be used (1), several machines and none was named (2).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let named = arguments.selector.is_named();
    let planned = match machine_for(&arguments.selector, &arguments.file, "plan").await {
        Ok(mut machine) => {
            let sent = machine.gather(&arguments.file)?;
            let request = PlanConfigRequest {
                config: Some(sent.config.clone()),
            };
            let answer = machine.control.plan_config(request).await?.into_inner();
            PlanResult {
                plan: answer.plan,
                diagnostics: sent.told(answer.diagnostics),
                running: true,
            }
        }
        // A machine that was named is expected to be there.
        Err(failure) if failure.exit == Exit::NoMachine && !named => from_nothing(&arguments.file),
        Err(failure) => return Err(failure),
    };
    print_result(&arguments.file, &planned, arguments.json)
}

/// The plan of a start.
fn from_nothing(file: &Path) -> PlanResult {
    let (plan, diagnostics) = match config::load(file) {
        Ok(loaded) => {
            let plan = change::plan(&Config::empty(file), &loaded.config, &Known::default());
            (Some(control::plan(&plan)), loaded.diagnostics)
        }
        Err(refused) => (None, refused.diagnostics),
    };
    PlanResult {
        plan,
        diagnostics: diagnostics.iter().map(control::diagnostic).collect(),
        running: false,
    }
}

fn print_result(file: &Path, planned: &PlanResult, as_json: bool) -> Result<Exit, CliError> {
    if as_json {
        print(&json_text(file, planned))?;
    } else {
        if !planned.diagnostics.is_empty() {
            note(&diagnostics::sent_text(&planned.diagnostics));
        }
        if !planned.running {
            note("no machine runs here: this is the plan of a start");
        }
        if let Some(plan) = &planned.plan {
            print(&plan_text::lines(plan, Style::stdout()).join("\n"))?;
        } else {
            note("this config cannot be used; nothing would change");
        }
    }
    Ok(match planned.plan {
        Some(_) => Exit::Done,
        None => Exit::Wrong,
    })
}

fn json_text(file: &Path, planned: &PlanResult) -> String {
    let mut shown = json!({
        "file": file.display().to_string(),
        "running": planned.running,
        "usable": planned.plan.is_some(),
    });
    let plan = plan_text::json(&planned.plan.clone().unwrap_or_default());
    shown["changes"] = plan["changes"].clone();
    shown["stays"] = plan["stays"].clone();
    shown["complaints"] = planned.diagnostics.iter().map(diagnostics::sent_json).collect();
    shown.to_string()
}
