//! Signals as they were given: a machine outlives its terminal if it was told to, can be ended whatever its parent blocked,
//! and its modules start with all defaults.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Module};
use mainstay_tests::proc;
use mainstay_tests::world::Place;
use nix::sys::signal::Signal;

/// A server that starts the real one as a shell script says.
fn starter(place: &Place, script: &str) -> std::path::PathBuf {
    let path = place.write("starter.sh", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    path
}

/// A module that writes down its signal sets before it becomes the fixture.
fn witness(place: &Place) -> (Module, std::path::PathBuf) {
    let written = place.file("signals.txt");
    let script = place.write(
        "witness.sh",
        "#!/bin/sh\ngrep -E '^Sig(Ign|Blk)' /proc/self/status > \"$WRITTEN\"\nexec \"$FIXTURE\" \"$@\"\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("ours");
    let module = Module::new("witness", &script)
        .env("NONCE", "witness")
        .env("FIXTURE", bins::find("misbehave").to_str().expect("UTF-8"))
        .env("WRITTEN", written.to_str().expect("UTF-8"));
    (module, written)
}

fn assert_defaults(written: &Path) {
    let text = fs::read_to_string(written).expect("the module wrote it");
    for line in text.lines() {
        let set = line.split_whitespace().nth(1).expect("a set");
        assert_eq!(set.trim_start_matches('0'), "", "{text}");
    }
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[tokio::test]
async fn a_machine_under_nohup_outlives_hang_ups_and_its_modules_start_with_defaults() {
    let place = Place::new();
    let (witness, written) = witness(&place);
    let mainstay = bins::mainstay();
    // SIGINT and SIGTERM ignored as well, as shells and careless parents do.
    let starter = starter(
        &place,
        &format!(
            "trap '' HUP INT TERM QUIT TTOU CHLD\nexec {} \"$@\"",
            mainstay.display()
        ),
    );
    let mut world = place.server(&starter).start(Machine::new().module(witness)).await;
    world.until(|now| now.module_ready("witness")).await;
    assert_defaults(&written);
    for _ in 0..2 {
        proc::signal(world.guardian(), Signal::SIGHUP);
        proc::signal(world.pid(), Signal::SIGHUP);
    }
    world.until_printed("asked to read the config again").await;
    assert!(world.snapshot().await.running());
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_whose_terminal_is_closed_stays_under_nohup_and_ends_without() {
    // `script` gives it a terminal, and takes it away when it ends.
    if !Path::new("/usr/bin/script").exists() {
        return;
    }
    for (begin, stays) in [("trap '' HUP\nexec", true), ("exec", false)] {
        let place = Place::new();
        let mainstay = bins::mainstay();
        let inner = place.write("inner.sh", &format!("{begin} {} \"$@\"\n", mainstay.display()));
        // Whoever runs the tests may ignore SIGHUP, which a shell cannot undo.
        let script = format!(
            "exec env --default-signal=HUP script -qec \"sh {} $* >> $HOME/out 2>&1\" /dev/null < /dev/null",
            inner.display()
        );
        let starter = starter(&place, &script);
        let mut world = place.server(&starter).start(Machine::new()).await;
        world.until(|now| now.running()).await;
        let core = world.pid();
        // Its terminal goes with it.
        proc::signal(world.guardian(), Signal::SIGKILL);
        if stays {
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            assert!(proc::alive(core), "ended with its terminal");
            proc::signal(core, Signal::SIGTERM);
        }
        let gone = proc::eventually(mainstay_tests::world::PATIENCE, || !proc::alive(core)).await;
        assert!(gone, "{begin}");
        let _remains = world.ended().await;
    }
}
