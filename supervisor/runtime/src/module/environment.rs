//! Launch parameters of a module's process: arguments, environment, working directory (spec: module protocol §1.1–1.3).

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use mainstay_model::ModuleSpec;
use mainstay_process::guardian::leftovers::MARK;
use mainstay_process::launch::Launch;
use mainstay_process::orphans::Life;

use super::package::Program;

/// Puts together the start of `program`, which is that of `spec`, on `address`, as `life`. `home` is VIAM_HOME.
pub fn launch(spec: &ModuleSpec, program: &Program, address: &OsStr, home: &Path, life: Life) -> Launch {
    let Program { executable, root, .. } = program.clone();
    let usual = || home.join("module-data/local").join(spec.name.as_str());
    let data = spec.data.clone().unwrap_or_else(usual);
    let unpacked = spec.tarball.then(|| root.clone());
    let mut env: BTreeMap<String, OsString> = BTreeMap::from([
        // A Python program prints its stacks when it crashes, or is asked for them: see `stacks`.
        ("PYTHONFAULTHANDLER".into(), "1".into()),
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

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use mainstay_model::Policy;

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
}
