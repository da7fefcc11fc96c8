//! Checks of processes in uninterruptible sleep: they are named, and not waited for.

use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::Check;
use crate::held::{background, command, held, neighbours, restart, start, until_back};
use crate::service::ServiceCgroup;

pub const CHECKS: &[Check] = crate::checks![what_is_in_state_d_is_named_and_not_waited_for];
/// Checks of a separate boot.
pub const CORE: &[Check] = crate::checks![the_guardian_names_what_is_in_state_d_after_a_killed_core];

/// Frozen file system: writers wait for it in uninterruptible sleep.
struct Frozen {
    folder: PathBuf,
    image: PathBuf,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

impl Frozen {
    fn new(name: &str) -> Self {
        let folder = Path::new("/mnt").join(name);
        let image = Path::new("/tmp").join(name).with_extension("img");
        let shown = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        std::fs::create_dir_all(&folder).expect("ours");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(4 << 20))
            .expect("there is room");
        run("mke2fs", &["-F", &shown(&image)]);
        run("mount", &["-t", "ext4", "-o", "loop", &shown(&image), &shown(&folder)]);
        let frozen = Self { folder, image };
        frozen.freeze();
        frozen
    }

    fn freeze(&self) {
        run(
            "fsfreeze",
            &["--freeze", self.folder.to_str().expect("a path in UTF-8")],
        );
    }

    /// Path of a file on it.
    fn file(&self) -> String {
        self.folder.join("x").display().to_string()
    }

    fn thaw(&self) {
        let _thawed = Command::new("fsfreeze").arg("--unfreeze").arg(&self.folder).output();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        let _unmounted = Command::new("umount").arg(&self.folder).output();
        let _gone = std::fs::remove_file(&self.image);
    }
}

/// Returns true if a thread of the process is in uninterruptible sleep.
fn stuck(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    threads.into_iter().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('D'))
    })
}

async fn until_stuck(pid: i32) {
    assert!(eventually(PATIENCE, || stuck(pid)).await, "{pid} never came to state D");
}

/// Makes the module itself write to the frozen file; returns its process id.
async fn write(world: &World, frozen: &Frozen) -> i32 {
    let pid = world.snapshot().await.pid("held").expect("it runs");
    let (request, file) = (json!({ "write": frozen.file() }), frozen.folder.clone());
    tokio::select! {
        answer = command(world, request) => panic!("it wrote to {}: {answer:?}", file.display()),
        () = until_stuck(pid) => {}
    }
    pid
}

/// Waits until the thawed processes are dead and no other process lives in the place.
async fn is_over(world: &World, pids: &[i32]) {
    let dead = eventually(PATIENCE, || !pids.iter().any(|pid| proc::alive(*pid))).await;
    assert!(dead, "some of {pids:?} live on");
    let empty = eventually(PATIENCE, || world.place.processes().is_empty()).await;
    assert!(empty, "{:?}", world.place.processes());
}

/// Checks that each of these processes was named in the output, and still exists.
fn named(world: &World, left: &[(i32, &str)]) {
    for (pid, name) in left {
        assert!(stuck(*pid), "the check is of no use: {pid} ended");
        let words = format!("process {pid} ({name}) is left behind: it waits in the kernel (state D)");
        assert!(world.output().contains(&words), "{words}");
    }
}

/// Policy keys of the module.
fn treatment() -> [(&'static str, Value); 2] {
    [
        ("stop", json!({ "grace": "1s" })),
        ("limits", json!({ "memory": "200 MiB" })),
    ]
}

/// Runs all checks with one config: on an emulated processor a machine takes many seconds to start.
async fn what_is_in_state_d_is_named_and_not_waited_for() {
    let service = ServiceCgroup::new("stuck");
    let frozen = Frozen::new("frozen");
    let mut world = start(&service, &treatment()).await;
    let traffic = neighbours(&world);

    crate::step("a_child_in_state_d_does_not_delay_the_restart_of_its_module");
    let pid = world.snapshot().await.pid("held").expect("it runs");
    let child = background(&world, &format!("echo x > {}", frozen.file())).await;
    until_stuck(child).await;
    restart(&world).await.expect("it restarts");
    until_back(&mut world, pid).await;
    assert!(stuck(child), "the check is of no use");
    world.until_printed(&format!("pid={child}")).await;

    crate::step("a_module_in_state_d_is_named_and_replaced");
    let first = write(&world, &frozen).await;
    restart(&world).await.expect("it restarts");
    let now = until_back(&mut world, first).await;
    assert!(stuck(first), "the check is of no use");
    let told = |text: &str| text.contains("state D") && text.contains(&first.to_string());
    assert!(told(&held(&now).last), "{:?}", held(&now).last);
    let explained = world.cli(&["explain", "held"]).await.stdout;
    assert!(told(&explained), "{explained}");
    traffic.end().none_failed().expect("no call of the neighbour failed");

    crate::step("the_core_ends_though_modules_are_in_state_d");
    let second = write(&world, &frozen).await;
    proc::signal(world.guardian(), Signal::SIGTERM);
    assert_eq!(world.ended().await.code, 0);
    named(&world, &[(child, "sh"), (first, "misbehave"), (second, "misbehave")]);

    crate::step("the_next_start_is_not_in_the_way_of_what_is_still_there");
    let mut world = world.restart().await;
    world.until(|now| now.ready("thing")).await;
    assert!(stuck(second), "the check is of no use");
    let now = world.snapshot().await;
    assert!(
        held(&now).limits.iter().all(|limit| limit.held == "cgroup"),
        "{:?}",
        held(&now).limits
    );
    frozen.thaw();
    let over = eventually(PATIENCE, || ![child, first, second].iter().any(|pid| proc::alive(*pid)));
    assert!(over.await, "they live on");
    world.shutdown().await.with_code(0).left_nothing_behind();
    service.is_as_new().await;
}

async fn the_guardian_names_what_is_in_state_d_after_a_killed_core() {
    let service = ServiceCgroup::new("stuck");
    let frozen = Frozen::new("frozen");
    let mut world = start(&service, &treatment()).await;
    let third = write(&world, &frozen).await;
    proc::signal(world.pid(), Signal::SIGKILL);
    assert_eq!(world.ended().await.code, 128 + 9);
    named(&world, &[(third, "misbehave")]);
    frozen.thaw();
    is_over(&world, &[third]).await;
    let mut world = world.restart().await;
    world.until(|now| now.ready("thing")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
    service.is_as_new().await;
}
