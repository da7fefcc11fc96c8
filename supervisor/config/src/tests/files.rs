//! Tests of configs of several files: what is gathered, how it is put together, and where diagnostics point.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::bundle::ConfigFiles;
use crate::diagnostic::Refused;
use crate::load::{Loaded, parse};
use crate::load_context::LoadContext;

/// Files by their paths, and the bundle of the first.
fn gather(files: &[(&str, &str)]) -> Result<ConfigFiles, Refused> {
    let by_path: BTreeMap<&Path, &str> = files.iter().map(|(path, text)| (Path::new(*path), *text)).collect();
    let mut read = |path: &Path| {
        let text = by_path.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(text.as_bytes().to_vec())
    };
    ConfigFiles::gather_with(Path::new(files[0].0), &BTreeMap::new(), &mut read)
}

fn read(files: &[(&str, &str)]) -> Result<Loaded, Refused> {
    let context = LoadContext {
        folder: "/etc/robot".into(),
        ..LoadContext::default()
    };
    gather(files).and_then(|bundle| parse(&bundle, &context))
}

fn lines(files: &[(&str, &str)]) -> Vec<String> {
    let diagnostics = match read(files) {
        Ok(loaded) => loaded.diagnostics,
        Err(refused) => refused.diagnostics,
    };
    diagnostics.iter().map(|diagnostic| diagnostic.line()).collect()
}

#[test]
fn lists_are_put_behind_each_other_and_the_rest_comes_from_any_file() {
    let loaded = read(&[
        (
            "r.yaml",
            "include: [parts/arm.yaml, net.json]\ncomponents: [{name: a, type: arm, model: fake}]\ndebug: true\n",
        ),
        (
            "parts/arm.yaml",
            "include: deep/er.yaml\nmodules: [{name: m, executable_path: bin/m}]\ncomponents:\n- {name: b, type: arm, model: fake}\n",
        ),
        ("parts/deep/er.yaml", "components: [{name: c, type: arm, model: fake}]\n"),
        ("net.json", "{\"network\": {\"bind_address\": \":1\"}, \"log\": [{\"pattern\": \"*\", \"level\": \"info\"}]}"),
    ])
    .unwrap_or_else(|refused| panic!("{refused}"));
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    let config = loaded.config;
    let names: Vec<&str> = config
        .resources
        .iter()
        .map(|resource| resource.name.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(
        (config.debug, config.network.bind_address.as_str(), config.log.len()),
        (true, ":1", 1)
    );
    // A path starts at the folder of the file in which it is written.
    assert_eq!(config.modules[0].executable, Path::new("/etc/robot/parts/bin/m"));
    assert_eq!(config.resources[2].place.to_string(), "parts/deep/er.yaml:1:21");
    assert_eq!(config.network.bind_place.to_string(), "net.json:1:30");
    let paths: Vec<_> = loaded
        .bundle
        .files
        .iter()
        .map(|file| file.path.to_str().unwrap_or_default())
        .collect();
    assert_eq!(paths, ["r.yaml", "parts/arm.yaml", "parts/deep/er.yaml", "net.json"]);
}

#[test]
fn complaints_point_into_the_right_file() {
    let main = (
        "d/r.yaml",
        "include: x.yaml\nnetwork: {no_tls: true}\ncomponents: [{name: a, type: motor, model: fake}]\n",
    );
    for (text, wanted) in [
        (
            "debug: 1\n",
            "d/x.yaml:1:8: `debug` must be true or false, but is a number",
        ),
        (
            "\nnetwork: {}\n",
            "d/x.yaml:2:10: `network` may be given in one file of the config only (put the two together)",
        ),
        (
            "components:\n- {name: a, type: motor, model: fake}\n",
            "d/x.yaml:2:10: cannot add duplicate local resource rdk:component:motor/a (the first is at d/r.yaml:3:21 and counts; rename or remove one)",
        ),
        (
            "a: [\n",
            "d/x.yaml:1:4: this is no YAML: unclosed bracket '[' (close it with `]`)",
        ),
        (
            "[]",
            "d/x.yaml:1:1: the config must be a map of keys and values, but is a list",
        ),
        ("# nothing\n", "d/x.yaml:1:1: this included file is empty"),
    ] {
        let found = lines(&[main, ("d/x.yaml", text)]);
        assert_eq!(found, [wanted]);
    }
    // Half of what is there is told, too.
    let more = "d/x.yaml:1:1: the config must be a map of keys and values, but is a list";
    let wrong = (
        "d/r.yaml",
        "include: x.yaml\ndebug: 1\ncomponents: [{name: a, type: motor, model: fake, depends_on: [b]}]\n",
    );
    let debug = "d/r.yaml:2:8: `debug` must be true or false, but is a number";
    let found = lines(&[wrong, ("d/x.yaml", "a: [\n")]);
    assert_eq!(
        found,
        [
            debug,
            "d/x.yaml:1:4: this is no YAML: unclosed bracket '[' (close it with `]`)"
        ]
    );
    let found = lines(&[wrong, ("d/x.yaml", "[]")]);
    assert!(
        found.contains(&debug.to_owned()) && found.contains(&more.to_owned()),
        "{found:?}"
    );
    let loaded = read(&[
        main,
        ("d/x.yaml", "components:\n- {name: a, type: motor, model: fake}\n"),
    ])
    .expect("usable");
    let shown = loaded.diagnostics[0].to_string();
    // Both places are shown, each with its own file.
    assert!(
        shown.contains("--> d/x.yaml:2:10") && shown.contains("::: d/r.yaml:3:21"),
        "{shown}"
    );
}

#[test]
fn includes_that_lead_nowhere_or_in_a_circle_are_refused() {
    for (files, wanted) in [
        (
            &[("r.yaml", "debug: true\ninclude: [x.yaml]\n")][..],
            "r.yaml:2:11: the included `x.yaml` cannot be read: entity not found (is the path right? it starts at the folder of the file that includes it)",
        ),
        (
            &[("r.yaml", "include: x.yaml\n"), ("x.yaml", "include: ./r.yaml\n")],
            "x.yaml:1:10: the included `r.yaml` includes itself: r.yaml → x.yaml → r.yaml (remove one of the includes)",
        ),
        (
            &[("r.yaml", "include: 5\n")],
            "r.yaml:1:10: `include` must be a path or a list of paths, but is a number",
        ),
        (
            &[("r.yaml", "include: ['', x.yaml]\n"), ("x.yaml", "{}")],
            "r.yaml:1:11: `include` names no file here (write a path, relative to this file)",
        ),
        (
            &[("r.yaml", "include: '${WHO}.yaml'\n")],
            "r.yaml:1:10: the path of an included file takes no variables (write the path itself)",
        ),
        (
            &[("r.yaml", "include: [x.yaml, ./x.yaml]\n"), ("x.yaml", "debug: true")],
            "r.yaml:1:19: this file is included more than once; it counts once (remove one of the includes)",
        ),
        (
            &[("r.json", "{\"\\u0069nclude\": \"x.yaml\"}"), ("x.yaml", "debug: true")],
            "r.json:1:18: this included file has not been read (write `include` and the path in plain letters)",
        ),
    ] {
        let found = lines(files);
        let found: Vec<_> = found
            .iter()
            .filter(|line| !line.contains("no variable `WHO`"))
            .collect();
        assert_eq!(found, [wanted]);
    }
    let mut files: Vec<(String, String)> = (0..40)
        .map(|n| (format!("{n}.yaml"), format!("include: {}.yaml", n + 1)))
        .collect();
    let deep = |files: &[(String, String)]| {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        lines(&files)
    };
    assert_eq!(
        deep(&files),
        ["15.yaml:1:10: more than 16 files include each other in a row (include it from a file further up)"]
    );
    let all: Vec<String> = (0..300).map(|n| format!("{n}.yaml")).collect();
    files = vec![("r.yaml".into(), format!("include: [{}]", all.join(", ")))];
    files.extend(all.into_iter().map(|path| (path, "{}".to_owned())));
    assert!(deep(&files)[0].ends_with("the config has more than 256 files (put some of them together)"));
}

#[test]
fn a_digest_tells_contents_and_relative_paths_and_not_where_they_lie() {
    let files = |folder: &str, include: &str, text: &str| {
        let main = format!("{folder}r.yaml");
        let other = format!("{folder}{include}");
        let bundle = gather(&[(&main, &format!("include: {include}\n")), (&other, text)]).expect("gathered");
        bundle.digest()
    };
    let first = files("", "x.yaml", "debug: true");
    assert_eq!(first.len(), 64);
    assert_eq!(first, files("/etc/robot/", "x.yaml", "debug: true"));
    for other in [
        files("", "x.yaml", "debug: false"),
        files("", "y.yaml", "debug: true"),
        files("", "d/x.yaml", "debug: true"),
        ConfigFiles::single("r.yaml", "include: x.yaml\ndebug: true").digest(),
    ] {
        assert_ne!(first, other);
    }
    // Any bytes can be gathered: what is wrong with them is said when they are read.
    let broken = ConfigFiles::single("r.yaml", b"\xff\xfe include: x");
    assert!(!format!("{broken:?}").contains("include"));
    assert!(parse(&broken, &LoadContext::default()).is_err());
}
