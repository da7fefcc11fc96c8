//! The script that a module has run once, before its first start (spec: module protocol §1.6).
//!
//! It runs in the place of the module's process, as part of that module's own start: guarded, read and ended in the same
//! way, beside all other modules. A script that fails is a failed start of its module, tried again by its restart policy.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use mainstay_model::ModuleName;
use mainstay_model::duration::show as show_duration;
use mainstay_process::child::describe;
use mainstay_process::launch::Launch;

use super::problem::Problem;

/// A script for the first run of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstRun {
    /// The script.
    pub script: PathBuf,
    /// The file that is there once it has succeeded.
    pub marker: PathBuf,
}

impl FirstRun {
    /// True unless it has succeeded before.
    pub fn is_due(&self) -> bool {
        !self.marker.exists()
    }

    /// Launch parameters of the script, from those of its module: the same environment without an address, no arguments, in
    /// the core's own working directory.
    pub fn launch(&self, module: &Launch) -> Launch {
        let mut launch = module.clone();
        launch.executable.clone_from(&self.script);
        launch.arguments.clear();
        launch.env.remove("VIAM_MODULE_ADDRESS");
        if let Ok(here) = std::env::current_dir() {
            launch.directory = here;
        }
        launch
    }

    /// Notes its success on disk.
    ///
    /// # Errors
    /// Error of the file system. The script runs again at the next start then.
    pub fn succeeded(&self) -> io::Result<()> {
        std::fs::File::create(&self.marker)?.sync_all()
    }

    /// Problem that the script's end means; `None` if it was a success.
    pub fn problem(&self, name: &ModuleName, status: &io::Result<ExitStatus>) -> Option<Problem> {
        let how = match status {
            Ok(status) if status.success() => return None,
            Ok(status) => describe(*status),
            Err(error) => format!("its exit status is unknown: {error}"),
        };
        Some(self.failed(name, &how))
    }

    /// Problem of a script that took longer than `limit`.
    pub fn overdue(&self, name: &ModuleName, limit: Duration) -> Problem {
        let limit = show_duration(limit);
        self.failed(name, &format!("still running after {limit} (`first_run_timeout`)"))
    }

    fn failed(&self, name: &ModuleName, how: &str) -> Problem {
        let script = self.script.display();
        let wire = format!("error adding module {name}: first_run script `{script}` failed: {how}");
        Problem::new(wire, format!("first_run failed: {how}"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;

    use super::*;
    use crate::module::environment::launch;
    use crate::module::environment::tests::{life, spec};
    use crate::module::package::Program;

    #[test]
    fn the_script_gets_what_the_module_gets_but_the_address() {
        let program = Program {
            executable: "/opt/gear/run".into(),
            root: "/opt/gear".into(),
            first_run: None,
        };
        let module = launch(
            &spec(),
            &program,
            Path::new("/r/s.sock").as_os_str(),
            Path::new("/h"),
            life(),
        );
        let first = FirstRun {
            script: "/opt/gear/first.sh".into(),
            marker: "/opt/gear.first_run_succeeded".into(),
        };
        let launch = first.launch(&module);
        assert_eq!(launch.executable, Path::new("/opt/gear/first.sh"));
        assert!(launch.arguments.is_empty());
        assert!(!launch.env.contains_key("VIAM_MODULE_ADDRESS"));
        assert_eq!(launch.env["VIAM_MODULE_ROOT"], "/opt/gear");
        assert_eq!(launch.env["VIAM_MODULE_NAME"], "gear");
        assert_eq!(launch.data, module.data);
    }

    #[test]
    fn only_exit_code_0_is_a_success_and_it_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = FirstRun {
            script: "/m/first.sh".into(),
            marker: folder.path().join("m.first_run_succeeded"),
        };
        let name = ModuleName::from("gear");
        let end = |raw| first.problem(&name, &Ok(ExitStatus::from_raw(raw)));
        assert_eq!(end(0), None);
        assert_eq!(
            end(2 << 8).map(|problem| problem.short).as_deref(),
            Some("first_run failed: exit code 2")
        );
        let killed = end(9).map(|problem| problem.wire).unwrap_or_default();
        assert!(
            killed.contains("gear") && killed.contains("`/m/first.sh`") && killed.ends_with("SIGKILL"),
            "{killed}"
        );
        assert!(first.is_due());
        first.succeeded().expect("written");
        assert!(!first.is_due());
    }
}
