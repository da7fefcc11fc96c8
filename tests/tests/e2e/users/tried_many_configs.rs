//! The state folder does not grow with what was tried once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mainstay_tests::machine::Machine;
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place, World};
use nix::sys::signal::Signal;

/// Kept configs below a state folder.
fn kept(state: &Path) -> Vec<PathBuf> {
    let mut files = files(state);
    files.retain(|file| !file.ends_with("log"));
    files
}

/// Files that configs left below a state folder.
fn files(state: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = inside(&state.join("last-good"));
    folders
        .flat_map(|folder| inside(&folder.path()).map(|file| file.path()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test]
async fn check_plan_and_refused_starts_leave_nothing_in_the_state_folder() {
    let place = Place::new();
    let config = place.write("machine.json", &Machine::new().json().to_string());
    let other = place.write(
        "other.json",
        &Machine::new().heartbeat_window("700ms").json().to_string(),
    );
    let [config, other] = [&config, &other].map(|path| path.to_str().expect("UTF-8"));
    for arguments in [
        ["check", config].as_slice(),
        &["diff", config, "--last-good"],
        &["plan", config],
        &["plan", "--machine", config, other],
        &["status", "--machine", config],
    ] {
        let _whatever_it_says = place.mainstay(arguments).await;
    }
    let refused = place.run_to_the_end("broken.json", "{").await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let left: Vec<_> = fs::read_dir(place.file("state"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_first_run_that_ends_by_ctrl_c_soon_leaves_nothing_and_any_other_keeps_its_config() {
    for (signal, again, stays) in [
        (Signal::SIGINT, false, false),
        (Signal::SIGTERM, false, true),
        // A robot that ran before is no trial.
        (Signal::SIGINT, true, true),
    ] {
        let mut world = World::settled(Machine::new()).await;
        let state = world.place.file("state");
        assert!(eventually(PATIENCE, || !kept(&state).is_empty()).await);
        if again {
            world.stop_core().await;
            world = world.restart_as_it_is().await;
            world.until(|now| now.running()).await;
        }
        proc::signal(world.guardian(), signal);
        world.ended().await.with_code(0).left_nothing_behind();
        assert_eq!(!files(&state).is_empty(), stays, "{signal}, {again}");
    }
}

#[tokio::test]
async fn what_configs_left_that_are_gone_for_long_goes_at_a_start_and_is_told() {
    let mut world = World::settled(Machine::new()).await;
    let state = world.place.file("state");
    assert!(eventually(PATIENCE, || !kept(&state).is_empty()).await);
    world.stop_core().await;
    let gone = world.config().to_owned();
    fs::remove_file(&gone).expect("there");
    let [left] = kept(&state).try_into().expect("one file");
    let told = format!("{}", gone.display());
    for (days, goes) in [(80, false), (91, true)] {
        let at = SystemTime::now() - Duration::from_secs(days * 86_400);
        for file in [&left, &left.with_file_name("log")] {
            let touched = fs::File::open(file).and_then(|file| file.set_modified(at));
            touched.expect("ours");
        }
        let place = std::mem::take(&mut world.place);
        let other = place.write("other.json", &Machine::new().json().to_string());
        world = place.start_file(&other).await;
        world.until(|now| now.running()).await;
        assert!(eventually(PATIENCE, || kept(&state).len() == if goes { 1 } else { 2 }).await);
        assert_eq!(left.exists(), !goes, "{days}");
        if goes {
            world.until_printed("removed the last good config").await;
            assert!(world.output().contains(&told), "{}", world.output());
        }
        world.stop_core().await;
    }
}
