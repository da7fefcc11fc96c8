//! Diagnostics of a config as results of a verb: for people with the lines underlined, for scripts with stable keys.

use std::path::Path;

use mainstay_config::{Diagnostic, Severity};
use mainstay_model::SourceSpan;
use mainstay_proto::mainstay::control::v1::{ConfigDiagnostic, ConfigPlace};
use serde::Serialize;

use crate::human::count;
use crate::status_text::file_name;

/// Diagnostic as JSON.
#[derive(Debug, Serialize)]
pub struct DiagnosticJson {
    /// `refused`: the config as a whole cannot be used. `local`: this entry cannot. `warning`.
    #[serde(rename = "grade")] // A promise to scripts.
    severity: String,
    #[serde(flatten)]
    place: PlaceJson,
    message: String,
    /// Cure.
    help: Option<String>,
    /// A second place that belongs to it, for example the first holder of a name.
    also: Option<AlsoJson>,
}

#[derive(Debug, Serialize)]
struct AlsoJson {
    #[serde(flatten)]
    place: PlaceJson,
    /// Label of the place.
    message: String,
}

/// Place as JSON. Lines and columns count from 1; they and the length are in characters, and `null` where the file is
/// meant as a whole.
#[derive(Debug, Serialize)]
struct PlaceJson {
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    length: Option<u32>,
}

impl PlaceJson {
    fn new(file: String, [line, column, length]: [u32; 3]) -> Self {
        let known = |number| (line > 0).then_some(number);
        Self {
            file,
            line: known(line),
            column: known(column),
            length: known(length),
        }
    }
}

impl From<&SourceSpan> for PlaceJson {
    fn from(place: &SourceSpan) -> Self {
        Self::new(place.file.display().to_string(), [place.line, place.column, place.len])
    }
}

impl From<&ConfigPlace> for PlaceJson {
    fn from(place: &ConfigPlace) -> Self {
        Self::new(place.file.clone(), [place.line, place.column, place.length])
    }
}

impl From<&Diagnostic> for DiagnosticJson {
    fn from(diagnostic: &Diagnostic) -> Self {
        let also = diagnostic.also.as_ref().map(|(place, message)| AlsoJson {
            place: place.into(),
            message: message.clone(),
        });
        Self {
            severity: severity(diagnostic.severity).to_owned(),
            place: (&diagnostic.place).into(),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            also,
        }
    }
}

impl From<&ConfigDiagnostic> for DiagnosticJson {
    /// The same of what a machine sent.
    fn from(diagnostic: &ConfigDiagnostic) -> Self {
        let place = diagnostic.place.clone().unwrap_or_default();
        let also = diagnostic.also.as_ref().map(|place| AlsoJson {
            place: place.into(),
            message: diagnostic.also_message.clone(),
        });
        Self {
            severity: diagnostic.severity.clone(),
            place: (&place).into(),
            message: diagnostic.message.clone(),
            help: Some(diagnostic.help.clone()).filter(|help| !help.is_empty()),
            also,
        }
    }
}

/// Word for a severity.
pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Refused => "refused",
        Severity::Local => "local",
        Severity::Warning => "warning",
    }
}

/// Numbers of errors and of warnings.
pub fn tally(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let warnings = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Warning)
        .count();
    (diagnostics.len() - warnings, warnings)
}

/// `2 errors, 1 warning in rover.yaml`. `None` if there is neither.
pub fn tally_text(diagnostics: &[Diagnostic], file: &Path) -> Option<String> {
    tally_of(tally(diagnostics), file)
}

/// The same of so many errors and warnings.
pub fn tally_of((errors, warnings): (usize, usize), file: &Path) -> Option<String> {
    let parts: Vec<_> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| count(number, what))
        .collect();
    (!parts.is_empty()).then(|| format!("{} in {}", parts.join(", "), file_name(&file.display().to_string())))
}

/// Text of all diagnostics for people, apart by empty lines.
pub fn render(diagnostics: &[Diagnostic], colour: bool) -> String {
    let rendered: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.render(colour)).collect();
    rendered.join("\n\n")
}
