//! Levels of the log, and which loggers have them.

use std::fmt;
use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};

/// Bytes that a pattern may take once it is compiled.
const MAX_COMPILED: usize = 64 << 10;

/// Level of a log message, and the lowest level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details for debugging.
    Debug,
    /// Information that a person may want.
    Info,
    /// Warnings: something may be wrong.
    Warn,
    /// Errors: something is wrong.
    Error,
}

impl Level {
    /// The lower-case word that travels to modules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no log level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level: \"{0}\"")]
pub struct UnknownLevel(pub String);

impl FromStr for Level {
    type Err = UnknownLevel;

    /// Reads a level in any case; `warning` is `warn`.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err(UnknownLevel(text.to_owned())),
        }
    }
}

/// Entry of `log`: the level of all loggers whose name it matches.
#[derive(Clone, Debug)]
pub struct LogRule {
    /// A whole logger name in which `*` stands for any text and `.` for itself. Other signs of regular expressions have
    /// their meaning.
    pub pattern: String,
    /// Level of these loggers.
    pub level: Level,
    /// Expression for a pattern that is more than a text with stars in it.
    expression: Option<Regex>,
}

/// The text is no pattern.
#[derive(Clone, Debug, thiserror::Error)]
#[error("`{pattern}` is no pattern of logger names: {source}")]
pub struct BadPattern {
    /// Pattern as it is written.
    pub pattern: String,
    /// Error in the pattern.
    pub source: regex_lite::Error,
}

impl PartialEq for LogRule {
    fn eq(&self, other: &Self) -> bool {
        (&self.pattern, self.level) == (&other.pattern, other.level)
    }
}

impl LogRule {
    /// A rule as the config file has it.
    ///
    /// # Errors
    /// The pattern is no regular expression, or a very large one.
    pub fn new(pattern: &str, level: Level) -> Result<Self, BadPattern> {
        let signs = |c: char| "\\+?()|[]{}^$".contains(c);
        let compile = || {
            let text = pattern.replace('.', "\\.").replace('*', ".*");
            let mut builder = RegexBuilder::new(&format!("^(?:{text})$"));
            builder.size_limit(MAX_COMPILED).build().map_err(|source| BadPattern {
                pattern: pattern.to_owned(),
                source,
            })
        };
        Ok(Self {
            expression: pattern.contains(signs).then(compile).transpose()?,
            ..Self::of_name(pattern, level)
        })
    }

    /// A rule for the logger of this name.
    #[must_use]
    pub fn of_name(name: &str, level: Level) -> Self {
        Self {
            pattern: name.to_owned(),
            level,
            expression: None,
        }
    }

    /// True if the pattern covers the whole of `logger`.
    #[must_use]
    pub fn matches(&self, logger: &str) -> bool {
        if let Some(expression) = &self.expression {
            return expression.is_match(logger);
        }
        let mut parts = self.pattern.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = logger.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            // The earliest match leaves the most for the parts after it.
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}
