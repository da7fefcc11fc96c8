//! Tests of limits and sandbox of modules, and of access to their parent sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_proto::viam::robot::v1::{ResourceNamesRequest, ResourceNamesResponse};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::rpc;
use mainstay_tests::status::Snapshot;
use mainstay_tests::world::{Place, World};
use serde_json::{Value, json};

use crate::machine::command;

/// A machine with one module that is bound so, and its resource.
async fn bound(key: &str, value: Value) -> World {
    bound_in(Place::new(), key, value).await.0
}

/// The same in given folders; also what the machine said when its start was over.
async fn bound_in(place: Place, key: &str, value: Value) -> (World, Snapshot) {
    let machine = Machine::new()
        .module(Module::fixture("held").set(key, value))
        .resource(Resource::generic("thing"))
        .resource(Resource::fake("motor", "motor"));
    let mut world = place.start(machine).await;
    let now = world.until(Snapshot::running).await;
    (world, now)
}

/// The same, where this host can bind a module so; else says why it cannot, which has to have `expected` in it.
async fn bound_if_possible(place: Place, key: &str, value: Value, expected: &str) -> Option<World> {
    let (world, now) = bound_in(place, key, value).await;
    if now.ready("thing") {
        return Some(world);
    }
    let error = now.module_error("held");
    assert!(error.contains(expected), "{error}");
    eprintln!("SKIPPED: {error}");
    None
}

/// A folder with a file in it.
fn folder_with(place: &Place, name: &str, file: &str, content: &str) -> PathBuf {
    let folder = place.file(name);
    fs::create_dir(&folder).expect("writable");
    fs::write(folder.join(file), content).expect("writable");
    folder
}

/// Checks that the module cannot run these shell scripts: each fails with output that contains `why`.
async fn refused(world: &World, scripts: &[String], why: &str) {
    for script in scripts {
        let (code, output) = shell(world, script).await;
        assert!(code != 0 && output.contains(why), "{script}: {output}");
    }
}

/// Runs a script in the module's shell and returns its exit code and output.
async fn shell(world: &World, script: &str) -> (i64, String) {
    let answer = command(world, "thing", json!({ "shell": script }))
        .await
        .expect("answers");
    (
        answer["code"].as_f64().expect("a code") as i64,
        answer["output"].as_str().expect("a text").trim().to_owned(),
    )
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: only root can run a module as another user");
    }
    root
}

#[tokio::test]
async fn every_limit_is_shown_with_how_it_is_held() {
    let limits = json!({ "memory": "3 GB", "cpu": 0.5, "pids": 500, "open_files": 123 });
    let world = bound("limits", limits).await;
    assert_eq!(shell(&world, "ulimit -n; ulimit -Hn").await.1, "123\n123");
    let now = world.snapshot().await;
    let module = now.process("held").expect("there");
    let shown: Vec<_> = module.limits.iter().map(|limit| limit.name.as_str()).collect();
    assert_eq!(shown, ["memory", "cpu", "pids", "open_files"]);
    for limit in &module.limits {
        let possible: &[&str] = match limit.name.as_str() {
            "memory" => &["cgroup", "watched"],
            "open_files" => &["rlimit"],
            _ => &["cgroup", "not enforced"],
        };
        assert!(possible.contains(&limit.held.as_str()), "{limit:?}");
        assert!(!limit.note.is_empty(), "{limit:?}");
    }
    let shown = world.cli(&["status", "held"]).await.stdout;
    assert!(
        shown.contains("max open files") && shown.contains("123: rlimit"),
        "{shown}"
    );
    let json: Value = serde_json::from_str(&world.cli(&["status", "held", "--json"]).await.stdout).expect("JSON");
    let text = json.to_string();
    assert!(text.contains(r#""held":"rlimit""#), "{text}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_above_its_memory_limit_is_killed_with_the_cause_and_comes_back() {
    let mut world = bound("limits", json!({ "memory": "96 MiB" })).await;
    let pid = world.snapshot().await.pid("held").expect("a process");
    command(&world, "thing", json!({ "hoard_mib": 40 }))
        .await
        .expect("below the limit");
    assert_eq!(world.snapshot().await.pid("held"), Some(pid));
    // It may die before it can answer.
    let _cut_off = command(&world, "thing", json!({ "hoard_mib": 120 })).await;
    let killed = |text: &str| text.contains("memory limit") && text.contains("96 MiB");
    world
        .until(|now| {
            let told = now.process("held").is_some_and(|module| killed(&module.last));
            now.ready("thing") && now.pid("held") != Some(pid) && told
        })
        .await;
    assert!(killed(&world.output()), "the log tells it, too");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn nothing_that_a_module_runs_gains_rights() {
    let world = bound("sandbox", json!({ "no_new_privs": true })).await;
    let (_, line) = shell(&world, "grep NoNewPrivs /proc/self/status").await;
    assert_eq!(line.split_whitespace().last(), Some("1"), "{line}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_writes_only_where_it_may() {
    let place = Place::new();
    let (open, shut) = (place.file("open"), folder_with(&place, "shut", "there", "words"));
    fs::create_dir(&open).expect("writable");
    let sandbox = json!({ "writable": [open] });
    let Some(world) = bound_if_possible(place, "sandbox", sandbox, "Landlock").await else {
        return;
    };
    let touch = |folder: &Path| format!("echo x > {}/new", folder.display());
    assert_eq!(shell(&world, &touch(&open)).await, (0, String::new()));
    let scripts = [
        touch(&shut),
        format!("rm {}/there", shut.display()),
        format!("echo x >> {}/there", shut.display()),
        format!("mkdir {}/below", shut.display()),
    ];
    refused(&world, &scripts, "Permission denied").await;
    for script in [
        format!("cat {}/there", shut.display()),
        "echo x > /dev/null".to_owned(),
        "echo x > $VIAM_MODULE_DATA/mine".to_owned(),
    ] {
        let (code, output) = shell(&world, &script).await;
        assert_eq!(code, 0, "{script}: {output}");
    }
    assert_eq!(fs::read_to_string(shut.join("there")).expect("there"), "words");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_does_not_see_what_is_hidden_from_it() {
    let place = Place::new();
    let folder = folder_with(&place, "keys", "key", "secret");
    let file = place.write("password", "secret");
    let sandbox = json!({ "hidden": [folder, file] });
    let Some(world) = bound_if_possible(place, "sandbox", sandbox, "no mount namespace").await else {
        return;
    };
    for script in [
        format!("cat {}/key", folder.display()),
        format!("ls {} | grep key", folder.display()),
        format!("grep secret {}", file.display()),
        format!("umount {} && cat {}/key", folder.display(), folder.display()),
        format!("cat /proc/1/root{}/key", folder.display()),
        format!("cat /proc/{}/root{}/key", world.pid(), folder.display()),
    ] {
        let (code, output) = shell(&world, &script).await;
        assert!(code != 0 && !output.contains("secret"), "{script}: {output}");
    }
    assert_eq!(fs::read_to_string(folder.join("key")).expect("still here"), "secret");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_cannot_be_hidden_is_an_error_of_that_module_alone() {
    let place = Place::new();
    let missing = place.file("missing");
    let (mut world, _) = bound_in(place, "sandbox", json!({ "hidden": [missing] })).await;
    let now = world
        .until(|now| now.ready("motor") && now.module_error("held").contains("sandbox.hidden"))
        .await;
    assert!(
        now.module_error("held").contains("missing"),
        "{}",
        now.module_error("held")
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_without_network_has_its_own_sockets_only() {
    let free = bound("sandbox", json!({ "seccomp": "default" })).await;
    let answer = command(&free, "thing", json!({ "listen": true }))
        .await
        .expect("answers");
    assert_eq!(answer["error"], Value::Null);
    let (code, output) = shell(&free, "unshare -U true").await;
    assert!(code != 0 && output.contains("not permitted"), "{output}");
    free.shutdown().await.with_code(0).left_nothing_behind();
    let held = bound("sandbox", json!({ "seccomp": "no-network" })).await;
    let answer = command(&held, "thing", json!({ "listen": true }))
        .await
        .expect("answers");
    let error = answer["error"].as_str().unwrap_or_default();
    assert!(error.contains("Address family not supported"), "{answer}");
    held.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_runs_as_its_user_in_directories_of_its_own() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    // Its user passes through to its own folders and the fixture, and to nothing else.
    for folder in [place.folder().to_owned(), place.file("home"), place.file("run")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("ours");
    }
    fs::write(place.file("private"), "secret").expect("writable");
    fs::set_permissions(place.file("private"), fs::Permissions::from_mode(0o600)).expect("ours");
    let fixture = place.file("misbehave");
    fs::copy(mainstay_tests::bins::find("misbehave"), &fixture).expect("writable");
    let sandbox = json!({ "user": "nobody" });
    let private = place.file("private").display().to_string();
    let machine = Machine::new()
        .module(
            Module::new("held", &fixture)
                .env("NONCE", "held")
                .set("sandbox", sandbox)
                .set("limits", json!({ "pids": 500 })),
        )
        .resource(Resource::fake("motor", "motor"))
        .resource(Resource::generic("thing"));
    let mut world = place.start(machine).await;
    let now = world.until(|now| now.running()).await;
    assert!(now.ready("thing"), "{now:?}");
    assert_eq!(shell(&world, "id -un; echo $USER").await.1, "nobody\nnobody");
    assert_eq!(
        shell(&world, "echo x > $VIAM_MODULE_DATA/mine && cat $VIAM_MODULE_DATA/mine").await,
        (0, "x".into())
    );
    let sockets = "$(dirname $VIAM_MODULE_ADDRESS)";
    let scripts = [
        format!("cat {private}"),
        "ls $VIAM_MODULE_DATA/..".to_owned(),
        format!("ls {sockets}/.."),
        format!("ls {sockets}/../builtin+fake"),
    ];
    refused(&world, &scripts, "Permission denied").await;
    let now = world.snapshot().await;
    let module = now.process("held").expect("there");
    assert!(
        ["cgroup", "rlimit"].contains(&module.limits[0].held.as_str()),
        "{module:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn what_a_tarball_is_unpacked_into_belongs_to_the_modules_user() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    for folder in [place.folder().to_owned(), place.file("home"), place.file("run")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("ours");
    }
    let package = folder_with(&place, "package", "meta.json", r#"{"entrypoint": "run"}"#);
    fs::copy(mainstay_tests::bins::find("misbehave"), package.join("run")).expect("writable");
    fs::write(package.join("weights"), "secret").expect("writable");
    for (file, mode) in [("run", 0o700), ("weights", 0o600)] {
        fs::set_permissions(package.join(file), fs::Permissions::from_mode(mode)).expect("ours");
    }
    let tarball = place.file("held.tgz");
    let mut tar = std::process::Command::new("tar");
    let packed = tar.arg("czf").arg(&tarball).arg("-C").arg(&package).arg(".").status();
    assert!(packed.expect("there is tar").success());
    let held = |user: &str| {
        Machine::new()
            .module(
                Module::new("held", &tarball)
                    .env("NONCE", "held")
                    .set("sandbox", json!({ "user": user })),
            )
            .resource(Resource::generic("thing"))
    };
    let mut world = place.start(held("nobody")).await;
    world.until(|now| now.ready("thing")).await;
    let script = "id -un; cat $VIAM_MODULE_ROOT/weights; echo; echo x > $VIAM_MODULE_ROOT/own && stat -c %U $VIAM_MODULE_ROOT/run";
    assert_eq!(shell(&world, script).await, (0, "nobody\nsecret\nnobody".into()));
    let store = world.place.file("home/packages-local/data/module");
    assert!(store.join("synthetic-held-0_0_0/own").exists());
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_user_that_does_not_exist_is_an_error_of_that_module_with_the_cure() {
    let mut world = bound("sandbox", json!({ "user": "nobody-of-that-name" })).await;
    let now = world.until(|now| !now.module_error("held").is_empty()).await;
    let error = now.module_error("held");
    assert!(
        error.contains("there is no user `nobody-of-that-name`") && error.contains("useradd"),
        "{error}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_stranger_gets_nothing_from_a_modules_parent_socket() {
    let world = bound("keep_moving", json!(false)).await;
    let sockets = world.place.sockets();
    let parent = sockets
        .iter()
        .find(|path| path.ends_with("held/parent.sock"))
        .expect("a parent socket");
    let path = "/viam.robot.v1.RobotService/ResourceNames";
    let request = ResourceNamesRequest::default();
    // We run as the same user, but were not started by the module.
    let refused: Result<ResourceNamesResponse, _> = rpc::call(rpc::unix(parent), path, &request).await;
    let status = refused.expect_err("a stranger");
    assert_ne!(status.code(), tonic::Code::Unimplemented, "{status:?}");
    world.until_printed("refused a stranger").await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}

/// Shell script that asks the machine for its status by the command line.
fn asks_for_status(world: &World) -> String {
    let program = mainstay_tests::bins::mainstay();
    let (run, config) = (world.place.file("run"), world.config());
    format!(
        "XDG_RUNTIME_DIR={} {} status --machine {}",
        run.display(),
        program.display(),
        config.display()
    )
}

#[tokio::test]
async fn a_module_and_what_it_left_behind_command_nothing_through_the_control_socket() {
    let world = bound("keep_moving", json!(false)).await;
    let ask = asks_for_status(&world);
    let told = |text: &str| text.contains("belongs to a module of this machine") && text.contains("PERMISSION_DENIED");
    // Itself, through a shell in a session of its own, and deep below many shells.
    let nested = (0..40).fold(ask.clone(), |inner, level| format!("(: {level}; {inner}; exit $?)"));
    for script in [
        ask.clone(),
        format!("setsid -w sh -c '{ask}'"),
        format!("{nested}; exit $?"),
    ] {
        let (code, output) = shell(&world, &script).await;
        assert!(code == 1 && told(&output), "{script}: {output}");
    }
    // A daemon that left session and parent before it asks.
    let file = world.place.file("daemon");
    let daemon = format!(
        "setsid sh -c '(while [ $(ps -o ppid= -p $BASHPID 2>/dev/null || echo 1) = $$ ]; do :; done; {ask} >{0}.part 2>&1; mv {0}.part {0}) &' </dev/null >/dev/null 2>&1",
        file.display()
    );
    assert_eq!(shell(&world, &daemon).await.0, 0);
    let end = std::time::Instant::now() + mainstay_tests::world::PATIENCE;
    while !file.exists() {
        assert!(std::time::Instant::now() < end, "the daemon said nothing");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let output = fs::read_to_string(&file).expect("written");
    assert!(told(&output), "{output}");
    world.until_printed("refused a process on the control socket").await;
    // Whoever is not its child comes in as ever.
    let status = world.cli(&["status"]).await;
    assert_eq!(status.code, 0, "{status:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_with_a_user_of_its_own_reads_no_environment_of_another_and_hides_its_own() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    for folder in [place.folder().to_owned(), place.file("home"), place.file("run")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).expect("ours");
    }
    let fixture = place.file("misbehave");
    fs::copy(mainstay_tests::bins::find("misbehave"), &fixture).expect("writable");
    let machine = Machine::new()
        .module(
            Module::new("held", &fixture)
                .env("NONCE", "held")
                .set("sandbox", json!({ "user": "nobody" })),
        )
        // With models of its own, or the resource is whose module is up first.
        .module(
            Module::new("other", &fixture)
                .env("MODELS", "other")
                .env("TOKEN", "of-the-other"),
        )
        .resource(Resource::fake("motor", "motor"))
        .resource(Resource::generic("thing"));
    let mut world = place.start(machine).await;
    let now = world.until(|now| now.ready("thing") && now.module_ready("other")).await;
    let (other, held) = (
        now.pid("other").expect("a process"),
        now.pid("held").expect("a process"),
    );
    // The core's environment has what the machine was started with.
    for pid in [other, world.pid(), now.pid("builtin:fake").expect("a process")] {
        refused(&world, &[format!("cat /proc/{pid}/environ")], "Permission denied").await;
    }
    let (code, own) = shell(&world, &format!("tr '\\0' '\\n' </proc/{held}/environ")).await;
    assert!(code == 0 && own.contains("NONCE=held"), "{own}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
