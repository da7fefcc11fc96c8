//! Circles that an optional dependency closes: one of them is let go, and which one does not depend on the way there.

use mainstay_model::Phase;
use proptest::prelude::*;

use crate::machine::simulator::{Simulator, name, running, running_set, show};

/// Names of the resources that `resource` holds.
fn held(simulator: &Simulator, resource: &str) -> Vec<String> {
    let node = simulator.world.node(&name(resource)).expect("it is there");
    node.held.iter().map(|(held, _)| held.name.clone()).collect()
}

/// From one config to the other: what is planned, why, and what is done.
fn check(from: &[&str], to: &[&str], planned: &str, because: &str, done: &str) -> Simulator {
    let mut simulator = running(from);
    let (plan, log) = simulator.apply(to);
    assert_eq!(show(&plan), planned, "{from:?} → {to:?}: {plan:#?}");
    let reasons: Vec<_> = plan.changes.iter().map(|change| change.because.as_str()).collect();
    assert!(reasons.contains(&because), "{from:?} → {to:?}: {reasons:?}");
    assert_eq!(log, done, "{from:?} → {to:?}");
    let fresh = running(to);
    assert_eq!(running_set(&simulator), running_set(&fresh), "{from:?} → {to:?}");
    simulator
}

#[test]
fn of_two_that_would_like_each_other_the_later_by_name_gets_the_earlier_whoever_answers_first() {
    for first in ["m", "n"] {
        let mut simulator = Simulator::new(&["y@n: ?x", "x@m: ?y"]);
        simulator.ready(first);
        simulator.settle();
        for module in ["m", "n"] {
            simulator.ready(module);
            simulator.settle();
        }
        assert_eq!(
            (held(&simulator, "x"), held(&simulator, "y")),
            (vec![], vec!["x".to_owned()]),
            "{first} first"
        );
        assert_eq!(
            (simulator.shown("x").0, simulator.shown("y").0),
            (Phase::Ready, Phase::Ready)
        );
    }
}

#[test]
fn no_more_of_a_circle_is_let_go_than_has_to_be() {
    let simulator = running(&["a@m: ?b", "b@m: ?c", "c@m: ?a"]);
    let all = ["a", "b", "c"].map(|name| held(&simulator, name).join(" "));
    assert_eq!(all, ["b", "", "a"]);
}

#[test]
fn a_circle_that_a_change_closes_or_opens_is_planned_and_comes_to_what_a_fresh_start_does() {
    check(
        &["a@m: ?b", "b@m", "c@m"],
        &["a@m: ?b", "b@m*2: ?c", "c@m*2: ?a"],
        "rebuild b, rebuild a, rebuild c",
        "holds b",
        "-a -c -b +a +c +b -c -a +a +c",
    );
    check(
        &["a@m: ?b", "b@m: c", "c@m"],
        &["a@m: ?b", "b@m: c", "c@m*2: a"],
        "rebuild a, rebuild c, rebuild b",
        "attributes.needs \"\" → \" a\", attributes.v 1 → 2",
        "-a -b +a -c +c +b",
    );
    check(
        &["x@m: ?y", "y@m: ?x"],
        &["x@m: ?y", "y@m*2"],
        "rebuild y, rebuild x?",
        "would like y, which closes no circle any more",
        "-y +y -x +x",
    );
    check(
        &["x@m", "y@m: ?x"],
        &["x@m*2: ?y", "y@m: ?x"],
        "rebuild x, rebuild y",
        "attributes.needs \"\" → \" ?y\", attributes.v 1 → 2; without y, which would close a circle: x → y → x",
        "-y -x +x +y",
    );
}

#[test]
fn what_is_let_go_for_a_circle_but_needed_later_is_held() {
    check(
        &["r0@m: r6", "r6@m: ?r0"],
        &["r0@m*2", "r6@m*2: r0", "r7@m"],
        "rebuild r0, rebuild r6, build r7",
        "new in the config",
        "-r0 -r6 +r7 +r0 +r6",
    );
}

#[test]
fn a_module_that_dies_and_returns_changes_nothing_in_a_circle() {
    let mut simulator = running(&["a@m: ?b", "b@n: ?c", "c@k: ?a", "d@m"]);
    let before = running_set(&simulator);
    for module in ["m", "n", "k"] {
        simulator.down(module);
        simulator.settle();
        simulator.ready(module);
        simulator.settle();
        assert_eq!(running_set(&simulator), before, "{module} died");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever dies, returns and answers in whatever order, and whatever circles there are: it comes to rest, and to
    /// the same as a start in which everybody answers in turn.
    #[test]
    fn any_order_of_answers_comes_to_one_end(
        edges in prop::collection::vec((0usize..7, 0usize..7, 0usize..4), 0..16),
        events in prop::collection::vec((0usize..7, 0usize..8), 0..80),
    ) {
        let lines: Vec<String> = (0..7).map(|number: usize| {
            let own = edges.iter().filter(|(from, ..)| *from == number);
            let texts: Vec<_> = own.map(|(_, to, kind)| format!("{}r{to}", if *kind > 0 { "?" } else { "" })).collect();
            format!("r{number}@m{}: {}", number % 3, texts.join(" "))
        }).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut simulator = Simulator::new(&lines);
        for (what, which) in events {
            // Modules come twice as often as they go.
            simulator.happen(what.saturating_sub(1), which);
        }
        simulator.calm_down();
        prop_assert_eq!(running_set(&simulator), running_set(&running(&lines)), "{:?}", &lines);
    }
}
