//! Benchmark of the server, `cargo xtask bench`: always ratios within one run.
//!
//! The load comes from this process, one thread. The module and the core are processes of their own. Each number of the
//! core stands beside the same thing done without it, taken in turns, so that a busy machine spoils both alike. Nothing
//! passes or fails here: the bars are printed for a reader.

mod bare;
mod kill;
mod load;
mod machine;
mod network;
mod reload;
mod report;
mod start;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Reason why nothing can be measured.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Measures a running machine: calls straight to a module and through the core, memory, start-up.
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    /// Duration of each turn, in milliseconds
    #[arg(long, default_value_t = 300)]
    turn_ms: u64,

    /// Number of turns per route, of which the median is shown
    #[arg(long, default_value_t = 7)]
    turns: usize,

    /// Measure only benchmarks whose name contains this: calls, "4 MB frame", network, memory, start, kill, reload
    #[arg(long)]
    only: Option<String>,

    /// Measure calls on these ways only: straight, "bare proxy", core, "1 remote", "2 remotes"
    #[arg(long = "way", value_name = "WAY")]
    ways: Vec<String>,

    /// Run as a bare proxy that copies bytes between a free port and this module's socket
    #[arg(long, hide = true, value_name = "SOCKET")]
    bare_proxy: Option<PathBuf>,

    /// Folder of the programs under test [default: the folder of this program]
    #[arg(long)]
    programs: Option<PathBuf>,
}

impl Options {
    fn wants(&self, part: &str) -> bool {
        self.only.as_ref().is_none_or(|only| part.contains(only.as_str()))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(socket) = &options.bare_proxy {
        return ended(bare::serve(socket));
    }
    // One thread, so that the load costs the same on both sides and never competes with itself.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let measured = match runtime {
        Ok(runtime) => runtime.block_on(measure(&options)),
        Err(error) => Err(error.into()),
    };
    ended(measured)
}

fn ended(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<(), Failure> {
    let programs = match &options.programs {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?
            .parent()
            .ok_or("this program lies nowhere")?
            .to_owned(),
    };
    println!("{}", system::describe());
    let lines: Vec<_> = load::LINES
        .iter()
        .filter(|line| options.wants("calls") || options.wants(line.what))
        .collect();
    if !lines.is_empty() {
        let turn = Duration::from_millis(options.turn_ms);
        load::measure(&programs, &lines, &options.ways, turn, options.turns).await?;
    }
    if options.wants("network") {
        network::measure(&programs, Duration::from_millis(options.turn_ms), options.turns).await?;
    }
    if options.wants("memory") {
        start::memory(&programs).await?;
    }
    if options.wants("start") {
        start::cold(&programs, options.turns).await?;
        start::many(&programs).await?;
    }
    if options.wants("kill") {
        kill::in_a_row(&programs).await?;
    }
    if options.wants("reload") {
        reload::added(&programs, options.turns).await?;
        reload::one_of_many(&programs, options.turns).await?;
        reload::behind_another(&programs, options.turns).await?;
    }
    Ok(())
}
