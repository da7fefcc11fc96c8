//! Typed reader: takes values out of the tree and collects diagnostics instead of stopping at the first.
//!
//! Every method that finds a wrong type complains and answers as if nothing were there, so the walk goes on and all
//! diagnostics are known at its end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_model::suggest::nearest;
use mainstay_model::{Object, Source, Span, Value as FreeForm};

use crate::bundle::{ConfigFiles, RawFile};
use crate::diagnostic::{Diagnostic, Severity};
use crate::keys::{DefaultValue, Force, IGNORED, Section, ValueType};
use crate::load_context::LoadContext;
use crate::node::{MapEntry, NodeValue, Note, TreeNode};
use crate::placeholder::Placeholders;

/// Diagnostics and the text that they are about.
pub(super) struct Reader {
    pub(super) source: Arc<Source>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Absolute folder of each file: relative paths in it start there.
    folders: Vec<(u32, PathBuf)>,
    /// Folder that `~` stands for.
    home: Option<PathBuf>,
    /// True if the environment has every configured module speak TCP.
    pub(super) tcp_for_all: bool,
    /// Values of placeholders, once the packages have been read.
    pub(super) placeholders: Placeholders,
    /// Names of the roles in `auth`.
    pub(super) roles: BTreeSet<String>,
    /// Severity of what is wrong with what is being read: inside of an entry it costs that entry alone.
    severity: Severity,
    /// Number of the first error of the entry that is being read: its status shows it.
    fault: Option<usize>,
    /// Numbers of errors in the text itself, with the place of each: faults of the entries that they stand in.
    noted: Vec<(u32, usize)>,
    /// Keys that are not in force and have been named.
    unmet: Vec<&'static str>,
}

/// The keys of one map, looked up in the way that peers do.
pub(super) struct Keys<'n> {
    found: Vec<(&'static str, &'n TreeNode)>,
    /// The whole map.
    pub(super) span: Span,
    section: &'static Section,
}

impl<'n> Keys<'n> {
    /// The value of a key. `null` counts as not there.
    pub(super) fn get(&self, key: &str) -> Option<&'n TreeNode> {
        debug_assert!(self.section.find(key).is_some(), "`{key}` is in no table");
        self.found
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, node)| *node)
    }

    /// First of several files' maps that has each key. A key that is in more than one of them is given with the place of its
    /// repetition.
    pub(super) fn first_of(
        section: &'static Section,
        files: &[Self],
        keys: &[&'static str],
    ) -> (Self, Vec<(&'static str, Span, Span)>) {
        let mut again = Vec::new();
        let mut found: Vec<(&'static str, &'n TreeNode)> = Vec::new();
        for key in keys {
            let mut holders = files.iter().filter_map(|file| file.get(key));
            let Some(first) = holders.next() else { continue };
            again.extend(holders.map(|other| (*key, first.span, other.span)));
            found.push((*key, first));
        }
        let span = files.first().map_or_else(Span::default, |file| file.span);
        (Self { found, span, section }, again)
    }

    /// Type of a key's value, as its table has it.
    pub(super) fn takes(&self, key: &str) -> &'static ValueType {
        &self.section.key(key).takes
    }

    /// Default of a key, as its table has it.
    pub(super) fn default(&self, key: &str) -> DefaultValue {
        self.section.key(key).default
    }

    /// Name of a key in messages.
    pub(super) fn label(&self, key: &str) -> String {
        self.section.label(key)
    }

    /// Span of the value of a key, else of the whole map.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.get(key).map_or(self.span, |node| node.span)
    }
}

impl Reader {
    pub(super) fn new(source: Arc<Source>, bundle: &ConfigFiles, context: &LoadContext) -> Self {
        let folder = |file: &RawFile| match bundle.relative(&file.path).parent() {
            Some(below) => context.folder.join(below),
            None => context.folder.clone(),
        };
        let folders = bundle.files.iter().enumerate();
        let folders = folders.map(|(number, file)| (source.file(number).map_or(0, |(.., base)| base), folder(file)));
        Self {
            folders: folders.collect(),
            home: context.home.clone(),
            tcp_for_all: context.tcp_for_all(),
            placeholders: Placeholders::default(),
            roles: BTreeSet::new(),
            source,
            diagnostics: Vec::new(),
            severity: Severity::Refused,
            fault: None,
            noted: Vec::new(),
            unmet: Vec::new(),
        }
    }

    /// Diagnostics, without what came from the environment.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics;
        for diagnostic in &mut diagnostics {
            diagnostic.scrub(&self.source);
        }
        diagnostics
    }

    /// The absolute path that the one written at `span` stands for, or what is wrong with it and what would be right.
    pub(super) fn located(&self, written: &str, span: Span) -> Result<PathBuf, (String, &'static str)> {
        if written.contains('\0') {
            return Err(("the path holds a NUL character".to_owned(), "remove it"));
        }
        let below_home = if written == "~" {
            Some("")
        } else {
            written.strip_prefix("~/")
        };
        match (below_home, &self.home) {
            (Some(rest), Some(home)) => Ok(home.join(rest)),
            (Some(_), None) => Err((
                "`~` stands for nothing: HOME is not set".to_owned(),
                "write the whole path",
            )),
            (None, _) => {
                let after = self.folders.partition_point(|(base, _)| *base <= span.start);
                let folder = self
                    .folders
                    .get(after.saturating_sub(1))
                    .map(|(_, folder)| folder.as_path());
                // Without `.` parts, so that paths in messages read well. `..` stays: it may lead through a link.
                Ok(folder.unwrap_or(Path::new("/")).join(written).components().collect())
            }
        }
    }

    /// Adds a diagnostic and gives it back for more to be added.
    pub(super) fn complain(&mut self, severity: Severity, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        let diagnostic =
            Diagnostic::new(severity, message, self.source.place(span)).with_source(Arc::clone(&self.source));
        let at = self.diagnostics.len();
        self.diagnostics.push(diagnostic);
        &mut self.diagnostics[at]
    }

    /// Adds a note about the text itself. An error is a fault of the entry that it stands in.
    pub(super) fn note(&mut self, severity: Severity, note: Note) {
        let quoted = if note.quoted {
            format!(" `{}`", self.source.quote(note.span))
        } else {
            String::new()
        };
        if severity == Severity::Local {
            self.noted.push((note.span.start, self.diagnostics.len()));
        }
        self.complain(severity, note.span, note.message + &quoted).help = note.help;
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.complain(Severity::Warning, span, message)
    }

    /// Complains about an error. Inside of an entry it is local, and the first one is the fault of the entry; elsewhere it
    /// refuses the config.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        if self.severity == Severity::Local {
            self.fault.get_or_insert(self.diagnostics.len());
        }
        let diagnostic = self.complain(self.severity, span, message);
        diagnostic.malformed = true;
        diagnostic
    }

    /// [`Reader::error`] with its cure, if there is one.
    pub(super) fn error_with(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) {
        self.error(span, message).help = help.map(str::to_owned);
    }

    /// Reads an entry, or a section without which all others keep their meaning: what is wrong with it costs it alone.
    pub(super) fn entry<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.severity, Severity::Local);
        self.fault = None;
        let read = read(self);
        self.severity = outer;
        self.fault = None;
        read
    }

    /// Reads the items of the lists that a key has in several maps, each as an entry.
    pub(super) fn entries<'n, T>(
        &mut self,
        files: &[Keys<'n>],
        key: &str,
        mut read: impl FnMut(&mut Self, &'n TreeNode) -> Option<T>,
    ) -> Vec<T> {
        let items = self.lists(files, key).into_iter();
        items
            .filter_map(|item| {
                self.entry(|reader| {
                    let inside = |(at, _): &&(u32, usize)| (item.span.start..item.span.end).contains(at);
                    reader.fault = reader.noted.iter().find(inside).map(|(_, number)| *number);
                    read(reader, item)
                })
            })
            .collect()
    }

    /// The fault of the entry that has been read, as its status shows it: what, the cure, and where.
    pub(super) fn take_fault(&mut self) -> Option<String> {
        let mut first = self.diagnostics[self.fault.take()?].clone();
        first.scrub(&self.source);
        Some(match &first.help {
            Some(help) => format!("{}; {help} ({})", first.message, first.place),
            None => format!("{} ({})", first.message, first.place),
        })
    }

    /// Complains about the variable of a fragment, if the value is one. Only the cloud knows what it stands for.
    fn fragment_variable(&mut self, what: &str, node: &TreeNode) -> Option<&mut Diagnostic> {
        let name = node.fragment_variable()?.escape_debug().to_string();
        let which = match name.as_str() {
            "" => "a variable".to_owned(),
            name => format!("the variable `{name}`"),
        };
        let message = format!("{what} is {which} of a fragment, which only the cloud can fill in");
        let diagnostic = self.error(node.span, message);
        diagnostic.help = Some("write the value itself".to_owned());
        Some(diagnostic)
    }

    /// Complains about a value of a wrong type.
    pub(super) fn wrong_type(&mut self, what: &str, node: &TreeNode, expected: &str) -> &mut Diagnostic {
        if node.fragment_variable().is_some() {
            let at = self.diagnostics.len();
            self.fragment_variable(what, node);
            return &mut self.diagnostics[at];
        }
        let (message, quoted) = (
            format!("{what} must be {expected}, but is {}", node.kind()),
            self.source.quote(node.span),
        );
        let help = match (&node.value, expected) {
            (NodeValue::Number(_) | NodeValue::Bool(_), "a text") if quoted.contains('*') => {
                Some("put it in quotes".to_owned())
            }
            (NodeValue::Number(_) | NodeValue::Bool(_), "a text") => Some(format!("write \"{quoted}\" in quotes")),
            (NodeValue::Text(_), "a number") if quoted.trim_matches(['"', '\'']).parse::<f64>().is_ok() => {
                Some("write it without quotes".to_owned())
            }
            (NodeValue::Text(text), _) if expected.starts_with("true or false") => {
                match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" => Some("write true".to_owned()),
                    "no" | "off" | "false" => Some("write false".to_owned()),
                    _ => None,
                }
            }
            (NodeValue::Text(_) | NodeValue::Map(_), "a list") => Some("put it between [ and ]".to_owned()),
            _ => None,
        };
        let diagnostic = self.error(node.span, message);
        diagnostic.help = help;
        diagnostic
    }

    /// Looks up the keys of a map: without regard to case, the last of several counts, `null` is not there, unknown
    /// ones have no effect. Each of these earns a warning.
    pub(super) fn keys<'n>(&mut self, section: &'static Section, node: &'n TreeNode) -> Option<Keys<'n>> {
        let what = section.what;
        let NodeValue::Map(entries) = &node.value else {
            self.wrong_type(what, node, "a map of keys and values");
            return None;
        };
        if self.fragment_variable(what, node).is_some() {
            return None;
        }
        let mut keys = Keys {
            found: Vec::with_capacity(entries.len()),
            span: node.span,
            section,
        };
        let mut seen: Vec<(&str, Span, bool)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some((key, exact)) = section.find(&entry.key) else {
                self.unknown_key(section, entry);
                continue;
            };
            if !exact {
                let message = format!("the key `{}` counts as `{key}`", entry.key.escape_debug());
                self.warn(entry.key_span, message).help = Some(format!("write `{key}`"));
            }
            if let Some((_, first, merged)) = seen.iter_mut().find(|(seen, ..)| *seen == key) {
                let first_place = self.source.place(*first);
                if !*merged {
                    let message = format!("`{key}` is given more than once in {what}; the last one counts");
                    self.warn(entry.key_span, message).also = Some((first_place, "given here before".to_owned()));
                }
                (*first, *merged) = (entry.key_span, entry.merged);
            } else {
                seen.push((key, entry.key_span, entry.merged));
            }
            keys.found.retain(|(found, _)| *found != key);
            if matches!(entry.value.value, NodeValue::Null) {
                self.warn(entry.key_span, format!("`{key}` is null, which counts as not set"));
            } else {
                keys.found.push((key, &entry.value));
            }
        }
        for (key, node) in keys.found.iter().filter(|(_, node)| !node.is_empty()) {
            let span = seen
                .iter()
                .find(|(seen, ..)| seen == key)
                .map_or(node.span, |seen| seen.1);
            self.not_in_force(section, key, span);
        }
        Some(keys)
    }

    /// Says of a key that is used and that this version does nothing about what happens instead.
    fn not_in_force(&mut self, section: &'static Section, key: &'static str, span: Span) {
        let name = match section.what.strip_prefix('`') {
            Some(_) => format!("`{}.{key}`", section.id),
            None => format!("`{key}`"),
        };
        match section.key(key).force {
            Force::Full => {}
            Force::Unmet(instead) => {
                // Entries repeat it; the first is enough.
                if !self.unmet.contains(&key) {
                    self.unmet.push(key);
                    self.warn(span, format!("{name} is not in force in this version: {instead}"));
                }
            }
        }
    }

    /// The keys of the map that a key takes.
    pub(super) fn map<'n>(&mut self, keys: &Keys<'n>, key: &str) -> Option<Keys<'n>> {
        let mut forms = keys.takes(key).forms().iter();
        let section = forms.find_map(|form| match form {
            ValueType::Map(section) => Some(*section),
            _ => None,
        });
        self.keys(section?, keys.get(key)?)
    }

    fn unknown_key(&mut self, section: &'static Section, entry: &MapEntry) {
        let (key, span) = (&entry.key, entry.key_span);
        // As it stands in the file: a missing colon makes a key of what should be its value.
        let shown = self.source.quote(span);
        let shown = shown.trim_matches(['"', '\'']);
        if let Some((_, why)) = IGNORED.iter().find(|(ignored, _)| ignored.eq_ignore_ascii_case(key)) {
            if !why.is_empty() {
                self.warn(span, format!("`{shown}` has no effect")).help = Some((*why).to_owned());
            }
            return;
        }
        let meant = nearest(key, section.keys.iter().map(|key| key.name));
        let open = !entry.value.is_empty() && section.guards(key, meant);
        let message = format!("{} has no key `{shown}`; it has no effect", section.what);
        let severity = if open { Severity::Refused } else { Severity::Warning };
        let diagnostic = self.complain(severity, span, message);
        diagnostic.open = open;
        diagnostic.help = match (meant, open) {
            (Some(meant), _) => Some(format!("did you mean `{meant}`?")),
            (None, true) => Some("remove it: the machine would be open in spite of it".to_owned()),
            (None, false) => None,
        };
    }

    /// The entries of a map with keys of any name: of several equal ones the last, without a word about merged ones.
    pub(super) fn any_keys<'n>(&mut self, what: &str, node: &'n TreeNode) -> Vec<(&'n str, Span, &'n TreeNode)> {
        let NodeValue::Map(entries) = &node.value else {
            self.wrong_type(what, node, "a map of keys and values");
            return Vec::new();
        };
        let mut last: std::collections::HashMap<&str, (usize, &MapEntry)> =
            std::collections::HashMap::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let before = last.insert(&entry.key, (at, entry));
            if let Some((_, before)) = before.filter(|(_, before)| !before.merged) {
                let place = self.source.place(before.key_span);
                let message = format!(
                    "`{}` is given more than once; the last one counts",
                    entry.key.escape_debug()
                );
                self.warn(entry.key_span, message).also = Some((place, "given here before".to_owned()));
            }
        }
        let mut kept: Vec<_> = last.into_values().collect();
        kept.sort_by_key(|(at, _)| *at);
        kept.into_iter()
            .map(|(_, entry)| (entry.key.as_str(), entry.key_span, &entry.value))
            .collect()
    }

    pub(super) fn text<'n>(&mut self, keys: &Keys<'n>, key: &str) -> Option<&'n str> {
        self.as_text(&keys.label(key), keys.get(key)?)
    }

    pub(super) fn as_text<'n>(&mut self, what: &str, node: &'n TreeNode) -> Option<&'n str> {
        match &node.value {
            NodeValue::Text(text) => Some(text),
            _ => {
                self.wrong_type(what, node, "a text");
                None
            }
        }
    }

    /// A text, empty if it is not there.
    pub(super) fn text_or_empty(&mut self, keys: &Keys<'_>, key: &str) -> String {
        self.text(keys, key).unwrap_or_default().to_owned()
    }

    /// A flag, false if it is not there.
    pub(super) fn flag(&mut self, keys: &Keys<'_>, key: &str) -> bool {
        match keys.get(key) {
            None => matches!(keys.default(key), DefaultValue::Flag(true)),
            Some(TreeNode {
                value: NodeValue::Bool(flag),
                ..
            }) => *flag,
            Some(node) => {
                self.wrong_type(&keys.label(key), node, "true or false");
                false
            }
        }
    }

    /// The items of the lists that a key has in several maps, one behind the other.
    pub(super) fn lists<'n>(&mut self, files: &[Keys<'n>], key: &str) -> Vec<&'n TreeNode> {
        files.iter().flat_map(|keys| self.list(keys, key)).collect()
    }

    /// The items of a list without those that are null; none if it is not there.
    pub(super) fn list<'n>(&mut self, keys: &Keys<'n>, key: &str) -> Vec<&'n TreeNode> {
        let Some(node) = keys.get(key) else { return Vec::new() };
        let NodeValue::List(items) = &node.value else {
            self.wrong_type(&keys.label(key), node, "a list");
            return Vec::new();
        };
        for item in items.iter().filter(|item| matches!(item.value, NodeValue::Null)) {
            self.warn(
                item.span,
                format!("an item of {} is null, which counts as not there", keys.label(key)),
            );
        }
        items
            .iter()
            .filter(|item| !matches!(item.value, NodeValue::Null))
            .collect()
    }

    /// The texts of a list and where they are.
    pub(super) fn texts(&mut self, keys: &Keys<'_>, key: &str) -> Vec<(String, Span)> {
        let what = format!("an item of {}", keys.label(key));
        let items = self.list(keys, key);
        items
            .into_iter()
            .filter_map(|item| Some((self.as_text(&what, item)?.to_owned(), item.span)))
            .collect()
    }

    /// A text with its placeholders replaced. Those that cannot be are warned about and stay.
    pub(super) fn filled(&mut self, text: &str, span: Span) -> String {
        if !text.contains("${") {
            return text.to_owned();
        }
        let filled = self.placeholders.fill(text);
        for (value, placeholder) in filled.borrowed {
            self.source.borrow(&value, &placeholder, span);
        }
        for problem in filled.problems {
            // Escapes may make it look different in the file; then the whole text is marked.
            let at = self.source.slice(span).find(&problem.placeholder);
            let place = at.map_or(span, |at| {
                Span::new(0, problem.placeholder.len()).moved(span.start + at as u32)
            });
            self.warn(place, problem.message).help = problem.help;
        }
        filled.text
    }

    /// A free-form map, as it travels to modules.
    pub(super) fn structure(&mut self, keys: &Keys<'_>, key: &str) -> Option<Object> {
        Some(self.free_form(&keys.label(key), keys.get(key)?, false))
    }

    /// [`Reader::structure`] with placeholders replaced.
    pub(super) fn filled_structure(&mut self, keys: &Keys<'_>, key: &str) -> Option<Object> {
        Some(self.free_form(&keys.label(key), keys.get(key)?, true))
    }

    fn free_form(&mut self, what: &str, node: &TreeNode, fill: bool) -> Object {
        if self.fragment_variable(what, node).is_some() {
            return Object::default();
        }
        let entries = self.any_keys(what, node);
        entries
            .into_iter()
            .map(|(key, _, value)| (key.to_owned(), self.free_form_value(key, value, fill)))
            .collect()
    }

    /// The value of `key`, or an item of its list.
    fn free_form_value(&mut self, key: &str, node: &TreeNode, fill: bool) -> FreeForm {
        match &node.value {
            NodeValue::Null => FreeForm::Null,
            NodeValue::Bool(flag) => FreeForm::Bool(*flag),
            NodeValue::Number(number) if !number.is_finite() => {
                let message = format!(
                    "modules take finite numbers only, so this value of `{}` is null",
                    key.escape_debug()
                );
                self.warn(node.span, message).help = Some("write a number, or remove it".to_owned());
                FreeForm::Null
            }
            NodeValue::Number(number) => {
                self.check_number(*number, node.span);
                FreeForm::Number(*number)
            }
            NodeValue::Text(text) => {
                self.check_word(text, node.span);
                FreeForm::Text(if fill {
                    self.filled(text, node.span)
                } else {
                    text.clone()
                })
            }
            NodeValue::List(items) => {
                FreeForm::List(items.iter().map(|item| self.free_form_value(key, item, fill)).collect())
            }
            NodeValue::Map(_) => FreeForm::Map(self.free_form(&format!("`{}`", key.escape_debug()), node, fill)),
        }
    }

    /// A word without quotes that other readers of YAML take for `true`, `false` or a number.
    pub(super) fn check_word(&mut self, text: &str, span: Span) {
        let digits = text.replace('_', "");
        let meant = match text.to_ascii_lowercase().as_str() {
            "yes" | "on" => "true",
            "no" | "off" => "false",
            _ if digits.len() < text.len()
                && digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+')) =>
            {
                match digits.parse::<f64>() {
                    Ok(number) if number.is_finite() => &digits,
                    _ => return,
                }
            }
            _ => return,
        };
        if self.source.slice(span) == text {
            self.warn(span, format!("`{text}` is a text here, not {meant}")).help =
                Some(format!("write {meant}, or \"{text}\" in quotes if the text is meant"));
        }
    }

    /// Modules receive doubles; a number that changes on the way is worth a word.
    fn check_number(&mut self, number: f64, span: Span) {
        if number.abs() >= 9_007_199_254_740_992.0
            && self
                .source
                .slice(span)
                .parse::<i128>()
                .is_ok_and(|exact| exact != number as i128)
        {
            self.warn(span, "modules receive this number rounded").help =
                Some("numbers travel as doubles, exact up to 9007199254740992; write it in quotes".to_owned());
        }
    }
}
