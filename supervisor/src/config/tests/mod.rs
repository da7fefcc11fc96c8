//! Tests of the whole way from a text to a config.

mod dependencies;
mod environment;
mod files;
mod fuzz;
mod hostile;
mod messages;
mod policy;
mod redaction;
mod schema;
mod syntax;
mod values;

use super::bundle::Bundle;
use super::complaint::Refused;
use super::load::parse;
use super::model::Loaded;
use super::surroundings::Surroundings;

/// Reads `text` as the file `name` in `/etc/robot`, owned by somebody at home in `/home/ada`.
fn read(name: &str, text: &str) -> Result<Loaded, Refused> {
    let surroundings = Surroundings {
        folder: "/etc/robot".into(),
        home: Some("/home/ada".into()),
        ..Surroundings::default()
    };
    parse(&Bundle::single(name, text), &surroundings)
}

/// Reads a YAML text about which there is nothing to say.
fn good(text: &str) -> Loaded {
    let loaded = read("r.yaml", text).unwrap_or_else(|refused| panic!("{refused}"));
    assert!(loaded.complaints.is_empty(), "{:?}", loaded.complaints);
    loaded
}

/// All complaints about a text, one line each with its grade in front.
fn lines(name: &str, text: &str) -> Vec<String> {
    let complaints = match read(name, text) {
        Ok(loaded) => loaded.complaints,
        Err(refused) => refused.complaints,
    };
    complaints
        .iter()
        .map(|complaint| format!("{:?} {}", complaint.grade, complaint.line()))
        .collect()
}

/// Checks all that is said about each text, to the letter.
fn check(name: &str, cases: &[(&str, &[&str])]) {
    for (text, wanted) in cases {
        assert_eq!(lines(name, text), *wanted, "{text}");
    }
}
