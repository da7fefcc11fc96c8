//! Tests of the output of `mainstay status` for one machine, in every form.

use super::*;
use crate::samples::{now, rover};

fn text(query: Option<&str>, style: Style) -> String {
    render(&rover(), query, false, now(), style).unwrap()
}

#[test]
fn a_machine_is_a_headline_and_two_tables() {
    let expected = "\
rover.yaml  revision 5  running 3 h 12 min  pid 4100  10.4 MB  127.0.0.1:8080 (no authentication: loopback only)

MODULE        STATE      PID          UP  RESTARTS   MEMORY   CPU  LAST
builtin:fake  ready     4121  3 h 12 min         0   4.1 MB  0.2%
acme-lidar    ready     4188        41 s         2  61.0 MB  8.0%  restarted: killed by SIGSEGV (41 s ago)
wheels        back-off     –           –         7        –     –  exit code 2; next try in 14 s

RESOURCE    API               MODEL             STATE
left-motor  component:motor   fake              ready
lidar       component:camera  acme:lidar:x2     ready
base        component:base    acme:wheels:four  unhealthy: module `wheels` is not running: exit code 2";
    assert_eq!(text(None, Style::PLAIN), expected);
}

#[test]
fn a_narrow_terminal_wraps_reasons_and_loses_nothing() {
    let narrow = text(
        None,
        Style {
            colour: false,
            width: Some(80),
        },
    );
    assert!(narrow.lines().all(|line| line.chars().count() <= 93), "{narrow}");
    assert!(narrow.contains("`wheels` is\n"), "{narrow}");
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut wide = words(&text(None, Style::PLAIN));
    let mut wrapped = words(&narrow);
    wide.sort();
    wrapped.sort();
    assert_eq!(wide, wrapped);
}

#[test]
fn one_resource_shows_its_module_and_its_dependencies_both_ways() {
    let expected = "\
base
  state       unhealthy: module `wheels` is not running: exit code 2
  since       41 s ago
  api         rdk:component:base
  model       acme:wheels:four
  module      wheels (back-off): exit code 2; next try in 14 s
  depends on  rdk:component:motor/left-motor  ready";
    assert_eq!(text(Some("base"), Style::PLAIN), expected);
    let used = text(Some("motor/left-motor"), Style::PLAIN);
    assert!(
        used.ends_with("needed by  rdk:component:base/base  unhealthy: module `wheels` is not running: exit code 2"),
        "{used}"
    );
}

#[test]
fn one_module_shows_all_it_said_last() {
    let expected = "\
wheels
  state     back-off
  restarts  7
  last      3.0 s ago: exit code 2
            ModuleNotFoundError: No module named 'smbus2'
  next try  in 14 s

RESOURCE  API             MODEL             STATE
base      component:base  acme:wheels:four  unhealthy: module `wheels` is not running: exit code 2";
    assert_eq!(text(Some("wheels"), Style::PLAIN), expected);
}

#[test]
fn calls_that_never_return_are_told_in_every_form() {
    let mut status = rover();
    status.resources[1].stuck = vec![mainstay_proto::mainstay::control::v1::StuckCalls {
        method: "GetReadings".into(),
        age: Duration::from_secs(41).try_into().ok(),
        calls: 4,
        callers: vec!["127.0.0.1:7".into(), "module slam".into(), "the command line".into()],
    }];
    let shown = |query| render(&status, query, false, now(), Style::PLAIN).unwrap();
    assert!(
        shown(None).contains("ready; stuck: GetReadings for 41 s, 3 callers"),
        "{}",
        shown(None)
    );
    let one = shown(Some("lidar"));
    assert!(
        one.contains("GetReadings for 41 s: 4 calls by 127.0.0.1:7, module slam, the command line"),
        "{one}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&render(&status, None, true, now(), Style::PLAIN).unwrap()).unwrap();
    let expected = serde_json::json!([{ "method": "GetReadings", "age_s": 41.0, "calls": 4,
        "callers": ["127.0.0.1:7", "module slam", "the command line"] }]);
    assert_eq!(json["resources"][1]["stuck"], expected);
    assert_eq!(json["resources"][0]["stuck"], serde_json::json!([]));
    let mut follower = Follower::new(None, false, Style::PLAIN);
    follower.before = Some(rover());
    assert_eq!(
        follower.text(&status, now()).unwrap().unwrap(),
        "rdk:component:camera/lidar ready; stuck: GetReadings for 41 s, 3 callers"
    );
    follower.before = Some(status.clone());
    status.resources[1].stuck[0].age = Duration::from_secs(42).try_into().ok();
    assert_eq!(follower.text(&status, now()).unwrap(), None, "only older");
}

#[test]
fn an_unknown_name_ends_with_1_and_a_suggestion() {
    let failure = render(&rover(), Some("weels"), false, now(), Style::PLAIN).unwrap_err();
    assert_eq!(
        (failure.exit, failure.message.as_str()),
        (
            Exit::Wrong,
            "no resource or module `weels` on this machine; did you mean `wheels`?"
        )
    );
}

#[test]
fn json_has_its_documented_keys() {
    let text = render(&rover(), None, true, now(), Style::PLAIN).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["state"], "running");
    assert_eq!(json["uptime_s"], 11_520.0);
    assert_eq!(json["listeners"][0]["address"], "127.0.0.1:8080");
    assert_eq!(json["modules"][2]["state"], "back-off");
    assert_eq!(json["modules"][2]["pid"], serde_json::Value::Null);
    assert_eq!(json["modules"][2]["next_try_at"], "2027-01-15T08:00:14Z");
    assert_eq!(json["resources"][2]["api"], "rdk:component:base");
    assert_eq!(
        json["resources"][2]["dependencies"],
        serde_json::json!(["rdk:component:motor/left-motor"])
    );
    let one = render(&rover(), Some("wheels"), true, now(), Style::PLAIN).unwrap();
    assert!(
        one.starts_with(r#"{"name":"wheels","state":"back-off","pid":null"#),
        "{one}"
    );
}

#[test]
fn following_in_a_pipe_tells_changes_only() {
    let mut follower = Follower::new(None, false, Style::PLAIN);
    let first = follower.text(&rover(), now()).unwrap().unwrap();
    assert!(first.starts_with("rover.yaml"));
    follower.before = Some(rover());
    assert_eq!(
        follower.text(&rover(), now()).unwrap(),
        None,
        "figures alone are no news"
    );
    let mut after = rover();
    after.modules[2].pid = Some(77);
    after.modules[2].set_state(mainstay_proto::mainstay::control::v1::ModuleState::Ready);
    after.resources[2].set_state(mainstay_proto::mainstay::control::v1::ResourceState::Ready);
    after.resources[2].error.clear();
    after.resources.remove(1);
    let expected = "module wheels ready pid 77\nrdk:component:base/base ready\nrdk:component:camera/lidar removed";
    assert_eq!(follower.text(&after, now()).unwrap().unwrap(), expected);
}

#[test]
fn following_on_a_terminal_draws_over_the_last_picture() {
    let mut follower = Follower::new(
        None,
        false,
        Style {
            colour: false,
            width: Some(200),
        },
    );
    let first = follower.text(&rover(), now()).unwrap().unwrap();
    assert!(first.starts_with("\x1b[H\x1b[J"));
    follower.before = Some(rover());
    let second = follower.text(&rover(), now()).unwrap().unwrap();
    assert!(
        second.starts_with("\x1b[Hrover.yaml") && second.ends_with("\x1b[K\x1b[J"),
        "{second:?}"
    );
}
