//! `mainstay run`: its arguments. The verb itself is the program, which wires the crates of the core.

use std::path::PathBuf;

/// Arguments of `mainstay run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay run rover.yaml
  mainstay run rover.json --bind 0.0.0.0:8080   let other hosts in, all of them
  mainstay run rover.yaml --bind 127.0.0.1:0    any free port; the start tells it")]
pub struct Arguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Where modules keep their data [default: $VIAM_HOME, else ~/.viam]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Serve here, whatever `network.bind_address` in the config says
    #[arg(long, value_name = "HOST:PORT")]
    pub bind: Option<String>,
    /// The program that holds the built-in modules [default: mainstay-builtins beside this program]
    #[arg(long, value_name = "PATH")]
    pub builtins: Option<PathBuf>,
    /// Log everything, as `debug: true` in the config does
    #[arg(long)]
    pub debug: bool,
    /// Serve /debug/graph and /debug/pprof/, as `enable_web_profile: true` in the config does
    #[arg(long)]
    pub webprofile: bool,
    /// Start with what CONFIG holds or not at all, and never with the last good config instead
    #[arg(long)]
    pub strict: bool,
    /// Print the state as JSON, with the keys of `status --json`: once when the address is known, once when all is up
    #[arg(long)]
    pub json: bool,
}
