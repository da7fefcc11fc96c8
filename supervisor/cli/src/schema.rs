//! `mainstay schema`: the JSON Schema of a config, for editors.

use mainstay_config as config;

use crate::failure::{CliError, Exit};
use crate::output::print;

/// Arguments of `mainstay schema`.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay schema > mainstay.schema.json

Then, as the first line of a rover.yaml (yaml-language-server, as in VS Code):
  # yaml-language-server: $schema=./mainstay.schema.json")]
pub struct Arguments {
    /// Print the keys with their meanings as a Markdown page, for people
    #[arg(long)]
    markdown: bool,
}

/// Runs the verb.
///
/// # Errors
/// Nobody reads the result.
pub fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    match arguments.markdown {
        true => print(config::reference().trim_end())?,
        false => print(&format!("{:#}", config::schema()))?,
    }
    Ok(Exit::Done)
}
