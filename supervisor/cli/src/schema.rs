//! `mainstay schema`: the JSON Schema of a config, for editors.

use mainstay_config as config;

use crate::failure::{Exit, Failure};
use crate::output::print;

/// Arguments of `mainstay schema`: none.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay schema > mainstay.schema.json

Then, as the first line of a rover.yaml (yaml-language-server, as in VS Code):
  # yaml-language-server: $schema=./mainstay.schema.json")]
pub struct Arguments {}

/// Runs the verb.
///
/// # Errors
/// Nobody reads the result.
pub fn run(_: &Arguments) -> Result<Exit, Failure> {
    print(&format!("{:#}", config::schema()))?;
    Ok(Exit::Done)
}
