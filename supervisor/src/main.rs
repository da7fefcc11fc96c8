//! The program `mainstay`: a robot server and its command line. All of it lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay::cli::main()
}
