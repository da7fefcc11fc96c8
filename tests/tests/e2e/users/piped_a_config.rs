//! A config from standard input, and a start that names none.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Stdio};

use mainstay_tests::bins;
use mainstay_tests::proc::{self, eventually};
use mainstay_tests::world::{PATIENCE, Place};
use nix::sys::signal::Signal;

const PART: &str = "components:\n  - {name: right, api: rdk:component:motor, model: fake}\n";
const MAIN: &str = "network: {bind_address: \"127.0.0.1:0\"}\ninclude: [part.yaml]\ncomponents:\n  - {name: left, api: rdk:component:motor, model: fake}\n";

/// Starts `mainstay run` with these arguments, and a text on its standard input.
fn start(place: &Place, arguments: &[&str], input: Option<&str>) -> Child {
    let output = fs::File::create(place.file("err.log")).expect("the temporary folder is writable");
    let mut command = place.command(&bins::mainstay());
    command.arg("run").args(arguments).stdout(Stdio::null()).stderr(output);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.spawn().expect("mainstay starts");
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        stdin.write_all(text.as_bytes()).expect("it reads its config");
    }
    child
}

async fn until_ready(place: &Place, machine: &str, resource: &str) {
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let status = place.mainstay(&["status", "--machine", machine, resource]).await;
        if status.code == 0 && status.stdout.contains("ready") {
            return;
        }
        assert!(std::time::Instant::now() < end, "{status:?}\n{}", said(place));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn said(place: &Place) -> String {
    fs::read_to_string(place.file("err.log")).unwrap_or_default()
}

async fn end(place: &Place, mut child: Child) {
    proc::signal(i32::try_from(child.id()).expect("small"), Signal::SIGTERM);
    let ended = eventually(PATIENCE, || child.try_wait().expect("ours").is_some()).await;
    assert!(ended, "{}", said(place));
    assert!(place.runtime_folders().is_empty());
}

#[tokio::test]
async fn a_config_from_standard_input_runs_and_is_never_read_again() {
    let place = Place::new();
    place.write("part.yaml", PART);
    let child = start(&place, &["-"], Some(MAIN));
    until_ready(&place, "-", "right").await;
    // Neither the part that changed nor a signal makes it read what is gone.
    place.write("part.yaml", "components: [");
    proc::signal(i32::try_from(child.id()).expect("small"), Signal::SIGHUP);
    let told = eventually(PATIENCE, || {
        said(&place).contains("came from standard input and cannot be read again")
    });
    assert!(told.await, "{}", said(&place));
    until_ready(&place, "-", "left").await;
    end(&place, child).await;

    let bad = start(&place, &["-"], Some("components: 7\n")).wait().expect("it ends");
    assert_eq!(bad.code(), Some(1));
    assert!(said(&place).contains("-:1:"), "{}", said(&place));
}

#[tokio::test]
async fn a_start_that_names_no_config_says_what_it_found_or_looked_for() {
    let place = Place::new();
    let none = place.mainstay(&["run"]).await;
    if !std::path::Path::new("/etc/viam.json").exists() {
        assert_eq!(none.code, 2, "{none:?}");
        for name in ["mainstay.yaml", "mainstay.json", "viam.json", "/etc/viam.json"] {
            assert!(none.stderr.contains(name), "{none:?}");
        }
    }
    place.write("viam.json", "{\"network\": {\"bind_address\": \"127.0.0.1:0\"}}");
    place.write("part.yaml", PART);
    place.write("mainstay.yaml", MAIN);
    let child = start(&place, &[], None);
    until_ready(&place, "mainstay.yaml", "left").await;
    let said = said(&place);
    assert!(
        said.contains("using `mainstay.yaml` in ") && said.contains("not `viam.json`"),
        "{said}"
    );
    end(&place, child).await;
}
