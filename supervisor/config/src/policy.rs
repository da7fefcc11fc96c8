//! The own optional keys of a module (`restart`, `health`, `stop`, `limits`, `sandbox`, `output`, `watch`,
//! `keep_moving`): how it is to be treated.
//!
//! A wrong type is refused, as everywhere. A word, duration, size or number that is not possible is local: that module
//! is not started, and what it would be treated by is never a guess.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_model::suggest::nearest;
use mainstay_model::{
    Health, Limits, OnStuckCall, Output, Policy, Restart, RestartWhen, Sandbox, Seccomp, Span, Stop, duration,
};

use crate::node::{Node, Value};
use crate::read::{Keys, Reader};
use crate::size::BadSize;
use crate::{keys, names, size};

const RESTART_WORDS: &[(&str, RestartWhen)] = &[
    ("always", RestartWhen::Always),
    ("on-failure", RestartWhen::OnFailure),
    ("never", RestartWhen::Never),
];
const STUCK_WORDS: &[(&str, OnStuckCall)] = &[("report", OnStuckCall::Report), ("restart", OnStuckCall::Restart)];
const SECCOMP_WORDS: &[(&str, Seccomp)] = &[("default", Seccomp::Default), ("no-network", Seccomp::NoNetwork)];
/// Restart words of other programs, with the policy each means.
const ELSEWHERE: [(&str, &str); 7] = [
    ("no", "never"),
    ("none", "never"),
    ("off", "never"),
    ("yes", "always"),
    ("on", "always"),
    ("unless-stopped", "always"),
    ("kill", "restart"),
];

/// Shorter pauses would keep a processor busy with nothing else.
const SHORTEST: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Least memory limit: below this no program starts; a smaller number lacks its unit.
const LEAST_MEMORY: u64 = 1 << 20;
const MOST_BYTES: u64 = 1 << 50;

/// Reads the whole policy. The first local error goes to `fault`; the others are diagnostics all the same.
pub(super) fn policy(reader: &mut Reader, keys: &Keys<'_>, executable: &Path, fault: &mut Option<String>) -> Policy {
    let mut part = PolicyReader { reader, fault };
    let policy = Policy {
        restart: keys
            .get("restart")
            .map_or_else(Restart::default, |node| part.restart(node)),
        health: keys
            .get("health")
            .and_then(|node| part.health(node))
            .unwrap_or_default(),
        stop: keys.get("stop").and_then(|node| part.stop(node)).unwrap_or_default(),
        limits: keys
            .get("limits")
            .and_then(|node| part.limits(node))
            .unwrap_or_default(),
        sandbox: keys
            .get("sandbox")
            .and_then(|node| part.sandbox(node, executable))
            .unwrap_or_default(),
        output: keys
            .get("output")
            .map_or_else(Output::default, |node| part.output(node)),
        watch: part.reader.flag(keys, "watch"),
        keep_moving: part.reader.flag(keys, "keep_moving"),
    };
    if policy.output.file.as_deref() == Some(executable) {
        part.local(
            keys.span_of("output"),
            "`output` would overwrite the program of the module",
            Some("name another file"),
        );
    }
    policy
}

/// The reader, and where local errors go.
struct PolicyReader<'a> {
    reader: &'a mut Reader,
    fault: &'a mut Option<String>,
}

impl PolicyReader<'_> {
    fn restart(&mut self, node: &Node) -> Restart {
        let usual = Restart::default();
        let policy = |part: &mut Self, what, node| part.word(what, node, RESTART_WORDS).unwrap_or(usual.when);
        match &node.value {
            Value::Text(_) => {
                return Restart {
                    when: policy(self, "`restart`", node),
                    ..usual
                };
            }
            Value::Map(_) => {}
            _ => {
                self.reader
                    .wrong_type("`restart`", node, "a word or a map of keys and values");
                self.help_word(node);
                return usual;
            }
        }
        let Some(keys) = self.reader.keys(&keys::RESTART, node) else {
            return usual;
        };
        let keys = SectionKeys("restart", keys);
        let restart = Restart {
            when: keys
                .get("policy")
                .map_or(usual.when, |node| policy(self, "`restart.policy`", node)),
            first: self
                .duration(&keys, "first", Duration::ZERO..=DAY)
                .unwrap_or(usual.first),
            burst: self
                .whole(&keys, "burst", 0..=100)
                .map_or(usual.burst, |burst| burst as u32),
            then: self.duration(&keys, "then", SHORTEST..=DAY).unwrap_or(usual.then),
            factor: self.number(&keys, "factor", 1.0..=100.0).unwrap_or(usual.factor),
            jitter: self.number(&keys, "jitter", 0.0..=1.0).unwrap_or(usual.jitter),
            max_delay: self
                .duration(&keys, "max_delay", SHORTEST..=DAY)
                .unwrap_or(usual.max_delay),
            limit: self.limit(&keys),
            quiet: self.duration(&keys, "quiet", SHORTEST..=DAY).unwrap_or(usual.quiet),
        };
        if keys.get("max_delay").is_some() {
            for (key, pause) in [("first", restart.first), ("then", restart.then)] {
                if let Some(node) = keys.get(key).filter(|_| pause > restart.max_delay) {
                    let message = format!("`restart.{key}` is longer than `restart.max_delay`, which counts");
                    self.reader.warn(node.span, message);
                }
            }
        }
        let unused = |limit| restart.burst >= limit;
        if let Some(node) = keys.get("burst").filter(|_| restart.limit.is_some_and(unused)) {
            let message = "`restart.burst` is never used up, because `restart.limit` ends the tries before";
            self.reader.warn(node.span, message);
        }
        restart
    }

    /// A wrong type where a word was meant: `restart: false`.
    fn help_word(&mut self, node: &Node) {
        let word = match node.value {
            Value::Bool(true) => "write `always`",
            Value::Bool(false) => "write `never`",
            _ => "it is one of always, on-failure and never",
        };
        if let Some(diagnostic) = self.reader.diagnostics.last_mut() {
            diagnostic.help = Some(word.to_owned());
        }
    }

    fn limit(&mut self, keys: &SectionKeys<'_>) -> Option<u32> {
        let node = keys.get("limit")?;
        if matches!(&node.value, Value::Text(text) if text == "none") {
            return None;
        }
        if matches!(node.value, Value::Number(0.0)) {
            let help =
                Some("write `restart: never` if it shall never be started again, `limit: none` to never give up");
            self.local(node.span, "`restart.limit` must be at least 1", help);
            return None;
        }
        if !matches!(node.value, Value::Number(_)) {
            self.reader.wrong_type("`restart.limit`", node, "a number");
            let diagnostic = self.reader.diagnostics.last_mut();
            if let Some(diagnostic) = diagnostic.filter(|diagnostic| diagnostic.help.is_none()) {
                diagnostic.help = Some("or `none`".to_owned());
            }
            return None;
        }
        Some(self.whole(keys, "limit", 1..=1_000_000)? as u32)
    }

    fn health(&mut self, node: &Node) -> Option<Health> {
        let keys = SectionKeys("health", self.reader.keys(&keys::HEALTH, node)?);
        let usual = Health::default();
        let health = Health {
            interval: self
                .duration(&keys, "interval", SHORTEST..=HOUR)
                .unwrap_or(usual.interval),
            timeout: self
                .duration(&keys, "timeout", SHORTEST..=HOUR)
                .unwrap_or(usual.timeout),
            kill_after: self
                .duration(&keys, "kill_after", SHORTEST..=DAY)
                .unwrap_or(usual.kill_after),
            stuck_after: self
                .duration(&keys, "stuck_after", SHORTEST..=DAY)
                .unwrap_or(usual.stuck_after),
            on_stuck_call: keys
                .get("on_stuck_call")
                .and_then(|node| self.word("`health.on_stuck_call`", node, STUCK_WORDS))
                .unwrap_or(usual.on_stuck_call),
            start_timeout: self.duration(&keys, "start_timeout", SHORTEST..=DAY),
        };
        // A probe that is asked every `interval` and answered within `timeout` is no sign of a hang.
        if health.kill_after < health.interval.max(health.timeout) {
            let span = ["kill_after", "timeout", "interval"]
                .iter()
                .find_map(|key| keys.get(key))
                .map_or(node.span, |node| node.span);
            let message = format!(
                "`health.kill_after` ({}) is shorter than `interval` ({}) or `timeout` ({}): modules that are well would be killed",
                span_text(health.kill_after),
                span_text(health.interval),
                span_text(health.timeout)
            );
            self.local(span, message, Some("make it several times as long as both together"));
        }
        Some(health)
    }

    fn stop(&mut self, node: &Node) -> Option<Stop> {
        let keys = SectionKeys("stop", self.reader.keys(&keys::STOP, node)?);
        let usual = Stop::default();
        Some(Stop {
            drain: self
                .duration(&keys, "drain", Duration::ZERO..=HOUR)
                .unwrap_or(usual.drain),
            grace: self
                .duration(&keys, "grace", Duration::ZERO..=HOUR)
                .unwrap_or(usual.grace),
        })
    }

    fn limits(&mut self, node: &Node) -> Option<Limits> {
        let keys = self.reader.keys(&keys::LIMITS, node)?;
        let keys = SectionKeys("limits", keys);
        Some(Limits {
            memory: self.size(&keys, "memory", LEAST_MEMORY..=MOST_BYTES),
            cpu: self.number(&keys, "cpu", 0.01..=4096.0),
            // The most that Linux counts to.
            pids: self.whole(&keys, "pids", 1..=4_194_304).map(|pids| pids as u32),
            // Fewer than 16 do not hold what a module opens before it is ready.
            open_files: self.whole(&keys, "open_files", 16..=1_048_576),
        })
    }

    fn sandbox(&mut self, node: &Node, executable: &Path) -> Option<Sandbox> {
        let keys = self.reader.keys(&keys::SANDBOX, node)?;
        let written = keys.get("no_new_privs").map(|node| node.span);
        let asked = self.reader.flag(&keys, "no_new_privs");
        let keys = SectionKeys("sandbox", keys);
        let mut sandbox = Sandbox {
            no_new_privs: asked,
            writable: keys
                .get("writable")
                .map(|_| self.paths(&keys, "writable"))
                .map(|paths| paths.into_iter().map(|(path, _)| path).collect()),
            hidden: Vec::new(),
            seccomp: keys
                .get("seccomp")
                .and_then(|node| self.word("`sandbox.seccomp`", node, SECCOMP_WORDS)),
            user: self.account(&keys, "user"),
            group: self.account(&keys, "group"),
        };
        for (path, span) in self.paths(&keys, "hidden") {
            if executable.starts_with(&path) && !executable.as_os_str().is_empty() {
                let message = format!("hiding `{}` hides the program of the module itself", path.display());
                self.local(span, message, Some("hide only what it does not need"));
            }
            sandbox.hidden.push(path);
        }
        let kernel_asks = sandbox.writable.is_some() || sandbox.seccomp.is_some();
        if let Some(span) = written.filter(|_| !asked && kernel_asks) {
            let message =
                "`writable` and `seccomp` do not hold a module that can gain rights: `no_new_privs` must be on";
            self.local(span, message, Some("leave it out"));
        }
        sandbox.no_new_privs |= kernel_asks || (written.is_none() && sandbox != Sandbox::default());
        Some(sandbox)
    }

    fn output(&mut self, node: &Node) -> Output {
        let usual = Output::default();
        match &node.value {
            Value::Text(text) => {
                return Output {
                    file: self.file("`output`", text, node.span),
                    ..usual
                };
            }
            Value::Map(_) => {}
            _ => {
                self.reader
                    .wrong_type("`output`", node, "a path or a map of keys and values");
                return usual;
            }
        }
        let Some(keys) = self.reader.keys(&keys::OUTPUT, node) else {
            return usual;
        };
        let file = match keys.get("file") {
            None => {
                self.local(
                    node.span,
                    names::missing("output.file"),
                    Some("name the file, or leave `output` out"),
                );
                None
            }
            Some(node) => self
                .reader
                .as_text("`output.file`", node)
                .and_then(|text| self.file("`output.file`", text, node.span)),
        };
        let keys = SectionKeys("output", keys);
        Output {
            file,
            max_size: self
                .size(&keys, "max_size", 4096..=MOST_BYTES)
                .unwrap_or(usual.max_size),
            keep: self
                .whole(&keys, "keep", 1..=1000)
                .map_or(usual.keep, |keep| keep as u32),
        }
    }

    fn file(&mut self, what: &str, written: &str, span: Span) -> Option<PathBuf> {
        if written.ends_with('/') {
            self.local(
                span,
                format!("{what} must be a file, but names a folder"),
                Some("put the name of a file behind it"),
            );
            return None;
        }
        self.path(what, written, span)
    }

    fn path(&mut self, what: &str, written: &str, span: Span) -> Option<PathBuf> {
        if written.is_empty() {
            self.local(
                span,
                format!("{what} is an empty path"),
                Some("relative paths start at the folder of the config: `.` is that folder"),
            );
            return None;
        }
        match self.reader.located(written, span) {
            Ok(path) => Some(path),
            Err((message, help)) => {
                self.local(span, format!("{what}: {message}"), Some(help));
                None
            }
        }
    }

    fn paths(&mut self, keys: &SectionKeys<'_>, key: &str) -> Vec<(PathBuf, Span)> {
        let what = format!("an item of `{}.{key}`", keys.0);
        let texts = self.reader.texts(&keys.1, key);
        texts
            .into_iter()
            .filter_map(|(text, span)| Some((self.path(&what, &text, span)?, span)))
            .collect()
    }

    /// A user or group by name or number.
    fn account(&mut self, keys: &SectionKeys<'_>, key: &str) -> Option<String> {
        let name = self.reader.text(&keys.1, key)?;
        let good = !name.is_empty() && !name.contains([':', '/', '\0']) && !name.contains(char::is_whitespace);
        if !good {
            let message = format!("`sandbox.{key}`: `{}` is no name of a {key}", name.escape_debug());
            self.local(
                keys.span(key),
                message,
                Some("write its name as `id` shows it, or its number in quotes"),
            );
        }
        good.then(|| name.to_owned())
    }

    /// Reads one of the listed words.
    fn word<T: Copy>(&mut self, what: &str, node: &Node, words: &[(&'static str, T)]) -> Option<T> {
        let written = self.reader.as_text(what, node)?;
        if let Some((_, meant)) = words.iter().find(|(word, _)| *word == written) {
            return Some(*meant);
        }
        let known = || words.iter().map(|(word, _)| *word);
        let elsewhere = ELSEWHERE.iter().find(|(word, _)| word.eq_ignore_ascii_case(written));
        let meant = elsewhere
            .map(|(_, ours)| *ours)
            .filter(|ours| known().any(|word| word == *ours));
        let help = match meant.or_else(|| nearest(written, known())) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("it is {}", one_of(&known().collect::<Vec<_>>())),
        };
        self.local(
            node.span,
            format!("{what} cannot be `{}`", written.escape_debug()),
            Some(&help),
        );
        None
    }

    fn duration(&mut self, keys: &SectionKeys<'_>, key: &str, range: RangeInclusive<Duration>) -> Option<Duration> {
        const HELP: &str = "write it like 500ms, 2s or 1m30s";
        let node = keys.get(key)?;
        let what = keys.what(key);
        // A number could be seconds or milliseconds, and durations are texts everywhere else in a config.
        let in_seconds = |written: &str| match written.trim_matches(['"', '\'']).parse::<f64>() {
            Ok(number) if number >= 0.0 && number.is_finite() => format!("write {number}s if seconds are meant"),
            _ => HELP.to_owned(),
        };
        let Value::Text(text) = &node.value else {
            let quoted = self.reader.source.quote(node.span);
            self.reader.wrong_type(&what, node, "a duration");
            if let Some(diagnostic) = self.reader.diagnostics.last_mut() {
                diagnostic.help = Some(in_seconds(&quoted));
            }
            return None;
        };
        match duration::nanoseconds(text) {
            Ok(nanos) => {
                let duration = u64::try_from(nanos).ok().map(Duration::from_nanos);
                let shown = [*range.start(), *range.end()].map(span_text);
                self.within(&what, node, duration, &range, shown)
            }
            Err(error) => {
                self.local(node.span, format!("{what}: {error}"), Some(&in_seconds(text)));
                None
            }
        }
    }

    fn size(&mut self, keys: &SectionKeys<'_>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        const HELP: &str = "write it like 200MB or 128MiB";
        let node = keys.get(key)?;
        let what = keys.what(key);
        let bytes = match &node.value {
            Value::Number(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => *number as u64,
            Value::Number(_) => {
                self.local(node.span, format!("{what} is no number of bytes"), Some(HELP));
                return None;
            }
            Value::Text(text) => match size::parse(text) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let help = match &error {
                        BadSize::Ambiguous {
                            meant: [thousands, binary],
                            ..
                        } => format!("write {thousands} or {binary}"),
                        BadSize::Unreadable(_) => HELP.to_owned(),
                    };
                    self.local(node.span, format!("{what}: {error}"), Some(&help));
                    return None;
                }
            },
            _ => {
                self.reader.wrong_type(&what, node, "a size");
                if let Some(diagnostic) = self.reader.diagnostics.last_mut() {
                    diagnostic.help = Some(HELP.to_owned());
                }
                return None;
            }
        };
        let shown = [*range.start(), *range.end()].map(size::show);
        self.within(&what, node, Some(bytes), &range, shown)
    }

    fn number(&mut self, keys: &SectionKeys<'_>, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let node = keys.get(key)?;
        let what = keys.what(key);
        let Value::Number(number) = node.value else {
            self.reader.wrong_type(&what, node, "a number");
            return None;
        };
        let shown = [range.start(), range.end()].map(f64::to_string);
        self.within(&what, node, Some(number), &range, shown)
    }

    fn whole(&mut self, keys: &SectionKeys<'_>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let limits = *range.start() as f64..=*range.end() as f64;
        let number = self.number(keys, key, limits)?;
        if number.fract() != 0.0 {
            self.local(
                keys.span(key),
                format!("{} must be a whole number", keys.what(key)),
                None,
            );
            return None;
        }
        Some(number as u64)
    }

    /// The value, if there is one and it lies in the range; `shown` is the range for a person.
    fn within<T: PartialOrd>(
        &mut self,
        what: &str,
        node: &Node,
        value: Option<T>,
        range: &RangeInclusive<T>,
        shown: [impl Display; 2],
    ) -> Option<T> {
        let good = value.filter(|value| range.contains(value));
        if good.is_none() {
            let [least, most] = shown;
            self.local(node.span, format!("{what} must be between {least} and {most}"), None);
        }
        good
    }

    fn local(&mut self, span: Span, message: impl Into<String>, help: Option<&str>) {
        let text = self.reader.local(span, message, help);
        self.fault.get_or_insert(text);
    }
}

/// The keys of one map, and the key that the map stands behind.
struct SectionKeys<'n>(&'static str, Keys<'n>);

impl<'n> SectionKeys<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.1.get(key)
    }

    fn span(&self, key: &str) -> Span {
        self.1.span_of(key)
    }

    /// The key with the one above it, for messages.
    fn what(&self, key: &str) -> String {
        format!("`{}.{key}`", self.0)
    }
}

/// `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        words => words.concat(),
    }
}

/// A duration without zeros that a person would not write: `1h`, not `1h0m0s`.
fn span_text(duration: Duration) -> String {
    let text = duration::show(duration);
    let text = text.strip_suffix("m0s").map_or(text.clone(), |rest| format!("{rest}m"));
    text.strip_suffix("h0m").map_or(text.clone(), |rest| format!("{rest}h"))
}
