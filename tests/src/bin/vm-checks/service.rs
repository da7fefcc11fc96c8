//! Cgroup of a service, as a service manager with `Delegate=yes` makes it.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_tests::bins;
use mainstay_tests::proc;
use mainstay_tests::world::Place;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

const ROOT: &str = "/sys/fs/cgroup";
/// Files of a cgroup that a manager delegates with the directory.
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];

/// Cgroup with all controllers, and the user that it is delegated to.
pub struct ServiceCgroup {
    /// Directory of the cgroup.
    pub directory: PathBuf,
    name: &'static str,
    uid: u32,
}

impl ServiceCgroup {
    /// Creates the cgroup, or reuses the one of this name.
    pub fn new(name: &'static str) -> Self {
        Self::of(name, 0)
    }

    /// Creates the cgroup and delegates it to a user.
    pub fn of(name: &'static str, uid: u32) -> Self {
        fs::write(format!("{ROOT}/cgroup.subtree_control"), "+memory +cpu +pids").expect("the kernel has them all");
        let directory = Path::new(ROOT).join(name);
        fs::create_dir_all(&directory).expect("a cgroup");
        chown(&directory, Some(uid), Some(uid)).expect("we are root");
        for file in DELEGATED {
            chown(directory.join(file), Some(uid), Some(uid)).expect("we are root");
        }
        Self { directory, name, uid }
    }

    /// Creates a place whose machine runs in this cgroup.
    pub fn place(&self) -> Place {
        self.adopt(Place::new())
    }

    /// Makes the machine of a place run in this cgroup from now on.
    pub fn adopt(&self, place: Place) -> Place {
        let script = place.write(
            "service",
            &format!(
                "#!/bin/sh\nexec /app/vm-checks enter {} {} {} \"$@\"\n",
                self.directory.display(),
                self.uid,
                bins::mainstay().display()
            ),
        );
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
        for folder in [place.folder().to_owned(), place.file("home"), place.file("run")] {
            chown(folder, Some(self.uid), Some(self.uid)).expect("we are root");
        }
        place.server(&script)
    }

    /// Returns the cgroup of a process relative to the service's.
    pub fn cgroup_of(&self, pid: i32) -> String {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
        let path = text.trim().strip_prefix("0::").expect("there is only version 2");
        let start = format!("/{}", self.name);
        path.strip_prefix(&start)
            .unwrap_or_else(|| panic!("{path} is not below {start}"))
            .to_owned()
    }

    /// Reads a file of a cgroup below the service's.
    pub fn read(&self, cgroup: &str, file: &str) -> String {
        let path = self.directory.join(cgroup.trim_start_matches('/')).join(file);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().to_owned(),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// Parses the number behind a key in such a file.
    pub fn count(&self, cgroup: &str, file: &str, key: &str) -> u64 {
        let text = self.read(cgroup, file);
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no `{key}` in {file}: {text}"))
    }

    /// Lists all cgroups below it.
    pub fn below(&self) -> Vec<PathBuf> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    found.push(entry.path());
                    walk(&entry.path(), found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.directory, &mut found);
        found
    }

    /// Fails unless the cgroup is as at its creation: without processes, children and enabled controllers.
    pub async fn is_as_new(&self) {
        let remains = || {
            let below = self.below();
            let (procs, handed_down) = (self.read("", "cgroup.procs"), self.read("", "cgroup.subtree_control"));
            (below, procs, handed_down)
        };
        let nothing = || remains() == (Vec::new(), String::new(), String::new());
        let empty = proc::eventually(mainstay_tests::world::PATIENCE, nothing).await;
        assert!(empty, "left of the service's cgroups: {:?}", remains());
    }
}

/// Executes `program` in this cgroup and as this user. Returns only if that fails.
pub fn enter(cgroup: &str, uid: &str, program: &str, arguments: &[String]) -> io::Error {
    let become_it = || -> io::Result<Command> {
        fs::write(Path::new(cgroup).join("cgroup.procs"), "0")?;
        let uid: u32 = uid.parse().map_err(io::Error::other)?;
        if uid != 0 {
            setgroups(&[])?;
            setgid(Gid::from_raw(uid))?;
            setuid(Uid::from_raw(uid))?;
        }
        let mut command = Command::new(program);
        command.args(arguments);
        Ok(command)
    };
    match become_it() {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}
