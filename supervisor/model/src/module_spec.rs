//! A module as the machine wants it run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::module_name::ModuleName;
use crate::policy::Policy;

/// A module as the machine wants it run.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleSpec {
    /// Name of the module.
    pub name: ModuleName,
    /// Registry id; empty unless the config gives one.
    pub id: String,
    /// True if the config's `type` is `local`.
    pub local: bool,
    /// True if the config's `type` is `registry`.
    pub registry: bool,
    /// Path in the config: a program, or a tarball with one.
    pub executable: PathBuf,
    /// Path as people may see it.
    pub shown: String,
    /// True if that is a tarball to unpack.
    pub tarball: bool,
    /// True if it listens on a TCP port instead of a UNIX socket.
    pub tcp: bool,
    /// Longest time for its script for the first run.
    pub first_run_timeout: Duration,
    /// Arguments behind the socket address.
    pub arguments: Vec<String>,
    /// The config's variables, which win over ours.
    pub env: BTreeMap<String, String>,
    /// Policy for the process.
    pub policy: Policy,
    /// Folder of its data, if not below VIAM_HOME.
    pub data: Option<PathBuf>,
}

impl ModuleSpec {
    /// Keys of the config by which `other` differs.
    #[must_use]
    pub fn changed_keys(&self, other: &Self) -> Vec<&'static str> {
        let keys = [
            ("module_id", self.id != other.id),
            ("type", self.local != other.local || self.registry != other.registry),
            ("executable_path", self.executable != other.executable),
            ("log_level", self.arguments != other.arguments),
            ("tcp_mode", self.tcp != other.tcp),
            ("first_run_timeout", self.first_run_timeout != other.first_run_timeout),
            ("env", self.env != other.env),
        ];
        let changed = keys.into_iter().filter(|(_, changed)| *changed);
        let changed = changed.map(|(key, _)| key);
        changed.chain(self.policy.changed_keys(&other.policy)).collect()
    }
}

/// Limits that the child sets for itself before it becomes the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rlimits {
    /// RLIMIT_DATA, in bytes.
    pub data: Option<u64>,
    /// RLIMIT_NOFILE.
    pub open_files: Option<u64>,
    /// RLIMIT_NPROC.
    pub pids: Option<u64>,
}

/// The `--log-level` argument: the module's own level, else `debug` where the core logs at debug level.
pub fn log_level_argument(own: Option<&str>, debug: bool) -> Option<String> {
    match own {
        Some(level) if !level.is_empty() => Some(format!("--log-level={level}")),
        _ => debug.then(|| "--log-level=debug".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_the_module_wins_over_the_debug_switch() {
        for (own, debug, expected) in [
            (Some("warn"), true, Some("--log-level=warn")),
            (Some(""), true, Some("--log-level=debug")),
            (None, true, Some("--log-level=debug")),
            (None, false, None),
        ] {
            assert_eq!(log_level_argument(own, debug).as_deref(), expected);
        }
    }
}
