//! Plans against toy worlds: what a plan says is what is done, and its end is what a fresh start comes to.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_config::{ConfigFiles, LoadContext, parse};
use mainstay_model::plan::{Change, ChangeKind, Part};
use mainstay_model::{Config, Phase};
use proptest::prelude::*;

use crate::machine::change::{self, Known};
use crate::machine::node::Held;
use crate::machine::simulator::{Simulator, config, name, running, running_set, show};

/// From the one to the other: what is planned, and what is done.
fn check(from: &[&str], to: &[&str], planned: &str, done: &str) -> Simulator {
    let mut simulator = running(from);
    let (plan, log) = simulator.apply(to);
    assert_eq!(show(&plan), planned, "{from:?} → {to:?}: {plan:#?}");
    assert_eq!(log, done, "{from:?} → {to:?}");
    simulator
}

#[test]
fn nothing_is_done_where_nothing_changed() {
    check(&["a@m", "b@m: a"], &["a@m", "b@m: a"], "", "");
    check(&["a@m", "b@m"], &["b@m", "a@m"], "", "");
}

#[test]
fn what_comes_is_built_after_what_it_needs_and_what_goes_is_closed_before() {
    check(&["a@m"], &["c@m: b", "a@m", "b@m: a"], "build b, build c", "+b +c");
    check(&["a@m", "b@m: a", "c@m: b"], &["a@m"], "close c, close b", "-c -b");
    check(&["a@m"], &["a@m", "b@n"], "start module n, build b", "+b");
    check(&["a@m", "b@n"], &["a@m"], "close b, stop module n", "-b");
}

#[test]
fn who_holds_what_is_rebuilt_is_rebuilt_with_it() {
    check(
        &["a@m", "b@m: a", "c@m: b", "d@m"],
        &["a@m*2", "b@m: a", "c@m: b", "d@m"],
        "rebuild a, rebuild b, rebuild c",
        "-c -b -a +a +b +c",
    );
    check(
        &["a@m", "b@n: ?a", "c@n"],
        &["a@m*2", "b@n: ?a", "c@n"],
        "rebuild a, rebuild b",
        "-b -a +a +b",
    );
}

#[test]
fn another_frame_rebuilds_that_resource_alone() {
    let from = ["a@m", "b@m: a", "c@n: ?a b", "d@n"];
    check(&from, &["a@m~2", "b@m: a", "c@n: ?a b", "d@n"], "rebuild a", "-a +a");
    check(
        &from,
        &["a@m", "b@m~2: a", "c@n: ?a b", "d@n~2"],
        "rebuild b, rebuild d",
        "-b -d +b +d",
    );
    // Whatever else has to be rebuilt is.
    check(
        &from,
        &["a@m*2~2", "b@m: a", "c@n: ?a b", "d@n"],
        "rebuild a, rebuild b, rebuild c",
        "-c -b -a +a +b +c",
    );
    check(
        &from,
        &["a@m~2", "b@m*2: a", "c@n: ?a b", "d@n"],
        "rebuild a, rebuild b, rebuild c",
        "-c -b -a +a +b +c",
    );
    check(
        &["@m", "@n", "a@m", "b@n: a"],
        &["@m*2", "@n", "a@m~2", "b@n: a"],
        "restart module m, rebuild a, rebuild b",
        "-b -a +a +b",
    );
    check(
        &["a@m", "b@m: a", "c@n: b"],
        &["a@m*2", "b@m~2: a", "c@n: b"],
        "rebuild a, rebuild b, rebuild c",
        "-c -b -a +a +b +c",
    );
    check(
        &["b@m: ?a", "c@n: b"],
        &["a@m", "b@m~2: ?a", "c@n: b"],
        "build a, rebuild b, rebuild c",
        "-c +a -b +b +c",
    );
}

#[test]
fn who_holds_what_is_rebuilt_alone_is_ready_all_the_time() {
    let mut simulator = running(&["a@m", "b@m: a", "c@n: b"]);
    let (plan, before) = (simulator.take_up(&["a@m~2", "b@m: a", "c@n: b"]), held(&simulator, "b"));
    assert_eq!(
        plan.changes[0].because,
        "frame.translation [1, 0, 0] → [2, 0, 0]; who holds it stays"
    );
    for step in ["-a", "", "+a"] {
        simulator.decide();
        for resource in ["b", "c"] {
            assert_eq!(
                simulator.shown(resource),
                (Phase::Ready, String::new()),
                "{resource} before {step:?}"
            );
        }
        simulator.end(0);
    }
    assert_eq!(simulator.settle(), "-a +a");
    assert_eq!(held(&simulator, "b"), before, "what it holds is not another one");
    // Once more while it is away.
    simulator.take_up(&["a@m~3", "b@m: a", "c@n: b"]);
    simulator.decide();
    simulator.end(0);
    simulator.take_up(&["a@m~4", "b@m: a", "c@n: b"]);
    assert_eq!(simulator.settle(), "-a +a");
    simulator.take_up(&["a@m~5", "b@m: a", "c@n: b"]);
    for _ in 0..2 {
        simulator.decide();
        simulator.end(0);
    }
    simulator.decide();
    // AddResource of the one before is under way, and ends well.
    simulator.take_up(&["a@m~6", "b@m: a", "c@n: b"]);
    assert_eq!(simulator.settle(), "-a +a -a +a");
    assert_eq!(held(&simulator, "b"), before);
}

#[test]
fn who_holds_what_does_not_come_back_goes_with_it() {
    let begin = || {
        let mut simulator = running(&["a@m", "b@n: a", "c@n: b", "d@n: ?a"]);
        simulator.take_up(&["a@m~2", "b@n: a", "c@n: b", "d@n: ?a"]);
        simulator.decide();
        simulator
    };
    // It cannot be built.
    let mut simulator = begin();
    simulator.fail_next("a", "no");
    assert_eq!(simulator.shown("a"), (Phase::Unhealthy, "no".into()));
    let (phase, cause) = simulator.shown("b");
    assert!(
        phase == Phase::Unhealthy && cause == "needs a (component:generic): no",
        "{phase:?} {cause}"
    );
    assert_eq!(simulator.shown("d").0, Phase::Ready, "it does without");
    simulator.now = simulator.world.next_retry().expect("a retry");
    simulator.world.touch_due(simulator.now);
    assert_eq!(simulator.settle(), "+a +b -d +c +d");
    // Its module dies while it is away, and comes back.
    let mut simulator = begin();
    simulator.end(0);
    simulator.decide();
    simulator.down("m");
    simulator.settle();
    assert_eq!(simulator.shown("b").0, Phase::Configuring, "what it holds is gone");
    simulator.ready("m");
    assert_eq!(simulator.settle(), "-c -d -b +a +d +b +c");
    // Nobody wants it any more.
    let mut simulator = begin();
    simulator.end(0);
    simulator.take_up(&["@m", "b@n: a", "c@n: b", "d@n: ?a"]);
    assert_eq!(simulator.settle(), "-a -c -d -b +d");
    assert_eq!(simulator.shown("b").0, Phase::Unhealthy);
}

fn held(simulator: &Simulator, resource: &str) -> Vec<Held> {
    simulator
        .world
        .node(&name(resource))
        .map(|node| node.held.clone())
        .unwrap_or_default()
}

#[test]
fn a_changed_module_is_emptied_first_and_takes_only_its_own_along() {
    check(
        &["@m", "@n", "a@m", "b@n: a", "c@n"],
        &["@m*2", "@n", "a@m", "b@n: a", "c@n"],
        "restart module m, rebuild a, rebuild b",
        "-b -a +a +b",
    );
}

#[test]
fn what_a_process_cannot_see_of_its_entry_needs_no_other_process() {
    let module = |more: &str| {
        let text = format!(r#"{{"modules":[{{"name":"m","executable_path":"/x"{more}}}]}}"#);
        let loaded = parse(&ConfigFiles::single("toy.json", text), &LoadContext::default()).expect("a good config");
        loaded.config
    };
    let planned = |more: &str| {
        let plan = change::plan(&module(""), &module(more), &Known::default());
        let shown = plan
            .changes
            .iter()
            .map(|change| format!("{}: {}", change.how, change.because));
        shown.collect::<Vec<_>>().join(", ")
    };
    for key in ["restart", "health", "stop", "output"] {
        let value = match key {
            "restart" => r#""never""#,
            "health" => r#"{"kill_after":"5s"}"#,
            "stop" => r#"{"grace":"5s"}"#,
            _ => r#"{"file":"/tmp/m.log"}"#,
        };
        let more = format!(r#","{key}":{value}"#);
        assert_eq!(planned(&more), format!("update: {key} changed; its process goes on"));
    }
    assert_eq!(
        planned(r#","watch":true"#),
        "update: watch false → true; its process goes on"
    );
    assert_eq!(
        planned(r#","keep_moving":true"#),
        "update: keep_moving false → true; its process goes on"
    );
    assert_eq!(
        planned(r#","access":"dependencies""#),
        "update: access changed; its process goes on"
    );
    let limit = "update: first_run_timeout 1h0m0s → 5s; its process goes on";
    assert_eq!(planned(r#","first_run_timeout":"5s""#), limit);
    for more in [
        r#""log_level":"debug""#,
        r#""env":{"A":"b"}"#,
        r#""tcp_mode":true"#,
        r#""limits":{"pids":100}"#,
        r#""sandbox":{"no_new_privs":true}"#,
        r#""restart":"never","env":{"A":"b"}"#,
    ] {
        assert!(
            planned(&format!(",{more}")).starts_with("restart: "),
            "{more}: {}",
            planned(&format!(",{more}"))
        );
    }
}

#[test]
fn each_change_says_what_differs_or_which_other_change_it_follows_from() {
    let shown = |from: &[&str], to: &[&str]| {
        let (plan, _) = running(from).apply(to);
        let shown = |change: &Change| {
            let through = change.through.as_ref().map(|part| format!(" ({part})"));
            format!("{}{}", change.because, through.unwrap_or_default())
        };
        plan.changes.iter().map(shown).collect::<Vec<_>>()
    };
    let a = name("a").to_string();
    let b = name("b").to_string();
    assert_eq!(
        shown(&["a@m", "b@m: a", "c@m: b"], &["a@m*2", "b@m: a", "c@m: b"]),
        [
            "attributes.v 1 → 2".to_owned(),
            format!("holds a ({a})"),
            format!("holds b ({b})"),
        ]
    );
    assert_eq!(
        shown(&["@m", "a@m", "b@n: a"], &["@m*2", "a@m", "b@n: a"]),
        [
            "env.V changed".to_owned(),
            "its module m is restarted (module m)".to_owned(),
            format!("holds a ({a})"),
        ]
    );
    assert_eq!(
        shown(&["a@m", "b@m: a"], &["b@m: a"]),
        [
            format!("it needs `a`, which is not in the config ({a})"),
            "no longer in the config".to_owned()
        ]
    );
    assert_eq!(
        shown(&["b@m: ?a"], &["b@m: ?a", "a@m"]),
        [
            "new in the config".to_owned(),
            format!("would like a, if that becomes READY ({a})")
        ]
    );
}

#[test]
fn who_needs_what_goes_stays_visible_and_says_why() {
    let simulator = check(
        &["a@m", "b@m: a", "c@m: b", "d@m: ?a"],
        &["b@m: a", "c@m: b", "d@m: ?a"],
        "close c, close b, close a, rebuild d",
        "-c -d -b -a +d",
    );
    let (phase, cause) = simulator.shown("b");
    assert_eq!(phase, Phase::Unhealthy);
    assert_eq!(
        cause,
        "needs `a`, but rdk:component:generic/a was removed from the config"
    );
    let removed = "config or connected remotes: [a]; rdk:component:generic/a was removed from the config";
    assert!(simulator.wire("b").contains(removed), "{}", simulator.wire("b"));
    let (phase, cause) = simulator.shown("c");
    assert_eq!(phase, Phase::Unhealthy);
    assert!(cause.starts_with("needs b (component:generic): needs `a`"), "{cause}");
    let wire = simulator.wire("c");
    assert!(
        wire.contains("dependency rdk:component:generic/b is not ready yet"),
        "{wire}"
    );
    assert!(simulator.world.node(&name("a")).is_none());
}

#[test]
fn what_waited_for_a_name_is_built_when_it_comes() {
    let simulator = check(
        &["b@m: a", "c@m: b"],
        &["a@m", "b@m: a", "c@m: b"],
        "build a, build b?, build c?",
        "+a +b +c",
    );
    assert_eq!(simulator.shown("c").0, Phase::Ready);
}

#[test]
fn an_optional_dependency_that_comes_is_taken_up() {
    check(&["b@m: ?a"], &["b@m: ?a", "a@m"], "build a, rebuild b?", "+a -b +b");
}

#[test]
fn a_module_that_goes_leaves_its_resources_visible() {
    let simulator = check(
        &["a@m", "b@n: a"],
        &["a@m!", "b@n: a"],
        "close b, close a, stop module m",
        "-b -a",
    );
    let (phase, cause) = simulator.shown("a");
    assert_eq!(phase, Phase::Unhealthy);
    assert!(cause.starts_with("no such model: `"), "{cause}");
    let wire = simulator.wire("a");
    assert!(
        wire.contains("There may be no module in config that provides this model"),
        "{wire}"
    );
    assert_eq!(simulator.shown("b").0, Phase::Unhealthy);
}

#[test]
fn a_circle_that_is_opened_is_built() {
    let mut simulator = running(&["a@m: b", "b@m: a", "c@m: a"]);
    assert!(simulator.shown("a").1.contains("cycle"), "{}", simulator.shown("a").1);
    let (_, log) = simulator.apply(&["a@m: b", "b@m*2", "c@m: a"]);
    assert_eq!(log, "+b +a +c");
    let (_, log) = simulator.apply(&["a@m: b", "b@m*3: a", "c@m: a"]);
    assert_eq!(log, "-c -a -b");
    assert!(simulator.shown("b").1.contains("cycle"), "{}", simulator.shown("b").1);
}

#[test]
fn a_change_while_the_old_entry_is_being_built_wins() {
    let mut simulator = Simulator::new(&["a@m"]);
    simulator.ready("m");
    simulator.decide();
    // ValidateConfig of the old entry is under way.
    simulator.take_up(&["a@m*2"]);
    simulator.decide();
    simulator.end(0);
    simulator.decide();
    assert_eq!(
        simulator.world.node(&name("a")).map(|node| node.dependencies.is_none()),
        Some(true),
        "asked again"
    );
    simulator.end(0);
    simulator.decide();
    // AddResource of the second is under way.
    simulator.take_up(&["a@m*3"]);
    assert_eq!(simulator.settle(), "+a -a +a");
    // And what is taken back before it was done is not done.
    simulator.take_up(&[]);
    simulator.take_up(&["a@m*3"]);
    assert_eq!(simulator.settle(), "");
    assert_eq!(simulator.shown("a").0, Phase::Ready);
}

#[test]
fn a_failed_resource_is_tried_at_once_when_what_it_depends_on_was_built_anew() {
    let mut simulator = running(&["a@m", "b@m: a"]);
    simulator.take_up(&["a@m", "b@m*2: a"]);
    simulator.fail_next("b", "no");
    assert_eq!(simulator.shown("b"), (Phase::Unhealthy, "no".into()));
    let (_, log) = simulator.apply(&["a@m*2", "b@m*2: a"]);
    assert_eq!(log, "-a +a +b");
}

#[test]
fn one_of_a_thousand_is_one_step_and_the_start_is_a_thousand() {
    let lines: Vec<String> = (0..1000).map(|number| format!("r{number}@m")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut simulator = Simulator::new(&[]);
    let plan = simulator.take_up(&lines);
    assert_eq!(plan.changes.len(), 1001);
    simulator.ready("m");
    simulator.settle();
    let mut changed = lines.clone();
    changed[500] = "r500@m*2";
    let (plan, log) = simulator.apply(&changed);
    assert_eq!((show(&plan).as_str(), log.as_str()), ("rebuild r500", "-r500 +r500"));
    assert_eq!(plan.stays.len(), 1000);
}

/// Resources by number: module, version and frame, and edges to others, optional or not.
type Entries = BTreeMap<usize, (usize, (usize, usize), Vec<(usize, bool)>)>;

/// Lines from numbers: resources in modules, with edges to others by name, some optional, some towards later ones (so
/// that there are circles and names that nobody has).
fn lines(entries: &Entries, versions: &[usize]) -> Vec<String> {
    let resources = entries.iter().map(|(number, (module, (version, frame), edges))| {
        let texts: Vec<_> = edges
            .iter()
            .map(|(to, optional)| format!("{}r{to}", if *optional { "?" } else { "" }))
            .collect();
        format!("r{number}@m{module}*{version}~{frame}: {}", texts.join(" "))
    });
    let modules = versions
        .iter()
        .enumerate()
        .map(|(module, version)| format!("@m{module}*{version}"));
    modules.chain(resources).collect()
}

fn entries() -> impl Strategy<Value = Entries> {
    let edges = prop::collection::vec((0usize..8, any::<bool>()), 0..3);
    prop::collection::btree_map(0usize..8, (0usize..3, (1usize..3, 1usize..3), edges), 0..8)
}

/// Copy of the entries with other frames.
fn reframed(entries: &Entries, frames: &[usize]) -> Entries {
    let mut entries = entries.clone();
    for (number, (_, (_, frame), _)) in &mut entries {
        *frame = frames[*number];
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Other frames rebuild what has them, each by itself, and nothing else; whatever dies meanwhile, the end is the
    /// same.
    #[test]
    fn other_frames_touch_nothing_else(
        entries in entries(),
        versions in prop::collection::vec(1usize..3, 3),
        frames in prop::collection::vec(1usize..4, 8),
        events in prop::collection::vec((0usize..4, 0usize..8), 0..12),
    ) {
        let from = lines(&entries, &versions);
        let from: Vec<&str> = from.iter().map(String::as_str).collect();
        let mut simulator = running(&from);
        let before = running_set(&simulator);
        // What is broken is tried anew with its new frame, and who would like it may have to take it up.
        let mut frames = frames;
        for (number, (_, (_, frame), _)) in &entries {
            if before[&format!("r{number}")].0.is_none() {
                frames[*number] = *frame;
            }
        }
        let to = lines(&reframed(&entries, &frames), &versions);
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let (plan, log) = simulator.apply(&to);
        let built = |name: &String| before[name].0.is_some();
        let other: BTreeSet<String> = entries.iter()
            .filter(|(number, (_, (_, frame), _))| frames[**number] != *frame)
            .map(|(number, _)| format!("r{number}")).filter(built).collect();
        let mut done: Vec<String> = log.split_whitespace().map(str::to_owned).collect();
        done.sort();
        let mut expected: Vec<String> = other.iter().flat_map(|name| [format!("-{name}"), format!("+{name}")]).collect();
        expected.sort();
        prop_assert_eq!(done, expected, "{:?} → {:?}: {}", &from, &to, show(&plan));
        prop_assert_eq!(&running_set(&simulator), &before);
        // The same back, with deaths and other orders in between.
        simulator.take_up(&from);
        for (what, which) in events {
            simulator.happen(what, which);
        }
        simulator.calm_down();
        let fresh = running(&from);
        prop_assert_eq!(running_set(&simulator), running_set(&fresh), "{:?}", &from);
        for name in before.keys() {
            prop_assert_eq!(simulator.shown(name).0, fresh.shown(name).0, "{} of {:?}: {:?}", name, &from, simulator.shown(name));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Plan a → b, carried out on a, comes to what a fresh start of b comes to; nothing else is touched than what the
    /// plan names; and what b leaves to do is nothing.
    #[test]
    fn what_is_planned_is_done_and_comes_to_the_same_as_a_fresh_start(
        walk in prop::collection::vec((entries(), prop::collection::vec(1usize..3, 3)), 2..5),
    ) {
        let walk: Vec<Vec<String>> = walk.iter().map(|(entries, versions)| lines(entries, versions)).collect();
        let texts = |lines: &'_ [String]| -> Vec<String> { lines.to_vec() };
        let first = texts(&walk[0]);
        let mut simulator = running(&first.iter().map(String::as_str).collect::<Vec<_>>());
        for next in &walk[1..] {
            let next: Vec<&str> = next.iter().map(String::as_str).collect();
            let before = running_set(&simulator);
            let (plan, log) = simulator.apply(&next);
            let fresh = running(&next);
            prop_assert_eq!(running_set(&simulator), running_set(&fresh), "{:?} → {:?}: {} did {}", &before, &next, show(&plan), log);
            for name in next.iter().filter_map(|line| line.split_once('@').map(|(name, _)| name)).filter(|name| !name.is_empty()) {
                prop_assert_eq!(simulator.shown(name).0, fresh.shown(name).0, "{} of {:?}: {:?}, fresh {:?}", name, &next, simulator.shown(name), fresh.shown(name));
            }
            // The deed does not differ from the plan.
            let touched: BTreeSet<&str> = log.split_whitespace().map(|step| &step[1..]).collect();
            let planned = |how: &dyn Fn(&Change) -> bool| -> BTreeSet<&str> {
                let named = plan.changes.iter().filter(|change| how(change)).filter_map(|change| match &change.part {
                    Part::Resource(name) => Some(name.name.as_str()),
                    _ => None,
                });
                named.collect()
            };
            prop_assert!(touched.is_subset(&planned(&|_| true)), "{:?}: {} did {}", &next, show(&plan), log);
            let certain = planned(&|change| matches!(change.how, ChangeKind::Build | ChangeKind::Rebuild) && !change.known_after_start);
            prop_assert!(certain.is_subset(&touched), "{:?} → {:?}: {} did {}", &before, &next, show(&plan), log);
            // What certainly leaves is what the world takes out at once, and all of that goes.
            let out = planned(&|change| matches!(change.how, ChangeKind::Rebuild | ChangeKind::Close) && !change.known_after_start);
            let out: BTreeSet<&str> = out.into_iter().filter(|name| before.get(*name).is_some_and(|(module, _)| module.is_some())).collect();
            let leaving: BTreeSet<&str> = simulator.leaving.iter().map(|name| name.name.as_str()).collect();
            prop_assert_eq!(&out, &leaving, "{:?} → {:?}: {}", &before, &next, show(&plan));
            let removed: Vec<&str> = log.split_whitespace().filter_map(|step| step.strip_prefix('-')).filter(|name| leaving.contains(name)).collect();
            prop_assert!(leaving.iter().all(|name| removed.contains(name)), "{} did {}", show(&plan), log);
            // Who holds what is rebuilt alone is left as it is.
            let in_place = |name: &str| plan.changes.iter().any(|change| change.in_place && change.part == Part::Resource(self::name(name)));
            let touched = |name: &str| log.contains(&format!("-{name} ")) || log.contains(&format!("+{name} "));
            for (holder, (_, held)) in &before {
                let kept = held.iter().all(|held| in_place(held) || plan.of(&Part::Resource(name(held))).is_none());
                if kept && plan.of(&Part::Resource(name(holder))).is_none() {
                    prop_assert!(!touched(holder), "{} holds {:?}: {} did {}", holder, held, show(&plan), log);
                }
            }
            // Taken out before what it held; in a circle that a change closes, it may happen a second time.
            for (place, name) in removed.iter().enumerate().filter(|(place, name)| !removed[..*place].contains(name)) {
                for earlier in &removed[..place] {
                    let held = &before[*name].1;
                    prop_assert!(!held.iter().any(|held| held == earlier), "{} is taken out before {}, which holds it: {}", earlier, name, log);
                }
            }
            let (again, declared) = config(&next);
            let known = Known {
                answers: declared.iter().map(|(name, declared)| (name.clone(), Ok(declared.clone()))).collect(),
                ..simulator.world.known()
            };
            prop_assert!(change::plan(&simulator.config, &again, &known).changes.is_empty());
        }
        let last = change::plan(&simulator.config, &Config::default(), &simulator.world.known());
        prop_assert!(last.changes.iter().all(|change| matches!(change.how, ChangeKind::Close | ChangeKind::Stop)));
    }
}
