//! Diagnostics of a config as results of a verb: for people with the lines underlined, for scripts with stable keys.

use std::path::Path;

use mainstay_config::{Diagnostic, Severity};
use mainstay_proto::mainstay::control::v1::{ConfigDiagnostic, ConfigPlace};
use mainstay_wire::control;
use serde_json::{Value, json};

use crate::human::count;
use crate::output::filled;
use crate::status_text::file_name;

/// Diagnostic that a machine sent, as JSON. Lines and columns count from 1; they and the length are in characters, and `null`
/// where the file is meant as a whole.
pub fn sent_json(diagnostic: &ConfigDiagnostic) -> Value {
    with_keys(json!({}), diagnostic)
}

/// Diagnostic that was made here, as JSON: the same keys, `grade` first.
pub fn json(diagnostic: &Diagnostic) -> Value {
    let diagnostic = control::diagnostic(diagnostic);
    with_keys(json!({ "grade": diagnostic.severity }), &diagnostic)
}

fn with_keys(mut shown: Value, diagnostic: &ConfigDiagnostic) -> Value {
    put_place(&mut shown, diagnostic.place.as_ref());
    // `refused`: the config as a whole cannot be used. `local`: this entry cannot. `warning`.
    shown["grade"] = diagnostic.severity.as_str().into();
    shown["message"] = diagnostic.message.as_str().into();
    // Cure.
    shown["help"] = filled(&diagnostic.help).into();
    // A second place that belongs to it, for example the first holder of a name, and the label of that place.
    shown["also"] = Value::Null;
    if diagnostic.also.is_some() {
        put_place(&mut shown["also"], diagnostic.also.as_ref());
        shown["also"]["message"] = diagnostic.also_message.as_str().into();
    }
    shown
}

fn put_place(shown: &mut Value, place: Option<&ConfigPlace>) {
    let place = place.cloned().unwrap_or_default();
    let known = |number: u32| (place.line > 0).then_some(number);
    shown["file"] = place.file.into();
    shown["line"] = known(place.line).into();
    shown["column"] = known(place.column).into();
    shown["length"] = known(place.length).into();
}

/// Numbers of errors and of warnings.
pub fn tally(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let warning = |diagnostic: &&Diagnostic| diagnostic.severity == Severity::Warning;
    let warnings = diagnostics.iter().filter(warning).count();
    (diagnostics.len() - warnings, warnings)
}

/// `2 errors, 1 warning in rover.yaml`. `None` if there is neither.
pub fn tally_text((errors, warnings): (usize, usize), file: &Path) -> Option<String> {
    let parts: Vec<_> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, thing)| count(number, thing))
        .collect();
    (!parts.is_empty()).then(|| format!("{} in {}", parts.join(", "), file_name(&file.display().to_string())))
}

/// Text of all diagnostics for people, apart by empty lines.
pub fn render(diagnostics: &[Diagnostic], colour: bool) -> String {
    let rendered: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.render(colour)).collect();
    rendered.join("\n\n")
}

/// The same of diagnostics that a machine sent.
pub fn sent_text(diagnostics: &[ConfigDiagnostic]) -> String {
    let rendered: Vec<_> = diagnostics
        .iter()
        .map(|diagnostic| diagnostic.rendered.as_str())
        .collect();
    rendered.join("\n\n")
}
