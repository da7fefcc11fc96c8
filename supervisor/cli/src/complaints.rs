//! Complaints about a config as results of a verb: for people with the lines underlined, for scripts with stable keys.

use std::path::Path;

use mainstay_config::{Complaint, Grade};
use mainstay_model::Place;
use serde::Serialize;

use crate::human::count;
use crate::status_text::file_name;

/// One complaint. Lines and columns count from 1; they and the length are in characters, and `null` where the file
/// is meant as a whole.
#[derive(Debug, Serialize)]
pub struct ComplaintJson {
    /// `refused`: the config as a whole cannot be used. `local`: this entry cannot. `warning`.
    grade: &'static str,
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    length: Option<u32>,
    message: String,
    /// What would be right.
    help: Option<String>,
    /// A second place that belongs to it, for example the first holder of a name.
    also: Option<AlsoJson>,
}

#[derive(Debug, Serialize)]
struct AlsoJson {
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    length: Option<u32>,
    /// What is there.
    message: String,
}

impl From<&Complaint> for ComplaintJson {
    fn from(complaint: &Complaint) -> Self {
        let (file, [line, column, length]) = place(&complaint.place);
        let also = complaint.also.as_ref().map(|(other, message)| {
            let (file, [line, column, length]) = place(other);
            AlsoJson {
                file,
                line,
                column,
                length,
                message: message.clone(),
            }
        });
        Self {
            grade: grade(complaint.grade),
            file,
            line,
            column,
            length,
            message: complaint.message.clone(),
            help: complaint.help.clone(),
            also,
        }
    }
}

fn place(place: &Place) -> (String, [Option<u32>; 3]) {
    let known = |number| (place.line > 0).then_some(number);
    (
        place.file.display().to_string(),
        [known(place.line), known(place.column), known(place.len)],
    )
}

/// The word for a grade.
pub fn grade(grade: Grade) -> &'static str {
    match grade {
        Grade::Refused => "refused",
        Grade::Local => "local",
        Grade::Warning => "warning",
    }
}

/// How many errors and how many warnings.
pub fn tally(complaints: &[Complaint]) -> (usize, usize) {
    let warnings = complaints
        .iter()
        .filter(|complaint| complaint.grade == Grade::Warning)
        .count();
    (complaints.len() - warnings, warnings)
}

/// `2 errors, 1 warning in rover.yaml`. `None` if there is neither.
pub fn tally_text(complaints: &[Complaint], file: &Path) -> Option<String> {
    tally_of(tally(complaints), file)
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

/// All of them for people, apart by empty lines.
pub fn render(complaints: &[Complaint], colour: bool) -> String {
    let rendered: Vec<_> = complaints.iter().map(|complaint| complaint.render(colour)).collect();
    rendered.join("\n\n")
}
