//! The next steps in toy worlds: whatever happens in whatever order, the end is what was wanted.

use mainstay_model::{ModuleName, Phase};
use proptest::prelude::*;

use super::Step;
use crate::machine::node::ModuleCondition;
use crate::machine::simulator::{Simulator, name};

fn check(lines: &[&str], expected: &str) {
    let mut simulator = Simulator::new(lines);
    for module in simulator.inside.keys().cloned().collect::<Vec<_>>() {
        simulator.ready(module.as_str());
    }
    assert_eq!(simulator.settle(), expected, "{lines:?}");
}

#[test]
fn resources_are_built_after_what_they_need() {
    check(&["a@m", "b@m"], "+a +b");
    check(&["c@m: b", "b@m: a", "a@m"], "+a +b +c");
    check(&["c@n: a b", "b@m: a", "a@n"], "+a +b +c");
    check(&["a@m: ?b", "b@m"], "+b +a");
    // Which is no resource.
    check(&["a@m: $framesystem"], "+a");
}

#[test]
fn a_broken_one_holds_back_only_what_needs_it() {
    let mut simulator = Simulator::new(&["a@m: nothing", "b@m: a", "c@m", "d@m: d", "e@m: f", "f@m: e", "g@m: e"]);
    simulator.ready("m");
    assert_eq!(simulator.settle(), "+c");
    let cause = |resource| simulator.shown(resource).1;
    // What people read, and what callers hear in the words that they know.
    for (resource, shown, wire) in [
        (
            "a",
            "needs `nothing`, but nothing in this config has that name: add it, or correct the name",
            "resource build error: resource has unresolved dependencies not found in machine config or connected remotes: [nothing]",
        ),
        (
            "b",
            "needs a (component:generic): needs `nothing`, but nothing in this config has that name: add it, or correct the name",
            "resource build error: dependency rdk:component:generic/a is not ready yet; reason=resource rdk:component:generic/a not available; reason=resource build error: resource has unresolved dependencies not found in machine config or connected remotes: [nothing]",
        ),
        (
            "d",
            "dependency cycle: d → d; one of them must not depend on the next",
            "resource build error: dependency cycle: d → d; one of them must not depend on the next",
        ),
    ] {
        assert_eq!((&*cause(resource), &*simulator.wire(resource)), (shown, wire));
    }
    assert!(cause("d").contains("cycle: d → d"), "{}", cause("d"));
    assert!(cause("e").contains("cycle: e → f → e"), "{}", cause("e"));
    assert!(cause("f").contains("cycle: f → e → f"), "{}", cause("f"));
    assert_eq!(simulator.shown("g").0, Phase::Unhealthy, "{}", cause("g"));
    assert_eq!(simulator.shown("c"), (Phase::Ready, String::new()));
}

#[test]
fn what_changes_around_a_circle_does_not_set_its_members_against_each_other() {
    let around = ["a@m: a z", "e@m: f", "f@m: e z", "z@m"];
    let mut simulator = Simulator::new(&around);
    simulator.ready("m");
    simulator.settle();
    let circles = |simulator: &Simulator| {
        for (resource, circle) in [("a", "a → a"), ("e", "e → f → e"), ("f", "f → e → f")] {
            let (phase, cause) = simulator.shown(resource);
            assert!(
                phase == Phase::Unhealthy && cause.contains(circle) && cause.len() < 300,
                "{resource}: {phase:?} {cause}"
            );
        }
    };
    circles(&simulator);
    // What they need besides goes, and comes back while another one is still being asked about.
    simulator.take_up(&["a@m: a z", "e@m: f", "f@m: e z", "y@m"]);
    simulator.decide();
    simulator.take_up(&["a@m: a z", "e@m: f", "f@m: e z", "y@m", "z@m"]);
    simulator.decide();
    simulator.settle();
    circles(&simulator);
}

#[test]
fn modules_that_start_are_waited_for_and_ones_that_failed_are_named() {
    let mut simulator = Simulator::new(&["a@m", "b@n: a"]);
    simulator.settle();
    assert_eq!(simulator.shown("a").0, Phase::Configuring);
    assert!(
        simulator.shown("a").1.contains("still starting: m, n"),
        "{}",
        simulator.shown("a").1
    );
    simulator.down("m");
    simulator.ready("n");
    simulator.settle();
    assert_eq!(simulator.shown("a").0, Phase::Unhealthy);
    let (_, shown) = simulator.shown("a");
    assert_eq!(
        shown,
        "no such model: `acme:m:x` for rdk:component:generic; it may be of module `m`, which is not running"
    );
    let wire = simulator.wire("a");
    assert!(
        wire.contains("May be in failing module: [m]") && wire.contains("; m died"),
        "{wire}"
    );
    simulator.ready("m");
    assert_eq!(simulator.settle(), "+a +b");
}

#[test]
fn a_crash_takes_down_its_own_and_rebuilds_dependents_when_it_is_back() {
    let mut simulator = Simulator::new(&["a@m", "b@n: a", "c@n: b", "d@n"]);
    simulator.ready("m");
    simulator.ready("n");
    assert_eq!(simulator.settle(), "+a +d +b +c");
    simulator.down("m");
    assert_eq!(
        simulator.settle(),
        "",
        "nothing is removed while the module is down: Stop must get through"
    );
    assert_eq!(simulator.shown("a"), (Phase::Unhealthy, "m died".into()));
    assert_eq!(simulator.shown("b").0, Phase::Configuring);
    assert!(
        simulator
            .shown("b")
            .1
            .contains("waiting for a (component:generic): m died"),
        "{}",
        simulator.shown("b").1
    );
    assert_eq!(simulator.shown("d").0, Phase::Ready);
    simulator.ready("m");
    assert_eq!(simulator.settle(), "-c -b +a +b +c");
}

#[test]
fn what_is_in_a_module_that_does_not_answer_is_not_ready_and_nothing_is_built_anew_for_it() {
    let mut simulator = Simulator::new(&["a@m", "b@n: a", "c@m"]);
    simulator.ready("m");
    simulator.ready("n");
    assert_eq!(simulator.settle(), "+a +c +b");
    let silent = |simulator: &mut Simulator, cause: Option<&str>| {
        simulator.world.module_silent(&"m".into(), cause.map(Into::into));
        assert_eq!(simulator.settle(), "");
        ["a", "b", "c"].map(|resource| simulator.shown(resource))
    };
    let ready = || (Phase::Ready, String::new());
    let mute = || (Phase::Unhealthy, "m is mute".to_owned());
    assert_eq!(silent(&mut simulator, Some("m is mute")), [mute(), ready(), mute()]);
    assert_eq!(silent(&mut simulator, None), [ready(), ready(), ready()]);
    // Whatever else becomes of the module says more than its silence.
    silent(&mut simulator, Some("m is mute"));
    simulator.down("m");
    assert_eq!(simulator.settle(), "");
    assert_eq!(simulator.shown("a"), (Phase::Unhealthy, "m died".into()));
    simulator.ready("m");
    assert_eq!(simulator.settle(), "-b +a +c +b");
    assert_eq!(simulator.shown("a"), ready());
}

#[test]
fn a_restart_empties_the_module_first() {
    let mut simulator = Simulator::new(&["a@m", "b@n: a", "c@m: b"]);
    simulator.ready("m");
    simulator.ready("n");
    simulator.settle();
    simulator
        .world
        .module_changed(&"m".into(), ModuleCondition::Draining, None);
    assert_eq!(simulator.settle(), "-c -b -a");
    assert_eq!(simulator.world.drained(), [ModuleName::from("m")]);
    simulator
        .world
        .module_changed(&"m".into(), ModuleCondition::Starting, None);
    assert_eq!(simulator.settle(), "");
    simulator.ready("m");
    assert_eq!(simulator.settle(), "+a +b +c");
}

#[test]
fn shutdown_takes_dependents_before_what_they_use() {
    let mut simulator = Simulator::new(&["a@m", "b@n: a", "c@m: b a", "d@m"]);
    simulator.ready("m");
    simulator.ready("n");
    simulator.settle();
    simulator.want_nothing();
    let order = simulator.settle();
    let place = |text: &str| order.find(text).expect("removed");
    assert!(place("-c") < place("-b") && place("-b") < place("-a"), "{order}");
    assert_eq!(simulator.world.nodes().count(), 0);
}

#[test]
fn optional_dependencies_come_and_go() {
    let mut simulator = Simulator::new(&["a@m", "b@n: ?a"]);
    simulator.ready("n");
    simulator.settle();
    assert_eq!(
        simulator.shown("b").0,
        Phase::Ready,
        "b does not wait for what it can do without"
    );
    simulator.ready("m");
    assert_eq!(simulator.settle(), "+a -b +b");
    assert_eq!(simulator.world.node(&name("b")).map(|node| node.held.len()), Some(1));
    simulator.down("m");
    assert_eq!(simulator.settle(), "");
    let (phase, cause) = simulator.shown("b");
    assert!(
        phase == Phase::Configuring && cause.contains("m died"),
        "what it holds is gone: {phase:?} {cause}"
    );
    // Two that would like each other: the later one by name gets the earlier.
    check(&["x@m: ?y", "y@m: ?x"], "+x +y");
}

#[test]
fn a_failed_resource_is_tried_again_and_later_each_time() {
    let mut simulator = Simulator::new(&["a@m"]);
    simulator.ready("m");
    let mut pauses = Vec::new();
    for _ in 0..7 {
        simulator.decide();
        simulator.end(0);
        simulator.decide();
        let (resource, step) = simulator.open.remove(0);
        assert!(matches!(step, Step::Add(..)), "{step:?}");
        simulator.world.added(&resource, Err("no".into()), true, simulator.now);
        simulator.decide();
        assert_eq!(simulator.shown("a"), (Phase::Unhealthy, "no".into()));
        let retry = simulator.world.next_retry().expect("a retry");
        pauses.push((retry - simulator.now).as_secs());
        simulator.now = retry;
        simulator.world.touch_due(retry);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(simulator.settle(), "+a");
}

#[test]
fn one_module_has_so_many_calls_at_a_time_and_gets_through_all_of_them() {
    let lines: Vec<String> = (0..200).map(|number| format!("r{number}@m")).collect();
    let mut simulator = Simulator::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    simulator.ready("m");
    simulator.decide();
    assert_eq!(simulator.open.len(), 32);
    simulator.settle();
    assert_eq!(simulator.inside[&"m".into()].len(), 200);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever dies, comes back and ends in whatever order: nothing is added twice or without what it needs, and when
    /// all modules are well everything that can run does.
    #[test]
    fn any_order_of_events_ends_with_everything_built(
        edges in prop::collection::vec((0usize..12, 0usize..12, any::<bool>()), 0..20),
        events in prop::collection::vec((0usize..6, 0usize..8), 0..120),
    ) {
        // Edges towards earlier resources only, so that all can be built.
        let lines: Vec<String> = (0..12).map(|number: usize| {
            let dependencies = edges.iter().filter(|(from, to, _)| *from == number && to < from);
            let texts: Vec<_> = dependencies.map(|(_, to, optional)| format!("{}r{to}", if *optional { "?" } else { "" })).collect();
            format!("r{number}@m{}: {}", number % 3, texts.join(" "))
        }).collect();
        let mut simulator = Simulator::new(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        for (what, which) in events {
            simulator.happen(what, which);
        }
        simulator.calm_down();
        for number in 0..12 {
            prop_assert_eq!(simulator.shown(&format!("r{number}")).0, Phase::Ready, "r{} of {:?}", number, &lines);
        }
        simulator.want_nothing();
        simulator.settle();
        prop_assert_eq!(simulator.world.nodes().count(), 0);
        prop_assert!(simulator.inside.values().all(Vec::is_empty), "{:?}", simulator.inside);
    }
}

#[test]
fn the_work_grows_with_the_config_and_no_faster() {
    // Every resource of a layer needs all of the layer below; walked without memory, this takes 4^300 steps.
    let layers: Vec<String> = (0..1200)
        .map(|number: usize| {
            let below: Vec<_> = (0..4)
                .filter(|_| number >= 4)
                .map(|place| format!("r{}", number / 4 * 4 - 4 + place))
                .collect();
            format!("r{number}@m{}: {}", number % 5, below.join(" "))
        })
        .collect();
    let mut simulator = Simulator::new(&layers.iter().map(String::as_str).collect::<Vec<_>>());
    let modules = ["m0", "m1", "m2", "m3", "m4"];
    modules.iter().for_each(|module| simulator.ready(module));
    simulator.settle();
    assert_eq!(simulator.shown("r1199").0, Phase::Ready);
    simulator.down("m0");
    simulator.settle();
    simulator.ready("m0");
    simulator.settle();
    assert_eq!(simulator.shown("r1199").0, Phase::Ready);
    simulator.want_nothing();
    simulator.settle();
    assert_eq!(simulator.world.nodes().count(), 0);
}

#[test]
fn a_retry_that_was_taken_is_not_due_any_more() {
    let mut simulator = Simulator::new(&["a@m: b"]);
    simulator.ready("m");
    simulator.decide();
    let (resource, _) = simulator.open.remove(0);
    simulator
        .world
        .validated(&resource, Some(Err("no".into())), simulator.now);
    simulator.decide();
    simulator.now = simulator.world.next_retry().expect("a retry");
    simulator.world.touch_due(simulator.now);
    assert_eq!(simulator.settle(), "");
    assert_eq!(
        simulator.world.next_retry(),
        None,
        "what waits for a dependency is woken by that alone"
    );
}

#[test]
fn a_validation_that_was_cut_off_is_asked_again() {
    let mut simulator = Simulator::new(&["b@n", "a@m: b"]);
    simulator.ready("m");
    simulator.ready("n");
    simulator.decide();
    simulator.down("m");
    simulator.ready("m");
    assert_eq!(simulator.settle(), "+b +a");
    assert_eq!(simulator.world.node(&name("a")).map(|node| node.held.len()), Some(1));
}
