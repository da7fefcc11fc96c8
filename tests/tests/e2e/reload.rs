//! The file of a running machine changes: what works is taken up, what does not changes nothing, and what turns out badly
//! goes back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_proto::viam::robot::v1::{StartSessionRequest, StartSessionResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::status::Snapshot;
use mainstay_tests::traffic::Traffic;
use mainstay_tests::world::{Place, World};
use mainstay_tests::{bins, proc};
use nix::sys::signal::Signal;
use serde_json::json;

/// Two modules, each with a sensor. The first one is never touched.
fn two() -> Machine {
    Machine::new()
        .module(Module::family("calm"))
        .module(Module::family("busy"))
        .resource(Resource::of("calm", "probe", "still"))
        .resource(Resource::of("busy", "probe", "moved"))
}

/// Changes that are not healthy go back after this long.
fn reverting(machine: Machine, window: &str) -> Machine {
    machine.set("apply", json!({ "on_failure": "revert", "window": window }))
}

fn is(state: ConfigState) -> impl Fn(&Snapshot) -> bool {
    move |now| now.config_is(state)
}

/// The file's text runs, and is the one of this revision.
fn runs(revision: u64) -> impl Fn(&Snapshot) -> bool {
    move |now| now.config_is(ConfigState::Current) && now.config().revision == Some(revision)
}

#[tokio::test]
async fn a_file_that_is_edited_is_taken_up_and_untouched_resources_miss_no_call() {
    let mut world = World::settled(two()).await;
    let now = world.until(runs(1)).await;
    let calm = now.pid("calm");
    let traffic = Traffic::on(&world, &["still"], Duration::from_millis(5));
    let more = two().resource(Resource::of("busy", "probe", "new"));
    let begun = Instant::now();
    world.rewrite(&more);
    world.until(|now| now.ready("new")).await;
    eprintln!("write → the new resource is READY: {:?}", begun.elapsed());
    world.until(runs(2)).await;
    // Another attribute; then by rename, and what is gone is gone.
    let attributes = json!({ "rate": 2 });
    world.replace(
        &more
            .clone()
            .resource(Resource::of("busy", "probe", "third").attributes(attributes)),
    );
    world.until(|now| runs(3)(now) && now.ready("third")).await;
    world.replace(&two());
    let now = world
        .until(|now| runs(4)(now) && now.resource("third").is_none() && now.resource("new").is_none())
        .await;
    assert_eq!(now.pid("calm"), calm);
    // A burst: the last content wins.
    for number in 0..50 {
        world.rewrite(&two().set("revision", json!(format!("r{number}"))));
    }
    let last = |now: &Snapshot| now.control.revision == "r49" && now.config_is(ConfigState::Current);
    world.until(last).await;
    let calls = traffic.end();
    assert!(calls.failed.is_empty(), "{:?}", calls.failed);
    assert!(calls.answered > 10, "{calls:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_text_that_cannot_be_used_changes_nothing_and_the_status_says_so() {
    let mut world = World::settled(two()).await;
    let before = world.until(runs(1)).await;
    let good = fs::read_to_string(world.config()).expect("it was written");
    world.rewrite_text(&good.replacen("\"components\": [", "\"components\": 7, \"other\": [", 1));
    let now = world.until(is(ConfigState::Refused)).await;
    let reasons = now.config().reasons;
    assert!(
        reasons.iter().any(|reason| reason.contains("machine.json:")),
        "{reasons:?}"
    );
    world
        .until_printed("the config is refused; what runs is left as it is")
        .await;
    let told = world.cli(&["status"]).await;
    assert!(told.stdout.contains("config refused"), "{told:?}");
    let told = world.cli(&["status", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(told["config_status"]["state"], "refused");
    assert_eq!(told["config_status"]["revision"], 1);
    fs::remove_file(world.config()).expect("it is there");
    world.until(is(ConfigState::Away)).await;
    world.rewrite_text("");
    world.until(is(ConfigState::Refused)).await;
    world.rewrite_text(&good);
    let after = world.until(runs(1)).await;
    assert_eq!(
        (before.pid("busy"), before.pid("calm")),
        (after.pid("busy"), after.pid("calm"))
    );
    assert!(after.ready("still") && after.ready("moved"));
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_change_that_is_not_healthy_goes_back_and_is_not_tried_again() {
    let first = reverting(two(), "1s");
    let mut world = World::settled(first.clone()).await;
    world.until(runs(1)).await;
    let traffic = Traffic::on(&world, &["still"], Duration::from_millis(5));
    // It is watched, and then it counts.
    let second = first.clone().resource(Resource::of("busy", "probe", "new"));
    world.rewrite(&second);
    world.until(is(ConfigState::Watching)).await;
    world.until(|now| runs(2)(now) && now.ready("new")).await;
    // A module that dies takes all of its change with it.
    let third = second
        .clone()
        .module(Module::faulty("sick", "exit-after-ready"))
        .resource(Resource::of("busy", "probe", "newer"));
    world.rewrite(&third);
    let now = world
        .until(|now| now.config_is(ConfigState::Reverted) && now.module("sick").is_none() && now.ready("new"))
        .await;
    let reasons = now.config().reasons;
    assert!(
        reasons.iter().any(|reason| reason.contains("module sick died")),
        "{reasons:?}"
    );
    world.until(|now| now.resource("newer").is_none()).await;
    // What can be told to be wrong beforehand is not even tried.
    let typo = Resource::of("busy", "probe", "bad").depends_on(&["nothing"]);
    world.rewrite(&second.clone().resource(typo));
    world.until(is(ConfigState::Refused)).await;
    // One that does not come up goes back at the end of its window.
    let broken = Resource::of("busy", "probe", "bad").attributes(json!({ "fault": "build-error" }));
    let fourth = second.clone().resource(broken);
    world.rewrite(&fourth);
    world.until(is(ConfigState::Watching)).await;
    let now = world
        .until(|now| now.config_is(ConfigState::Reverted) && now.resource("bad").is_none())
        .await;
    assert_eq!(now.config().revision, Some(2));
    let calls = traffic.end();
    assert!(calls.failed.is_empty(), "{:?}", calls.failed);
    // The next start knows it, and says so first.
    let mut world = {
        world.stop_core().await;
        world.restart().await
    };
    let now = world.until(|now| now.running() && now.ready("new")).await;
    assert!(
        now.config_is(ConfigState::Reverted) && now.resource("bad").is_none(),
        "{now:?}"
    );
    let output = world.output();
    assert!(output.contains("it was applied before and taken back"), "{output}");
    // Who insists gets it tried again, with the same end.
    proc::signal(world.guardian(), Signal::SIGHUP);
    world.until(is(ConfigState::Watching)).await;
    world
        .until(|now| now.config_is(ConfigState::Reverted) && now.resource("bad").is_none())
        .await;
    world.rewrite(&second);
    world.until(runs(2)).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_without_a_usable_file_starts_with_the_last_good_one_unless_it_is_to_be_strict() {
    let mut world = World::settled(two()).await;
    world.until(runs(1)).await;
    for text in [Some("{ \"modules\": "), None] {
        match text {
            Some(text) => world.rewrite_text(text),
            None => fs::remove_file(world.config()).expect("it is there"),
        }
        world
            .until(is(if text.is_some() {
                ConfigState::Refused
            } else {
                ConfigState::Away
            }))
            .await;
        world.stop_core().await;
        let config = world.config().to_str().expect("a path in UTF-8").to_owned();
        let strict = world.place.mainstay(&["run", "--strict", &config]).await;
        assert_eq!(strict.code, 1, "{strict:?}");
        assert!(strict.stderr.contains("without --strict"), "{strict:?}");
        world = world.restart_as_it_is().await;
        let now = world
            .until(|now| now.running() && now.ready("still") && now.ready("moved"))
            .await;
        assert_eq!(now.config().revision, Some(1), "{now:?}");
        let expected = if text.is_some() {
            ConfigState::Refused
        } else {
            ConfigState::Away
        };
        assert!(now.config_is(expected), "{now:?}");
        let output = world.output();
        assert!(
            output.contains("the last good config runs instead (revision 1)"),
            "{output}"
        );
    }
    // And goes on with the file when that is there again.
    world.rewrite(&two().resource(Resource::of("busy", "probe", "new")));
    world.until(|now| runs(2)(now) && now.ready("new")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_core_that_is_killed_during_a_change_comes_back_with_the_old_config_or_the_new_one() {
    let mut world = World::settled(two()).await;
    world.until(runs(1)).await;
    for delay in [0, 3, 8, 15, 30, 60, 120] {
        let name = format!("at{delay}");
        world.rewrite(&two().resource(Resource::of("busy", "probe", &name)));
        tokio::time::sleep(Duration::from_millis(delay)).await;
        proc::signal(world.pid(), Signal::SIGKILL);
        let _killed = world.ended().await;
        // What was written last is of no use, so that what was kept has to be.
        world.rewrite_text("{");
        world = world.restart_as_it_is().await;
        let now = world
            .until(|now| now.running() && now.ready("still") && now.ready("moved"))
            .await;
        let names: Vec<_> = now
            .machine
            .resources
            .iter()
            .filter_map(|resource| resource.name.clone())
            .collect();
        let others: Vec<_> = names.iter().filter(|name| name.name.starts_with("at")).collect();
        assert!(others.len() <= 1, "{delay} ms: {now:?}");
        world.rewrite(&two());
        world.until(is(ConfigState::Current)).await;
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_moves_to_another_port_and_not_to_one_that_is_taken() {
    let mut world = World::settled(two()).await;
    world.until(runs(1)).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port");
    let address = taken.local_addr().expect("bound").to_string();
    world.rewrite(&two().bind(&address));
    let now = world.until(is(ConfigState::Refused)).await;
    let reasons = now.config().reasons;
    assert!(
        reasons.iter().any(|reason| reason.contains("address already in use")),
        "{reasons:?}"
    );
    assert_eq!(now.control.listeners.len(), 1);
    drop(taken);
    // Asked for once more, it works: the text is the same, the world is another.
    proc::signal(world.guardian(), Signal::SIGHUP);
    let end = Instant::now() + Duration::from_secs(30);
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        assert!(Instant::now() < end, "nobody listens on {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let old = world.address().to_owned();
    world.moved_to(&address);
    let only = |now: &Snapshot| now.control.listeners.len() == 1 && now.control.listeners[0].address == address;
    world.until(|now| only(now) && runs(2)(now)).await;
    let refused = tokio::net::TcpStream::connect(&old).await;
    assert!(refused.is_err(), "{old} is still open");
    assert!(world.snapshot().await.ready("still"));
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_sensor_that_forbids_it_holds_a_change_up_until_it_allows_it() {
    let place = Place::new();
    let flag = place.file("allowed");
    let attributes = json!({ "allowed_by": flag.to_str().expect("a path in UTF-8") });
    let guarded = two()
        .resource(Resource::of("calm", "probe", "idle").attributes(attributes))
        .set(
            "maintenance",
            json!({ "sensor_name": "rdk:component:sensor/idle", "maintenance_allowed_key": "allowed" }),
        );
    let mut world = place.start(guarded.clone()).await;
    // A start is never held up.
    world.until(|now| runs(1)(now) && now.ready("idle")).await;
    world.rewrite(&guarded.clone().resource(Resource::of("busy", "probe", "new")));
    let now = world.until(is(ConfigState::Waiting)).await;
    assert!(now.resource("new").is_none());
    let reasons = now.config().reasons;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("reading `allowed` is false")),
        "{reasons:?}"
    );
    let told = world.cli(&["status"]).await;
    assert!(told.stdout.contains("waits for maintenance"), "{told:?}");
    fs::write(&flag, "").expect("the folder can be written");
    world.until(|now| runs(2)(now) && now.ready("new")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_text_that_is_refused_for_what_may_pass_is_tried_again_by_itself() {
    let mut world = World::settled(two()).await;
    world.until(runs(1)).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("some port");
    let address = taken.local_addr().expect("bound").to_string();
    world.rewrite(&two().bind(&address));
    let now = world
        .until(|now| is(ConfigState::Refused)(now) && now.config().until.is_some())
        .await;
    assert!(now.ready("still") && now.ready("moved"));
    let told = world.cli(&["status"]).await;
    assert!(told.stdout.contains("tried again in"), "{told:?}");
    world
        .until_printed("nothing is wrong with its text: it is tried again in")
        .await;
    drop(taken);
    let end = Instant::now() + Duration::from_secs(90);
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        assert!(Instant::now() < end, "nobody listens on {address}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.moved_to(&address);
    let now = world.until(runs(2)).await;
    assert!(now.config().until.is_none(), "{now:?}");
    // One whose text is at fault waits for another text.
    world.rewrite(&two().bind("nowhere"));
    let now = world.until(is(ConfigState::Refused)).await;
    assert!(now.config().until.is_none(), "{now:?}");
    world.rewrite(&two().bind(&address));
    world.until(is(ConfigState::Current)).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn included_files_are_followed_like_the_config_itself() {
    let place = Place::new();
    let folder = place.file("parts");
    fs::create_dir_all(&folder).expect("the folder can be written");
    // What one more file holds: a sensor.
    let part = |name: &str| json!({ "components": [Resource::of("calm", "probe", name).json()] }).to_string();
    let (first, second) = (folder.join("first.json"), folder.join("second.json"));
    let write = |path: &Path, text: &str| fs::write(path, text).expect("the folder can be written");
    write(&first, &part("one"));
    let base = |include: &[&Path]| {
        let paths: Vec<_> = include
            .iter()
            .map(|path| path.to_str().expect("a path in UTF-8"))
            .collect();
        Machine::new()
            .module(Module::family("calm"))
            .set("include", json!(paths))
    };
    let mut world = place.start(base(&[&first])).await;
    let pid = world.until(|now| runs(1)(now) && now.ready("one")).await.pid("calm");
    // In place.
    write(&first, &part("two"));
    world
        .until(|now| runs(2)(now) && now.ready("two") && now.resource("one").is_none())
        .await;
    // By rename.
    let beside = folder.join("first.new");
    write(&beside, &part("three"));
    fs::rename(&beside, &first).expect("the folder can be written");
    world
        .until(|now| runs(3)(now) && now.ready("three") && now.resource("two").is_none())
        .await;
    // One more, which is followed from then on.
    write(&second, &part("four"));
    world.rewrite(&base(&[&first, &second]));
    world
        .until(|now| runs(4)(now) && now.ready("three") && now.ready("four"))
        .await;
    write(&second, &part("five"));
    world
        .until(|now| runs(5)(now) && now.ready("five") && now.resource("four").is_none())
        .await;
    // Gone, and back with something else in it.
    fs::remove_file(&second).expect("it is there");
    let away = |now: &Snapshot| is(ConfigState::Refused)(now) || is(ConfigState::Away)(now);
    let now = world.until(away).await;
    assert!(now.ready("five"), "what runs is left as it is: {now:?}");
    assert!(
        now.config().reasons.iter().any(|reason| reason.contains("second.json")),
        "{now:?}"
    );
    write(&second, &part("six"));
    let now = world
        .until(|now| runs(6)(now) && now.ready("six") && now.resource("five").is_none())
        .await;
    assert_eq!(now.pid("calm"), pid);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// A folder in which nothing can be written.
struct Full {
    folder: PathBuf,
    mounted: bool,
}

impl Full {
    /// A file system without a free byte, where one may be mounted; else no folder at all.
    fn at(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("a folder");
        let mounted = Self::run("mount -t tmpfs -o size=4k none", &folder);
        if mounted {
            fs::write(folder.join("ballast"), [0; 4096]).expect("it fits");
        } else {
            fs::remove_dir(&folder).expect("it is empty");
            fs::write(&folder, "").expect("written");
        }
        Self { folder, mounted }
    }

    /// Makes room.
    fn empty(&self) {
        if self.mounted {
            assert!(Self::run("mount -o remount,size=10m", &self.folder));
        } else {
            fs::remove_file(&self.folder).expect("it is there");
            fs::create_dir(&self.folder).expect("created");
        }
    }

    fn run(command: &str, folder: &Path) -> bool {
        let mut words = command.split(' ');
        let done = Command::new(words.next().expect("a program"))
            .args(words)
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        if self.mounted {
            Self::run("umount", &self.folder);
        }
    }
}

#[tokio::test]
async fn a_full_disk_below_the_last_good_config_is_told_and_holds_up_no_change() {
    let place = Place::new();
    let full = Full::at(place.file("state"));
    let mut world = place.start(two()).await;
    let unkept = |now: &Snapshot| now.config_is(ConfigState::Current) && !now.config().unkept.is_empty();
    let now = world.until(|now| unkept(now) && now.ready("moved")).await;
    assert_eq!(now.config().revision, None, "{:?}", now.config());
    world.until_printed("its last good config is not on the disk").await;
    let more = two().resource(Resource::of("busy", "probe", "new"));
    world.rewrite(&more);
    world.until(|now| unkept(now) && now.ready("new")).await;

    full.empty();
    world.rewrite(&more.resource(Resource::of("busy", "probe", "newer")));
    let kept = |now: &Snapshot| now.config().unkept.is_empty() && now.config().revision.is_some();
    world.until(|now| kept(now) && now.ready("newer")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_the_core_itself_is_told_is_taken_up_without_touching_a_module() {
    let mut world = World::settled(two()).await;
    let before = world.until(runs(1)).await;
    let window = async |world: &World| -> Duration {
        let path = "/viam.robot.v1.RobotService/StartSession";
        let session: Result<StartSessionResponse, _> = world.call(path, &StartSessionRequest::default()).await;
        let window = session.expect("answers").heartbeat_window.expect("a window");
        window.try_into().expect("no negative one")
    };
    assert_eq!(window(&world).await, Duration::from_secs(2));
    assert!(!world.output().contains(" DEBUG "), "{}", world.output());
    let chatty = json!([{ "pattern": "rdk*", "level": "debug" }]);
    world.rewrite(&two().heartbeat_window("700ms").set("log", chatty));
    world.until(runs(2)).await;
    assert_eq!(window(&world).await, Duration::from_millis(700));
    world.until_printed(" DEBUG ").await;
    let after = world.snapshot().await;
    for module in ["calm", "busy"] {
        assert_eq!(before.pid(module), after.pid(module), "{module}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_change_that_cannot_be_taken_back_is_told_as_such_until_all_is_well_again() {
    let place = Place::new();
    let good = format!("#!/bin/sh\nexec '{}' \"$@\"\n", bins::find("misbehave").display());
    let program = place.write("worn.sh", &good);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let machine = |nonce| {
        let worn = Module::new("worn", &program).env("MODELS", "worn").env("NONCE", nonce);
        let machine = Machine::new().module(Module::family("calm")).module(worn);
        let machine = machine
            .resource(Resource::of("calm", "probe", "still"))
            .resource(Resource::of("worn", "probe", "moved"));
        reverting(machine, "1s")
    };
    let mut world = place.start(machine("first")).await;
    world.until(|now| runs(1)(now) && now.ready("moved")).await;
    let traffic = Traffic::on(&world, &["still"], Duration::from_millis(5));
    // What ran would not start any more, with the old environment as little as with the new one.
    fs::write(&program, "#!/bin/sh\necho 'worn out'\nexit 3\n").expect("written");
    world.rewrite(&machine("second"));
    let now = world.until(is(ConfigState::Degraded)).await;
    let (reasons, revision) = (now.config().reasons, now.config().revision);
    assert!(reasons.iter().any(|reason| reason.contains("worn")), "{reasons:?}");
    assert_eq!(revision, Some(1));
    fs::write(&program, &good).expect("written");
    let well = |now: &Snapshot| now.config_is(ConfigState::Reverted) && now.ready("moved");
    world.until(well).await;
    let calls = traffic.end();
    assert!(calls.failed.is_empty(), "{:?}", calls.failed);
    world.shutdown().await.with_code(0).left_nothing_behind();
}
