//! The module side is closed to everybody else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::{Place, World};

/// Longest path of a UNIX socket that every system takes, in bytes.
const MAX_SOCKET_PATH: usize = 103;

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it exists").permissions().mode() & 0o777
}

/// TCP ports on which a process listens, from its descriptors and the kernel's table.
fn listening(pid: i32) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            fs::read_link(entry.ok()?.path())
                .ok()?
                .to_str()?
                .strip_prefix("socket:[")
                .map(str::to_owned)
        })
        .map(|inode| inode.trim_end_matches(']').to_owned())
        .collect();
    let mut ports = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<_> = line.split_whitespace().collect();
            let (Some(local), Some(&"0A"), Some(inode)) = (words.get(1), words.get(3), words.get(9)) else {
                continue;
            };
            if sockets.contains(*inode) {
                let port = local.rsplit(':').next().expect("a port");
                ports.insert(u16::from_str_radix(port, 16).expect("hexadecimal"));
            }
        }
    }
    ports
}

#[tokio::test]
async fn sockets_lie_in_private_folders_one_pair_per_module() {
    let machine = Machine::new()
        .module(Module::fixture("one"))
        .module(Module::fixture("two"))
        .resource(Resource::fake("motor", "motor"));
    let world = World::settled(machine).await;
    let folders = world.place.runtime_folders();
    let [folder] = &folders[..] else {
        panic!("one machine, one folder: {folders:?}")
    };
    let name = folder.file_name().expect("a name").to_str().expect("ASCII");
    assert!(
        name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{name}"
    );
    assert_eq!(
        (mode(folder), mode(folder.parent().expect("mainstay/"))),
        (0o700, 0o700)
    );
    let sockets = world.place.sockets();
    // Control, and for each of three modules its parent socket and its own.
    assert_eq!(sockets.len(), 7, "{sockets:?}");
    assert!(sockets.iter().all(|socket| socket.starts_with(folder)), "{sockets:?}");
    let private = |socket: &PathBuf| mode(socket.parent().expect("a folder")) == 0o700;
    assert!(
        sockets.iter().all(private),
        "a module's folder is open to others: {sockets:?}"
    );
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn only_the_core_listens_on_the_network_and_only_where_it_was_told() {
    let machine = Machine::new()
        .module(Module::fixture("one"))
        .resource(Resource::fake("motor", "motor"));
    let world = World::settled(machine).await;
    let port: u16 = world
        .address()
        .rsplit(':')
        .next()
        .expect("host:port")
        .parse()
        .expect("a number");
    let mut all = BTreeSet::new();
    for process in world.place.processes() {
        all.extend(listening(process.pid));
    }
    assert_eq!(all, BTreeSet::from([port]));
    let now = world.snapshot().await;
    for module in ["one", "builtin:fake"] {
        assert!(listening(now.pid(module).expect("a process")).is_empty(), "{module}");
    }
}

#[tokio::test]
async fn long_module_names_get_sockets_that_every_system_takes() {
    let long = "m".repeat(199);
    let (first, second) = (format!("{long}1"), format!("{long}2"));
    let machine = Machine::new()
        .module(Module::fixture(&first))
        .module(Module::fixture(&second))
        .resource(Resource::probe("probe"));
    let mut world = World::start(machine).await;
    world
        .until(|now| now.ready("probe") && now.module_ready(&first) && now.module_ready(&second))
        .await;
    for socket in world.place.sockets() {
        assert!(
            socket.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH,
            "{}",
            socket.display()
        );
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_runtime_folder_too_deep_for_sockets_is_refused_in_words() {
    let place = Place::new();
    let deep = place.file(&"d".repeat(90));
    fs::create_dir(&deep).expect("the folder is writable");
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
    let place = place.env("XDG_RUNTIME_DIR", deep.to_str().expect("UTF-8"));
    let machine = Machine::new().module(Module::fixture("eyes"));
    let ended = place.run_to_the_end("machine.json", &machine.json().to_string()).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("103") && ended.stderr.contains("XDG_RUNTIME_DIR"),
        "{ended:?}"
    );
    assert!(place.processes().is_empty());
}

#[tokio::test]
async fn the_same_config_does_not_run_twice() {
    let world = World::settled(Machine::new()).await;
    let path = world.config().to_str().expect("UTF-8").to_owned();
    let second = world.cli(&["run", &path]).await;
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.stderr.contains(&world.pid().to_string()), "{second:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_module_keeps_its_data_where_the_home_is() {
    let place = Place::new();
    let data = place.file("home/module-data/local/eyes");
    let world = place.start(Machine::new().module(Module::fixture("eyes"))).await;
    let mut world = world;
    world.until(|now| now.module_ready("eyes")).await;
    assert_eq!(mode(&data) & 0o007, 0, "open to everybody");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn the_home_of_the_modules_is_made_for_its_owner_alone() {
    let place = Place::new();
    let home = place.file("fresh/home");
    let place = place.argument("--home").argument(home.to_str().expect("UTF-8"));
    let world = place.start(Machine::new()).await;
    assert_eq!(mode(&home), 0o700);
    world.shutdown().await.with_code(0).left_nothing_behind();
}
