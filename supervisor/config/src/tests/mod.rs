//! Tests of the whole way from a text to a config.

mod access;
mod certificate;
mod dependencies;
mod environment;
mod files;
mod fuzz;
mod hostile;
mod messages;
mod parts;
mod policy;
mod redaction;
mod reference;
mod schema;
mod syntax;
mod values;

use crate::bundle::ConfigFiles;
use crate::diagnostic::Refused;
use crate::load::{Loaded, parse};
use crate::load_context::LoadContext;

/// Pieces that mean something to a reader of configs.
const PIECES: [&str; 59] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ": ",
    "\"",
    "'",
    "\\",
    "\n",
    "  ",
    "\t",
    "- ",
    "? ",
    "<<: ",
    "&a ",
    "*a ",
    "*a0",
    "!!str ",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "# ",
    "null",
    "~",
    "-1e5",
    "0x1F",
    "1e999",
    "\\u00e9",
    "\\ud83d",
    "${A}",
    "$LONG",
    "${environment.A}",
    "${packages.module.sorter}",
    "$$",
    "${A:-",
    "include: ",
    "\u{feff}",
    "é😀",
    "\u{0}",
    "\r\n",
    "\u{2028}",
    "!x ",
    "# c\n",
    "true",
    "0x",
    "0755",
    "name",
    "components",
    "modules",
    "attributes",
    "frame",
    "é",
    "😀",
    "%YAML 1.2\n",
    "key: ",
    "\u{85}",
];

/// A config of somebody at home in `/home/ada`, in `/etc/robot`.
fn context(environment: &[(&str, &str)]) -> LoadContext {
    LoadContext {
        is_part: false,
        folder: "/etc/robot".into(),
        home: Some("/home/ada".into()),
        viam_home: Some("/home/ada/.viam".into()),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// Reads `text` as the file `name` in `/etc/robot`, owned by somebody at home in `/home/ada`.
fn read(name: &str, text: &str) -> Result<Loaded, Refused> {
    let context = LoadContext {
        viam_home: None,
        ..context(&[])
    };
    parse(&ConfigFiles::single(name, text), &context)
}

/// Reads a YAML text about which there is nothing to say.
fn good(text: &str) -> Loaded {
    let loaded = read("r.yaml", text).unwrap_or_else(|refused| panic!("{refused}"));
    let said = lines("r.yaml", text);
    assert!(said.is_empty(), "{said:?}");
    loaded
}

/// [`all_lines`] without a word about what is not in force.
fn lines(name: &str, text: &str) -> Vec<String> {
    let mut lines = all_lines(name, text);
    lines.retain(|line| !line.contains(" in this version: "));
    lines
}

/// Diagnostics of a text, one line each with the severity in front.
fn all_lines(name: &str, text: &str) -> Vec<String> {
    let diagnostics = match read(name, text) {
        Ok(loaded) => loaded.diagnostics,
        Err(refused) => refused.diagnostics,
    };
    diagnostics
        .iter()
        .map(|diagnostic| format!("{:?} {}", diagnostic.severity, diagnostic.line()))
        .collect()
}

/// Checks all that is said about each text, to the letter.
fn check(name: &str, cases: &[(&str, &[&str])]) {
    for (text, wanted) in cases {
        assert_eq!(lines(name, text), *wanted, "{text}");
    }
}
