//! `mainstay config get FILE PATH` and `mainstay config set FILE PATH VALUE`: one value of a config, in the file that has it,
//! everything else there as it was.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::edit::{DiffLine, EditableFile, Impossible, NewValue, TextChange, ValuePath};
use mainstay_config::{Diagnostic, Severity};
use serde_json::{Value, json};

use crate::config_files::{ValueFile, file_of};
use crate::diagnostics;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::replace_file::replace;
use crate::terminal::{Colour, Style};

/// The byte order mark of UTF-8.
pub(super) const MARK: &[u8] = "\u{feff}".as_bytes();

/// Arguments of `mainstay config`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum ConfigVerb {
    /// Show one value of a config file
    Get(GetArguments),
    /// Change one value of a config file; comments and layout stay
    Set(SetArguments),
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay config get rover.yaml components.left-motor.attributes.rate_hz
  mainstay config get rover.yaml components[3].model
  mainstay config get rover.json 'modules.lidar.env.\"a.b\"'

If the value is in an included file, that file is named. An index in brackets counts the entries of FILE alone.

JSON: {file, path, line, column, length, value}.")]
struct GetArguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Path of the value: keys and names of entries separated by dots, and indices in brackets, from 0
    #[arg(value_name = "PATH")]
    path: String,
    /// Show secrets instead of hiding them
    #[arg(long)]
    reveal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay config set rover.yaml components.left-motor.attributes.rate_hz 20
  mainstay config set rover.yaml network.bind_address 0.0.0.0:8080 --dry-run
  mainstay config set rover.yaml components.arm.frame.translation '{x: 0, y: 120, z: 300}'
  mainstay config set rover.yaml components.scale.attributes.serial 0042 --text

A missing key is added to its map. A value in an included file is changed there. The result is checked first, and not \
written if it could not be used. A machine that runs this file applies the change by itself.

JSON: {file, path, line, column, length, before, after, changed, written, complaints}; complaints as in `mainstay check`.")]
struct SetArguments {
    /// The config file, JSON or YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Path of the value: keys and names of entries separated by dots, and indices in brackets, from 0
    #[arg(value_name = "PATH")]
    path: String,
    /// The new value, read as YAML reads it: 20, true, left, [1, 2], {x: 1}
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    /// Store the new value as a string, even if it looks like a number or anything else
    #[arg(long)]
    text: bool,
    /// Show the change without writing it
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// True if JSON was asked for.
    pub fn json(&self) -> bool {
        match &self.verb {
            ConfigVerb::Get(get) => get.json,
            ConfigVerb::Set(set) => set.json,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// A path that is none (2); a value that is not there, cannot be changed, or makes the config unusable (1).
pub fn run(arguments: &Arguments) -> Result<Exit, CliError> {
    match &arguments.verb {
        ConfigVerb::Get(arguments) => get(arguments),
        ConfigVerb::Set(arguments) => set(arguments),
    }
}

fn get(arguments: &GetArguments) -> Result<Exit, CliError> {
    let path = parse_path(&arguments.path)?;
    let place = file_of(&arguments.file, &path);
    let (document, _) = read(&place.file)?;
    let found = document
        .get(&path, arguments.reveal)
        .map_err(|error| impossible(error, &place))?;
    if place.file != arguments.file && !arguments.json {
        note(&format!("in {}", found.place));
    }
    print(&if arguments.json {
        json!({
            "file": place.file.display().to_string(),
            "path": path.to_string(),
            "line": found.place.line,
            "column": found.place.column,
            "length": found.place.len,
            "value": found.value,
        })
        .to_string()
    } else {
        found.shown
    })?;
    Ok(Exit::Done)
}

fn set(arguments: &SetArguments) -> Result<Exit, CliError> {
    let path = parse_path(&arguments.path)?;
    let value = if arguments.text {
        NewValue::text(&arguments.value)
    } else {
        NewValue::read(&arguments.value).map_err(|error| CliError::usage(error.to_string()))?
    };
    let place = file_of(&arguments.file, &path);
    let (document, old) = read(&place.file)?;
    let change = document.set(&path, &value).map_err(|error| impossible(error, &place))?;
    let diagnostics = if change.is_nothing() {
        Vec::new()
    } else {
        check(&arguments.file, &place.file, change.text().as_bytes())?
    };
    let written = !change.is_nothing() && !arguments.dry_run;
    if written {
        // A mark at its beginning, which says that it is UTF-8, stays.
        let mark = if old.starts_with(MARK) { MARK } else { &[] };
        replace(&place.file, &old, &[mark, change.text().as_bytes()].concat())?;
    }
    if arguments.json {
        print(&set_json(&place.file, &change, written, &diagnostics))?;
    } else {
        if !diagnostics.is_empty() {
            note(&diagnostics::render(&diagnostics, config::colour_wanted()));
        }
        print(&set_text(&change, arguments.dry_run, Style::stdout()))?;
    }
    Ok(Exit::Done)
}

/// Diagnostics of the config of `file` if one of its files has the new text. What would be refused, or could not be read as
/// what its key takes, is not written.
pub(super) fn check(file: &Path, changed: &Path, text: &[u8]) -> Result<Vec<Diagnostic>, CliError> {
    let not_written = |why: &str, diagnostics: &[Diagnostic]| {
        let shown = diagnostics::render(diagnostics, config::colour_wanted());
        CliError::wrong(format!("nothing is written, because {why}:\n\n{shown}"))
    };
    let parse = |read: &mut dyn FnMut(&Path) -> std::io::Result<Vec<u8>>| {
        let bundle = config::ConfigFiles::gather(file, read)?;
        config::parse(&bundle, &config::LoadContext::of(file))
    };
    let after = parse(&mut |path| {
        if path == changed {
            Ok(text.to_owned())
        } else {
            config::read_file(path)
        }
    });
    let unusable = |mut refused: config::Refused| {
        refused.diagnostics.retain(|one| one.severity == Severity::Refused);
        not_written("the config could not be used then", &refused.diagnostics)
    };
    let loaded = after.map_err(unusable)?;
    let before = match parse(&mut config::read_file) {
        Ok(loaded) => loaded.diagnostics,
        Err(refused) => refused.diagnostics,
    };
    let known = |message: &str| before.iter().any(|one| one.message == message);
    let malformed = loaded.diagnostics.iter();
    let malformed: Vec<_> = malformed
        .filter(|one| one.malformed && !known(&one.message))
        .cloned()
        .collect();
    if !malformed.is_empty() {
        return Err(not_written("of what would be wrong with it then", &malformed));
    }
    let heavy = loaded
        .look_for_programs()
        .map_err(unusable)?
        .diagnostics
        .into_iter()
        .filter(|diagnostic| diagnostic.severity > Severity::Warning);
    Ok(heavy.collect())
}

fn parse_path(text: &str) -> Result<ValuePath, CliError> {
    text.parse()
        .map_err(|error: config::edit::BadPath| CliError::usage(error.to_string()))
}

fn impossible(error: Impossible, place: &ValueFile) -> CliError {
    CliError::wrong(match place.others {
        0 => error.to_string(),
        others => format!("{error}; all {} files of the config were looked through", others + 1),
    })
}

/// The file as a tree, and its bytes.
pub(super) fn read(file: &Path) -> Result<(EditableFile, Vec<u8>), CliError> {
    let bytes =
        fs::read(file).map_err(|error| CliError::wrong(format!("`{}` cannot be read: {error}", file.display())))?;
    let content = bytes.strip_prefix(MARK).unwrap_or(&bytes);
    let text = String::from_utf8(content.to_owned())
        .map_err(|_| CliError::wrong(format!("`{}` is not UTF-8 text; save it as UTF-8", file.display())))?;
    let document = EditableFile::read(file, text).map_err(|refused| {
        CliError::wrong(format!(
            "the file cannot be read:\n{}",
            refused.render(config::colour_wanted())
        ))
    })?;
    Ok((document, bytes))
}

fn set_json(file: &Path, change: &TextChange, written: bool, diagnostics: &[Diagnostic]) -> String {
    json!({
        "file": file.display().to_string(),
        "path": change.path,
        "line": change.place.line,
        "column": change.place.column,
        "length": change.place.len,
        "before": change.before,
        "after": change.after,
        "changed": !change.is_nothing(),
        "written": written,
        "complaints": diagnostics.iter().map(diagnostics::json).collect::<Value>(),
    })
    .to_string()
}

fn set_text(change: &TextChange, dry_run: bool, style: Style) -> String {
    if change.is_nothing() {
        return format!(
            "nothing to do: {} is {} already ({})",
            change.path, change.after, change.place
        );
    }
    let told = match &change.before {
        Some(before) => format!("{}  {before} → {}  ({})", change.path, change.after, change.place),
        None => format!("{}  {}, new  ({})", change.path, change.after, change.place),
    };
    if !dry_run {
        return told;
    }
    let lines = diff(&change.lines(), style);
    format!("{told}\n{}\nnothing is written (--dry-run)", lines.join("\n"))
}

fn diff(lines: &[DiffLine], style: Style) -> Vec<String> {
    let width = lines
        .iter()
        .map(|line| line.number)
        .max()
        .unwrap_or(0)
        .to_string()
        .len();
    let shown = lines.iter().map(|line| {
        let text = format!("{:>width$} {} {}", line.number, line.sign, line.text);
        let text = text.trim_end();
        match line.sign {
            '-' => style.paint(Colour::Red, text),
            '+' => style.paint(Colour::Green, text),
            _ => text.to_owned(),
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROVER: &str = "\
components:
  - name: left # the left one
    api: rdk:component:motor
    model: fake
    attributes: {rate_hz: 10}
";

    fn arguments(file: &Path, path: &str, value: &str) -> SetArguments {
        SetArguments {
            file: file.to_owned(),
            path: path.to_owned(),
            value: value.to_owned(),
            text: false,
            dry_run: false,
            json: false,
        }
    }

    #[test]
    fn a_value_is_written_into_the_file_and_nothing_that_could_not_be_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rover.yaml");
        fs::write(&file, ROVER).expect("written");
        let content = || fs::read_to_string(&file).expect("there");
        let rate = "components.left.attributes.rate_hz";
        set(&SetArguments {
            dry_run: true,
            ..arguments(&file, rate, "20")
        })
        .expect("possible");
        assert_eq!(content(), ROVER);
        set(&arguments(&file, rate, "20")).expect("possible");
        assert_eq!(content(), ROVER.replace("10", "20"));
        let now = content();
        for (path, value, exit, part) in [
            ("debug", "maybe", Exit::Wrong, "nothing is written"),
            ("components", "7", Exit::Wrong, "nothing is written"),
            ("components.rigth.model", "fake", Exit::Wrong, "no `rigth`"),
            ("components..model", "fake", Exit::Usage, "a part of it is empty"),
            ("debug", "[1", Exit::Usage, "not whole"),
        ] {
            let failure = set(&arguments(&file, path, value)).expect_err(path);
            assert!(
                failure.exit == exit && failure.message.contains(part),
                "{path}: {failure:?}"
            );
            assert_eq!(content(), now, "{path}");
        }
    }

    #[test]
    fn a_value_of_an_included_file_is_changed_there_with_its_comments_and_checked_with_the_rest() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let content = |name: &str| fs::read_to_string(at(name)).expect("there");
        fs::create_dir(at("parts")).expect("a folder");
        let main = "include: parts/left.yaml # the rest\ndebug: false\n";
        fs::write(at("rover.yaml"), main).expect("written");
        fs::write(at("parts/left.yaml"), ROVER).expect("written");
        let rate = "components.left.attributes.rate_hz";
        set(&arguments(&at("rover.yaml"), rate, "20")).expect("possible");
        assert_eq!(content("parts/left.yaml"), ROVER.replace("10", "20"));
        assert_eq!(content("rover.yaml"), main);
        // Together they could not be used.
        let twice = set(&arguments(&at("rover.yaml"), "components.left.model", "[1]")).expect_err("refused");
        assert!(twice.message.contains("nothing is written"), "{twice:?}");
        let nowhere = set(&arguments(&at("rover.yaml"), "components.lfet.model", "x")).expect_err("missing");
        assert!(
            nowhere.message.contains("did you mean `left`?") && nowhere.message.contains("all 2 files"),
            "{nowhere:?}"
        );
        assert_eq!(content("parts/left.yaml"), ROVER.replace("10", "20"));
    }

    #[test]
    fn a_dry_run_shows_the_lines() {
        let document = EditableFile::read(Path::new("rover.yaml"), ROVER.to_owned()).expect("a tree");
        let path = "components.left.attributes.rate_hz".parse().expect("a path");
        let change = document
            .set(&path, &NewValue::read("20").expect("a number"))
            .expect("possible");
        let expected = "\
components.left.attributes.rate_hz  10 → 20  (rover.yaml:5:27)
2     - name: left # the left one
3       api: rdk:component:motor
4       model: fake
5 -     attributes: {rate_hz: 10}
5 +     attributes: {rate_hz: 20}
nothing is written (--dry-run)";
        assert_eq!(set_text(&change, true, Style::PLAIN), expected);
    }
}
