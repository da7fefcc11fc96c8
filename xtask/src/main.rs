//! Development commands: `cargo xtask test`, `cargo xtask demo`, `cargo xtask bench`, `cargo xtask soak`,
//! `cargo xtask faults`, `cargo xtask vm`, `cargo xtask dist`.
//!
//! All their files are in the target folder.

#[cfg(test)]
mod crates;
mod demo;
mod dist;
mod drive;
mod node;
mod python;
mod steps;
mod vm;

use std::env;
use std::process::{Command, ExitCode};

use steps::{Failed, Target, cargo, run};

/// Environment variable for hosts that cannot run a virtual machine: with `require` its checks fail there instead of
/// being skipped.
const VM: &str = "MAINSTAY_VM";

const HELP: &str = "\
The project's own commands.

  cargo xtask test [FILTER]    build everything and run all tests, or those whose name contains FILTER;
                               real clients and modules of the Python SDK are set up in target/venv, clients of
                               the TypeScript SDK in target/node, and chromium, iproute2 and curl;
                               without FILTER also `cargo xtask vm`, where that can be had
  cargo xtask vm [GROUP]       what only a kernel of our own can show, in a virtual machine: limits that cgroups hold,
                               processes that no signal reaches; needs qemu-system-x86, fetches Debian's kernel
  cargo xtask demo [--once]    start a small robot of fakes and show how to drive it; --once drives it and ends
  cargo xtask soak [--release] [CYCLES] [SEED]
                               let a module die 2,000 times, in an order that the seed gives, and show what that
                               cost: memory on the way, times, failed calls of others, leaks; then lead a machine
                               through 300 random configs, compare each with a fresh start, and show the same of that
  cargo xtask faults [CELL ...]
                               the whole fault table, also that of a module on the Python SDK, of which the tests
                               run a part; or some of it: `segv@add` (a cell), `segv` (a row), `add` (a column)
  cargo xtask dist [PACKAGE ...]
                               stripped programs in packages, each tried once: amd64, arm64, armhf (.deb) and static (a
                               tarball for any x86-64); all without PACKAGE. What it needs it installs if it can, else says
  cargo xtask bench [ARGS]     measure the server; ARGS are those of the harness, `--help` lists them
";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["test"] => test(None),
        ["test", filter] if !filter.starts_with('-') => test(Some(filter)),
        ["vm"] => vm(None),
        ["vm", group] if !group.starts_with('-') => vm(Some(group)),
        ["demo"] => demo::run(),
        ["demo", "--once"] => demo::run_once(),
        ["soak", "--release", ref rest @ ..] if rest.len() <= 2 => soak("release", rest),
        ["soak", ref rest @ ..] if rest.len() <= 2 => soak("debug", rest),
        ["faults", ref cells @ ..] => faults(cells),
        ["dist", ref packages @ ..] if packages.iter().all(|name| !name.starts_with('-')) => dist::dist(packages),
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

/// Duration of the fuzz test of the config loader, in seconds.
const FUZZ_SECONDS: &str = "30";

/// Builds all binaries, which the end-to-end tests run, then builds and runs the tests.
fn test(filter: Option<&str>) -> Result<(), Failed> {
    let target = Target::find()?;
    let python = python::ensure(&target)?;
    node::ensure(&target)?;
    node::ensure_browser()?;
    steps::ensure_tools()?;
    run(cargo().args(["build", "--workspace", "--all-targets"]))?;
    target.write_manifest("debug")?;
    let mut tests = cargo();
    tests
        .args(["test", "--workspace"])
        .env("MAINSTAY_PYTHON", python)
        .env("FUZZ_SECONDS", FUZZ_SECONDS);
    if let Some(filter) = filter {
        tests.arg(filter);
    }
    run(&mut tests)?;
    if filter.is_some() {
        return Ok(());
    }
    match vm::VirtualMachine::prepare(&target) {
        Ok(machine) => machine.run(None),
        Err(failed) if env::var_os(VM).is_some_and(|wish| wish == "require") => Err(failed),
        Err(Failed(why)) => {
            eprintln!(
                "\nSKIPPED: NO VIRTUAL MACHINE, so nothing was shown of limits held by cgroups and of processes in"
            );
            eprintln!("SKIPPED: state D: {why}\n");
            Ok(())
        }
    }
}

/// Runs the checks that need their own kernel in a virtual machine.
fn vm(group: Option<&str>) -> Result<(), Failed> {
    let target = Target::find()?;
    // As `test` builds it, so that nothing is built twice.
    run(cargo().args(["build", "--workspace", "--all-targets"]))?;
    vm::VirtualMachine::prepare(&target)?.run(group)
}

/// Number of configs in the walk, of which `cargo xtask test` takes 40, and its seed.
const WALK: [(&str, &str); 2] = [("WALK_CONFIGS", "300"), ("WALK_SEED", "11")];

/// Runs the crash cycles, of which `cargo xtask test` runs a hundred, and the walk. `profile` is `debug` or `release`.
fn soak(profile: &str, arguments: &[&str]) -> Result<(), Failed> {
    let number = |position: usize, otherwise: &'static str| match arguments.get(position) {
        Some(text) if text.parse::<u64>().is_err() => Err(Failed(format!("`{text}` is no number"))),
        text => Ok(text.map_or(otherwise, |text| *text).to_owned()),
    };
    let (cycles, seed) = (number(0, "2000")?, number(1, "4")?);
    let mut test = end_to_end(profile, "a_machine_is_the_same_after_a_hundred_crashes")?;
    run(test.env("SOAK_CYCLES", cycles).env("SOAK_SEED", seed))?;
    run(end_to_end(profile, "walk::")?.envs(WALK))
}

/// Runs the fault tables, whole or the named cells.
fn faults(cells: &[&str]) -> Result<(), Failed> {
    let python = python::ensure(&Target::find()?)?;
    let cells = if cells.is_empty() {
        "all".to_owned()
    } else {
        cells.join(" ")
    };
    // Both tables, one after the other: what is measured in one would be late because of the other.
    for table in [
        "every_fault_at_every_moment_harms_nobody_else",
        "the_same_faults_of_a_python_module",
    ] {
        let mut test = end_to_end("debug", table)?;
        run(test.env("FAULT_CELLS", &cells).env("MAINSTAY_PYTHON", &python))?;
    }
    Ok(())
}

/// Builds the end-to-end tests and returns the command that runs those whose name contains the filter.
fn end_to_end(profile: &str, test: &str) -> Result<Command, Failed> {
    let release: &[&str] = if profile == "release" { &["--release"] } else { &[] };
    let packages = ["mainstay", "mainstay-builtins", "mainstay-tests"].map(|package| ["--package", package]);
    run(cargo().args(["build", "--bins"]).args(packages.concat()).args(release))?;
    Target::find()?.write_manifest(profile)?;
    let mut command = cargo();
    command
        .args(["test", "--package", "mainstay-tests", "--test", "e2e"])
        .args(release)
        .args(["--", test, "--nocapture"]);
    Ok(command)
}

fn bench(arguments: &[&str]) -> Result<(), Failed> {
    let target = Target::find()?;
    run(cargo().args(["build", "--release", "--workspace", "--bins"]))?;
    target.write_manifest("release")?;
    run(cargo()
        .args(["run", "--release", "--package", "mainstay-bench", "--"])
        .args(arguments))
}
