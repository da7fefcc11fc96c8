//! Checks in the virtual machine of `cargo xtask vm`: they need all cgroup controllers, and file systems that may be
//! frozen.
//!
//! `vm-checks limits ends user stuck core` runs these groups and ends with 0 if all held. `vm-checks enter CGROUP UID PROGRAM …`
//! becomes PROGRAM, in that cgroup and as that user: how a service manager starts a service.
//!
//! `service` is that service's cgroup, `held` a machine with one module that is held by limits.

mod ends;
mod held;
mod limits;
mod service;
mod stuck;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

/// Check: its name, a sentence, and a function that panics if it does not hold.
pub struct Check(&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// Pairs each check with its name.
macro_rules! checks {
    ($($name:ident),* $(,)?) => {
        &[$(crate::Check(stringify!($name), || Box::pin($name()))),*]
    };
}
pub(crate) use checks;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, cgroup, uid, program, rest @ ..] = &arguments[..]
        && verb == "enter"
    {
        let error = service::enter(cgroup, uid, program, rest);
        eprintln!("vm-checks: cannot run {program} in {cgroup} as {uid}: {error}");
        return ExitCode::FAILURE;
    }
    let mut failed = 0;
    for group in &arguments {
        let checks = match group.as_str() {
            "limits" => limits::CHECKS,
            "ends" => ends::CHECKS,
            "user" => ends::USER,
            "stuck" => stuck::CHECKS,
            "core" => stuck::CORE,
            "none" => &[],
            other => {
                eprintln!("vm-checks: there is no group `{other}`");
                return ExitCode::from(2);
            }
        };
        failed += checks.iter().filter(|check| !holds(check)).count();
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the name of a part of a check.
pub fn step(name: &str) {
    println!("    {}", name.replace('_', " "));
}

fn holds(Check(name, check): &Check) -> bool {
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("an event loop");
    let held = catch_unwind(AssertUnwindSafe(|| runtime.block_on(check()))).is_ok();
    let word = if held { "ok" } else { "FAILED" };
    println!(
        "{word}: {} ({:.1} s)",
        name.replace('_', " "),
        begun.elapsed().as_secs_f64()
    );
    held
}
