//! Tests of finding cgroups and of what is written into them; and, where the system lets us, of real ones.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_model::Limits;
use mainstay_model::cgroup::Controllers;

use super::tree::values;
use super::*;

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(2);

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";

#[test]
fn our_cgroup_is_found_wherever_it_is_mounted() {
    let unified = "29 22 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    let container = "29 22 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw";
    let odd = r"29 22 0:26 / /mnt/my\040groups\134x rw - cgroup2 none rw";
    for (mounts, cgroup, expected) in [
        (unified, "0::/", Some("/sys/fs/cgroup")),
        (
            unified,
            "0::/system.slice/mainstay.service",
            Some("/sys/fs/cgroup/system.slice/mainstay.service"),
        ),
        (HYBRID, "4:memory:/x\n0::/y", Some("/sys/fs/cgroup/unified/y")),
        (container, "0::/docker/abc/in", Some("/sys/fs/cgroup/in")),
        (container, "0::/elsewhere", None),
        (container, "0::/../..", None),
        (odd, "0::/a b", Some("/mnt/my groups\\x/a b")),
        (unified, "0::/gone (deleted)", None),
        (unified, "4:memory:/", None),
        ("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw", "0::/", None),
        ("", "0::/", None),
    ] {
        let found = CgroupPath::parse(mounts, cgroup).map(|place| place.directory);
        assert_eq!(found.as_deref(), expected.map(Path::new), "{cgroup}");
    }
}

#[test]
fn the_machines_directory_is_the_same_before_and_after_the_move_to_the_leaf() {
    for own in ["0::/service", "0::/service/mainstay-abc-core"] {
        let place = CgroupPath::parse(HYBRID, own).expect("found").base("mainstay-abc-core");
        assert_eq!(place.path, Path::new("/service"));
        assert_eq!(place.directory, Path::new("/sys/fs/cgroup/unified/service"));
    }
}

#[test]
fn a_limit_is_written_where_there_is_a_controller_for_it() {
    let limits = Limits {
        memory: Some(64 << 20),
        cpu: Some(0.5),
        pids: Some(20),
        open_files: Some(9),
    };
    let check = |text: &str, expected: &[(&'static str, &str)]| {
        let values = values(&limits, Controllers::parse(text));
        let values: Vec<_> = values.iter().map(|(file, value)| (*file, value.as_str())).collect();
        assert_eq!(values, expected, "{text}");
    };
    check("hugetlb rdma", &[]);
    check("pids", &[("pids.max", "20")]);
    check("cpuset cpu io", &[("cpu.max", "50000 100000")]);
    check("memory", &[("memory.max", "67108864"), ("memory.oom.group", "1")]);
    assert_eq!(values(&Limits::default(), Controllers::parse("memory cpu pids")), []);
    let tiny = Limits {
        cpu: Some(0.001),
        ..Limits::default()
    };
    assert_eq!(
        values(&tiny, Controllers::parse("cpu")),
        [("cpu.max", "1000 100000".to_owned())]
    );
}

#[test]
fn what_leaves_its_session_is_still_killed_and_nothing_is_left() {
    let runtime = tempfile::tempdir().expect("a folder");
    let tree = match Tree::open(runtime.path()) {
        Ok(tree) => tree,
        Err(why) => return eprintln!("SKIPPED: {why}"),
    };
    let group = tree.create("gear", 1, &Limits::default()).expect("a cgroup");
    let script = format!(
        "echo 0 > {}/cgroup.procs; setsid sh -c 'sleep 1000 & exec sleep 1000' & wait",
        group.directory().display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::null())
        .spawn()
        .expect("there is a shell");
    let end = Instant::now() + Duration::from_secs(10);
    while group.members().expect("it exists").len() < 3 {
        assert!(Instant::now() < end, "{:?}", group.members());
        std::thread::sleep(LOOK);
    }
    assert!(group.lives());
    group.kill();
    child.wait().expect("it was ours");
    while group.lives() {
        assert!(Instant::now() < end, "{:?}", group.members());
        std::thread::sleep(LOOK);
    }
    group.remove();
    let directory = tree.place.directory.clone();
    assert!(!group.directory().exists());
    // A core that was killed leaves cgroups with living processes in them: whoever sweeps ends both.
    let left = tree.create("gear", 2, &Limits::default()).expect("a cgroup");
    let script = format!("echo 0 > {}/cgroup.procs; exec sleep 1000", left.directory().display());
    let mut child = Command::new("sh").args(["-c", &script]).spawn().expect("a shell");
    while !left.lives() {
        assert!(Instant::now() < end, "nobody entered");
        std::thread::sleep(LOOK);
    }
    sweep(runtime.path()).expect("swept");
    assert!(!child.wait().expect("it was ours").success());
    assert!(!directory.exists());
}
