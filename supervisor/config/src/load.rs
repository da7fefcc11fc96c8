//! Loading: from a path, or from the files of a bundle, to a checked config.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_model::{Config, Offer, Offers, Source, SourceSpan, Span};

use crate::bundle::{ConfigFiles, MAX_SIZE, beside};
use crate::diagnostic::{Diagnostic, Refused, Severity};
use crate::document::Parsed;
use crate::keys::IGNORED;
use crate::load_context::LoadContext;
use crate::models;
use crate::models::AfterStart;
use crate::node::{NodeValue, TreeNode};
use crate::read::Reader;
use crate::secrets;
use crate::{certificate, check, dependencies, document, executable, include, packages, registry, sections};

/// Path that stands for standard input.
pub const STDIN: &str = "-";

/// A usable config and what is to be said about it: warnings and local errors, in the order of the file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Desired machine.
    pub config: Config,
    /// Diagnostics of [`Severity::Warning`] and [`Severity::Local`].
    pub diagnostics: Vec<Diagnostic>,
    /// The files it was read from.
    pub bundle: Arc<ConfigFiles>,
}

/// Reads and checks the config file at `path`, what it includes, and the programs of its modules.
///
/// # Errors
/// A file cannot be read or its content cannot be used: then with everything that is wrong with it.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    load_in(path, &LoadContext::of(path))
}

/// [`load`] in other surroundings than those of this process.
///
/// # Errors
/// As for [`load`].
pub fn load_in(path: &Path, context: &LoadContext) -> Result<Loaded, Refused> {
    let (bundle, missing) = ConfigFiles::gather_partly(path, &context.variables(), &mut |file| read_given(file, path))?;
    let mut read = parse_with(&bundle, missing, context);
    if let Err(refused) = &mut read {
        refused.look_for_programs();
    }
    read.and_then(Loaded::look_for_programs)
}

/// True if `path` stands for standard input, which can be read once and is never watched.
#[must_use]
pub fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// [`read_file`], or standard input if `file` is the config that was named, and that is [`STDIN`].
///
/// # Errors
/// It cannot be read.
pub fn read_given(file: &Path, given: &Path) -> io::Result<Vec<u8>> {
    if is_stdin(given) && file == given {
        let mut bytes = Vec::new();
        io::stdin().lock().take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    read_file(file)
}

/// Reads a file that may be a config, no more of it than a config may have.
///
/// # Errors
/// It cannot be read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads and checks the files of a config. Touches no file: whether the programs of modules are there is asked by
/// [`Loaded::look_for_programs`].
///
/// # Errors
/// The config cannot be used: then with everything that is wrong with it.
pub fn parse(bundle: &ConfigFiles, context: &LoadContext) -> Result<Loaded, Refused> {
    parse_with(bundle, Vec::new(), context)
}

/// [`parse`] of a config of which some files are missing. What is wrong with the others is told all the same.
fn parse_with(bundle: &ConfigFiles, missing: Vec<Diagnostic>, context: &LoadContext) -> Result<Loaded, Refused> {
    let mut complete = missing.is_empty();
    let (config, mut diagnostics) = read(bundle, &mut complete, context);
    diagnostics.extend(missing);
    sort(&mut diagnostics, bundle.files.iter().map(|file| &*file.path));
    match config {
        Some(config)
            if diagnostics
                .iter()
                .all(|diagnostic| diagnostic.severity < Severity::Refused) =>
        {
            Ok(Loaded {
                config,
                diagnostics,
                bundle: Arc::new(bundle.clone()),
            })
        }
        config => Err(Refused {
            diagnostics,
            config: config.map(Box::new),
            complete,
        }),
    }
}

impl Loaded {
    /// Looks for the programs of all modules, for packages and for the certificate. A diagnostic names each that is missing.
    ///
    /// # Errors
    /// There is no certificate that could be served.
    pub fn look_for_programs(mut self) -> Result<Self, Refused> {
        self.add(of_the_disk(&self.config));
        let refused = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Refused;
        if !self.diagnostics.iter().any(refused) {
            return Ok(self);
        }
        Err(Refused {
            diagnostics: self.diagnostics,
            config: Some(Box::new(self.config)),
            complete: true,
        })
    }

    /// Looks whether somebody offers the models that entries name. A diagnostic names each that nobody does; gives those of
    /// which only a start can tell.
    pub fn look_for_models(&mut self, offers: &Offers) -> Vec<AfterStart> {
        let checked = models::check(&self.config, offers);
        self.add(checked.diagnostics);
        checked.after_start
    }

    /// Adds diagnostics, each into its place.
    pub fn add(&mut self, diagnostics: Vec<Diagnostic>) {
        self.diagnostics.extend(diagnostics);
        sort(&mut self.diagnostics, self.config.source.paths());
    }
}

impl Refused {
    /// Looks for programs as [`Loaded::look_for_programs`], as far as the config could be read.
    pub fn look_for_programs(&mut self) {
        if let Some(config) = &self.config {
            let diagnostics = of_the_disk(config);
            self.add(diagnostics);
        }
    }

    /// Looks for models as [`Loaded::look_for_models`], as far as the config could be read.
    pub fn look_for_models(&mut self, offers: &Offers) {
        if let Some(config) = self.config.as_ref().filter(|_| self.complete) {
            let diagnostics = models::check(config, offers).diagnostics;
            self.add(diagnostics);
        }
    }

    /// Adds diagnostics, each into its place.
    pub fn add(&mut self, diagnostics: Vec<Diagnostic>) {
        self.diagnostics.extend(diagnostics);
        if let Some(config) = &self.config {
            sort(&mut self.diagnostics, config.source.paths());
        }
    }
}

/// Complaints about what is not on the disk.
fn of_the_disk(config: &Config) -> Vec<Diagnostic> {
    let mut diagnostics = check::executables(config, executable::on_disk);
    diagnostics.extend(packages::absent(config, Path::exists));
    diagnostics.extend(certificate::check(config, SystemTime::now()));
    diagnostics
}

/// The models that each module of a config offers, as its `meta.json` has them. A module whose `meta.json` says nothing, or
/// lies in an archive, is not among them.
#[must_use]
pub fn models_of_modules(config: &Config) -> Vec<(String, BTreeSet<Offer>)> {
    let known = config
        .modules
        .iter()
        .filter(|module| !module.is_tarball())
        .filter_map(|module| {
            let meta = read_file(&module.executable.with_file_name("meta.json")).ok()?;
            Some((module.name.clone(), models::of_meta(&meta)?))
        });
    known.collect()
}

/// Sorts diagnostics in the order of the files, lines and columns.
fn sort<'p>(diagnostics: &mut [Diagnostic], files: impl Iterator<Item = &'p Path>) {
    let files: Vec<&Path> = files.collect();
    let number = |place: &SourceSpan| files.iter().position(|path| **path == *place.file);
    diagnostics.sort_by_cached_key(|diagnostic| {
        let place = &diagnostic.place;
        (number(place), place.line, place.column)
    });
}

/// Reads as much as can be read, and gives all diagnostics. `complete`: whether all files are there and could be read.
fn read(bundle: &ConfigFiles, complete: &mut bool, context: &LoadContext) -> (Option<Config>, Vec<Diagnostic>) {
    let texts: Vec<_> = bundle.files.iter().map(|file| document::decode(&file.text)).collect();
    let bad_bytes: Vec<Option<usize>> = texts.iter().map(|(_, bad)| *bad).collect();
    let files = bundle.files.iter().zip(texts);
    let texts = files.map(|(file, (text, _))| (&*file.path, text));
    let source = Arc::new(Source::new(texts, secrets::in_unread_text));
    let mut reader = Reader::new(Arc::clone(&source), bundle, context);
    let mut unreadable = false;
    for (number, bad) in bad_bytes.into_iter().enumerate() {
        if let (Some(bad), Some((.., base))) = (bad, source.file(number)) {
            let span = Span::new(bad, bad).moved(base);
            let diagnostic = reader.error(span, "the config is not UTF-8 text");
            diagnostic.help = Some("save it as UTF-8".to_owned());
            unreadable = true;
        }
    }
    if unreadable {
        return (None, reader.diagnostics);
    }
    let variables = context.variables();
    let parsed: Vec<Parsed> = (0..bundle.files.len())
        .map(|number| document::read(&source, number, &variables))
        .collect();
    source.hide(parsed.iter().flat_map(|file| file.hidden.iter().copied()).collect());
    let unusable = parsed.first().is_none_or(|main| main.broken);
    let mut roots = Vec::with_capacity(parsed.len());
    for file in parsed {
        let unread = unread(&file.root);
        for (severity, note) in file.notes {
            let inside = |span: &Span| span.start <= note.span.start && note.span.end <= span.end;
            if severity > Severity::Warning || !unread.iter().any(inside) {
                reader.note(severity, note);
            }
        }
        // Half a file says half of it.
        let value = if file.broken {
            NodeValue::Map(Vec::new())
        } else {
            file.root.value
        };
        *complete &= !file.broken;
        roots.push(TreeNode { value, ..file.root });
    }
    let Some(main) = roots.first().filter(|_| !unusable) else {
        return (None, reader.finish());
    };
    if matches!(main.value, NodeValue::Null) {
        let diagnostic = reader.error(main.span, "the config is empty");
        diagnostic.place = SourceSpan::file(&bundle.path);
        diagnostic.help = Some("an empty machine is written {}".to_owned());
        return (None, reader.finish());
    }
    if *complete {
        check_includes(&mut reader, bundle, &roots);
    }
    let mut config = sections::machine(&mut reader, &roots, context);
    let mut diagnostics = reader.finish();
    if let Some(config) = &mut config {
        diagnostics.extend(check::duplicates(config));
        diagnostics.extend(check::single_instances(config));
        diagnostics.extend(check::outputs(config));
        diagnostics.extend(registry::absent(config));
        if *complete {
            diagnostics.extend(dependencies::check(config));
        }
        for diagnostic in &mut diagnostics {
            diagnostic.scrub(&source);
        }
        let modules = config.modules.iter_mut().chain(&mut config.duplicates.modules);
        let faults = modules.map(|module| (&mut module.fault, &module.place));
        let resources = config.resources.iter_mut().chain(&mut config.duplicates.resources);
        for (fault, place) in faults.chain(resources.map(|resource| (&mut resource.fault, &resource.place))) {
            *fault = fault.take().map(|fault| source.scrub(fault, place));
        }
    }
    (config, diagnostics)
}

/// Spans of the values that nobody reads, about which there is nothing more to say.
fn unread(root: &TreeNode) -> Vec<Span> {
    let NodeValue::Map(entries) = &root.value else {
        return Vec::new();
    };
    let ignored = |key: &str| IGNORED.iter().any(|(ignored, _)| ignored.eq_ignore_ascii_case(key));
    let unread = entries.iter().filter(|entry| ignored(&entry.key));
    unread.map(|entry| entry.value.span).collect()
}

/// Checks that the files of the bundle are those that the texts name. Others are there if a variable has changed since, or
/// if the key is written so that only a reader of the whole text finds it.
fn check_includes(reader: &mut Reader, bundle: &ConfigFiles, roots: &[TreeNode]) {
    let mut named: Vec<usize> = Vec::new();
    for (file, root) in bundle.files.iter().zip(roots) {
        for (written, span) in include::written(root) {
            if reader.source.slice(span).contains('$') {
                continue;
            }
            let path = beside(&file.path, written);
            match bundle.files.iter().position(|file| file.path == path) {
                None => {
                    reader.error(span, "this included file has not been read").help =
                        Some("write `include` and the path in plain letters".to_owned());
                }
                Some(number) if named.contains(&number) => {
                    reader
                        .warn(span, "this file is included more than once; it counts once")
                        .help = Some("remove one of the includes".to_owned());
                }
                Some(number) => named.push(number),
            }
        }
    }
}
