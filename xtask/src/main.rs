//! The project's own commands: `cargo xtask test`, `cargo xtask demo`, `cargo xtask bench`.
//!
//! Everything that they write lies in the target folder.

mod demo;
mod drive;
mod python;
mod steps;

use std::env;
use std::process::ExitCode;

use steps::{Failed, Target, cargo, run};

const HELP: &str = "\
The project's own commands.

  cargo xtask test [FILTER]    build everything and run all tests, or those whose name contains FILTER;
                               real clients and modules of the Python SDK are set up in target/venv
  cargo xtask demo [--once]    start a small robot of fakes and show how to drive it; --once drives it and ends
  cargo xtask bench [ARGS]     measure the server; ARGS are those of the harness, `--help` lists them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test(None),
        ["test", filter] if !filter.starts_with('-') => test(Some(filter)),
        ["demo"] => demo::run(),
        ["demo", "--once"] => demo::run_once(),
        ["bench", ref rest @ ..] => bench(rest),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(message)) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Builds all binaries first, because the end-to-end tests run them, then everything else.
fn test(filter: Option<&str>) -> Result<(), Failed> {
    let target = Target::find()?;
    let python = python::ensure(&target)?;
    run(cargo().args(["build", "--workspace", "--all-targets"]))?;
    target.write_manifest("debug")?;
    let mut tests = cargo();
    tests.args(["test", "--workspace"]).env("MAINSTAY_PYTHON", python);
    if let Some(filter) = filter {
        tests.arg(filter);
    }
    run(&mut tests)
}

fn bench(arguments: &[&str]) -> Result<(), Failed> {
    let target = Target::find()?;
    run(cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    target.write_manifest("release")?;
    run(cargo()
        .args(["run", "--release", "--package", "mainstay-bench", "--"])
        .args(arguments))
}
