//! What runs in the virtual machine of `cargo xtask vm`: checks that need a kernel whose cgroup controllers are all ours,
//! and whose file systems may be frozen.
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

/// One thing that must be true, as a sentence, and how it is shown; panics if it is not.
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

/// A part of a check begins.
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
