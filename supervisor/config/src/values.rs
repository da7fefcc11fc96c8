//! Typed reads of single values: durations, sizes, numbers and words. Range, words, default and label come from the table
//! of the section (`keys`), so no caller names any of them.

use std::ops::RangeInclusive;
use std::time::Duration;

use mainstay_model::duration;
use mainstay_model::suggest::nearest;

use crate::keys::{DefaultValue, ValueType};
use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};
use crate::size::{self, BadSize};

/// Words of other programs, with the policy each means.
const ELSEWHERE: [(&str, &str); 7] = [
    ("no", "never"),
    ("none", "never"),
    ("off", "never"),
    ("yes", "always"),
    ("on", "always"),
    ("unless-stopped", "always"),
    ("kill", "restart"),
];

/// The cure for a word that is none of these.
pub(super) fn help_for_word(written: &str, words: &[&'static str]) -> String {
    let elsewhere = ELSEWHERE.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
    let meant = elsewhere.map(|(_, ours)| *ours).filter(|ours| words.contains(ours));
    match meant.or_else(|| nearest(written, words.iter().copied())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("it is {}", one_of(words)),
    }
}

/// `` `a`, `b` or `c` ``.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [others @ .., last] if !others.is_empty() => format!("`{}` or `{last}`", others.join("`, `")),
        words => format!("`{}`", words.concat()),
    }
}

/// The range of a key, picked out of the forms that its table lists.
fn range<T>(keys: &Keys<'_>, key: &str, pick: impl Fn(&ValueType) -> Option<RangeInclusive<T>>) -> RangeInclusive<T> {
    let mut forms = keys.takes(key).forms().iter();
    let range = forms.find_map(pick);
    range.unwrap_or_else(|| panic!("{} has another type in its table", keys.label(key)))
}

/// The range of a key that takes a duration.
pub(super) fn duration_range(keys: &Keys<'_>, key: &str) -> RangeInclusive<Duration> {
    range(keys, key, |form| match form {
        ValueType::Duration(least, most) => Some(*least..=*most),
        _ => None,
    })
}

impl Reader {
    /// A duration. `None`: it is not there, or not possible.
    pub(super) fn duration(&mut self, keys: &Keys<'_>, key: &str) -> Option<Duration> {
        let nanos = self.nanoseconds(keys, key)?;
        let duration = u64::try_from(nanos).ok().map(Duration::from_nanos);
        self.within(keys, key, duration, &duration_range(keys, key))
    }

    /// A duration of which zero and less mean the default, as peers have it.
    pub(super) fn interval(&mut self, keys: &Keys<'_>, key: &str) -> Duration {
        debug_assert!(matches!(keys.takes(key), ValueType::Interval), "{}", keys.label(key));
        let nanos = self.nanoseconds(keys, key).and_then(|nanos| u64::try_from(nanos).ok());
        match (nanos.filter(|nanos| *nanos > 0), keys.default(key)) {
            (Some(nanos), _) => Duration::from_nanos(nanos),
            (None, DefaultValue::Duration(default)) => default,
            (None, _) => Duration::ZERO,
        }
    }

    /// A duration of either sign, in nanoseconds.
    pub(super) fn nanoseconds(&mut self, keys: &Keys<'_>, key: &str) -> Option<i64> {
        let node = keys.get(key)?;
        // A number could be seconds or milliseconds, so durations are texts.
        let help = |written: &str| match written.trim_matches(['"', '\'']).parse::<f64>() {
            Ok(number) if number >= 0.0 && number.is_finite() => format!("write \"{number}s\" if seconds are meant"),
            _ => "write it like \"500ms\", \"2s\" or \"1m30s\"".to_owned(),
        };
        let NodeValue::Text(text) = &node.value else {
            let help = help(&self.source.quote(node.span));
            self.wrong_type(&keys.label(key), node, "a duration").help = Some(help);
            return None;
        };
        match duration::nanoseconds(text) {
            Ok(nanos) => Some(nanos),
            Err(error) => {
                self.impossible(keys, key, &error.to_string(), Some(&help(text)));
                None
            }
        }
    }

    /// A number of bytes.
    pub(super) fn size(&mut self, keys: &Keys<'_>, key: &str) -> Option<u64> {
        const HELP: &str = "write it like 200MB or 128MiB";
        let node = keys.get(key)?;
        let bytes = match &node.value {
            NodeValue::Number(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => *number as u64,
            NodeValue::Number(_) => {
                let message = format!("{} is no number of bytes", keys.label(key));
                self.error_with(node.span, message, Some(HELP));
                return None;
            }
            NodeValue::Text(text) => match size::parse(text) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let help = match &error {
                        BadSize::Ambiguous {
                            meant: [thousands, binary],
                            ..
                        } => format!("write {thousands} or {binary}"),
                        BadSize::Unreadable(_) => HELP.to_owned(),
                    };
                    self.impossible(keys, key, &error.to_string(), Some(&help));
                    return None;
                }
            },
            _ => {
                self.wrong_type(&keys.label(key), node, "a size").help = Some(HELP.to_owned());
                return None;
            }
        };
        let range = range(keys, key, |form| match form {
            ValueType::Size(least, most) => Some(*least..=*most),
            _ => None,
        });
        self.within(keys, key, Some(bytes), &range)
    }

    /// A number, whole or not.
    pub(super) fn number(&mut self, keys: &Keys<'_>, key: &str) -> Option<f64> {
        let node = keys.get(key)?;
        let NodeValue::Number(number) = node.value else {
            self.wrong_type(&keys.label(key), node, "a number");
            return None;
        };
        let range = range(keys, key, |form| match form {
            ValueType::Number(least, most) => Some(*least..=*most),
            ValueType::Whole(least, most) => Some(*least as f64..=*most as f64),
            _ => None,
        });
        self.within(keys, key, Some(number), &range)
    }

    /// A whole number.
    pub(super) fn whole<T: TryFrom<u64>>(&mut self, keys: &Keys<'_>, key: &str) -> Option<T> {
        let number = self.number(keys, key)?;
        if number.fract() != 0.0 {
            let message = format!("{} must be a whole number", keys.label(key));
            self.error_with(keys.span_of(key), message, None);
            return None;
        }
        T::try_from(number as u64).ok()
    }

    /// One of the words of a key.
    pub(super) fn word<T: Clone>(&mut self, keys: &Keys<'_>, key: &str, words: &[(&'static str, T)]) -> Option<T> {
        self.as_word(&keys.label(key), keys.get(key)?, words)
    }

    /// One of these words.
    pub(super) fn as_word<T: Clone>(&mut self, what: &str, node: &TreeNode, words: &[(&'static str, T)]) -> Option<T> {
        let written = self.as_text(what, node)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == written) {
            return Some(meant.clone());
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let message = format!("{what} cannot be `{}`", written.escape_debug());
        self.error_with(node.span, message, Some(&help_for_word(written, &known)));
        None
    }

    /// The value, if there is one and it lies in the range.
    fn within<T: PartialOrd>(
        &mut self,
        keys: &Keys<'_>,
        key: &str,
        value: Option<T>,
        range: &RangeInclusive<T>,
    ) -> Option<T> {
        let good = value.filter(|value| range.contains(value));
        if good.is_none() {
            let shown = keys.takes(key).forms().iter().find_map(ValueType::range);
            let bounds = shown.map_or("a finite number".to_owned(), |[least, most]| {
                format!("between {least} and {most}")
            });
            let message = format!("{} must be {bounds}", keys.label(key));
            self.error_with(keys.span_of(key), message, None);
        }
        good
    }

    /// Complains about a text that cannot be read as what it should be.
    fn impossible(&mut self, keys: &Keys<'_>, key: &str, error: &str, help: Option<&str>) {
        let message = format!("{}: {error}", keys.label(key));
        self.error_with(keys.span_of(key), message, help);
    }
}
