//! Networks of a test's own: network namespaces, joined by cables as two computers are. Nothing in them reaches the network of
//! the host, nor other tests. They need root, `unshare` and `nsenter` of util-linux, and `ip` of iproute2.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::{fs, io};

use nix::sched::{CloneFlags, setns};

use crate::bins;
use crate::place::Place;

/// Network namespace. It goes with the process that holds it, and with what still runs in it.
#[derive(Debug)]
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// A network with a loopback interface alone; none, which is said, where the test may not make one.
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: only root can make a network of its own");
            return None;
        }
        let script = "ip link set lo up && echo ready && exec sleep infinity";
        let mut holder = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux is there");
        let mut line = String::new();
        let output = holder.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("readable");
        assert_eq!(
            line, "ready\n",
            "no network namespace; iproute2 is needed: apt-get install iproute2"
        );
        Some(Self { holder })
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// A command that is run in it, with the environment of `place`.
    pub fn command(&self, place: &Place, program: &Path) -> Command {
        let mut command = place.command(Path::new("nsenter"));
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Folders whose machines run in it, and may tell of themselves by mDNS.
    pub fn place(&self) -> Place {
        let place = Place::new().env("MAINSTAY_NO_MDNS", "false");
        let script = format!(
            "#!/bin/sh\nexec nsenter --net={} '{}' \"$@\"\n",
            self.path().display(),
            bins::mainstay().display()
        );
        let path = place.write("mainstay-in-namespace", &script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
        place.server(&path)
    }

    /// Runs `ip` in it.
    pub fn ip(&self, arguments: &str) {
        self.run("ip", arguments);
    }

    /// Runs `tc` in it, which makes lines slow and lossy, and returns what it prints.
    pub fn tc(&self, arguments: &str) -> String {
        self.run("tc", arguments)
    }

    fn run(&self, program: &str, arguments: &str) -> String {
        let done = Command::new("nsenter")
            .arg(format!("--net={}", self.path().display()))
            .arg(program)
            .args(arguments.split(' '))
            .stderr(Stdio::inherit())
            .output()
            .expect("util-linux is there");
        assert!(done.status.success(), "{program} {arguments}");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Lays a cable to another one: both ends are called `cable`, have these addresses (with a `/` and their mask), and are where
    /// all that is not near goes, as on most hosts.
    pub fn join(&self, other: &Self, own: &str, others: &str) {
        let there = other.holder.id();
        self.ip(&format!("link add cable type veth peer name cable netns {there}"));
        for (namespace, address) in [(self, own), (other, others)] {
            namespace.ip(&format!("address add {address} dev cable"));
            namespace.ip("link set cable up");
            namespace.ip("route add default dev cable");
        }
    }

    /// Runs a function in it, on a thread of its own: sockets that it opens stay there.
    ///
    /// # Panics
    /// As the function does.
    pub fn within<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(self.path()).expect("the namespace lives");
        let enter = || -> io::Result<()> { Ok(setns(&file, CloneFlags::CLONE_NEWNET)?) };
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                enter().expect("root enters it");
                run()
            });
            thread.join().expect("it ran")
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _gone = self.holder.kill();
        let _reaped = self.holder.wait();
    }
}
