//! `mainstay run`: its arguments. The verb itself is the program, which wires the crates of the core.

use std::path::PathBuf;

/// Arguments of `mainstay run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay run rover.yaml
  mainstay run rover.json --bind 0.0.0.0:8080   accept connections from all other hosts
  mainstay run rover.yaml --bind 127.0.0.1:0    any free port, which is printed at start")]
pub struct Arguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Folder for the data of modules [default: $VIAM_HOME, else ~/.viam]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Address to serve at, instead of `network.bind_address` in the config; port 0 is any free port
    #[arg(long, value_name = "HOST:PORT")]
    pub bind: Option<String>,
    /// Program that contains the built-in modules [default: mainstay-builtins beside this program]
    #[arg(long, value_name = "PATH")]
    pub builtins: Option<PathBuf>,
    /// Log at level debug, as `debug: true` in the config does
    #[arg(long)]
    pub debug: bool,
    /// Serve diagnostics at /debug/graph and /debug/pprof/, as `enable_web_profile: true` in the config does
    #[arg(long)]
    pub webprofile: bool,
    /// Fail if CONFIG cannot be used, instead of starting with the last good config
    #[arg(long)]
    pub strict: bool,
    /// Print the machine's state as JSON, with the keys of `status --json`: once when it begins to serve, once when start-up
    /// is complete
    #[arg(long)]
    pub json: bool,
}
