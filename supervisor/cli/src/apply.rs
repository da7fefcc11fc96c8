//! `mainstay apply FILE`: the plan, a question, and then each step until the change counts or went back.

use std::collections::HashMap;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_model::text::plain;
use mainstay_proto::mainstay::control::v1::apply_config_progress::Step;
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::{
    ApplyConfigProgress, ApplyConfigRequest, ApplyConfigState, ConfigPlan, GetStatusRequest, ModuleState,
    PlanConfigRequest, PlannedChange, ResourceState, Status,
};
use mainstay_proto::words::resource_state;
use serde_json::{Value, json};

use crate::call::resolve;
use crate::config_text::machine_for;
use crate::connection::MachineConnection;
use crate::failure::{CliError, Exit};
use crate::output::{filled, note, print};
use crate::plan_text::PlannedNames;
use crate::selector::MachineSelector;
use crate::status_json::module_state;
use crate::table::{Cell, TextTable};
use crate::terminal::{Colour, Style};
use crate::times::length;
use crate::{diagnostics, human, plan_text};

/// Arguments of `mainstay apply`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay apply rover.yaml
  mainstay apply rover.yaml --revert-after 10s    reverted by the machine unless all is well after 10 s
  mainstay apply trial.yaml --machine rover.yaml --yes

A machine applies changes of its own config file by itself; this verb applies them now, and shows the result. The config of \
another file replaces the running one until the machine's own file changes.

Exit code 1: the config was refused or reverted, another change superseded it, or something that it changed did not \
become ready.

JSON, one object per line: {step: \"plan\", changes, stays, complaints}, then {step, reasons, length_ms} for each of \
`waiting`, `applying`, `watching`, `reverting`, and last one of `committed`, `refused`, `reverted`, `degraded` and \
`superseded`, with parts: [{part, name, how, state, error}].")]
pub struct Arguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Watch the change for this time, for example 10s, and revert it if something does not work then
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration)]
    revert_after: Option<Duration>,
    /// Apply without asking for confirmation
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3); several, and none was named (2); a machine that breaks off (3).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let machine = machine_for(&arguments.selector, &arguments.file, "apply").await?;
    let sent = machine.gather(&arguments.file)?;
    let mut machine = machine.control;
    let request = PlanConfigRequest {
        config: Some(sent.config.clone()),
    };
    let mut planned = machine.plan_config(request).await?.into_inner();
    planned.diagnostics = sent.told(planned.diagnostics);
    let mut output = ApplyOutput {
        json: arguments.json,
        style: Style::stdout(),
        plan: ConfigPlan::default(),
    };
    if !planned.diagnostics.is_empty() && !arguments.json {
        note(&diagnostics::sent_text(&planned.diagnostics));
    }
    let complaints: Value = planned.diagnostics.iter().map(diagnostics::sent_json).collect();
    let Some(plan) = planned.plan else {
        if arguments.json {
            let refused =
                json!({ "step": "refused", "reasons": [], "length_ms": null, "parts": [], "complaints": complaints });
            print(&refused.to_string())?;
        } else {
            note("this config cannot be used; nothing was changed");
        }
        return Ok(Exit::Wrong);
    };
    output.plan(plan, complaints)?;
    let asked = !arguments.yes && !arguments.json && io::stdin().is_terminal() && io::stderr().is_terminal();
    if asked && !output.plan.changes.is_empty() && !confirmed(&arguments.file)? {
        note("nothing was changed");
        return Ok(Exit::Wrong);
    }
    let request = ApplyConfigRequest {
        config: Some(sent.config),
        revert_after: arguments.revert_after.and_then(|after| after.try_into().ok()),
    };
    let mut steps = machine.apply_config(request).await?.into_inner();
    while let Some(progress) = steps.message().await? {
        if let Some(exit) = output.step(progress, &mut machine).await? {
            return Ok(exit);
        }
    }
    Err(CliError::no_machine(
        "the machine has stopped before the change was over",
    ))
}

/// Asks on the terminal. Anything but a yes is a no.
fn confirmed(file: &Path) -> Result<bool, CliError> {
    let mut stderr = io::stderr();
    let _ = write!(stderr, "apply {}? [y/N] ", file.display());
    let _ = stderr.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| CliError::wrong(format!("no answer can be read: {error}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Lines printed so far.
struct ApplyOutput {
    json: bool,
    style: Style,
    plan: ConfigPlan,
}

impl ApplyOutput {
    fn plan(&mut self, plan: ConfigPlan, complaints: Value) -> Result<(), CliError> {
        self.plan = plan;
        if self.json {
            let mut shown = plan_text::json(&self.plan);
            shown["step"] = "plan".into();
            shown["complaints"] = complaints;
            print(&shown.to_string())
        } else {
            print(&plan_text::lines(&self.plan, self.style).join("\n"))
        }
    }

    /// Prints one step. An exit code if it was the last.
    async fn step(
        &mut self,
        progress: ApplyConfigProgress,
        machine: &mut ControlServiceClient<MachineConnection>,
    ) -> Result<Option<Exit>, CliError> {
        let length = length(progress.length.as_ref());
        let state = match progress.step {
            None => return Ok(None),
            Some(Step::Plan(plan)) => {
                // Made again when it was applied; told only if it is another one by now.
                if plan != self.plan {
                    self.plan(plan, json!([]))?;
                }
                return Ok(None);
            }
            Some(Step::State(state)) => ApplyConfigState::try_from(state).unwrap_or_default(),
        };
        let parts = if matches!(state, ApplyConfigState::Watching) || is_last(state) {
            let status = machine.get_status(GetStatusRequest {}).await?.into_inner();
            outcomes(&self.plan, &status)
        } else {
            Vec::new()
        };
        let failed = parts.iter().filter(|part| part.bad).count();
        if self.json {
            let shown: Vec<_> = parts.iter().map(PartOutcome::json).collect();
            let length_ms = length.map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
            let mut line = json!({ "step": word(state), "reasons": progress.reasons, "length_ms": length_ms });
            if !parts.is_empty() || is_last(state) {
                line["parts"] = shown.into();
            }
            print(&line.to_string())?;
        } else {
            let mut lines = Vec::new();
            // Of a watch that ends well, what came up was told when it began.
            if !parts.is_empty() && !matches!(state, ApplyConfigState::Refused | ApplyConfigState::Superseded) {
                lines.extend(outcome_lines(&self.plan, &parts, self.style));
            }
            lines.extend(sentence(state, &progress.reasons, length, failed));
            print(&lines.join("\n"))?;
        }
        Ok(is_last(state).then_some(match (state, failed) {
            (ApplyConfigState::Committed, 0) => Exit::Done,
            _ => Exit::Wrong,
        }))
    }
}

fn is_last(state: ApplyConfigState) -> bool {
    matches!(
        state,
        ApplyConfigState::Committed
            | ApplyConfigState::Refused
            | ApplyConfigState::Reverted
            | ApplyConfigState::Degraded
            | ApplyConfigState::Superseded
    )
}

fn word(state: ApplyConfigState) -> &'static str {
    match state {
        ApplyConfigState::Unspecified => "unknown",
        ApplyConfigState::Waiting => "waiting",
        ApplyConfigState::Applying => "applying",
        ApplyConfigState::Watching => "watching",
        ApplyConfigState::Committed => "committed",
        ApplyConfigState::Refused => "refused",
        ApplyConfigState::Reverting => "reverting",
        ApplyConfigState::Reverted => "reverted",
        ApplyConfigState::Degraded => "degraded",
        ApplyConfigState::Superseded => "superseded",
    }
}

/// Sentence for a step, with its reasons below.
fn sentence(state: ApplyConfigState, reasons: &[String], length: Option<Duration>, failed: usize) -> Vec<String> {
    let length = length.map(human::duration).unwrap_or_default();
    let first = match state {
        ApplyConfigState::Unspecified => "a step that this version does not know".to_owned(),
        ApplyConfigState::Waiting => format!("waits for leave; the sensor is asked again in {length}"),
        ApplyConfigState::Applying => "applying".to_owned(),
        ApplyConfigState::Watching => format!("applied; watched for {length}"),
        ApplyConfigState::Committed if failed == 0 => "applied".to_owned(),
        ApplyConfigState::Committed if failed == 1 => {
            "applied, but one part does not come up; it is tried again".to_owned()
        }
        ApplyConfigState::Committed => format!("applied, but {failed} parts do not come up; it is tried again"),
        ApplyConfigState::Refused => "refused; nothing was changed".to_owned(),
        ApplyConfigState::Reverting => "not all is well; going back".to_owned(),
        ApplyConfigState::Reverted => "went back: the config from before runs again".to_owned(),
        ApplyConfigState::Degraded => "went back, and yet not all is as well as before".to_owned(),
        ApplyConfigState::Superseded => "another config came before this one was through".to_owned(),
    };
    let reasons = reasons
        .iter()
        .flat_map(|reason| reason.lines())
        .map(|line| format!("  {}", plain(line)));
    std::iter::once(first).chain(reasons).collect()
}

/// Present state of one part of the plan.
#[derive(Debug)]
struct PartOutcome<'p> {
    change: &'p PlannedChange,
    /// State as `mainstay status` calls it; `gone`.
    state: &'static str,
    error: String,
    bad: bool,
}

impl PartOutcome<'_> {
    fn json(&self) -> Value {
        json!({
            "part": self.change.part,
            "name": filled(&self.change.name),
            "how": self.change.how,
            "state": self.state,
            "error": filled(&self.error),
        })
    }
}

/// Present state of the modules and resources that change.
fn outcomes<'p>(plan: &'p ConfigPlan, status: &Status) -> Vec<PartOutcome<'p>> {
    let modules: HashMap<&str, _> = status
        .modules
        .iter()
        .map(|module| (module.name.as_str(), module))
        .collect();
    let resources: HashMap<String, _> = status
        .resources
        .iter()
        .filter_map(|resource| Some((resolve::full(resource.name.as_ref()?), resource)))
        .collect();
    let found = plan.changes.iter().filter_map(|change| {
        let goes = matches!(change.how.as_str(), "stop" | "close");
        let present = match change.part.as_str() {
            "module" => modules.get(change.name.as_str()).map(|module| {
                let ready = module.state() == ModuleState::Ready;
                // What a module that is at work said last is no error.
                let last = module.last.lines().next().filter(|_| !ready);
                (module_state(module.state()), last.unwrap_or_default().to_owned(), ready)
            }),
            "resource" => resources.get(&change.name).map(|resource| {
                let ready = resource.state() == ResourceState::Ready;
                (resource_state(resource.state()), resource.error.clone(), ready)
            }),
            _ => return None,
        };
        let (state, error, ready) = present.unwrap_or(("gone", String::new(), false));
        Some(PartOutcome {
            change,
            state,
            error,
            bad: !ready && !goes,
        })
    });
    found.collect()
}

fn outcome_lines(plan: &ConfigPlan, parts: &[PartOutcome<'_>], style: Style) -> Vec<String> {
    let names = PlannedNames::of(plan);
    let mut table = TextTable::plain(2);
    for part in parts {
        let colour = if part.bad { Colour::Red } else { Colour::Green };
        table.row([
            names.show(part.change).into(),
            Cell::from(part.state).colour(colour),
            plain(&part.error.replace('\n', " ")).into(),
        ]);
    }
    table.lines(style)
}

#[cfg(test)]
mod tests {
    use mainstay_proto::mainstay::control::v1::{Module, Resource};
    use mainstay_proto::viam::common::v1::ResourceName;

    use super::*;
    use crate::plan_text::tests::{change, sample};

    fn status(lidar: ResourceState) -> Status {
        let resource = |subtype: &str, name: &str, state: ResourceState| Resource {
            name: Some(ResourceName {
                namespace: "rdk".into(),
                r#type: "component".into(),
                subtype: subtype.into(),
                name: name.into(),
            }),
            state: state.into(),
            error: if state == ResourceState::Ready {
                String::new()
            } else {
                "no device\nat 0x68".into()
            },
            ..Resource::default()
        };
        Status {
            modules: vec![Module {
                name: "wheels".into(),
                state: ModuleState::Ready.into(),
                last: "restarted".into(),
                ..Module::default()
            }],
            resources: vec![
                resource("camera", "lidar", lidar),
                resource("arm", "arm", ResourceState::Ready),
            ],
            ..Status::default()
        }
    }

    #[test]
    fn each_part_says_how_it_came_out() {
        let plan = sample();
        let parts = outcomes(&plan, &status(ResourceState::Unhealthy));
        let shown = outcome_lines(&plan, &parts, Style::PLAIN).join("\n");
        let expected = "  old            gone
  module wheels  ready
  lidar          unhealthy  no device at 0x68
  arm            ready";
        assert_eq!(shown, expected);
        assert_eq!(parts.iter().filter(|part| part.bad).count(), 1);
        let mut plan = plan;
        plan.changes
            .push(change("resource", "rdk:component:gantry/g", "build", "new"));
        let parts = outcomes(&plan, &status(ResourceState::Ready));
        let bad: Vec<_> = parts
            .iter()
            .filter(|part| part.bad)
            .map(|part| part.change.name.as_str())
            .collect();
        assert_eq!(bad, ["rdk:component:gantry/g"], "what should be there and is not");
    }

    #[test]
    fn every_state_has_its_word_and_its_sentence() {
        let reasons = ["lidar: no device".to_owned()];
        let ten = Some(Duration::from_secs(10));
        for (state, expected) in [
            (ApplyConfigState::Watching, "applied; watched for 10 s"),
            (ApplyConfigState::Committed, "applied"),
            (
                ApplyConfigState::Reverted,
                "went back: the config from before runs again",
            ),
        ] {
            assert_eq!(sentence(state, &[], ten, 0), [expected]);
        }
        assert_eq!(
            sentence(ApplyConfigState::Refused, &reasons, None, 0)[1],
            "  lidar: no device"
        );
        assert!(sentence(ApplyConfigState::Committed, &[], None, 2)[0].contains("2 parts do not come up"));
    }
}
