//! What a module's process is started with: arguments, environment, working directory (spec: module protocol §1.1–1.3).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::orphans::Life;
use super::package::Program;
use crate::guardian::survivors::MARK;
use crate::identity::ModuleName;
use crate::policy::Policy;

/// A module as the machine wants it run.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleSpec {
    /// Its name.
    pub name: ModuleName,
    /// Registry id; empty unless the config gives one.
    pub id: String,
    /// True if the config's `type` is `local`.
    pub local: bool,
    /// True if the config's `type` is `registry`.
    pub registry: bool,
    /// What the config names: a program, or a tarball with one.
    pub executable: PathBuf,
    /// Its path as people may see it.
    pub shown: String,
    /// True if that is a tarball to unpack.
    pub tarball: bool,
    /// True if it listens on a TCP port instead of a UNIX socket.
    pub tcp: bool,
    /// How long its script for the first run may take.
    pub first_run_timeout: Duration,
    /// Arguments behind the socket address.
    pub arguments: Vec<String>,
    /// The config's variables, which win over ours.
    pub env: BTreeMap<String, String>,
    /// How it is treated.
    pub policy: Policy,
    /// Where its data lies, if not below VIAM_HOME.
    pub data: Option<PathBuf>,
}

/// Everything that the process gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// What to run.
    pub executable: PathBuf,
    /// Arguments, the socket address first.
    pub arguments: Vec<OsString>,
    /// Variables on top of the core's own environment.
    pub env: BTreeMap<String, OsString>,
    /// Where it starts.
    pub directory: PathBuf,
    /// The folder that its tarball was unpacked into.
    pub unpacked: Option<PathBuf>,
    /// Its lasting data directory, to be made before the start.
    pub data: PathBuf,
    /// What it and all that comes of it are known by.
    pub life: Life,
}

/// Puts together the start of `program`, which is that of `spec`, on `address`, as `life`. `home` is VIAM_HOME.
pub fn launch(spec: &ModuleSpec, program: &Program, address: &OsStr, home: &Path, life: Life) -> Launch {
    let Program { executable, root, .. } = program.clone();
    let usual = || home.join("module-data/local").join(spec.name.as_str());
    let data = spec.data.clone().unwrap_or_else(usual);
    let unpacked = spec.tarball.then(|| root.clone());
    let mut env: BTreeMap<String, OsString> = BTreeMap::from([
        ("VIAM_HOME".into(), home.into()),
        ("VIAM_MODULE_DATA".into(), data.clone().into()),
        ("VIAM_MODULE_NAME".into(), spec.name.as_str().into()),
    ]);
    if spec.registry {
        env.insert("VIAM_MODULE_ID".into(), spec.id.clone().into());
    } else {
        env.insert("VIAM_MODULE_ROOT".into(), root.clone().into());
    }
    env.extend(spec.env.iter().map(|(key, value)| (key.clone(), value.into())));
    // The two variables that a config cannot override: the address of the socket that we watch, and the mark by which we
    // find what left its parents.
    env.insert("VIAM_MODULE_ADDRESS".into(), address.into());
    env.insert(MARK.into(), life.mark.clone().into());
    let directory = env.get("VIAM_MODULE_ROOT").map_or(root, PathBuf::from);
    let mut arguments = vec![address.to_owned()];
    arguments.extend(spec.arguments.iter().map(OsString::from));
    if spec.tcp {
        arguments.push("--tcp-mode".into());
    }
    Launch {
        executable,
        arguments,
        env,
        directory,
        unpacked,
        data,
        life,
    }
}

/// The `--log-level` argument: the module's own level, else `debug` where the core logs at debug level.
pub fn log_level_argument(own: Option<&str>, debug: bool) -> Option<String> {
    match own {
        Some(level) if !level.is_empty() => Some(format!("--log-level={level}")),
        _ => debug.then(|| "--log-level=debug".to_owned()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn spec() -> ModuleSpec {
        ModuleSpec {
            name: "gear".into(),
            id: String::new(),
            local: true,
            registry: false,
            executable: "/opt/gear/bin/run".into(),
            shown: "/opt/gear/bin/run".into(),
            tarball: false,
            tcp: false,
            first_run_timeout: Duration::from_secs(60),
            arguments: vec!["--log-level=warn".into()],
            env: BTreeMap::new(),
            policy: Policy::default(),
            data: None,
        }
    }

    pub fn life() -> Life {
        Life::new("0123", &"gear".into(), 3)
    }

    fn program() -> Program {
        Program {
            executable: "/opt/gear/bin/run".into(),
            root: "/opt/gear/bin".into(),
            first_run: None,
        }
    }

    #[test]
    fn a_module_gets_the_socket_first_and_starts_in_its_own_folder() {
        let launch = launch(&spec(), &program(), OsStr::new("/r/s.sock"), Path::new("/h"), life());
        assert_eq!(launch.arguments, ["/r/s.sock", "--log-level=warn"]);
        assert_eq!(launch.directory, Path::new("/opt/gear/bin"));
        assert_eq!(launch.env["VIAM_MODULE_DATA"], "/h/module-data/local/gear");
        assert_eq!(launch.env["VIAM_MODULE_ROOT"], "/opt/gear/bin");
        assert!(!launch.env.contains_key("VIAM_MODULE_ID"));
    }

    #[test]
    fn the_config_wins_over_everything_but_the_address() {
        let mut spec = spec();
        spec.env = BTreeMap::from([
            ("VIAM_MODULE_ROOT".into(), "/elsewhere".into()),
            ("VIAM_MODULE_ADDRESS".into(), "/evil".into()),
            (MARK.into(), "another/module/1".into()),
            ("PORT".into(), "x".into()),
        ]);
        let launch = launch(&spec, &program(), OsStr::new("/r/s.sock"), Path::new("/h"), life());
        assert_eq!(launch.directory, Path::new("/elsewhere"));
        assert_eq!(launch.env["VIAM_MODULE_ADDRESS"], "/r/s.sock");
        assert_eq!(launch.env[MARK], "0123/gear/3");
        assert_eq!(launch.env["PORT"], "x");
    }

    #[test]
    fn tcp_mode_is_told_last_and_an_unpacked_module_has_its_own_root() {
        let mut spec = spec();
        spec.tcp = true;
        let program = Program {
            executable: "/u/gear/bin/run".into(),
            root: "/u/gear".into(),
            first_run: None,
        };
        let launch = launch(&spec, &program, OsStr::new("127.0.0.1:4711"), Path::new("/h"), life());
        assert_eq!(launch.arguments, ["127.0.0.1:4711", "--log-level=warn", "--tcp-mode"]);
        assert_eq!(launch.env["VIAM_MODULE_ADDRESS"], "127.0.0.1:4711");
        assert_eq!(launch.env["VIAM_MODULE_ROOT"], "/u/gear");
        assert_eq!(launch.executable, Path::new("/u/gear/bin/run"));
        assert_eq!(launch.directory, Path::new("/u/gear"));
    }

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
