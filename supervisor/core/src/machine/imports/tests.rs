use std::sync::Arc;

use mainstay_model::{ModuleName, Phase};

use super::super::node::{BuildStage, ModuleCondition};
use super::super::simulator::{Simulator, name};
use crate::remote::{Listed, imports};

fn far() -> ModuleName {
    ModuleName::remote("far")
}

fn list(simulator: &mut Simulator, remote: &str, prefix: &str, listed: &[&str], anew: bool) {
    let listed = listed.iter().map(|text| Listed {
        name: name(text),
        machines: Arc::default(),
    });
    let taken = imports(remote, prefix, "me", &listed.collect::<Vec<_>>()).taken;
    simulator.world.import(&ModuleName::remote(remote), taken, anew);
    simulator.settle();
}

fn lose(simulator: &mut Simulator) {
    let cause: Arc<str> = "the connection was lost".into();
    simulator
        .world
        .module_changed(&far(), ModuleCondition::Down(cause), None);
    simulator.settle();
}

fn begin(lines: &[&str]) -> Simulator {
    let mut simulator = Simulator::new(lines);
    simulator.world.add_remote(far(), "connecting".into());
    for module in simulator.inside.keys().cloned().collect::<Vec<_>>() {
        simulator.ready(module.as_str());
    }
    simulator.settle();
    simulator
}

/// Phase, build and cause of a resource; `-` if there is none.
fn shown(simulator: &Simulator, text: &str) -> String {
    let Some(node) = simulator.world.node(&name(text)) else {
        return "-".to_owned();
    };
    let shown = node.shown.clone();
    let phase = shown.as_ref().map_or(Phase::Configuring, |shown| shown.phase);
    let cause = shown
        .and_then(|shown| shown.cause)
        .map_or(String::new(), |cause| format!(": {cause}"));
    format!("{phase:?} {}{cause}", node.build)
}

#[test]
fn what_needs_another_machine_is_built_when_that_is_there_and_again_when_it_comes_back() {
    let mut simulator = begin(&["base@m: far:left", "arm@m: left", "own@m:"]);
    assert!(simulator.world.is_settled(), "an absent remote delays nobody");
    assert!(shown(&simulator, "own").starts_with("Ready 1"));
    let waits = shown(&simulator, "base");
    assert!(
        waits.contains("remote `far` may have it, but is away: connecting"),
        "{waits}"
    );

    list(&mut simulator, "far", "", &["left"], true);
    assert_eq!(shown(&simulator, "far:left"), "Ready 1");
    assert_eq!(
        [shown(&simulator, "base"), shown(&simulator, "arm")],
        ["Ready 1", "Ready 1"]
    );

    lose(&mut simulator);
    assert_eq!(shown(&simulator, "far:left"), "Unhealthy 1: the connection was lost");
    let base = shown(&simulator, "base");
    assert!(
        base.contains("waiting for far:left (component:generic): the connection was lost"),
        "{base}"
    );
    let stage = simulator.world.node(&name("base")).map(|node| node.stage);
    assert_eq!(
        stage,
        Some(BuildStage::Built),
        "it stays where it is, so that Stop reaches it"
    );

    // Another list on the same connection is no reason to build anything again.
    list(&mut simulator, "far", "", &["left"], true);
    assert_eq!(
        [
            shown(&simulator, "far:left"),
            shown(&simulator, "base"),
            shown(&simulator, "own")
        ],
        ["Ready 2", "Ready 2", "Ready 1"]
    );
    list(&mut simulator, "far", "", &["right", "left"], false);
    assert_eq!(
        [shown(&simulator, "far:right"), shown(&simulator, "base")],
        ["Ready 1", "Ready 2"]
    );
}

#[test]
fn what_a_remote_has_no_longer_goes_after_those_who_hold_it() {
    let mut simulator = begin(&["base@m: left"]);
    list(&mut simulator, "far", "", &["left"], true);
    list(&mut simulator, "far", "", &[], false);
    assert_eq!(shown(&simulator, "far:left"), "-");
    let base = shown(&simulator, "base");
    assert!(
        base.starts_with("Unhealthy 1") && base.contains("has it no longer"),
        "{base}"
    );
    list(&mut simulator, "far", "", &["left"], false);
    assert!(shown(&simulator, "base").starts_with("Ready 2"));

    simulator.world.remove_remote(&far());
    simulator.settle();
    assert_eq!(shown(&simulator, "far:left"), "-");
    assert!(shown(&simulator, "base").starts_with("Unhealthy"));
}

#[test]
fn a_name_of_this_machine_comes_first_and_of_several_remotes_nobody_has_it() {
    let mut simulator = begin(&["left@m:", "base@m: left"]);
    list(&mut simulator, "far", "le", &["ft"], true);
    assert_eq!(shown(&simulator, "left"), "Ready 1");
    assert!(!simulator.world.node(&name("left")).expect("there").is_imported());

    // Without our own, theirs is the one.
    simulator.take_up(&["base@m: left"]);
    simulator.settle();
    assert!(simulator.world.node(&name("left")).expect("there").is_imported());
    assert_eq!(shown(&simulator, "base"), "Ready 2");
    simulator.take_up(&["left@m:", "base@m: left"]);
    simulator.settle();
    assert!(!simulator.world.node(&name("left")).expect("there").is_imported());
    assert!(
        shown(&simulator, "base").starts_with("Ready 3"),
        "{}",
        shown(&simulator, "base")
    );

    simulator.take_up(&["base@m: left"]);
    simulator.settle();
    let other = ModuleName::remote("other");
    simulator.world.add_remote(other.clone(), "connecting".into());
    list(&mut simulator, "other", "l", &["eft"], true);
    assert_eq!(shown(&simulator, "left"), "-");
    let contested: Vec<_> = simulator.world.contested().map(|(name, _)| name.name.clone()).collect();
    assert_eq!(contested, ["left"]);
    simulator.world.remove_remote(&other);
    simulator.settle();
    assert!(
        shown(&simulator, "left").starts_with("Ready"),
        "{}",
        shown(&simulator, "left")
    );
    assert_eq!(simulator.world.contested().count(), 0);
}

#[test]
fn a_remote_that_flaps_a_thousand_times_leaves_nothing_behind() {
    let mut simulator = begin(&["base@m: far:a", "own@m:"]);
    for _ in 0..1_000 {
        list(&mut simulator, "far", "", &["a", "b"], true);
        lose(&mut simulator);
    }
    list(&mut simulator, "far", "", &["a"], true);
    assert!(shown(&simulator, "base").starts_with("Ready"));
    assert!(shown(&simulator, "own").starts_with("Ready 1"));
    assert_eq!(simulator.world.nodes().count(), 3);
    simulator.world.end_imports();
    simulator.settle();
    assert_eq!(shown(&simulator, "far:a"), "-");
}

#[test]
fn four_thousand_that_come_and_go_at_once_take_no_more_than_a_look_at_all() {
    let mut simulator = begin(&["own@m:"]);
    let names: Vec<String> = (0..4_000).map(|number| format!("motor-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let begun = std::time::Instant::now();
    for count in [4_000, 1_000, 4_000, 0] {
        list(&mut simulator, "far", "", &names[..count], true);
        assert_eq!(simulator.world.nodes().count(), count + 1);
        lose(&mut simulator);
    }
    // A look for each of them takes twenty times as long.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
