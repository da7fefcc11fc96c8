//! Bytes that nobody meant well: nothing panics, nothing hangs, nothing grows without bound.

use std::time::{Duration, Instant};

use mainstay_wire::entry::component_config;
use proptest::prelude::*;

use super::{PIECES, lines, read};
use crate::json;
use crate::node::{NodeValue, TreeNode};

/// Far more than any of these needs, even on a busy machine, and far less than forever.
const LIMIT: Duration = Duration::from_secs(20);

fn survive(name: &str, text: &str) {
    let start = Instant::now();
    let diagnostics = match read(name, text) {
        Ok(loaded) => {
            for resource in &loaded.config.resources {
                assert_eq!(component_config(resource).is_err(), resource.fault.is_some());
            }
            loaded.diagnostics
        }
        Err(refused) => {
            assert!(!refused.diagnostics.is_empty());
            refused.diagnostics
        }
    };
    for diagnostic in diagnostics.iter().take(20) {
        let _ = diagnostic.render(true);
    }
    assert!(start.elapsed() < LIMIT);
}

const SEED: &str = r#"{"components": [{"name": "a", "type": "arm", "model": "fake", "depends_on": ["b"], "frame": {"parent": "world", "orientation": {"type": "quaternion", "value": {"w": 1}}, "geometry": {"r": 1.5e1}}}], "modules": [{"name": "m", "executable_path": "~/x", "env": {"K": "\u00e9\n"}}], "network": {"bind_address": ":1", "sessions": {"heartbeat_window": "2s"}}, "auth": {"handlers": [{"type": "api-key", "config": {"keys": ["a"], "a": "b"}}]}}"#;
const SEED_YAML: &str = "# c\ncomponents: &c\n  - name: a\n    type: arm\n    model: fake\n    attributes: {<<: {a: 1}, b: [x, 0x1, ~]}\n  - <<: &d {type: motor}\n    name: 'é'\n    text: |\n      a\n      b\nservices: [*d, {type: >-\n  x}]\n...\n";

/// Pieces that mean something to the readers.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        "[ -~]{0,6}",
        "\\PC{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), json: bool) {
        survive(if json { "r.json" } else { "r.yaml" }, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_mixture_of_signs_is_survived(pieces in prop::collection::vec(piece(), 0..60), json: bool) {
        survive(if json { "r.json" } else { "r.yaml" }, &pieces.concat());
    }

    #[test]
    fn a_good_text_with_a_hole_or_a_foreign_piece_is_survived(at in 0..SEED.len(), len in 0..9_usize, piece in piece(), yaml: bool) {
        let seed = if yaml { SEED_YAML } else { SEED };
        let at = (0..=at.min(seed.len())).rev().find(|at| seed.is_char_boundary(*at)).unwrap_or(0);
        let end = (at + len..).find(|end| *end >= seed.len() || seed.is_char_boundary(*end)).unwrap_or(at).min(seed.len());
        let text = format!("{}{piece}{}", &seed[..at], &seed[end..]);
        survive("r.yaml", &text);
        survive("r.json", &text);
    }

    #[test]
    fn json_reads_as_another_reader_reads_it(pieces in prop::collection::vec(piece(), 0..12), at in 0..SEED.len()) {
        let at = (0..=at).rev().find(|at| SEED.is_char_boundary(*at)).unwrap_or(0);
        for text in [pieces.concat(), format!("{}{}{}", &SEED[..at], pieces.concat(), &SEED[at..])] {
            let theirs = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>().next();
            let ours = json::read(&text);
            match (theirs, ours) {
                (Some(Ok(theirs)), Ok(ours)) => prop_assert!(same(&ours.root, &theirs), "{}: {:?}", text, ours.root),
                // Half of a surrogate pair is no error for peers, and neither is what follows the first value.
                (Some(Err(error)), Ok(_)) => prop_assert!(
                    ["surrogate", "hex escape", "trailing"].iter().any(|known| error.to_string().contains(known)),
                    "{}: {}", text, error
                ),
                (Some(Ok(_)), Err(error)) => prop_assert!(false, "{}: {:?}", text, error),
                (None, Ok(_)) => prop_assert!(false, "{}", text),
                (_, Err(_)) => {}
            }
        }
    }
}

fn same(ours: &TreeNode, theirs: &serde_json::Value) -> bool {
    use serde_json::Value as Theirs;
    match (&ours.value, theirs) {
        (NodeValue::Null, Theirs::Null) => true,
        (NodeValue::Bool(ours), Theirs::Bool(theirs)) => ours == theirs,
        (NodeValue::Number(ours), Theirs::Number(theirs)) => {
            // Their quick way of reading numbers may be off by the last bit.
            theirs
                .as_f64()
                .is_some_and(|theirs| (ours - theirs).abs() <= ours.abs() * 1e-15)
        }
        (NodeValue::Text(ours), Theirs::String(theirs)) => ours == theirs,
        (NodeValue::List(ours), Theirs::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
        }
        // Of equal keys the last counts.
        (NodeValue::Map(ours), Theirs::Object(theirs)) => theirs.iter().all(|(key, theirs)| {
            ours.iter()
                .rev()
                .find(|entry| entry.key == *key)
                .is_some_and(|entry| same(&entry.value, theirs))
        }),
        _ => false,
    }
}

#[test]
fn every_beginning_of_a_good_text_is_survived() {
    for (name, seed) in [("r.json", SEED), ("r.yaml", SEED), ("r.yaml", SEED_YAML)] {
        for end in (0..=seed.len()).filter(|end| seed.is_char_boundary(*end)) {
            survive(name, &seed[..end]);
        }
    }
}

#[test]
fn alias_bombs_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..30 {
        let alias = format!("*a{}", n - 1);
        text += &format!("a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", "));
    }
    let start = Instant::now();
    let found = lines("r.yaml", &text);
    assert!(found.len() == 1 && found[0].contains("of this file"), "{found:?}");
    // Deep instead of wide: one level more in each line.
    let mut text = "a0: &a0 [x]\n".to_owned();
    for n in 1..3000 {
        text += &format!("a{n}: &a{n} [*a{}]\n", n - 1);
    }
    let found = lines("r.yaml", &text);
    assert!(found.len() == 1 && found[0].contains("inside each other"), "{found:?}");
    assert!(start.elapsed() < LIMIT);
}

#[test]
fn a_thousand_resources_and_one_very_long_line_are_no_matter() {
    let mut json = "{\"components\": [".to_owned();
    let mut yaml = "components:\n".to_owned();
    for n in 0..1000 {
        let comma = if n > 0 { "," } else { "" };
        json += &format!(
            "{comma}{{\"name\": \"é{n}\", \"api\": \"rdk:component:motor\", \"model\": \"acme:drive:gear\", \"attributes\": {{\"channel\": {n}, \"label\": \"wheel {n}\"}}}}"
        );
        yaml += &format!(
            "  - name: é{n}\n    api: rdk:component:motor\n    model: acme:drive:gear\n    attributes:\n      channel: {n}\n      label: wheel {n}\n"
        );
    }
    json += "]}";
    for (name, text) in [("r.json", &json), ("r.yaml", &yaml)] {
        let start = Instant::now();
        let loaded = read(name, text).unwrap_or_else(|refused| panic!("{refused}"));
        assert_eq!((loaded.config.resources.len(), loaded.diagnostics.len()), (1000, 1000));
        assert!(start.elapsed() < LIMIT);
        let last = loaded.diagnostics[999].to_string();
        assert!(last.contains("é999") && last.len() < 1500, "{last}");
    }
}
