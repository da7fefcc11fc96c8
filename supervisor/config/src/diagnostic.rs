//! Diagnostic of a config: the fault, its place and the cure, and its rendering.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use mainstay_model::redact::clean;
use mainstay_model::{Config, Source, SourceSpan, text};

/// Weight of a diagnostic. Ordered: a heavier one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The config means what it says, but perhaps not what its writer meant.
    Warning,
    /// Only the entry is not usable; everything else is.
    Local,
    /// The config as a whole is not usable, and nothing changes.
    Refused,
}

/// Fault or warning about a config.
#[derive(Clone)]
pub struct Diagnostic {
    /// Weight of the diagnostic.
    pub severity: Severity,
    /// Description of the fault. One line, never with a secret in it.
    pub message: String,
    /// Cure.
    pub help: Option<String>,
    /// Place of the fault.
    pub place: SourceSpan,
    /// A second place that belongs to it, and what is there.
    pub also: Option<(SourceSpan, String)>,
    /// True if a value could not be read as what its key takes.
    pub malformed: bool,
    /// True if the config asks to be closed to somebody in a way that cannot be enforced.
    pub(super) open: bool,
    source: Option<Arc<Source>>,
}

impl fmt::Debug for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

impl PartialEq for Diagnostic {
    fn eq(&self, other: &Self) -> bool {
        (self.severity, &self.message, &self.help, &self.place)
            == (other.severity, &other.message, &other.help, &other.place)
    }
}

impl Diagnostic {
    /// Diagnostic without excerpt; see [`Diagnostic::with_source`].
    #[must_use]
    pub fn new(severity: Severity, message: impl Into<String>, place: SourceSpan) -> Self {
        Self {
            severity,
            message: message.into(),
            help: None,
            place,
            also: None,
            malformed: false,
            open: false,
            source: None,
        }
    }

    /// Diagnostic about a place in a config, with the line underlined as in those that [`load`](crate::load()) makes.
    #[must_use]
    pub fn about(config: &Config, severity: Severity, place: &SourceSpan, message: impl Into<String>) -> Self {
        Self::new(severity, message, place.clone()).with_source(Arc::clone(&config.source))
    }

    /// Says what would be right.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names a second place, for example the first holder of a name.
    #[must_use]
    pub fn with_related(mut self, place: SourceSpan, what: impl Into<String>) -> Self {
        self.also = Some((place, what.into()));
        self
    }

    /// Gives it the text that its excerpt is taken from.
    #[must_use]
    pub fn with_source(mut self, source: Arc<Source>) -> Self {
        self.source = Some(source);
        self
    }

    /// Takes out of its words what came from the environment.
    pub(super) fn scrub(&mut self, source: &Source) {
        self.message = source.scrub(std::mem::take(&mut self.message), &self.place);
        self.help = self.help.take().map(|help| source.scrub(help, &self.place));
    }

    /// Diagnostic on one line: `file:line:column: message (help)`. For logs and statuses.
    #[must_use]
    pub fn line(&self) -> String {
        match &self.help {
            Some(help) => format!("{}: {} ({help})", self.place, self.message),
            None => format!("{}: {}", self.place, self.message),
        }
    }

    /// Several lines for a person: message, place, the line of the file with the offending text underlined, help.
    /// `colour` allows colour; see [`colour_wanted`].
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let level = if self.severity == Severity::Warning {
            Level::WARNING
        } else {
            Level::ERROR
        };
        let group = level.primary_title(clean(&self.message));
        let excerpt = |place: &SourceSpan| self.source.as_ref().and_then(|source| source.excerpt(place));
        let shown = excerpt(&self.place);
        let file = clean(&self.place.file.to_string_lossy());
        let mut group = match &shown {
            Some(shown) => {
                let mark = AnnotationKind::Primary
                    .span(shown.span.clone())
                    .label(self.help.as_deref().map(clean));
                let snippet = Snippet::source(shown.text.as_str()).line_start(self.place.line as usize);
                if shown.cut {
                    // The renderer sees only a part of the line and would count columns from there.
                    let origin = Origin::path(clean(&self.place.to_string()));
                    group.element(origin).element(snippet.annotation(mark))
                } else {
                    group.element(snippet.path(file).annotation(mark))
                }
            }
            None => {
                let group = group.element(Origin::path(clean(&self.place.to_string())));
                match &self.help {
                    Some(help) => group.element(Level::HELP.message(clean(help))),
                    None => group,
                }
            }
        };
        let also = self
            .also
            .as_ref()
            .and_then(|(place, what)| Some((place, what, excerpt(place)?)));
        if let Some((place, what, shown)) = &also {
            let mark = AnnotationKind::Context.span(shown.span.clone()).label(clean(what));
            let path = clean(&place.file.to_string_lossy());
            let snippet = Snippet::source(shown.text.as_str()).line_start(place.line as usize);
            group = group.element(snippet.path((!shown.cut).then_some(path)).annotation(mark));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let rendered = renderer.render(&[group]);
        // Where a file should stand and none was given.
        let lines = rendered.lines().filter(|line| text::plain(line).trim() != ":::");
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for Diagnostic {
    /// [`Diagnostic::render`] without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// True if standard error takes colour: it is a terminal and `NO_COLOR` is unset or empty.
#[must_use]
pub fn colour_wanted() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A config that cannot be used, with all that is wrong with it.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Diagnostics; at least one of them is [`Severity::Refused`].
    pub diagnostics: Vec<Diagnostic>,
    /// Config as far as it could be read, for further checks.
    pub config: Option<Box<Config>>,
    /// False if a file of it could not be read: what a name means may stand in there.
    pub complete: bool,
}

impl From<Diagnostic> for Refused {
    /// Refusal of a config of which nothing could be read.
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            diagnostics: vec![diagnostic],
            config: None,
            complete: false,
        }
    }
}

impl Refused {
    /// True if it is refused because it asks for a protection that cannot be given: then no other config may run in its
    /// stead, for that would be as open.
    #[must_use]
    pub fn asks_for_protection(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.open)
    }

    /// Text of all diagnostics for a person; see [`Diagnostic::render`]. What makes the config unusable comes last, where
    /// the eye is, and if there is anything else, a line says which is which.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let (refusing, others): (Vec<_>, Vec<_>) = self
            .diagnostics
            .iter()
            .partition(|diagnostic| diagnostic.severity == Severity::Refused);
        let closing = (!others.is_empty()).then(|| {
            let (makes, last) = match refusing.len() {
                1 => ("makes", "the last"),
                _ => ("make", "the last ones"),
            };
            let (few, all) = (refusing.len(), self.diagnostics.len());
            format!("not started: {few} of {all} complaints above, {last}, {makes} the config unusable")
        });
        let all: Vec<String> = others
            .into_iter()
            .chain(refusing)
            .map(|diagnostic| diagnostic.render(colour))
            .chain(closing)
            .collect();
        all.join("\n\n")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Refused {}
