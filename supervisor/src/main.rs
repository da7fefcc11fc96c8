//! The program `mainstay`: a robot server and its command line. Here its crates are wired; each verb but `run` is in
//! `mainstay-cli`.

mod run;
mod run_verb;

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay_cli::main(run_verb::run)
}
