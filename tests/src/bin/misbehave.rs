//! The module that misbehaves on demand; see `mainstay_tests::fixture`.

use std::process::ExitCode;

fn main() -> ExitCode {
    mainstay_tests::fixture::run()
}
