//! Files run out: the limit is raised, some are kept for the machine itself, and all comes back when room returns.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;

/// A machine that is started under these limits of open files, and whose module writes down the limits that it gets.
async fn world(limits: &str) -> World {
    let place = Place::new();
    let executable = |name: &str, text: &str| {
        let path = place.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        path
    };
    let server = executable(
        "limited.sh",
        &format!(
            "#!/bin/sh\nulimit {limits}\nexec {} \"$@\"\n",
            bins::mainstay().display()
        ),
    );
    let module = executable(
        "eyes.sh",
        "#!/bin/sh\necho $(ulimit -Sn) $(ulimit -Hn) > \"$WRITTEN\"\nexec \"$FIXTURE\" \"$@\"\n",
    );
    let module = Module::new("eyes", &module)
        .env("NONCE", "eyes")
        .env("FIXTURE", bins::find("misbehave").to_str().expect("UTF-8"))
        .env("WRITTEN", place.file("limits.txt").to_str().expect("UTF-8"));
    let machine = Machine::new().module(module).resource(Resource::probe("probe"));
    let mut world = place.server(&server).start(machine).await;
    world.until(|now| now.ready("probe")).await;
    world
}

#[tokio::test]
async fn the_soft_limit_is_raised_and_modules_get_the_old_one() {
    let world = world("-Sn 256").await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.pid())).expect("there");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .expect("a line");
    let mut numbers = files.split_whitespace().skip(3);
    let (soft, hard) = (numbers.next().expect("soft"), numbers.next().expect("hard"));
    assert_eq!(soft, hard);
    let given = fs::read_to_string(world.place.file("limits.txt")).expect("written");
    assert_eq!(given.trim(), format!("256 {hard}"));
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn idle_clients_take_no_file_that_the_machine_needs_itself() {
    let mut world = world("-n 1024").await;
    let idle: Vec<_> = (0..1100)
        .filter_map(|_| TcpStream::connect(world.address()).ok())
        .collect();
    let status = async |world: &World| {
        world
            .cli(&["status", "--machine", world.config().to_str().expect("UTF-8")])
            .await
    };
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let shown = status(&world).await;
        assert_eq!(shown.code, 0, "{shown:?}");
        if shown.stdout.contains("of 1024 files are open") {
            break;
        }
        assert!(std::time::Instant::now() < end, "{shown:?}");
    }
    // Modules start, and the config is read.
    let text = fs::read_to_string(world.config()).expect("there");
    fs::write(world.config(), text.replace("\"eyes\"", "\"ears\"")).expect("ours");
    world.until_printed("the change is applied").await;
    drop(idle);
    assert!(
        eventually(PATIENCE, || {
            fs::read_dir(format!("/proc/{}/fd", world.pid())).is_ok_and(|files| files.count() < 200)
        })
        .await
    );
    let now = world.until(|now| now.module_ready("ears")).await;
    proc::signal(now.pid("ears").expect("a process"), Signal::SIGKILL);
    world.until(|now| now.ready("probe")).await;
    let shown = status(&world).await;
    assert!(!shown.stdout.contains("files are open"), "{shown:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
