//! The tables of keys against the reader, and the schema against both and against whole configs.

use mainstay_model::duration;
use serde_json::{Map, Value, json};

use super::values::{SAMPLE_JSON, SAMPLE_YAML};
use super::{lines, read};
use crate::keys::{Key, MACHINE, Section, ValueType, shown};
use crate::schema::schema;
use crate::size;

/// Violations of a schema by a value: one line each. Knows what this schema uses, and fails on anything else.
fn faults(schema: &Value, value: &Value, root: &Value, at: &str, found: &mut Vec<String>) {
    let Value::Object(rules) = schema else {
        panic!("{schema}")
    };
    macro_rules! fail {
        ($($what:tt)*) => { found.push(format!("{at}: {}", format!($($what)*))) };
    }
    for (rule, wanted) in rules {
        match rule.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "deprecated" => {}
            "type" => {
                let good = match wanted.as_str() {
                    Some("object") => value.is_object(),
                    Some("array") => value.is_array(),
                    Some("string") => value.is_string(),
                    Some("boolean") => value.is_boolean(),
                    Some("number") => value.is_number(),
                    Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                    other => panic!("{other:?}"),
                };
                if !good {
                    fail!("is no {wanted}");
                }
            }
            "minimum" | "maximum" => {
                let least = rule == "minimum";
                let (number, limit) = (value.as_f64(), wanted.as_f64().expect("a number"));
                if number.is_some_and(|number| if least { number < limit } else { number > limit }) {
                    fail!("{rule} is {wanted}");
                }
            }
            "enum" => {
                if !wanted.as_array().expect("a list").contains(value) {
                    fail!("is none of the words");
                }
            }
            "pattern" => {
                let pattern = regex_lite::Regex::new(wanted.as_str().expect("a text")).expect("a pattern");
                if value.as_str().is_some_and(|text| !pattern.is_match(text)) {
                    fail!("does not match {wanted}");
                }
            }
            "$ref" if wanted == "#" => faults(root, value, root, at, found),
            "oneOf" => {
                let fits = wanted.as_array().expect("a list").iter().filter(|one| {
                    let mut found = Vec::new();
                    faults(one, value, root, at, &mut found);
                    found.is_empty()
                });
                if fits.count() != 1 && value.is_object() {
                    fail!("is not exactly one of these: {wanted}");
                }
            }
            "$ref" => {
                let name = wanted
                    .as_str()
                    .and_then(|path| path.strip_prefix("#/$defs/"))
                    .expect("a definition");
                faults(&root["$defs"][name], value, root, at, found);
            }
            "anyOf" => {
                let tried = wanted.as_array().expect("a list").iter().map(|one| {
                    let mut found = Vec::new();
                    faults(one, value, root, at, &mut found);
                    found
                });
                let tried: Vec<_> = tried.collect();
                if tried.iter().all(|found| !found.is_empty()) {
                    fail!("is none of these: {tried:?}");
                }
            }
            "items" => {
                for (number, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(wanted, item, root, &format!("{at}.{number}"), found);
                }
            }
            "required" => {
                for key in wanted.as_array().expect("a list") {
                    let key = key.as_str().expect("a text");
                    if value.as_object().is_some_and(|map| !map.contains_key(key)) {
                        fail!("lacks {key}");
                    }
                }
            }
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(key) {
                        faults(schema, value, root, &format!("{at}.{key}"), found);
                    }
                }
            }
            "additionalProperties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let known = rules.get("properties").is_some_and(|known| known.get(key).is_some());
                    match wanted {
                        Value::Bool(false) if !known => fail!("has no key {key}"),
                        Value::Object(_) if !known => {
                            faults(wanted, value, root, &format!("{at}.{key}"), found);
                        }
                        _ => {}
                    }
                }
            }
            other => panic!("the schema uses `{other}`, which this test does not know"),
        }
    }
}

fn checked(value: &Value) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    faults(&schema, value, &schema, "", &mut found);
    found
}

/// A YAML text as JSON, by way of the reader's own tree.
fn yaml(text: &str) -> Value {
    use crate::node::{NodeValue as Tree, TreeNode};
    fn value(node: &TreeNode) -> Value {
        match &node.value {
            Tree::Null => Value::Null,
            Tree::Bool(flag) => json!(flag),
            Tree::Number(number) if number.fract() == 0.0 => json!(*number as i64),
            Tree::Number(number) => json!(number),
            Tree::Text(text) => json!(text),
            Tree::List(items) => items.iter().map(value).collect(),
            Tree::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), value(&entry.value)))
                .collect(),
        }
    }
    value(&crate::yaml::read(text).expect("YAML").root)
}

/// The text between the fences of a block of this language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str())
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn the_configs_of_the_pages_for_users_and_of_the_tests_fit_the_schema() {
    let pages = ["README.md", "docs/changing.md", "docs/cli.md", "docs/modules.md"].map(super::reference::page);
    let configs: Vec<&str> = pages.iter().flat_map(|page| blocks(page, "yaml")).collect();
    assert!(configs.len() >= 5, "{configs:?}");
    for text in configs.into_iter().chain([SAMPLE_YAML]) {
        assert_eq!(checked(&yaml(text)), [""; 0], "{text}");
        let refused = read("r.yaml", text).err();
        assert!(refused.is_none(), "{refused:?}");
    }
    let cloud = json!({
        "cloud": {"id": "part-0001", "api_key": {"id": "key-7", "key": "s3cret"}, "refresh_interval": "10s"},
        "packages": [{"name": "sorter", "package": "org9/sorter", "version": "1.4.2", "type": "module"}],
        "modules": [{"name": "acme_sorter", "type": "registry", "module_id": "acme:sorter",
            "executable_path": "${packages.module.sorter}/bin/run", "env": {"DISPLAY": "${environment.DISPLAY}"}}],
        "debug": false, "disable_log_deduplication": false, "revision": "rev-12", "fragments": [], "$schema": "x"
    });
    for json in [serde_json::from_str(SAMPLE_JSON).expect("JSON"), cloud, json!({})] {
        assert_eq!(checked(&json), [""; 0], "{json}");
    }
    // Legacy and short forms.
    let legacy = yaml(
        "components: [{name: a, namespace: rdk, type: motor, model: fake}, {name: b, api: {subtype: motor}, model: {name: fake}}]\nservices: [{type: vision}]\nnetwork: {sessions: {heartbeat_window: $W}, no_tls: $X}\n",
    );
    assert_eq!(checked(&legacy), [""; 0]);
}

#[test]
fn the_schema_finds_what_the_reader_would_complain_about() {
    for (text, wanted) in [
        ("componets: []", ": has no key componets"),
        ("debug: yes", ".debug: is none of these"),
        (
            "components: [{name: a, model: fake}]",
            ".components.0: is none of these: [[\".components.0: lacks api\"]",
        ),
        ("components: [{type: arm, model: fake}]", ".components.0: lacks name"),
        (
            "components: [{name: a, api: motor, model: fake}]",
            ".components.0.api: is none of these",
        ),
        (
            "modules: [{name: a, executable_path: /x, restart: sometimes}]",
            ".modules.0.restart: is none of these",
        ),
        (
            "modules: [{name: a, executable_path: /x, limits: {cpu: 0}}]",
            ".modules.0.limits.cpu: is none of these",
        ),
        (
            "modules: [{name: a, executable_path: /x, first_run_timeout: 5}]",
            ".modules.0.first_run_timeout: is none",
        ),
        ("apply: {window: fast}", ".apply.window: is none of these"),
        ("parts: [{name: arm}]", ".parts.0: is not exactly one of these"),
        (
            "parts: [{name: arm, config_file: x, config: {}}]",
            ".parts.0: is not exactly one of these",
        ),
        (
            "parts: [{name: arm, config: {componets: []}}]",
            ".parts.0.config: has no key componets",
        ),
        (
            "components: [{name: a, type: arm, model: fake, frame: {}}]",
            ".components.0.frame: lacks parent",
        ),
        (
            "modules: [{name: a, executable_path: /x, env: {A: 1}}]",
            ".modules.0.env.A: is no \"string\"",
        ),
    ] {
        let found = checked(&yaml(text));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{text}: {found:?}");
        assert!(!lines("r.yaml", text).is_empty(), "{text}");
    }
}

/// Takes a key and what to put around its value.
type Visit<'a> = dyn FnMut(&'static Key, &dyn Fn(Value) -> Value) + 'a;

/// A value around each map of the config: what to put in front and behind to get there.
fn walk(section: &'static Section, way: &dyn Fn(Value) -> Value, depth: usize, visit: &mut Visit<'_>) {
    for key in section.keys {
        let here = |value: Value| {
            let mut map = Map::new();
            for required in section.required {
                map.insert((*required).to_owned(), json!("x"));
            }
            // What decides how the rest is read.
            let kind = match section.id {
                "orientation" => Some("quaternion"),
                "geometry" if key.name.starts_with("mesh") => Some("mesh"),
                "auth_handler" => Some("api-key"),
                _ => None,
            };
            map.extend(kind.map(|kind| ("type".to_owned(), json!(kind))));
            map.insert(key.name.to_owned(), value);
            way(Value::Object(map))
        };
        visit(key, &here);
        if depth > 0 {
            inside(&key.takes, &here, depth, visit);
        }
    }
}

fn inside(takes: &'static ValueType, way: &dyn Fn(Value) -> Value, depth: usize, visit: &mut Visit<'_>) {
    match takes {
        // Each kind of orientation needs its own `type` beside it.
        ValueType::Map(section) => {
            let kind = match section.id {
                "orientation_vector" => "ov_degrees",
                "orientation_euler" => "euler_angles",
                _ => "quaternion",
            };
            let typed = |value: Value| {
                let text = way(value).to_string().replace("\"quaternion\"", &format!("\"{kind}\""));
                serde_json::from_str(&text).expect("JSON")
            };
            walk(section, &typed, depth - 1, visit);
        }
        ValueType::List(item) => inside(item, &|value| way(json!([value])), depth, visit),
        ValueType::Either(several) => several.iter().for_each(|one| inside(one, way, depth, visit)),
        _ => {}
    }
}

#[test]
fn what_a_key_takes_in_the_tables_is_what_the_reader_takes() {
    let samples = [json!(true), json!(7), json!("x"), json!([]), json!({})];
    let mut seen = 0;
    let mut drift: Vec<String> = Vec::new();
    walk(&MACHINE, &|value| value, 6, &mut |key, way| {
        seen += 1;
        for sample in &samples {
            let text = way(sample.clone()).to_string();
            let said = lines("r.json", &text);
            let wrong = said.iter().any(|line| {
                // Of the other required keys, for which any text stands, nothing is asked here.
                let about = format!("`{}`", key.name);
                line.contains(" must be ")
                    && line.contains(", but is ")
                    && (line.contains(&about) || line.contains(&format!(".{}`", key.name)))
            });
            // Of texts it takes one word only.
            let right = allows(&key.takes, sample) && !(key.name == "limit" && sample.is_string());
            if wrong == right {
                drift.push(format!("{text}\n{said:?}"));
            }
        }
        if let Some(default) = key.default.json() {
            let text = way(default).to_string();
            let said = lines("r.json", &text);
            let about: Vec<_> = said
                .iter()
                .filter(|line| line.contains(&format!("`{}`", key.name)) || line.contains(&format!(".{}`", key.name)))
                .collect();
            if !about.is_empty() {
                drift.push(format!("{text}\n{about:?}"));
            }
        }
    });
    assert!(drift.is_empty(), "{}", drift.join("\n"));
    assert!(seen > 150, "{seen}");
}

#[test]
fn a_range_in_the_tables_is_what_the_reader_takes() {
    let mut seen = 0;
    walk(&MACHINE, &|value| value, 6, &mut |key, way| {
        let ranges = key.takes.forms().iter().filter_map(|form| match form {
            ValueType::Number(least, most) => form
                .range()
                .map(|_| ([json!(least), json!(most)], [json!(least - 0.001), json!(most + 1.0)])),
            ValueType::Whole(least, most) => Some((
                [json!(least), json!(most)],
                [json!(*least as f64 - 1.0), json!(most + 1)],
            )),
            ValueType::Duration(least, most) => Some((
                [json!(shown(*least)), json!(shown(*most))],
                [json!("-1ns"), json!(format!("{}1ns", shown(*most)))],
            )),
            ValueType::Size(least, most) => Some((
                [json!(size::show(*least)), json!(most)],
                [json!(least - 1), json!(most + 1)],
            )),
            _ => None,
        });
        for (inside, outside) in ranges {
            seen += 1;
            for (value, wrong) in inside
                .iter()
                .map(|one| (one, false))
                .chain(outside.iter().map(|one| (one, true)))
            {
                let text = way(value.clone()).to_string();
                let said = lines("r.json", &text);
                let told = said.iter().any(|line| {
                    let about = line.contains(key.name) && !line.contains(", but is ");
                    about && (line.contains(" must be between ") || line.contains(" must be at least "))
                });
                assert_eq!(told, wrong, "{text}: {said:?}");
            }
        }
    });
    assert!(seen > 20, "{seen}");
}

/// True if a value has the right type.
fn allows(takes: &ValueType, value: &Value) -> bool {
    match takes {
        ValueType::Text
        | ValueType::Api
        | ValueType::Model
        | ValueType::Subtype(_)
        | ValueType::Word(_)
        | ValueType::AnyCase(_)
        | ValueType::Duration(..)
        | ValueType::Interval => value.is_string(),
        ValueType::Flag => value.is_boolean(),
        ValueType::Number(..) | ValueType::Whole(..) => value.is_number(),
        ValueType::Size(..) => value.is_number() || value.is_string(),
        ValueType::Map(_) | ValueType::Named(_) | ValueType::Free | ValueType::Texts => value.is_object(),
        ValueType::List(_) => value.is_array(),
        ValueType::Either(several) => several.iter().any(|one| allows(one, value)),
        ValueType::Ignored => true,
    }
}

#[test]
fn what_the_tables_call_usual_is_what_an_entry_without_the_key_gets() {
    let module = |extra: &Value| {
        let text = json!({"modules": [{"name": "m", "executable_path": "/m"}]});
        let mut text = text;
        text["modules"][0]
            .as_object_mut()
            .expect("a map")
            .extend(extra.as_object().expect("a map").clone());
        read("r.json", &text.to_string())
            .unwrap_or_else(|refused| panic!("{refused}"))
            .config
            .modules
            .remove(0)
    };
    let plain = module(&json!({}));
    for key in crate::keys::MODULE.keys {
        match (&key.takes, key.default.json()) {
            (_, Some(default)) => assert_eq!(module(&json!({key.name: default})), plain, "{}", key.name),
            (ValueType::Map(section), _) if !section.keys.is_empty() => {
                let mut required = json!({});
                for needed in section.required {
                    required[needed] = json!("x");
                }
                let usual = match section.required {
                    [] => plain.clone(),
                    _ => module(&json!({ key.name: required })),
                };
                for inner in section.keys {
                    if let Some(default) = inner.default.json() {
                        let mut value = required.clone();
                        value[inner.name] = default;
                        assert_eq!(module(&json!({ key.name: value })), usual, "{}", inner.name);
                    }
                }
            }
            _ => {}
        }
    }
    for inner in crate::keys::RESTART.keys {
        let default = inner.default.json().expect("each has one");
        assert_eq!(
            module(&json!({"restart": {inner.name: default}})),
            plain,
            "{}",
            inner.name
        );
    }
    for inner in crate::keys::all()["apply"].keys {
        let default = inner.default.json().expect("each has one");
        let config = read("r.json", &json!({"apply": {inner.name: default}}).to_string())
            .expect("usable")
            .config;
        assert_eq!(config.apply, mainstay_model::ApplyPolicy::default(), "{}", inner.name);
    }
}

#[test]
fn the_patterns_of_the_schema_are_those_of_the_reader() {
    let wrap = |kind: &str, text: &str| match kind {
        "duration" => json!({"apply": {"window": text}}),
        _ => json!({"modules": [{"name": "m", "executable_path": "/m", "limits": {"memory": text}}]}),
    };
    for text in [
        "0", "300ms", "1.5h", "2m30s", "-5s", "+.5s", "1.s", "10µs", "", "5", "s", "1 s", "1d", ".s", "1e3s", "1sx",
    ] {
        assert_eq!(
            checked(&wrap("duration", text)).is_empty(),
            duration::nanoseconds(text).is_ok(),
            "{text}"
        );
    }
    for text in [
        "0", "200MB", "200 mb", "1.5GiB", "7B", "", "MB", "-1MB", "1e6", "ten", "1XB", "200M", "64k",
    ] {
        assert_eq!(
            checked(&wrap("size", text)).is_empty(),
            size::parse(text).is_ok(),
            "{text}"
        );
    }
}
