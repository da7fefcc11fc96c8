//! `mainstay diff`: how a config file differs from what runs, or from the last config that worked, value by value.

use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::store::LastGood;
use mainstay_model::difference;
use mainstay_model::text::plain;
use mainstay_proto::mainstay::control::v1::{ConfigDiagnostic, ConfigDifference, DiffConfigRequest};
use mainstay_wire::control;
use serde_json::{Value, json};

use crate::config_text::{ConfigTarget, machine_for};
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::table::{Cell, TextTable};
use crate::terminal::{Colour, Style};
use crate::{diagnostics, target};

/// Arguments of `mainstay diff`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay diff                           the machine's own file against the running config
  mainstay diff trial.yaml
  mainstay diff rover.yaml --last-good    against the last config that worked; needs no running machine

Values are compared, not texts: layout, comments and defaults that are written out make no difference. Secrets are not \
shown. `mainstay plan` shows what applying FILE would do.

JSON: {file, from, usable, differences: [{path, kind, before, after}], complaints}; kinds are `added`, `removed` and \
`changed`; complaints as in `mainstay check`.")]
pub struct Arguments {
    /// The config file [default: that of the running machine]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Compare with the last config of this file that worked, instead of the running one
    #[arg(long, requires = "file")]
    last_good: bool,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Result of the comparison.
#[derive(Debug)]
struct Compared {
    file: PathBuf,
    /// Name of the side compared with.
    from: String,
    usable: bool,
    differences: Vec<ConfigDifference>,
    diagnostics: Vec<ConfigDiagnostic>,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3); several, and none was named (2); a file that cannot be read, or no last good config (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let compared = match &arguments.file {
        Some(file) if arguments.last_good => {
            let selector = &arguments.selector;
            selector.check_unused("`--last-good` compares with a file of this host and asks no machine")?;
            with_last_good(file)?
        }
        file => with_running(file.as_deref(), &arguments.selector).await?,
    };
    if arguments.json {
        print(&json_text(&compared))?;
    } else {
        if !compared.usable {
            note(&diagnostics::sent_text(&compared.diagnostics));
        }
        print(&text(&compared, Style::stdout()))?;
    }
    Ok(if compared.usable { Exit::Done } else { Exit::Wrong })
}

async fn with_running(file: Option<&Path>, selector: &MachineSelector) -> Result<Compared, CliError> {
    let (file, mut machine) = match file {
        Some(file) => (file.to_owned(), machine_for(selector, file, "diff").await?),
        None => {
            let mut machine = ConfigTarget::new(&target::find(selector).await?, "diff").await?;
            (machine.own_file().await?, machine)
        }
    };
    let sent = machine.gather(&file)?;
    let request = DiffConfigRequest {
        config: Some(sent.config.clone()),
    };
    let answer = machine.control.diff_config(request).await?.into_inner();
    Ok(Compared {
        file,
        from: format!("what runs ({})", answer.from),
        usable: answer.usable,
        differences: answer.differences,
        diagnostics: sent.told(answer.diagnostics),
    })
}

fn with_last_good(file: &Path) -> Result<Compared, CliError> {
    let kept = LastGood::open(file)
        .read()
        .map_err(|problem| CliError::wrong(problem.to_string()))?;
    let kept = kept.ok_or_else(|| {
        CliError::wrong(format!(
            "no config of `{}` has worked yet, as far as this user's state directory tells",
            file.display()
        ))
    })?;
    let context = config::LoadContext::of(file);
    let old = config::parse(&kept.bundle, &context)
        .map_err(|refused| CliError::wrong(format!("the last good config cannot be used any more:\n\n{refused}")))?;
    let mut compared = Compared {
        file: file.to_owned(),
        from: format!("the last good config, revision {}", kept.revision),
        usable: true,
        differences: Vec::new(),
        diagnostics: Vec::new(),
    };
    match config::load(file) {
        Ok(new) => {
            let differences = difference::configs(&old.config, &new.config);
            compared.differences = differences.into_iter().map(control::difference).collect();
            compared.diagnostics = new.diagnostics.iter().map(control::diagnostic).collect();
        }
        Err(refused) => {
            compared.usable = false;
            compared.diagnostics = refused.diagnostics.iter().map(control::diagnostic).collect();
        }
    }
    Ok(compared)
}

fn json_text(compared: &Compared) -> String {
    let differences = compared.differences.iter().map(|difference| {
        json!({
            "path": difference.path,
            "kind": difference.kind,
            "before": difference.before,
            "after": difference.after,
        })
    });
    json!({
        "file": compared.file.display().to_string(),
        "from": compared.from,
        "usable": compared.usable,
        "differences": differences.collect::<Vec<_>>(),
        "complaints": compared.diagnostics.iter().map(diagnostics::sent_json).collect::<Value>(),
    })
    .to_string()
}

fn text(compared: &Compared, style: Style) -> String {
    if !compared.usable {
        return format!("{} cannot be used; what runs is left as it is", compared.file.display());
    }
    if compared.differences.is_empty() {
        return format!("{} says the same as {}", compared.file.display(), compared.from);
    }
    let mut table = TextTable::plain(0);
    for difference in &compared.differences {
        let (sign, colour) = match difference.kind.as_str() {
            "added" => ('+', Colour::Green),
            "removed" => ('-', Colour::Red),
            _ => ('~', Colour::Yellow),
        };
        let values = match (&difference.before, &difference.after) {
            (Some(before), Some(after)) if before != after => format!("{before} → {after}"),
            (None, None) | (Some(_), Some(_)) => "another value, not shown".to_owned(),
            (Some(only), None) | (None, Some(only)) => only.clone(),
        };
        let path = format!("{sign} {}", plain(&difference.path));
        table.row([Cell::from(path).colour(colour), plain(&values).into()]);
    }
    table.lines(style).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_difference_is_a_line() {
        let difference = |path: &str, kind: &str, before: Option<&str>, after: Option<&str>| ConfigDifference {
            path: path.into(),
            kind: kind.into(),
            before: before.map(str::to_owned),
            after: after.map(str::to_owned),
        };
        let mut compared = Compared {
            file: "rover.yaml".into(),
            from: "what runs".into(),
            usable: true,
            differences: vec![
                difference("components.a", "removed", Some("rdk:builtin:fake"), None),
                difference("components.b.attributes.x", "changed", Some("10"), Some("20")),
                difference("auth", "changed", None, None),
            ],
            diagnostics: Vec::new(),
        };
        let expected = "\
- components.a               rdk:builtin:fake
~ components.b.attributes.x  10 → 20
~ auth                       another value, not shown";
        assert_eq!(text(&compared, Style::PLAIN), expected);
        compared.differences.clear();
        assert_eq!(text(&compared, Style::PLAIN), "rover.yaml says the same as what runs");
    }
}
