//! `mainstay check FILE`: everything that is wrong with a config, without touching what runs.

use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::builtins::BuiltinModels;
use mainstay_config::models::AfterStart;
use mainstay_config::{Diagnostic, LoadContext, Severity, declared};
use mainstay_model::{Config, Offers, SourceSpan};
use mainstay_proto::mainstay::control::v1::{CheckConfigRequest, CheckConfigResponse};
use serde_json::{Value, json};

use crate::config_text::machine_for;
use crate::diagnostics::{sent_text, tally, tally_text};
use crate::failure::{CliError, Exit};
use crate::human::count;
use crate::output::{joined, print};
use crate::selector::MachineSelector;
use crate::status_text::file_name;
use crate::terminal::Style;
use crate::{ask_builtins, diagnostics, running_offers};

/// Limit of names that a line lists before it only counts.
const LISTED: usize = 5;

/// Arguments of `mainstay check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay check rover.yaml
  mainstay check rover.yaml --live    let running modules check their entries, too
  mainstay check rover.yaml --json | jq '.complaints[] | select(.grade != \"warning\")'

Exit code: 0 without errors, with or without warnings; 1 with errors, even if they concern single entries alone, and with \
`--deny-warnings` for warnings, too. \
The built-in modules look at their entries. Which models another module offers is known from the machine that runs this \
file, else from the module's meta.json, else after its start. Errors in attributes that only such a module knows are shown \
with `--live`, or when the resource is built.

JSON: {file, usable, errors, warnings, complaints: [{grade, file, line, column, length, message, help, \
also: {file, line, column, length, message}}]}; grades are `refused` (all of it), `local` (this entry) and `warning`. Without `--live` also known_after_start: [{model, \
resources: [full name], modules: [name]}]; with it asked: [full name].")]
pub struct Arguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Ask the modules of the running machine to validate their entries
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    selector: MachineSelector,
    /// The program that holds the built-in modules [default: mainstay-builtins beside this program]
    #[arg(long, value_name = "PATH", conflicts_with = "live")]
    builtins: Option<PathBuf>,
    /// Exit with code 1 for warnings, too
    #[arg(long)]
    deny_warnings: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Result of checking a config.
#[derive(Default)]
struct CheckResult {
    /// Unless it cannot be used.
    config: Option<Config>,
    diagnostics: Vec<Diagnostic>,
    after_start: Vec<AfterStart>,
}

/// Runs the verb.
///
/// # Errors
/// With `--live` no machine (3), or several and none was named (2).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    if arguments.live {
        return live(arguments).await;
    }
    let unused = "`mainstay check` reads files of this host and asks no machine; with `--live` it does";
    arguments.selector.check_unused(unused)?;
    let builtins = arguments.builtins.unwrap_or_else(config::builtins::default_path);
    let found = look(&arguments.file, builtins).await;
    print(&if arguments.json {
        json_text(&arguments.file, &found)
    } else {
        text(&arguments.file, &found, Style::stdout())
    })?;
    Ok(exit_code(tally(&found.diagnostics), arguments.deny_warnings))
}

/// Looks at the file, at what it names on the disk, and asks whoever can say something without being started as a module. What
/// refuses the file hides nothing else that is wrong with it.
async fn look(file: &Path, builtins: PathBuf) -> CheckResult {
    let builtins = BuiltinModels::at(builtins);
    match config::load(file) {
        Ok(mut loaded) => {
            let offers = offers(file, &loaded.config, &builtins).await;
            let after_start = loaded.look_for_models(&offers);
            loaded.add(ask_modules(file, &loaded.config, &builtins).await);
            CheckResult {
                config: Some(loaded.config),
                diagnostics: loaded.diagnostics,
                after_start,
            }
        }
        Err(mut refused) => {
            if let Some(config) = refused.config.clone().filter(|_| refused.complete) {
                let offers = offers(file, &config, &builtins).await;
                refused.look_for_models(&offers);
                refused.add(ask_modules(file, &config, &builtins).await);
            }
            CheckResult {
                diagnostics: refused.diagnostics,
                ..CheckResult::default()
            }
        }
    }
}

/// Asks the built-in modules about their entries.
async fn ask_modules(file: &Path, config: &Config, builtins: &BuiltinModels) -> Vec<Diagnostic> {
    let asked = ask_builtins::ask(&builtins.present(), config).await;
    let mut diagnostics = declared::check(config, &asked.answers, &LoadContext::of(file));
    diagnostics.extend(asked.silent.iter().map(|(module, problem)| {
        let message = format!("module {module} could not be asked about its entries: {problem}");
        Diagnostic::new(Severity::Warning, message, SourceSpan::file(file))
    }));
    diagnostics
}

/// Offers that can be known now: what runs goes before what a file says.
async fn offers(file: &Path, config: &Config, builtins: &BuiltinModels) -> Offers {
    builtins.look_for(config);
    let running = running_offers::of(file, config).await;
    let mut modules = config::models_of_modules(config);
    modules.retain(|(name, _)| running.iter().all(|(known, _)| known != name));
    modules.extend(running);
    Offers {
        modules,
        ..builtins.present().offers()
    }
}

/// Asks the running machine, whose modules look at their entries.
async fn live(arguments: Arguments) -> Result<Exit, CliError> {
    let mut machine = machine_for(&arguments.selector, &arguments.file, "check --live").await?;
    let sent = machine.gather(&arguments.file)?;
    let request = CheckConfigRequest {
        config: Some(sent.config.clone()),
    };
    let mut answer = machine.control.check_config(request).await?.into_inner();
    answer.diagnostics = sent.told(answer.diagnostics);
    print(&if arguments.json {
        live_json(&arguments.file, &answer)
    } else {
        live_text(&arguments.file, &answer)
    })?;
    Ok(exit_code(live_tally(&answer), arguments.deny_warnings))
}

fn live_tally(answer: &CheckConfigResponse) -> (usize, usize) {
    let warnings = answer
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == "warning")
        .count();
    (answer.diagnostics.len() - warnings, warnings)
}

fn live_json(file: &Path, answer: &CheckConfigResponse) -> String {
    let listed = answer.diagnostics.iter().map(diagnostics::sent_json);
    let mut shown = common_json(file, answer.usable, live_tally(answer), listed.collect());
    shown["asked"] = json!(answer.asked);
    shown.to_string()
}

fn live_text(file: &Path, answer: &CheckConfigResponse) -> String {
    let name = file_name(&file.display().to_string()).to_owned();
    let asked = format!(
        "{} of {} seen by their modules",
        answer.asked.len(),
        count(answer.resources as usize, "resource")
    );
    let closing = match tally_text(live_tally(answer), file) {
        None => format!("{name} is good: {asked}"),
        Some(tally) => format!("{tally}; {asked}; the running machine is untouched"),
    };
    joined([sent_text(&answer.diagnostics), closing], "\n\n")
}

/// Exit code for that many errors and warnings.
fn exit_code((errors, warnings): (usize, usize), deny_warnings: bool) -> Exit {
    if errors == 0 && !(deny_warnings && warnings > 0) {
        Exit::Done
    } else {
        Exit::Wrong
    }
}

/// The keys that the JSON of every check has.
fn common_json(file: &Path, usable: bool, (errors, warnings): (usize, usize), complaints: Value) -> Value {
    json!({
        "file": file.display().to_string(),
        "usable": usable,
        "errors": errors,
        "warnings": warnings,
        "complaints": complaints,
    })
}

fn json_text(file: &Path, found: &CheckResult) -> String {
    let listed = found.diagnostics.iter().map(diagnostics::json);
    let after_start = found.after_start.iter().map(|one| {
        let resources: Vec<_> = one.resources.iter().map(ToString::to_string).collect();
        json!({"model": one.model.to_string(), "resources": resources, "modules": one.modules})
    });
    let mut shown = common_json(
        file,
        found.config.is_some(),
        tally(&found.diagnostics),
        listed.collect(),
    );
    shown["known_after_start"] = after_start.collect();
    shown.to_string()
}

fn text(file: &Path, found: &CheckResult, style: Style) -> String {
    let diagnostics = &found.diagnostics;
    let counts = tally(diagnostics);
    let closing = match (counts, tally_text(counts, file), &found.config) {
        ((0, _), tally, Some(config)) => good(file, config, tally),
        (_, Some(tally), _) => format!("{tally}; the running machine is untouched"),
        (_, None, _) => "nothing to say about it".to_owned(),
    };
    let after_start = found.after_start.iter().map(after_start_text);
    let last: Vec<_> = after_start.chain([closing]).collect();
    joined(
        [diagnostics::render(diagnostics, style.colour), last.join("\n")],
        "\n\n",
    )
}

/// `known after start: whether module m offers acme:lidar:x2 (for lidar, lidar-2)`
fn after_start_text(one: &AfterStart) -> String {
    let modules = match one.modules.as_slice() {
        [only] => format!("whether module {only} offers"),
        several => format!("whether one of the modules {} offers", several.join(", ")),
    };
    let mut names: Vec<_> = one
        .resources
        .iter()
        .map(|name| name.name.as_str())
        .take(LISTED)
        .collect();
    let more = format!("and {} more", one.resources.len() - names.len());
    if one.resources.len() > names.len() {
        names.push(&more);
    }
    format!("known after start: {modules} {} (for {})", one.model, names.join(", "))
}

fn good(file: &Path, config: &Config, tally: Option<String>) -> String {
    let name = file_name(&file.display().to_string()).to_owned();
    let size = [
        (config.resources.len(), "resource"),
        (config.modules.len(), "module"),
        (config.remotes.len(), "remote"),
        (config.jobs.len(), "job"),
    ];
    let size = size
        .into_iter()
        .enumerate()
        .filter(|(place, (number, _))| *place < 2 || *number > 0)
        .map(|(_, (number, thing))| count(number, thing));
    let size = size.collect::<Vec<_>>().join(", ");
    match tally {
        None => format!("{name} is good: {size}"),
        Some(tally) => format!("{tally}, which can be used: {size}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn checked(content: &str) -> (String, Value) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rover.yaml");
        fs::write(&file, content).expect("written");
        let (config, diagnostics) = match config::load(&file) {
            Ok(loaded) => (Some(loaded.config), loaded.diagnostics),
            Err(refused) => (None, refused.diagnostics),
        };
        let found = CheckResult {
            config,
            diagnostics,
            after_start: Vec::new(),
        };
        let json = json_text(&file, &found);
        let text = text(&file, &found, Style::PLAIN);
        (text, serde_json::from_str(&json).expect("JSON"))
    }

    #[test]
    fn the_last_line_says_how_it_stands() {
        let motor = "{name: m, api: rdk:component:motor, model: fake}";
        for (content, closing) in [
            (
                format!("components: [{motor}]"),
                "rover.yaml is good: 1 resource, 0 modules",
            ),
            (
                format!("components: [{motor}]\nextra: 1"),
                "1 warning in rover.yaml, which can be used: 1 resource, 0 modules",
            ),
            (
                format!("components: [{motor}, {motor}]\nextra: 1"),
                "1 error, 1 warning in rover.yaml; the running machine is untouched",
            ),
            (
                "debug: 7".to_owned(),
                "1 error in rover.yaml; the running machine is untouched",
            ),
        ] {
            let (text, _) = checked(&content);
            assert_eq!(text.lines().last(), Some(closing), "{text}");
        }
    }

    #[test]
    fn json_has_places_grades_and_the_second_place() {
        let motor = "  - {name: m, api: rdk:component:motor, model: fake}\n";
        let (_, json) = checked(&format!("components:\n{motor}{motor}network: maybe\n"));
        assert_eq!(
            (&json["usable"], &json["errors"]),
            (&Value::from(false), &Value::from(2))
        );
        let of = |severity: &str| {
            let diagnostics = json["complaints"].as_array().expect("a list");
            diagnostics
                .iter()
                .find(|diagnostic| diagnostic["grade"] == severity)
                .expect("one of them")
                .clone()
        };
        let local = of("local");
        assert_eq!(
            (&local["line"], &local["also"]["line"]),
            (&Value::from(3), &Value::from(2))
        );
        let refused = of("refused");
        assert_eq!(
            (&refused["line"], &refused["column"], &refused["length"]),
            (&4.into(), &10.into(), &5.into())
        );
        let (_, json) = checked("");
        assert_eq!(json["complaints"][0]["line"], Value::Null, "{json}");
    }
}
