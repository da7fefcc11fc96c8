//! Values read and replaced in texts of every style.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn read(file: &str, text: &str) -> EditableFile {
    EditableFile::read(Path::new(file), text.to_owned()).expect("a tree")
}

fn changed(file: &str, text: &str, path: &str, value: &str) -> Result<String, String> {
    let value = NewValue::read(value).map_err(|error| error.to_string())?;
    let path = path.parse().map_err(|error: BadPath| error.to_string())?;
    let change = read(file, text).set(&path, &value);
    change
        .map(|change| change.text().to_owned())
        .map_err(|error| error.to_string())
}

#[track_caller]
fn check(file: &str, text: &str, path: &str, value: &str, expected: &str) {
    assert_eq!(
        changed(file, text, path, value).as_deref(),
        Ok(expected),
        "{path} = {value} in\n{text}"
    );
}

const ROVER: &str = "\
# The rover.
components:
  - name: left   # the left one
    api: rdk:component:motor
    model: fake
    attributes:
      rate_hz: 10  # Hz
      pins: [1, 2]
  - {name: right, api: \"rdk:component:motor\", model: fake}
# the end
debug: false
";

#[test]
fn a_value_is_replaced_and_all_around_it_stays() {
    for (path, value, from, to) in [
        (
            "components.left.attributes.rate_hz",
            "20",
            "rate_hz: 10  # Hz",
            "rate_hz: 20  # Hz",
        ),
        (
            "components[0].attributes.rate_hz",
            "2.50",
            "rate_hz: 10  # Hz",
            "rate_hz: 2.50  # Hz",
        ),
        ("components.left.attributes.pins[1]", "7", "[1, 2]", "[1, 7]"),
        ("components.left.attributes.pins", "[]", "[1, 2]", "[]"),
        (
            "components.right.model",
            "acme:drive:gear",
            "model: fake}",
            "model: acme:drive:gear}",
        ),
        (
            "components.right.api",
            "rdk:component:arm",
            "\"rdk:component:motor\"",
            "\"rdk:component:arm\"",
        ),
        ("components.left.name", "a: b", "left   #", "\"a: b\"   #"),
        (
            "components.left.model",
            "'20'",
            "    model: fake\n",
            "    model: \"20\"\n",
        ),
        (
            "components.left.model",
            "yes",
            "    model: fake\n",
            "    model: \"yes\"\n",
        ),
        ("DEBUG", "true", "debug: false", "debug: true"),
        (
            "components.left.attributes",
            "{}",
            "attributes:\n      rate_hz: 10  # Hz\n      pins: [1, 2]",
            "attributes: {}",
        ),
        (
            "components.left.attributes.mode",
            "fast",
            "pins: [1, 2]",
            "pins: [1, 2]\n      mode: fast",
        ),
        (
            "components.right.attributes.x",
            "1",
            "model: fake}",
            "model: fake, attributes: {x: 1}}",
        ),
        (
            "network.bind_address",
            "0.0.0.0:8080",
            "debug: false",
            "debug: false\nnetwork:\n  bind_address: 0.0.0.0:8080",
        ),
        (
            "components.left.frame.translation",
            "{x: 1, y: 0}",
            "pins: [1, 2]",
            "pins: [1, 2]\n    frame:\n      translation: {x: 1, y: 0}",
        ),
    ] {
        assert_eq!(ROVER.matches(from).count(), 1, "{from}");
        check("rover.yaml", ROVER, path, value, &ROVER.replace(from, to));
    }
}

#[test]
fn every_style_of_yaml_keeps_its_style() {
    for (text, path, value, expected) in [
        ("a: 'it''s'\nb: 1\n", "a", "isn't", "a: 'isn''t'\nb: 1\n"),
        ("a:\nb: 1\n", "a", "5", "a: 5\nb: 1\n"),
        ("a:   # nothing yet\nb: 1", "a", "x", "a: x   # nothing yet\nb: 1"),
        ("a:\nb: 1\n", "a.b.c", "5", "a: {b: {c: 5}}\nb: 1\n"),
        ("a:\n- 1\n- 2\nb: 1\n", "a", "3", "a: 3\nb: 1\n"),
        ("a:\n- 1\n- 2\nb: 1\n", "a[1]", "{x: 1}", "a:\n- 1\n- {x: 1}\nb: 1\n"),
        ("a:  # why\n  x: 1\nb: 1\n", "a", "3", "a: 3  # why\nb: 1\n"),
        ("a: |\n  one\n  two\nb: 1\n", "a", "three", "a: three\nb: 1\n"),
        ("a: >-\n  one\n  two\n\nb: 1\n", "a", "three", "a: three\n\nb: 1\n"),
        ("a: one\n  two\nb: 1\n", "a", "three", "a: three\nb: 1\n"),
        (
            "a: {\n  x: 1, # one\n  y: 2 # two\n}\n",
            "a.z",
            "3",
            "a: {\n  x: 1, # one\n  y: 2, # two\n  z: 3\n}\n",
        ),
        ("a: {x: 1,}\n", "a.z", "3", "a: {x: 1, z: 3}\n"),
        ("a: {}\n", "a.z", "3", "a: {z: 3}\n"),
        ("{}\n", "debug", "true", "{debug: true}\n"),
        (
            "a:\r\n  x: 1\r\nb: 2\r\n",
            "a.y",
            "2",
            "a:\r\n  x: 1\r\n  y: 2\r\nb: 2\r\n",
        ),
        (
            "a:\n  x: 1\n\n# about b\nb: 2\n",
            "a.y",
            "2",
            "a:\n  x: 1\n  y: 2\n\n# about b\nb: 2\n",
        ),
        (
            "a:\n  x: |\n    long\nb: 2\n",
            "a.y",
            "2",
            "a:\n  x: |\n    long\n  y: 2\nb: 2\n",
        ),
        (
            "list:\n  - x: 1\n    y: 2\n  - x: 3\n",
            "list[0].z",
            "4",
            "list:\n  - x: 1\n    y: 2\n    z: 4\n  - x: 3\n",
        ),
        ("a:\n  x:\nb: 2\n", "a.y", "2", "a:\n  x:\n  y: 2\nb: 2\n"),
        ("a: 1\na: 2\n", "a", "3", "a: 1\na: 3\n"),
        ("---\na: 1\n...\n", "a", "\"x\\ny\"", "---\na: \"x\\ny\"\n...\n"),
        ("ä: ö # ü\n", "ä", "ß", "ä: ß # ü\n"),
    ] {
        check("a.yaml", text, path, value, expected);
    }
}

#[test]
fn json_stays_json_in_its_own_layout() {
    let pretty = "{\n  \"a\": {\n    \"x\": 1\n  },\n  \"b\": []\n}\n";
    for (text, path, value, expected) in [
        (pretty, "a.x", "0x10", pretty.replace("\"x\": 1", "\"x\": 16")),
        (pretty, "a.x", "1.50", pretty.replace("\"x\": 1", "\"x\": 1.50")),
        (
            pretty,
            "a.y",
            "hi \"you\"",
            pretty.replace("\"x\": 1", "\"x\": 1,\n    \"y\": \"hi \\\"you\\\"\""),
        ),
        (
            pretty,
            "c.d",
            "[1, {e: f}]",
            pretty.replace("[]", "[],\n  \"c\": {\"d\": [1, {\"e\": \"f\"}]}"),
        ),
        (pretty, "a", "null", pretty.replace("{\n    \"x\": 1\n  }", "null")),
        ("{\"a\":1}", "b", "2", "{\"a\":1, \"b\": 2}".to_owned()),
        ("{}", "b", "2", "{\"b\": 2}".to_owned()),
    ] {
        check("a.json", text, path, value, &expected);
    }
}

#[test]
fn what_is_shared_is_overridden_or_left_alone() {
    let text = "base: &base {rate: 10, deep: {x: 1}}\nleft:\n  <<: *base\n  name: l\nright: *base\nother: 1\n";
    check(
        "a.yaml",
        text,
        "left.rate",
        "20",
        &text.replace("name: l", "name: l\n  rate: 20"),
    );
    check("a.yaml", text, "right", "1", &text.replace("right: *base", "right: 1"));
    for path in ["left.deep.x", "right.rate", "right.more"] {
        let error = changed("a.yaml", text, path, "2").expect_err(path);
        assert!(
            error.contains("a.yaml:1:") && error.contains("change it there"),
            "{path}: {error}"
        );
    }
    let error = changed("a.yaml", text, "base.rate", "2").expect_err("others have it, too");
    assert!(error.contains("anchor"), "{error}");
    let list = "- &a 1\n- *a\n- *a\n";
    check("a.yaml", list, "[1]", "2", "- &a 1\n- 2\n- *a\n");
}

#[test]
fn a_path_that_leads_nowhere_says_how_far_it_leads() {
    for (path, part) in [
        ("components.lefft.model", "did you mean `left`?"),
        ("components[7].model", "no `[7]` in `components`, which is a list"),
        (
            "components.left.attributes.rate_hz.x",
            "which is a number (rover.yaml:7:16)",
        ),
        ("debug[0]", "no `[0]` in `debug`, which is true or false"),
        ("components.left[0]", "no `[0]` in `components.left`"),
    ] {
        let error = changed("rover.yaml", ROVER, path, "1").expect_err(path);
        assert!(error.contains(part), "{path}: {error}");
        let got = read("rover.yaml", ROVER).get(&path.parse().expect("a path"), false);
        assert!(got.expect_err(path).to_string().contains(part), "{path}");
    }
    let twins = "c:\n- {name: a, x: 1}\n- {name: a, x: 2}\n";
    let error = changed("a.yaml", twins, "c.a.x", "3").expect_err("two of them");
    assert!(error.contains("`c[0]` or `c[1]`"), "{error}");
}

#[test]
fn a_value_is_shown_as_it_is_written() {
    let document = read("rover.yaml", ROVER);
    let shown = |path: &str| {
        document
            .get(&path.parse().expect("a path"), false)
            .expect("there")
            .shown
    };
    assert_eq!(shown("components.left.api"), "rdk:component:motor");
    assert_eq!(shown("components.right.api"), "rdk:component:motor");
    assert_eq!(shown("components.left.attributes"), "rate_hz: 10  # Hz\npins: [1, 2]");
    assert_eq!(shown("components.left.attributes.pins"), "[1, 2]");
    assert!(
        shown("components").starts_with("- name: left   # the left one\n  api:"),
        "{}",
        shown("components")
    );
    assert!(!shown("components").contains("the end"));
    let json = document.get(&"components.left.attributes".parse().expect("a path"), false);
    assert_eq!(
        json.expect("there").value,
        serde_json::json!({ "rate_hz": 10, "pins": [1, 2] })
    );
}

#[test]
fn secrets_are_shown_to_nobody_who_did_not_ask() {
    let text = "cloud: {id: part-1, secret: hunter2}\n";
    let document = read("a.yaml", text);
    let path: ValuePath = "cloud.secret".parse().expect("a path");
    let cloud = "cloud".parse().expect("a path");
    assert_eq!(document.get(&path, false).expect("there").shown, "***");
    assert_eq!(document.get(&path, true).expect("there").shown, "hunter2");
    assert!(!document.get(&cloud, false).expect("there").shown.contains("hunter2"));
    assert!(
        !document
            .get(&cloud, false)
            .expect("there")
            .value
            .to_string()
            .contains("hunter2")
    );
    assert!(
        document
            .get(&cloud, true)
            .expect("there")
            .value
            .to_string()
            .contains("hunter2")
    );
    let change = document.set(&path, &NewValue::text("swordfish")).expect("possible");
    let told = format!("{:?} {:?} {:?}", change.before, change.after, change.lines());
    assert!(!told.contains("hunter2") && !told.contains("swordfish"), "{told}");
    assert!(change.text().contains("secret: swordfish"));
}

#[test]
fn variables_stay_as_they_are_written() {
    let text = "a: ${HOME}\nb: 1\n";
    assert_eq!(
        read("a.yaml", text)
            .get(&"a".parse().expect("a path"), false)
            .expect("there")
            .shown,
        "${HOME}"
    );
    check("a.yaml", text, "b", "2", "a: ${HOME}\nb: 2\n");
    // Without its value this is no JSON.
    let text = "{\"a\": ${NOT_SET_ANYWHERE:-7}, \"b\": 1}";
    let got = read("a.json", text)
        .get(&"a".parse().expect("a path"), false)
        .expect("there");
    assert_eq!(
        (got.shown.as_str(), got.value),
        ("${NOT_SET_ANYWHERE:-7}", "${NOT_SET_ANYWHERE:-7}".into())
    );
    check("a.json", text, "b", "2", &text.replace("\"b\": 1", "\"b\": 2"));
    check("a.json", text, "a", "2", "{\"a\": 2, \"b\": 1}");
}

#[test]
fn a_difference_has_a_few_lines_around_it() {
    let value = NewValue::read("20").expect("a number");
    let path = "components.left.attributes.rate_hz".parse().expect("a path");
    let change = read("rover.yaml", ROVER).set(&path, &value).expect("possible");
    assert_eq!((change.before.as_deref(), change.after.as_str()), (Some("10"), "20"));
    let lines: Vec<_> = change
        .lines()
        .iter()
        .map(|line| format!("{}{} {}", line.sign, line.number, line.text))
        .collect();
    let expected = [
        " 4     api: rdk:component:motor",
        " 5     model: fake",
        " 6     attributes:",
        "-7       rate_hz: 10  # Hz",
        "+7       rate_hz: 20  # Hz",
        " 8       pins: [1, 2]",
        " 9   - {name: right, api: \"rdk:component:motor\", model: fake}",
        " 10 # the end",
    ];
    assert_eq!(lines, expected);
    let same = read("rover.yaml", ROVER)
        .set(&path, &NewValue::read("10.0").expect("a number"))
        .expect("possible");
    assert!(same.is_nothing() && same.lines().is_empty());
}

#[test]
fn a_new_value_is_read_as_yaml_reads_it() {
    for (typed, kind) in [
        ("20", "a number"),
        ("-1e3", "a number"),
        ("true", "true or false"),
        ("null", "null"),
        ("yes", "a text"),
        ("a: b", "a text"),
        ("x, y", "a text"),
        ("- a", "a text"),
        ("", "a text"),
        ("# no comment", "a text"),
        ("\"20\"", "a text"),
        ("{a: 1}", "a map of keys and values"),
        ("[1, 2]", "a list"),
    ] {
        let span = Span::default();
        let value = NewValue::read(typed).expect(typed).value;
        assert_eq!(TreeNode { value, span }.kind(), kind, "{typed}");
    }
    for typed in ["{a: 1", "[1, 2", "\"open"] {
        assert!(NewValue::read(typed).is_err(), "{typed}");
    }
}

proptest! {
    #[test]
    fn any_text_can_be_put_anywhere_and_is_read_back(content in any::<String>(), which in 0usize..8) {
        let places = [
            ("a.yaml", "a: 1\nb: 2\n", "a"),
            ("a.yaml", "a: 'x'\nb: 2\n", "a"),
            ("a.yaml", "l: [x, y]\n", "l[0]"),
            ("a.yaml", "l:\n- x\n- y\n", "l[0]"),
            ("a.yaml", "m: {a: x}\n", "m.new"),
            ("a.yaml", "m:\n  a: x\n", "m.new"),
            ("a.json", "{\"a\": 1}", "a"),
            ("a.json", "{\"a\": 1}", "new"),
        ];
        let (file, text, path) = places[which];
        let path: ValuePath = path.parse().expect("a path");
        let change = read(file, text).set(&path, &NewValue::text(&content));
        // Signs that YAML does not allow in any spelling are refused, never changed.
        if let Ok(change) = change {
            let again = read(file, change.text());
            prop_assert_eq!(again.get(&path, true).expect("there").value, serde_json::Value::from(content));
        } else {
            let odd = content.chars().any(|c| c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}'));
            prop_assert!(odd);
        }
    }

    #[test]
    fn no_text_path_or_value_makes_it_panic(text in "[a-c:\\-\\[\\]{}&*|>' \"#,\n]{0,60}", path in "[a-c\\.\\[\\]0-2\"]{1,8}", value in "[a-c:\\[{}'\" ]{0,6}") {
        if let (Ok(document), Ok(path), Ok(value)) = (EditableFile::read(Path::new("a.yaml"), text), path.parse(), NewValue::read(&value)) {
            let _ = document.get(&path, false);
            if let Ok(change) = document.set(&path, &value) {
                let _ = change.lines();
            }
        }
    }
}

/// Edits of `items`, as a word of what they do and its path: `+` appends, `-` removes.
fn edited(file: &str, text: &str, edit: &str) -> Result<String, String> {
    let (kind, rest) = edit.split_at(1);
    let (path, value) = rest.split_once(" = ").unwrap_or((rest, ""));
    let path: ValuePath = path.parse().map_err(|error: BadPath| error.to_string())?;
    let document = read(file, text);
    let change = match kind {
        "+" => document.append(&path, &NewValue::read(value).expect("a value")),
        _ => document.remove(&path),
    };
    let change = change.map_err(|error| error.to_string())?;
    Ok(change.text().to_owned())
}

#[test]
fn items_are_added_and_taken_out_in_the_style_of_their_list() {
    for (text, edit, expected) in [
        ("a: [1, 2]  # x\n", "+a = 3", "a: [1, 2, 3]  # x\n"),
        ("a: []\n", "+a = x", "a: [x]\n"),
        (
            "a:\n  - x  # first\n  - y\nb: 1\n",
            "+a = z",
            "a:\n  - x  # first\n  - y\n  - z\nb: 1\n",
        ),
        ("a:\n- x\n", "+a = z", "a:\n- x\n- z\n"),
        ("a:\n- x", "+a = z", "a:\n- x\n- z"),
        ("a:\n- {b: 1}\n", "+a = {b: 2}", "a:\n- {b: 1}\n- {b: 2}\n"),
        ("a:\n- b: 1\n  c: 2\n", "+a = {b: 2}", "a:\n- b: 1\n  c: 2\n- {b: 2}\n"),
        ("a: [1, 2, 3]\n", "-a[0]", "a: [2, 3]\n"),
        ("a: [1, 2, 3]\n", "-a[2]", "a: [1, 2]\n"),
        ("a: [1]\n", "-a[0]", "a: []\n"),
        ("{a: {x: 1, y: [2, 3]}, b: 2}", "-a.y", "{a: {x: 1}, b: 2}"),
        ("{a: {x: 1, y: 2}, b: 2}", "-a.x", "{a: {y: 2}, b: 2}"),
        ("a:\n  x: 1  # one\n  y: 2  # two\n", "-a.x", "a:\n  y: 2  # two\n"),
        ("a:\n  x: 1\n  y:\n    z: 2\nb: 1\n", "-a.y", "a:\n  x: 1\nb: 1\n"),
        ("a:\n  x: 1\n  y: {z: 2}", "-a.y", "a:\n  x: 1\n"),
        ("a:\n  - x\n  - y  # two\nb: 1\n", "-a[1]", "a:\n  - x\nb: 1\n"),
        ("a:\r\n  - x\r\n  - y\r\n", "-a[0]", "a:\r\n  - y\r\n"),
    ] {
        assert_eq!(
            edited("r.yaml", text, edit).as_deref(),
            Ok(expected),
            "{edit} in\n{text}"
        );
    }
    let json = "{\n  \"a\": {\n    \"x\": 1,\n    \"y\": [\"b\"]\n  }\n}\n";
    for (edit, expected) in [
        ("-a.x", "{\n  \"a\": {\n    \"y\": [\"b\"]\n  }\n}\n"),
        ("-a.y", "{\n  \"a\": {\n    \"x\": 1\n  }\n}\n"),
        (
            "+a.y = c",
            "{\n  \"a\": {\n    \"x\": 1,\n    \"y\": [\"b\", \"c\"]\n  }\n}\n",
        ),
    ] {
        assert_eq!(edited("r.json", json, edit).as_deref(), Ok(expected), "{edit}");
    }
}

#[test]
fn what_cannot_be_added_or_taken_out_alone_says_so_and_leaves_the_text() {
    for (text, edit, problem) in [
        ("a:\n  x: 1\nb: 2\n", "-a.x", "edit the file by hand"),
        ("a:\n  - x: 1\n    y: 2\n", "-a[0].x", "edit the file by hand"),
        ("a: {x: 1}\n", "+a = 2", "is no list"),
        ("a: {x: 1}\n", "-a.y", "no `y` in `a`"),
        ("a: [1]\n", "-a[3]", "no `[3]` in `a`"),
        ("z: &z [1, 2]\na: *z\n", "+a = 3", "by hand"),
        ("z: &z {x: 1, y: 2}\na:\n  <<: *z\n  w: 1\n", "-a.x", "by hand"),
    ] {
        let error = edited("r.yaml", text, edit).expect_err(text);
        assert!(error.contains(problem), "{edit} in\n{text}: {error}");
    }
}
