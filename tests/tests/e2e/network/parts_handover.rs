//! The role of the main part goes to another computer: planned, interrupted, from a copy of a folder, and without the old one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::proc;
use mainstay_tests::world::{PATIENCE, World};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::parts::{config, invite_part, join};
use super::remotes::until_names;
use crate::sessions::{powered, set_power};

/// Computer with one motor, at an address that it has after a restart, too.
async fn computer(motor: &str) -> World {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("bound").to_string();
    drop(free);
    let machine = Machine::new().resource(Resource::fake(motor, "motor"));
    World::settled(machine.set("network", json!({ "bind_address": address }))).await
}

/// Main part `a` with the sub-parts `b` and `c`.
async fn machine() -> [World; 3] {
    let [a, b, c] = [computer("own").await, computer("left").await, computer("leg").await];
    let made = a.cli(&["part", "init", config(&a), "--name", "rover"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    for (name, part) in [("b", &b), ("c", &c)] {
        let code = invite_part(&a, name, &[]).await;
        let (ended, said) = join(&a, part, &code).await;
        assert_eq!(ended, 0, "{said}");
    }
    until_names(&a, &["b:left", "c:leg", "own"]).await;
    [a, b, c]
}

/// A file below the state of a computer; none that is there: `None`.
fn below(world: &World, kind: &str, name: &str) -> Option<PathBuf> {
    let folders = fs::read_dir(world.place.file("state").join(kind)).ok()?.flatten();
    folders
        .map(|folder| folder.path().join(name))
        .find(|path| path.exists())
}

fn record(world: &World) -> Value {
    let file = below(world, "parts", "machine.json").expect("it is a part");
    serde_json::from_slice(&fs::read(file).expect("readable")).expect("JSON")
}

/// True for a computer that is the main part, by its files.
fn is_main(world: &World) -> bool {
    let record = record(world);
    record["sub_parts"].is_array() && record["handing_over_to"].is_null()
}

fn is_between(world: &World) -> bool {
    record(world)["handing_over_to"].is_string()
}

/// True for a computer that has the private key of the machine's CA.
fn has_key(world: &World) -> bool {
    below(world, "keys", "ca.key").is_some() || below(world, "parts", "ca/ca.key").is_some()
}

async fn list(world: &World) -> Value {
    let listed = world.cli(&["part", "list", config(world), "--json"]).await;
    serde_json::from_str(&listed.stdout).expect("JSON")
}

async fn make_main(from: &World, words: &[&str]) -> (i32, String) {
    let done = from.cli(&[&["part", "make-main"], words].concat()).await;
    (done.code, done.stdout + &done.stderr)
}

/// Waits for a condition of files without a pause that would miss it.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what} never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a part is not connected, for a reason with this word.
async fn until_cause(main: &World, part: &str, word: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let listed = list(main).await;
        let parts = listed["parts"].as_array().expect("a list");
        let cause = parts
            .iter()
            .find(|one| one["name"] == part)
            .map(|one| one["cause"].clone());
        if cause
            .as_ref()
            .and_then(Value::as_str)
            .is_some_and(|cause| cause.contains(word))
        {
            return;
        }
        assert!(Instant::now() < end, "no `{word}` in {listed}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn kill(mut world: World) -> World {
    proc::signal(world.pid(), Signal::SIGKILL);
    let _remains = world.ended().await;
    world.restart().await
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).expect("copied")),
        }
    }
}

#[tokio::test]
async fn another_part_becomes_the_main_part_and_all_follow_it() {
    let [mut a, b, c] = machine().await;
    let backup = a.place.file("backup");
    copy(&a.place.file("state"), &backup);
    let (ended, said) = make_main(&a, &["b"]).await;
    assert!(ended == 1 && said.contains("--as NAME"), "{said}");
    let (ended, said) = make_main(&b, &["c"]).await;
    assert!(ended == 1 && said.contains("it is part b of rover"), "{said}");
    let (ended, said) = make_main(&a, &["b", "--as", "a"]).await;
    assert_eq!(ended, 0, "{said}");
    assert!(
        said.contains("b is the main part of rover now") && said.contains("follow it: c"),
        "{said}"
    );
    until_names(&b, &["a:own", "c:leg", "left"]).await;
    until_names(&a, &["own"]).await;
    until_names(&c, &["leg"]).await;
    assert!(has_key(&b) && !has_key(&a) && !has_key(&c));
    set_power(&b, "a:own", None).await.expect("moves");
    assert!(powered(&a, "own").await && powered(&b, "a:own").await);
    let listed = list(&a).await;
    assert_eq!(
        (&listed["main"], &listed["part"], &listed["term"]),
        (&json!(false), &json!("a"), &json!(2))
    );
    // It invites, and nobody else does.
    invite_part(&b, "d", &[]).await;
    assert_eq!(a.cli(&["part", "invite", "d"]).await.code, 1);

    // The former main part comes back from a copy of its folder.
    a.stop_core().await;
    fs::remove_dir_all(a.place.file("state")).expect("removed");
    copy(&backup, &a.place.file("state"));
    let a = a.restart().await;
    assert!(is_main(&a) && is_main(&b));
    until_cause(&a, "c", "another computer was made the main part since").await;
    until_cause(&a, "b", "no part of any machine").await;
    until_names(&a, &["own"]).await;
    until_names(&b, &["c:leg", "left"]).await;
    let code = invite_part(&b, "a", &["--replace"]).await;
    let (ended, said) = join(&b, &a, &code).await;
    assert_eq!(ended, 0, "{said}");
    until_names(&b, &["a:own", "c:leg", "left"]).await;
    // The copy had the key of the machine's CA.
    assert!(has_key(&b) && !has_key(&a) && !has_key(&c));
}

#[tokio::test]
async fn a_handover_that_is_interrupted_goes_on_where_it_was() {
    let [mut a, mut b, c] = machine().await;
    until("c follows", || record(&c)["term"] == 1).await;
    // Whose process is killed, and at which sign: the first has begun; the second has its certificate; the second is the main part.
    for round in 0..6 {
        let (from, to) = if is_main(&a) { (&a, &b) } else { (&b, &a) };
        let (name, own) = if is_main(&a) { ("b", "a") } else { ("a", "b") };
        let mut cli = from.start_cli(&["part", "make-main", name, "--as", own]);
        match round / 2 {
            0 => until("the begin", || is_between(from) || is_main(to)).await,
            1 => {
                let has_certificate = || below(to, "parts", "main.pem").is_some();
                until("the certificate", has_certificate).await;
            }
            _ => until("the end", || is_main(to)).await,
        }
        let from_a = std::ptr::eq(from, &raw const a);
        let kills_a = from_a == (round % 2 == 0);
        if kills_a {
            a = kill(a).await;
        } else {
            b = kill(b).await;
        }
        let _ended = cli.wait();
        let (from, to) = if from_a { (&a, &b) } else { (&b, &a) };
        let end = Instant::now() + PATIENCE;
        while !(is_main(to) && !is_main(from) && !is_between(from)) {
            assert!(!(is_main(to) && is_main(from)), "two main parts in round {round}");
            let (_, said) = make_main(from, &[name, "--as", own]).await;
            assert!(
                Instant::now() < end,
                "round {round}: {said}\n{}\n{}",
                a.output(),
                b.output()
            );
        }
        assert!(has_key(to) && !has_key(from), "round {round}");
        let (far, near) = if from_a { ("a:own", "left") } else { ("b:left", "own") };
        let mut names = [far, "c:leg", near];
        names.sort_unstable();
        until_names(to, &names).await;
        until_names(from, &[if from_a { "own" } else { "left" }]).await;
    }
}

#[tokio::test]
async fn a_handover_does_not_end_with_whoever_asked_for_it() {
    let [a, b, _c] = machine().await;
    let mut cli = a.start_cli(&["part", "make-main", "b", "--as", "a"]);
    until("the begin", || is_between(&a) || is_main(&b)).await;
    cli.kill().expect("killed");
    let _ended = cli.wait();
    until("the end", || is_main(&b) && !is_main(&a) && !is_between(&a)).await;
    assert!(has_key(&b) && !has_key(&a));
    until_names(&b, &["a:own", "c:leg", "left"]).await;
}

#[tokio::test]
async fn a_part_that_is_away_or_reaches_nobody_does_not_become_the_main_part() {
    let [a, mut b, _c] = machine().await;
    // It cannot reach the former main part, so it refuses.
    let (ended, said) = make_main(&a, &["b", "--as", "a", "--reached-at", "127.0.0.1:1"]).await;
    assert!(
        ended == 1 && said.contains("this computer is the main part as before"),
        "{said}"
    );
    assert!(said.contains("does not reach it at 127.0.0.1:1"), "{said}");
    assert!(!has_key(&b) && is_main(&a));
    // Of a later term than the one that was refused: nobody is left with a certificate of it.
    assert_eq!(list(&a).await["term"], 3);
    until_names(&a, &["b:left", "c:leg", "own"]).await;

    // It would run on as a sub-part, with a config that it cannot read again.
    let good = fs::read_to_string(b.config()).expect("readable");
    b.rewrite_text("components: {");
    b.until_printed("the config is refused").await;
    let (ended, said) = make_main(&a, &["b", "--as", "a"]).await;
    assert!(
        ended == 1 && said.contains("the main part as before: part b runs its last good config"),
        "{said}"
    );
    assert!(!has_key(&b) && is_main(&a));
    b.rewrite_text(&good);
    until_names(&a, &["b:left", "c:leg", "own"]).await;
    // Just now, before the machine there has looked at it.
    fs::write(b.config(), "components: {").expect("written");
    let (ended, said) = make_main(&a, &["b", "--as", "a"]).await;
    assert!(
        ended == 1 && said.contains("the main part as before: part b ") && said.contains("there cannot be used"),
        "{said}"
    );
    assert!(!has_key(&b) && is_main(&a));
    b.rewrite_text(&good);
    until_names(&a, &["b:left", "c:leg", "own"]).await;
    b.stop_core().await;
    let (ended, said) = make_main(&a, &["b", "--as", "a"]).await;
    assert!(
        ended == 1 && said.contains("part b cannot be made the main part now"),
        "{said}"
    );
    until_names(&a, &["c:leg", "own"]).await;

    // Both broke down in the middle, and one does not come back.
    let mut a = a;
    a.stop_core().await;
    let file = below(&a, "parts", "machine.json").expect("a part");
    let mut between = record(&a);
    (between["handing_over_to"], between["part"], between["term"]) = (json!("b"), json!("a"), json!(6));
    fs::write(&file, between.to_string()).expect("written");
    let a = a.restart().await;
    until_names(&a, &["own"]).await;
    let as_json = list(&a).await;
    assert_eq!(
        (&as_json["handing_over_to"], &as_json["main"]),
        (&json!("b"), &json!(false))
    );
    let listed = a.cli(&["part", "list", config(&a)]).await;
    assert!(
        listed.stdout.contains("`mainstay part make-main b` here goes on"),
        "{listed:?}"
    );
    let (ended, said) = make_main(&a, &["b"]).await;
    assert!(ended == 1 && said.contains("make-main --main-is-lost"), "{said}");
    let (ended, said) = make_main(&a, &["--main-is-lost", "--machine", config(&a)]).await;
    assert!(ended == 0 && said.contains("the main part of rover again"), "{said}");
    until_names(&a, &["c:leg", "own"]).await;
    assert_eq!(list(&a).await["term"], 7);
    // The other one was a sub-part still, and is found as one.
    let b = b.restart().await;
    until_names(&a, &["b:left", "c:leg", "own"]).await;
    until_names(&b, &["left"]).await;
}

#[tokio::test]
async fn without_the_main_part_a_sub_part_begins_anew_and_the_others_join_it() {
    let [mut a, b, c] = machine().await;
    a.stop_core().await;
    let (ended, said) = make_main(&b, &["--main-is-lost", "--machine", config(&b)]).await;
    assert_eq!(ended, 0, "{said}");
    assert!(
        said.contains("mainstay part join CODE --main HOST:PORT --replace"),
        "{said}"
    );
    let code = invite_part(&b, "c", &[]).await;
    let refused = c.cli(&["part", "join", &code, config(&c), "--main", b.address()]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("with `--replace` it leaves that"),
        "{refused:?}"
    );
    let (ended, said) = join(&b, &c, &code).await;
    assert_eq!(ended, 0, "{said}");
    until_names(&b, &["c:leg", "left"]).await;
    // The old one is a stranger when it comes back.
    let a = a.restart().await;
    until_cause(&a, "c", "is not this part of this machine").await;
    until_cause(&a, "b", "no part of any machine").await;
    until_names(&a, &["own"]).await;
    until_names(&b, &["c:leg", "left"]).await;
}
