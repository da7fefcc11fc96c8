//! From a path or a text to a checked config.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::check;
use super::complaint::{Complaint, Grade, Place, Refused};
use super::model::{Config, Loaded};
use super::node::{Node, Note, Span, Value};
use super::read::Reader;
use super::source::Source;
use super::{json, secrets, sections, yaml};

/// Longest config file, in bytes. A thousand resources take a fraction of one megabyte.
const MAX_SIZE: u64 = 64 << 20;

/// What a config means depends on where it lies and whose it is.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Folder of the config file, absolute: relative paths of programs start here.
    pub folder: PathBuf,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of a config file at `path` in this process.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        Self {
            folder,
            home: std::env::home_dir().filter(|home| home.is_absolute()),
        }
    }
}

/// Reads and checks the config file at `path`, the programs of its modules included.
///
/// # Errors
/// The file cannot be read or its content cannot be used: then with everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    let text = read_file(path).map_err(|complaint| Refused {
        complaints: vec![*complaint],
    })?;
    let (mut config, mut complaints) = read(path, text, &Surroundings::of(path));
    if let Some(config) = &mut config {
        complaints.extend(check::executables(config, check::on_disk));
    }
    judge(config, complaints)
}

fn read_file(path: &Path) -> Result<String, Box<Complaint>> {
    let refused = |message: String, help: &str| {
        Box::new(Complaint::new(Grade::Refused, message, Place::file(path)).with_help(help))
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_SIZE + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "is the path right?",
            std::io::ErrorKind::PermissionDenied => "let the user that runs this read it",
            std::io::ErrorKind::IsADirectory => "name the file in it",
            _ => "it must be a readable file",
        };
        return Err(refused(format!("the config cannot be read: {error}"), help));
    }
    if bytes.len() as u64 > MAX_SIZE {
        return Err(refused(
            format!("the config is larger than {} MiB", MAX_SIZE >> 20),
            "is it the right file?",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        // What is readable gives the line and column of what is not.
        let readable = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        let source = Source::new(path, readable);
        let place = source.place(Span::new(valid, valid));
        let complaint = Complaint::new(Grade::Refused, "the config is not UTF-8 text", place);
        Box::new(complaint.with_help("save it as UTF-8").with_source(Arc::new(source)))
    })
}

/// Reads and checks the text of a config that lies, or would lie, at `path`. Touches no file.
///
/// # Errors
/// The text cannot be used: then with everything that is wrong with it.
pub fn parse(path: &Path, text: String, surroundings: &Surroundings) -> Result<Loaded, Refused> {
    let (config, complaints) = read(path, text, surroundings);
    judge(config, complaints)
}

/// One complaint of the grade [`Grade::Refused`] refuses all.
fn judge(config: Option<Config>, mut complaints: Vec<Complaint>) -> Result<Loaded, Refused> {
    complaints.sort_by_key(|complaint| (complaint.place.line, complaint.place.column));
    match config {
        Some(config) if complaints.iter().all(|complaint| complaint.grade < Grade::Refused) => {
            Ok(Loaded { config, complaints })
        }
        _ => Err(Refused { complaints }),
    }
}

/// Reads as much as can be read, and gives all complaints.
fn read(path: &Path, text: String, surroundings: &Surroundings) -> (Option<Config>, Vec<Complaint>) {
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let is_json = is_json(path, &text);
    let source = Arc::new(Source::new(path, text));
    let mut reader = Reader::new(Arc::clone(&source));
    let blank = source.text().trim().is_empty();
    let document = if blank || !is_json {
        yaml::read(source.text())
    } else {
        json::read(source.text())
    };
    let document = match document {
        Ok(document) => document,
        Err(error) => {
            let mut hidden = secrets::in_tree(&error.partial, source.text());
            // A quote too many cuts a URL in two.
            hidden.extend(secrets::user_of_url(
                source.text(),
                source.line_of(error.note.span.start),
            ));
            // Right behind a secret most likely stands the rest of it, cut off by a quote.
            let line = source.place(error.note.span).line;
            let beside = hidden
                .iter()
                .any(|span| span.start <= error.from && source.place(*span).line == line);
            let clear = error.clear && !beside;
            hidden.extend(secrets::in_text(source.text(), error.from as usize, clear));
            if !clear {
                hidden.push(Span {
                    start: error.note.span.start,
                    ..source.line_of(error.note.span.start)
                });
            }
            source.hide(hidden);
            add(&mut reader, Grade::Refused, error.note);
            return (None, reader.complaints);
        }
    };
    let mut hidden = secrets::in_tree(&document.root, source.text());
    if !document.notes.is_empty() {
        // What stands behind the config has not been read.
        hidden.extend(secrets::in_text(source.text(), document.root.span.end as usize, false));
    }
    source.hide(hidden);
    for note in document.notes {
        add(&mut reader, Grade::Warning, note);
    }
    if matches!(document.root.value, Value::Null) {
        let complaint = reader.refuse(document.root.span, "the config is empty");
        complaint.place = Place::file(path);
        complaint.help = Some("an empty machine is written {}".to_owned());
        return (None, reader.complaints);
    }
    if let Some(node) = placeholder(&document.root) {
        let message = "this version replaces no placeholders: texts with `${` stay as they are";
        reader.warn(node.span, message);
    }
    let mut config = sections::machine(&mut reader, &document.root, surroundings);
    let mut complaints = reader.complaints;
    if let Some(config) = &mut config {
        complaints.extend(check::duplicates(config));
        complaints.extend(check::outputs(config));
    }
    (config, complaints)
}

fn add(reader: &mut Reader, grade: Grade, note: Note) {
    let quoted = if note.quoted {
        format!(" `{}`", reader.source.quote(note.span))
    } else {
        String::new()
    };
    reader.complain(grade, note.span, note.message + &quoted).help = note.help;
}

/// By the ending of the name, else by the first character.
fn is_json(path: &Path, text: &str) -> bool {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_deref().and_then(|ending| ending.to_str()) {
        Some("json") => true,
        Some("yaml" | "yml") => false,
        _ => text.trim_start().starts_with('{'),
    }
}

/// The first text with a placeholder in it.
fn placeholder(node: &Node) -> Option<&Node> {
    match &node.value {
        Value::Text(text) => text.contains("${").then_some(node),
        Value::List(items) => items.iter().find_map(placeholder),
        Value::Map(entries) => entries.iter().find_map(|entry| placeholder(&entry.value)),
        _ => None,
    }
}
