//! Keys that are made and revoked while the machine runs, and the profiles that keep them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Instant;

use mainstay_tests::bins;
use mainstay_tests::machine::Machine;
use mainstay_tests::terminal::Terminal;
use mainstay_tests::world::{Finished, PATIENCE, Place, World};
use serde_json::json;

use super::{SECRET, keys, machine};

/// Runs the command line with a text on its standard input.
async fn with_input(place: &Place, arguments: &[&str], input: &str) -> Finished {
    let mut command = place.command(&bins::mainstay());
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command line starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("it reads");
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await;
    let output = output.expect("waited").expect("it ends");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command of the place until its end is as wanted.
async fn until(place: &Place, arguments: &[&str], wanted: impl Fn(&Finished) -> bool) -> Finished {
    let end = Instant::now() + PATIENCE;
    loop {
        let ended = place.mainstay(arguments).await;
        if wanted(&ended) {
            return ended;
        }
        assert!(Instant::now() < end, "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_key_is_made_logs_in_calls_is_revoked_and_is_refused_and_no_module_notices() {
    let mut world = World::settled(machine(json!({ "handlers": keys(&[("first", json!(SECRET))]) }))).await;
    let pid = world
        .until(|now| now.ready("lidar") && now.ready("left"))
        .await
        .pid("eyes");
    let before = fs::read_to_string(world.config()).expect("there");
    let made = world
        .cli(&["keys", "new", "--role", "operator", "--name", "laptop of Ann"])
        .await;
    assert_eq!(made.code, 0, "{made:?}");
    let key = made.stdout.trim().to_owned();
    let (id, secret) = key.split_once(':').expect("ID:KEY");
    assert!(
        made.stderr.contains("stays one: first") && !made.stderr.contains(secret),
        "{made:?}"
    );
    let listed = world.cli(&["keys", "list"]).await;
    let line = listed
        .stdout
        .lines()
        .find(|line| line.starts_with(id))
        .expect("it is listed");
    assert!(
        line.contains("laptop of Ann") && line.contains("operator") && line.contains("hashed"),
        "{listed:?}"
    );
    assert!(!fs::read_to_string(world.config()).expect("there").contains(secret));

    let (away, address) = (Place::new(), world.address().to_owned());
    let login = ["login", &address, "--name", "rover", "--insecure", "--api-key", "-"];
    let end = Instant::now() + PATIENCE;
    let logged_in = loop {
        let ended = with_input(&away, &login, &key).await;
        // The machine reads its file a moment later.
        if ended.code == 0 || Instant::now() > end {
            break ended;
        }
    };
    assert!(logged_in.stdout.contains("(role operator)"), "{logged_in:?}");
    let profile = away.file("config/mainstay/profiles/rover.json");
    let mode = |path: &std::path::Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&profile), mode(profile.parent().expect("one"))), (0o600, 0o700));
    let call = ["call", "left", "is_moving", "--profile", "rover"];
    let called = away.mainstay(&call).await;
    assert!(called.code == 0 && called.stdout.contains("false"), "{called:?}");
    let list = away.mainstay(&["login"]).await;
    assert!(
        list.stdout.contains("rover") && list.stdout.contains(id) && !list.stdout.contains(secret),
        "{list:?}"
    );
    // By the variable, too.
    let mut named = away.command(&bins::mainstay());
    named
        .args(["call", "left", "is_moving"])
        .env("MAINSTAY_MACHINE", "rover");
    let named = mainstay_tests::world::finish(named).await;
    assert_eq!(named.code, 0, "{named:?}");

    fs::set_permissions(&profile, fs::Permissions::from_mode(0o644)).expect("ours");
    let open = away.mainstay(&call).await;
    assert!(
        open.code == 1 && open.stderr.contains("chmod 600") && !open.stderr.contains(secret),
        "{open:?}"
    );
    fs::set_permissions(&profile, fs::Permissions::from_mode(0o600)).expect("ours");

    let revoked = world.cli(&["keys", "revoke", id]).await;
    assert_eq!(revoked.code, 0, "{revoked:?}");
    // A key that is shown just before it is revoked gets a token, and the call after it is refused: that is not yet the refusal meant.
    let refusal = "does not take the API key: invalid credentials";
    let refused = until(&away, &call, |ended| ended.stderr.contains(refusal)).await;
    assert!(refused.code == 1 && refused.stderr.contains(refusal), "{refused:?}");
    assert_eq!(world.snapshot().await.pid("eyes"), pid, "no module was started again");
    let shown = world.output();
    assert!(!shown.contains(secret), "{shown}");
    let last = world.cli(&["keys", "revoke", "first"]).await;
    assert!(last.code == 1 && last.stderr.contains("the last key"), "{last:?}");
    assert!(fs::read_to_string(world.config()).expect("there").len() >= before.len());

    let out = away.mainstay(&["logout", "rover"]).await;
    assert!(out.code == 0 && !profile.exists(), "{out:?}");
    let gone = away.mainstay(&call).await;
    assert!(gone.code == 2 && gone.stderr.contains("mainstay login"), "{gone:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn an_authority_is_trusted_by_its_file_or_its_fingerprint_and_never_silently() {
    let place = Place::new();
    let ca = place.make_keys(&place.file("machine.json")).await;
    let config = machine(json!({ "handlers": keys(&[("first", json!(SECRET))]) }))
        .set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" }));
    let config_file = place.file("machine.json");
    let world = place.start(config).await;
    let printed = world.cli(&["keys", "ca", config_file.to_str().expect("UTF-8")]).await;
    let fingerprint = printed
        .stderr
        .trim()
        .rsplit(' ')
        .next()
        .expect("a fingerprint")
        .to_owned();
    assert_eq!(fingerprint.len(), 95, "{printed:?}");

    let (away, address, key) = (Place::new(), world.address().to_owned(), format!("first:{SECRET}"));
    let login = |options: &[&str]| {
        let mut command = away.command(&bins::mainstay());
        command
            .args(["login", &address])
            .args(options)
            .env("MAINSTAY_API_KEY", &key);
        mainstay_tests::world::finish(command)
    };
    let unasked = login(&[]).await;
    assert!(
        unasked.code == 1 && unasked.stderr.contains(&format!("--fingerprint {fingerprint}")),
        "{unasked:?}"
    );
    let status = away
        .mainstay(&["status", "--address", &address, "--api-key", &key])
        .await;
    assert!(
        status.code == 3 && status.stderr.contains("mainstay login"),
        "{status:?}"
    );
    let other = "AB:".repeat(31) + "AB";
    let wrong = login(&["--fingerprint", &other]).await;
    assert!(
        wrong.code == 1 && wrong.stderr.contains("no certificate of this fingerprint"),
        "{wrong:?}"
    );
    let ca_file = away.write("ca.pem", &ca);
    let another = away.make_keys(&away.file("another.yaml")).await;
    let another = away.write("another.pem", &another);
    let foreign = login(&["--ca", another.to_str().expect("UTF-8")]).await;
    assert!(
        foreign.code == 3 && foreign.stderr.contains("certificate"),
        "{foreign:?}"
    );
    assert!(
        away.mainstay(&["login"]).await.stdout.contains("no profiles"),
        "nothing was kept"
    );
    for (name, options) in [
        ("by-print", ["--fingerprint", &fingerprint]),
        ("by-file", ["--ca", ca_file.to_str().expect("UTF-8")]),
    ] {
        let logged_in = login(&[&["--name", name], &options[..]].concat()).await;
        assert!(
            logged_in.code == 0 && logged_in.stdout.contains("may do everything"),
            "{logged_in:?}"
        );
        let status = away.mainstay(&["logs", "--profile", name]).await;
        assert_eq!(status.code, 0, "{status:?}");
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn a_machine_that_asks_nobody_is_kept_without_a_key() {
    let world = World::settled(Machine::new()).await;
    let away = Place::new();
    let kept = away.mainstay(&["login", world.address(), "--name", "open"]).await;
    assert!(
        kept.code == 0 && kept.stdout.contains("asks nobody who they are"),
        "{kept:?}"
    );
    let status = away.mainstay(&["status", "--profile", "open"]).await;
    assert_eq!(status.code, 0, "{status:?}");
    let unused = away
        .mainstay(&["login", world.address(), "--name", "k", "--api-key", "a:b"])
        .await;
    assert!(unused.code != 0, "{unused:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn at_a_terminal_it_asks_whom_to_trust_and_for_a_key_that_it_does_not_show() {
    let place = Place::new();
    place.make_keys(&place.file("machine.json")).await;
    let config = machine(json!({ "handlers": keys(&[("first", json!(SECRET))]) }))
        .set("network", json!({ "bind_address": "127.0.0.1:0", "tls": "own" }));
    let world = place.start(config).await;
    let away = Place::new();
    let login = || Terminal::start(&away, &["login", world.address(), "--name", "rover"]);
    let (trust, ask) = ("Trust it? [y/N] ", "API key (ID:KEY): ");

    let mut wary = login();
    wary.answer(trust, "n\r").await;
    let (code, shown) = wary.end().await;
    assert!(code == 1 && shown.contains("nothing was kept"), "{shown}");

    let mut gives_up = login();
    gives_up.answer(trust, "y\r").await;
    gives_up.answer(ask, "fir\x03").await;
    let (code, shown) = gives_up.end().await;
    assert!(code == 1 && shown.contains("nothing was done"), "{shown}");

    let mut mistypes = login();
    mistypes.answer(trust, "yes\r").await;
    mistypes.answer(ask, "first:no\r").await;
    let (code, shown) = mistypes.end().await;
    assert!(code == 1 && shown.contains("does not take the API key"), "{shown}");
    let kept = away.mainstay(&["login"]).await;
    assert!(kept.stdout.contains("no profiles"), "{kept:?}");

    let mut owner = login();
    owner.answer(trust, "y\r").await;
    // A slip, taken back.
    owner.answer(ask, &format!("first:{SECRET}x\x7f\r")).await;
    let (code, shown) = owner.end().await;
    assert!(code == 0 && shown.contains("may do everything"), "{shown}");
    assert!(!shown.contains(SECRET), "{shown}");
    let status = away.mainstay(&["status", "--profile", "rover"]).await;
    assert_eq!(status.code, 0, "{status:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
