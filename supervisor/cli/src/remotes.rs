//! `mainstay remotes`: the other machines whose resources are used here, and what they have.

use std::time::SystemTime;

use mainstay_model::ModuleName;
use mainstay_model::suggest::nearest;
use mainstay_proto::mainstay::control::v1::{Remote, Resource, Status};
use serde_json::Value;

use crate::failure::{CliError, Exit};
use crate::output::print;
use crate::selector::MachineSelector;
use crate::terminal::Style;
use crate::{status, status_json, status_text, target};

/// Arguments of `mainstay remotes`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay remotes             all of them: connected since when, or away and why
  mainstay remotes arm-box     one of them, with its resources")]
pub struct Arguments {
    /// A remote; leave it out for all
    #[arg(value_name = "REMOTE")]
    name: Option<String>,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), or a name that none of its remotes has (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let target = target::find(&arguments.selector).await?;
    let status = status::get(&target).await?;
    let text = match &arguments.name {
        None if arguments.json => vec![
            status
                .remotes
                .iter()
                .map(status_json::remote)
                .collect::<Value>()
                .to_string(),
        ],
        None if status.remotes.is_empty() => vec!["no remotes: the config has none".to_owned()],
        None => status_text::remotes(&status.remotes, SystemTime::now(), Style::stdout()),
        Some(name) => one(&status, name, arguments.json)?,
    };
    print(&(text.join("\n") + "\n"))?;
    Ok(Exit::Done)
}

fn one(status: &Status, name: &str, json: bool) -> Result<Vec<String>, CliError> {
    let remote = named(&status.remotes, name)?;
    let module = ModuleName::remote(name);
    let own: Vec<Resource> = status
        .resources
        .iter()
        .filter(|resource| resource.module == module.as_str())
        .cloned()
        .collect();
    if json {
        let mut shown = status_json::remote(remote);
        shown["has"] = own.iter().map(status_json::resource).collect();
        return Ok(vec![shown.to_string()]);
    }
    let style = Style::stdout();
    let mut lines = status_text::remotes(std::slice::from_ref(remote), SystemTime::now(), style);
    if !own.is_empty() {
        lines.push(String::new());
        lines.extend(status_text::resources(&own, style));
    }
    Ok(lines)
}

fn named<'a>(remotes: &'a [Remote], name: &str) -> Result<&'a Remote, CliError> {
    remotes.iter().find(|remote| remote.name == name).ok_or_else(|| {
        let known = remotes.iter().map(|remote| remote.name.as_str());
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`mainstay remotes` lists them".to_owned(),
        };
        CliError::wrong(format!("no remote `{name}` on this machine; {hint}"))
    })
}
