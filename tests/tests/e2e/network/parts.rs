//! One machine of several parts: a computer joins with a code, the main part uses what it has, and it is replaced and removed.

use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::netns::Namespace;
use mainstay_tests::world::{PATIENCE, Place, World, finish};
use serde_json::{Value, json};

use super::remotes::until_names;
use crate::sessions::{powered, set_power};

/// Its config file.
pub(super) fn config(world: &World) -> &str {
    world.config().to_str().expect("a path in UTF-8")
}

async fn main_part() -> World {
    let world = World::settled(Machine::new().resource(Resource::fake("own", "motor"))).await;
    let made = world.cli(&["part", "init", config(&world), "--name", "rover"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    world
}

async fn computer() -> World {
    World::settled(Machine::new().resource(Resource::fake("left", "motor"))).await
}

/// Invites a computer to be the part `arm`, and returns the code.
async fn invite(main: &World, more: &[&str]) -> String {
    invite_part(main, "arm", more).await
}

/// Invites a computer to be a part, and returns the code.
pub(super) async fn invite_part(main: &World, part: &str, more: &[&str]) -> String {
    let invited = main.cli(&[&["part", "invite", part], more].concat()).await;
    assert_eq!(invited.code, 0, "{invited:?}");
    let code = invited
        .stdout
        .strip_prefix("code: ")
        .and_then(|rest| rest.lines().next());
    code.expect("a code").to_owned()
}

/// Joins, and leaves what it was in; the exit code and what is said.
pub(super) async fn join(main: &World, computer: &World, code: &str) -> (i32, String) {
    let (reached_at, main) = (computer.address(), main.address());
    let words = [
        "part",
        "join",
        code,
        config(computer),
        "--main",
        main,
        "--reached-at",
        reached_at,
        "--replace",
    ];
    let joined = computer.cli(&words).await;
    (joined.code, joined.stdout + &joined.stderr)
}

async fn until_cause(main: &World, word: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let listed = main.cli(&["part", "list", config(main), "--json"]).await;
        let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
        if listed["parts"][0]["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains(word))
        {
            return;
        }
        assert!(Instant::now() < end, "no `{word}` in {listed}\n{}", main.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_computer_joins_with_a_code_is_replaced_and_removed() {
    let main = main_part().await;
    let first = computer().await;
    let code = invite(&main, &[]).await;
    assert!(!main.output().contains(&code), "a code is in no log");
    let (ended, said) = join(&main, &first, &code).await;
    assert_eq!(ended, 0, "{said}");
    assert!(said.contains("part arm of rover"), "{said}");
    until_names(&main, &["arm:left", "own"]).await;

    set_power(&main, "arm:left", None).await.expect("moves");
    assert!(powered(&first, "left").await && powered(&main, "arm:left").await);
    // One way only: the part sees nothing of the machine, and other clients of it notice nothing.
    until_names(&first, &["left"]).await;

    // A code works once.
    let second = computer().await;
    let (ended, said) = join(&main, &second, &code).await;
    assert_eq!(ended, 1, "{said}");
    assert!(said.contains("invited nobody"), "{said}");

    // Another computer takes its place; the one from before is not spoken to, wherever it is.
    let taken = main.cli(&["part", "invite", "arm"]).await;
    assert!(taken.code == 1 && taken.stderr.contains("--replace"), "{taken:?}");
    let code = invite(&main, &["--replace"]).await;
    let (ended, said) = join(&main, &second, &code).await;
    assert_eq!(ended, 0, "{said}");
    let end = Instant::now() + PATIENCE;
    while !powered(&second, "left").await {
        // Until the main part speaks to the new one, it speaks to none or to the one from before.
        let _moved = set_power(&main, "arm:left", None).await;
        assert!(Instant::now() < end, "{}", main.output());
    }
    let there = main
        .cli(&["part", "address", "arm", first.address(), config(&main)])
        .await;
    assert_eq!(there.code, 0, "{there:?}");
    until_cause(&main, "was replaced by another").await;
    until_names(&main, &["own"]).await;
    let back = main
        .cli(&["part", "address", "arm", second.address(), config(&main)])
        .await;
    assert_eq!(back.code, 0, "{back:?}");
    until_names(&main, &["arm:left", "own"]).await;

    let removed = main.cli(&["part", "remove", "arm", config(&main)]).await;
    assert_eq!(removed.code, 0, "{removed:?}");
    until_names(&main, &["own"]).await;
    let left = second.cli(&["part", "leave", config(&second)]).await;
    assert_eq!(left.code, 0, "{left:?}");
    until_names(&second, &["left"]).await;
}

#[tokio::test]
async fn both_parts_find_each_other_again_after_a_restart() {
    let mut main = main_part().await;
    let mut part = computer().await;
    let code = invite(&main, &[]).await;
    assert_eq!(join(&main, &part, &code).await.0, 0);
    until_names(&main, &["arm:left", "own"]).await;
    main.stop_core().await;
    main = main.restart().await;
    until_names(&main, &["arm:left", "own"]).await;
    part.stop_core().await;
    part = part.restart().await;
    let there = main
        .cli(&["part", "address", "arm", part.address(), config(&main)])
        .await;
    assert_eq!(there.code, 0, "{there:?}");
    until_names(&main, &["arm:left", "own"]).await;
    let status = part.cli(&["status"]).await;
    assert!(status.stdout.contains("part arm of rover"), "{}", status.stdout);
}

#[tokio::test]
async fn whoever_guesses_a_code_ends_it_and_holds_nobody_up() {
    let main = main_part().await;
    let part = computer().await;
    let code = invite(&main, &[]).await;
    let last = if code.ends_with('0') { "1" } else { "0" };
    let guess = format!("{}{last}", &code[..code.len() - 1]);
    let begun = Instant::now();
    for _ in 0..20 {
        let (ended, said) = join(&main, &part, &guess).await;
        assert_eq!(ended, 1, "{said}");
        assert!(said.contains("the code is another one"), "{said}");
        set_power(&main, "own", None).await.expect("others are served");
    }
    let (ended, said) = join(&main, &part, &code).await;
    assert_eq!(ended, 1, "{said}");
    assert!(begun.elapsed() < PATIENCE);
    main.until_printed("tried to join as a part, and was refused").await;
    let code = invite(&main, &[]).await;
    assert_eq!(join(&main, &part, &code).await.0, 0);
    until_names(&main, &["arm:left", "own"]).await;
}

#[tokio::test]
async fn parts_of_one_network_find_each_other_without_addresses() {
    let (Some(base), Some(tool)) = (Namespace::new(), Namespace::new()) else {
        return;
    };
    base.join(&tool, "10.9.0.1/24", "10.9.0.2/24");
    let machine = |name: &str, bind: &str| {
        Machine::new()
            .resource(Resource::fake(name, "motor"))
            .set("network", json!({ "bind_address": bind }))
    };
    let mut main = base.place().start(machine("own", "0.0.0.0:8080")).await;
    let mut part = tool.place().start(machine("left", "0.0.0.0:8080")).await;
    main.until(|now| now.ready("own")).await;
    part.until(|now| now.ready("left")).await;
    let made = main.cli(&["part", "init", config(&main)]).await;
    assert_eq!(made.code, 0, "{made:?}");
    let code = invite(&main, &[]).await;
    // The machine tells the network a moment after it was asked to.
    let end = Instant::now() + PATIENCE;
    loop {
        let mut command = tool.command(&part.place, &bins::mainstay());
        command.args(["part", "join", code.as_str(), config(&part)]);
        let joined = finish(command).await;
        if joined.code == 0 {
            break;
        }
        assert!(Instant::now() < end, "{joined:?}\n{}", main.output());
    }
    main.until(|now| now.ready("arm:left")).await;
    tool.ip("address del 10.9.0.2/24 dev cable");
    tool.ip("address add 10.9.0.3/24 dev cable");
    tool.ip("route replace default dev cable");
    main.until(|now| !now.ready("arm:left")).await;
    main.until(|now| now.ready("arm:left")).await;
}

#[tokio::test]
async fn a_config_is_handed_down_kept_and_taken_back() {
    let main = main_part().await;
    let place = Place::new();
    // A computer that has no config yet: joining makes one.
    let code = invite(&main, &[]).await;
    let file = place.folder().join("arm.yaml");
    let joined = place
        .mainstay(&[
            "part",
            "join",
            &code,
            file.to_str().expect("UTF-8"),
            "--main",
            main.address(),
        ])
        .await;
    assert!(joined.code == 0 && joined.stdout.contains("wrote "), "{joined:?}");
    let starter = std::fs::read_to_string(&file).expect("written");
    let starter = starter.replace("0.0.0.0:8080", "127.0.0.1:0");
    let mut part = place.start_text("arm.yaml", &starter).await;
    let there = main
        .cli(&["part", "address", "arm", part.address(), config(&main)])
        .await;
    assert_eq!(there.code, 0, "{there:?}");

    let handed = main.config().with_file_name("for-arm.yaml");
    let motor = |name: &str| format!("components: [{{name: {name}, type: motor, model: fake}}]\n");
    std::fs::write(&handed, motor("left")).expect("written");
    let machine = Machine::new().resource(Resource::fake("own", "motor").depends_on(&["arm:left"]));
    main.rewrite(&machine.set("parts", json!([{ "name": "arm", "config_file": "for-arm.yaml" }])));
    until_names(&main, &["arm:left", "own"]).await;
    std::fs::write(&handed, motor("right")).expect("written");
    part.until(|now| now.ready("right")).await;
    // One that cannot be used changes nothing there.
    std::fs::write(&handed, "components: [").expect("written");
    part.until(|now| {
        now.control
            .config
            .as_ref()
            .is_some_and(|config| config.state() == ConfigState::Refused)
    })
    .await;
    part.until(|now| now.ready("right")).await;
    std::fs::write(&handed, motor("left")).expect("written");
    part.until(|now| now.ready("left")).await;

    // The same written into the config of the main part itself.
    let parts = json!([{ "name": "arm", "config": { "components": [{ "name": "inside", "type": "motor", "model": "fake" }] } }]);
    let machine = Machine::new().resource(Resource::fake("own", "motor"));
    main.rewrite(&machine.clone().set("parts", parts));
    until_names(&main, &["arm:inside", "own"]).await;
    let back =
        json!([{ "name": "arm", "config": { "components": [{ "name": "left", "type": "motor", "model": "fake" }] } }]);
    main.rewrite(&machine.set("parts", back));
    until_names(&main, &["arm:left", "own"]).await;

    // It is kept where the main part is away.
    drop(main);
    part.stop_core().await;
    let mut part = part.restart().await;
    part.until(|now| now.ready("left")).await;
}
