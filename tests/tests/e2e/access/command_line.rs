//! The command line on another machine: every verb, as an owner and as others.

use std::fs;

use mainstay_tests::machine::Machine;
use mainstay_tests::world::{Finished, Place, World};
use serde_json::{Value, json};

use super::{SECRET, keys, machine};

fn config() -> Machine {
    machine(json!({
        "handlers": keys(&["owner", "operator", "viewer"].map(|id| (id, json!(SECRET)))),
        "roles": {
            "owner": { "entities": ["owner"] },
            "operator": { "entities": ["operator"] },
            "viewer": { "entities": ["viewer"] },
        },
    }))
}

/// The command line as on another host: it shares no folder with the machine.
struct Elsewhere<'w> {
    place: Place,
    world: &'w World,
}

impl Elsewhere<'_> {
    async fn run(&self, who: &str, verb: &[&str]) -> Finished {
        let key = format!("{who}:{SECRET}");
        let mut arguments = verb.to_vec();
        arguments.extend(["--address", self.world.address(), "--insecure", "--api-key", &key]);
        self.place.mainstay(&arguments).await
    }
}

#[tokio::test]
async fn an_owner_has_every_verb_over_the_network_and_others_have_theirs() {
    let mut world = World::settled(config()).await;
    let pid = world
        .until(|now| now.ready("lidar") && now.ready("left"))
        .await
        .pid("eyes")
        .expect("a process");
    let elsewhere = Elsewhere {
        place: Place::new(),
        world: &world,
    };
    let mut changed = config();
    changed = changed.resource(mainstay_tests::machine::Resource::fake("right", "motor"));
    // In a folder that the machine's host does not have.
    fs::create_dir(elsewhere.place.file("here")).expect("writable");
    let mut text = changed.json().clone();
    // Of the running config, and nothing is to be bound again.
    text["network"] =
        serde_json::from_slice::<Value>(&fs::read(world.config()).expect("there")).expect("JSON")["network"].clone();
    let trial = elsewhere.place.write("here/trial.json", &text.to_string());
    let trial = trial.to_str().expect("UTF-8");
    let broken = elsewhere.place.write("here/broken.json", r#"{"components": 7}"#);
    let broken = broken.to_str().expect("UTF-8");
    let pid_text = pid.to_string();
    for (verb, expected) in [
        (&["status"][..], pid_text.as_str()),
        (&["status", "eyes"], pid_text.as_str()),
        (&["status", "--json"], "\"pid\":"),
        (&["logs"], "module ready"),
        (&["logs", "eyes"], "started"),
        (&["events"], "ready"),
        (&["explain", "eyes"], "now ready"),
        (&["explain", "--denied"], ""),
        (&["graph"], "lidar"),
        (&["remotes"], "no remotes"),
        (&["diff", trial], "components.right"),
        (&["plan", trial], "+ right"),
        (&["check", trial, "--live"], "is good"),
        (&["reload", "eyes"], "nothing to do"),
        (&["call", "left", "is_moving"], "false"),
        (&["tunnel"], "no ports"),
    ] {
        let ended = elsewhere.run("owner", verb).await;
        assert!(
            ended.code == 0 && ended.stdout.contains(expected),
            "{verb:?}: {ended:?}"
        );
        let other = elsewhere.run("operator", verb).await;
        match verb[0] {
            "status" | "call" if verb != ["status", "eyes"] => assert_eq!(other.code, 0, "{verb:?}: {other:?}"),
            "tunnel" => assert!(other.stderr.contains("PERMISSION_DENIED"), "{other:?}"),
            // What a client may see of it has these, without process ids.
            "status" | "remotes" => assert!(!other.stdout.contains(&pid_text), "{other:?}"),
            _ => {
                let told =
                    other.stderr.contains("`operator` (role operator) is none") && other.stderr.contains("ssh HOST");
                assert!(other.code == 1 && told, "{verb:?}: {other:?}");
            }
        }
    }
    // Complaints come back with the names of files here.
    let refused = elsewhere.run("owner", &["plan", broken]).await;
    assert!(
        refused.code == 1 && refused.stderr.contains("here/broken.json"),
        "{refused:?}"
    );
    let folder = world.config().parent().expect("a folder").display().to_string();
    assert!(!refused.stderr.contains(&folder), "{refused:?}");

    // The machine's own file is there, not here.
    let own = elsewhere.run("owner", &["diff"]).await;
    assert!(own.code == 2 && own.stderr.contains("is on the host of"), "{own:?}");
    for verb in [
        &["check", trial][..],
        &["graph", trial],
        &["diff", trial, "--last-good"],
        &["schema"],
        &["keys", "list"],
    ] {
        let unused = elsewhere.run("owner", verb).await;
        assert!(
            unused.code == 2 && unused.stderr.contains("asks no machine"),
            "{verb:?}: {unused:?}"
        );
    }

    let applied = elsewhere.run("owner", &["apply", trial, "--yes"]).await;
    assert!(applied.code == 0 && applied.stdout.contains("right"), "{applied:?}");
    let restarted = elsewhere.run("owner", &["restart", "eyes"]).await;
    assert!(
        restarted.code == 0 && restarted.stdout.contains("ready in"),
        "{restarted:?}"
    );
    let told = elsewhere.run("owner", &["explain", "eyes"]).await;
    assert!(told.stdout.contains("(owner)"), "who asked is told: {told:?}");
    let denied = elsewhere.run("owner", &["explain", "--denied"]).await;
    assert!(
        !denied.stdout.contains("ControlService"),
        "asking first spares refusals: {denied:?}"
    );
    let operator = elsewhere.run("operator", &["restart", "eyes"]).await;
    assert!(
        operator.code == 1 && operator.stderr.contains("PERMISSION_DENIED"),
        "{operator:?}"
    );
    world.until(|now| now.ready("right")).await;
    world.shutdown().await.with_code(0).left_nothing_behind();
}
