//! The table of which crate may use which, held against `cargo metadata`. ARCHITECTURE.md explains it.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate of the core, and the crates of this workspace that it may use.
const MAY_USE: [(&str, &[&str]); 17] = [
    ("mainstay-pki", &[]),
    ("mainstay-model", &["mainstay-ids"]),
    ("mainstay-core", &["mainstay-ids", "mainstay-model"]),
    (
        "mainstay-config",
        &[
            "mainstay-ids",
            "mainstay-model",
            "mainstay-core",
            "mainstay-pki",
            "mainstay-proto",
        ],
    ),
    ("mainstay-process", &["mainstay-ids", "mainstay-model"]),
    ("mainstay-mdns", &[]),
    ("mainstay-dial", &["mainstay-mdns", "mainstay-proto"]),
    ("mainstay-parts", &["mainstay-ids", "mainstay-model", "mainstay-pki"]),
    ("mainstay-trace", &["mainstay-proto"]),
    ("mainstay-io", &[]),
    (
        "mainstay-proxy",
        &[
            "mainstay-ids",
            "mainstay-io",
            "mainstay-model",
            "mainstay-pki",
            "mainstay-proto",
            "mainstay-trace",
        ],
    ),
    (
        "mainstay-auth",
        &["mainstay-ids", "mainstay-model", "mainstay-proto", "mainstay-proxy"],
    ),
    (
        "mainstay-wire",
        &[
            "mainstay-ids",
            "mainstay-model",
            "mainstay-core",
            "mainstay-config",
            "mainstay-proto",
        ],
    ),
    (
        "mainstay-runtime",
        &[
            "mainstay-ids",
            "mainstay-model",
            "mainstay-parts",
            "mainstay-core",
            "mainstay-config",
            "mainstay-dial",
            "mainstay-pki",
            "mainstay-process",
            "mainstay-proxy",
            "mainstay-proto",
            "mainstay-wire",
        ],
    ),
    (
        "mainstay-server",
        &[
            "mainstay-auth",
            "mainstay-ids",
            "mainstay-mdns",
            "mainstay-model",
            "mainstay-pki",
            "mainstay-parts",
            "mainstay-config",
            "mainstay-wire",
            "mainstay-process",
            "mainstay-proxy",
            "mainstay-proto",
            "mainstay-runtime",
            "mainstay-trace",
        ],
    ),
    (
        "mainstay-cli",
        &[
            "mainstay-ids",
            "mainstay-model",
            "mainstay-parts",
            "mainstay-core",
            "mainstay-config",
            "mainstay-dial",
            "mainstay-mdns",
            "mainstay-pki",
            "mainstay-wire",
            // Only to find the sockets of running machines.
            "mainstay-process",
            "mainstay-proto",
        ],
    ),
    (
        "mainstay",
        &[
            "mainstay-auth",
            "mainstay-trace",
            "mainstay-model",
            "mainstay-parts",
            "mainstay-core",
            "mainstay-config",
            "mainstay-pki",
            "mainstay-process",
            "mainstay-proxy",
            "mainstay-runtime",
            "mainstay-server",
            "mainstay-cli",
        ],
    ),
];

/// Crates that a pure crate must not bring with it, however far away.
const IMPURE: [&str; 8] = ["tokio", "tonic", "prost", "prost-types", "nix", "h2", "hyper", "mio"];
/// The crates that must stay pure.
const PURE: [&str; 3] = ["mainstay-ids", "mainstay-model", "mainstay-core"];
/// Words that no pure crate writes, but in tests: access to files, the environment, the network, processes and clocks.
const IMPURE_WORDS: [&str; 7] = [
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::process::Command",
    "std::thread",
    "Instant::now()",
    "File::open",
];
/// Lines that the program itself may have.
const MAX_WIRING: usize = 600;
/// Most lines of core and proxy together, without tests: somebody who opens them has to be able to read all of it. 10,000 for
/// one machine; the rest is what came with others: names, links, rights, encryption.
const MAX_DECIDING: usize = 12_000;

/// Normal dependencies of each package in the graph of this workspace, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeMap<_, _> = packages
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().expect("nodes");
    let normal = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
        kinds.into_iter().any(|kind| kind["kind"].is_null())
    };
    nodes
        .iter()
        .map(|node| {
            let used = node["deps"].as_array().into_iter().flatten().filter(normal);
            (
                names[&text(&node["id"])].clone(),
                used.map(|used| names[&text(&used["pkg"])].clone()).collect(),
            )
        })
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
        .to_owned()
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => sources(&path),
            false => vec![path],
        }
    });
    below
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect()
}

/// A file's own lines: without the tests at its end.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap_or_default()
}

#[test]
fn each_crate_uses_only_what_its_place_allows() {
    let used = dependencies();
    for (name, allowed) in MAY_USE {
        let ours = used[name].iter().filter(|used| used.starts_with("mainstay"));
        let wrong: Vec<_> = ours.filter(|used| !allowed.contains(&used.as_str())).collect();
        assert!(
            wrong.is_empty(),
            "{name} must not use {wrong:?}: see the table in ARCHITECTURE.md"
        );
    }
    let listed: BTreeSet<_> = MAY_USE.iter().map(|(name, _)| *name).collect();
    for folder in fs::read_dir(root().join("supervisor")).expect("there").flatten() {
        if folder.path().join("Cargo.toml").exists() {
            let name = format!("mainstay-{}", folder.file_name().display());
            assert!(listed.contains(name.as_str()), "{name} has no place in the table");
        }
    }
}

#[test]
fn what_decides_cannot_do_io() {
    let used = dependencies();
    for name in PURE {
        let (mut seen, mut open) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(next) = open.pop() {
            for below in used.get(&next).into_iter().flatten() {
                if seen.insert(below.clone()) {
                    open.push(below.clone());
                }
            }
        }
        let impure: Vec<_> = IMPURE.iter().filter(|wrong| seen.contains(**wrong)).collect();
        assert!(impure.is_empty(), "{name} brings {impure:?}");
    }
    for folder in ["proto/ids/src", "supervisor/model/src", "supervisor/core/src"] {
        for path in sources(&root().join(folder)).iter().filter(|path| !is_test(path)) {
            let text = fs::read_to_string(path).expect("readable");
            for word in IMPURE_WORDS {
                assert!(!without_tests(&text).contains(word), "{} says `{word}`", path.display());
            }
        }
    }
}

/// Files that hold tests alone.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut folders = path.strip_prefix(root()).unwrap_or(path).components();
    folders.any(|folder| folder.as_os_str() == "tests")
        || name == "tests"
        || name.ends_with("_tests")
        || matches!(&*name, "simulation" | "simulator")
}

/// Lines of the sources below these folders, without tests.
fn lines(folders: &[&str]) -> usize {
    let files = folders.iter().flat_map(|folder| sources(&root().join(folder)));
    let lines = files.filter(|path| !is_test(path)).map(|path| {
        let text = fs::read_to_string(path).expect("readable");
        without_tests(&text).lines().count()
    });
    lines.sum()
}

#[test]
fn the_program_itself_only_wires_crates() {
    let lines = lines(&["supervisor/src"]);
    assert!(
        lines < MAX_WIRING,
        "supervisor/src has {lines} lines: what is more than wiring belongs into a crate"
    );
}

#[test]
fn what_decides_can_be_read_whole() {
    let lines = lines(&["supervisor/core/src", "supervisor/proxy/src"]);
    assert!(
        lines <= MAX_DECIDING,
        "core and proxy have {lines} lines together: values belong into the model, texts to those who show them"
    );
}
