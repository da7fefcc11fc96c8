//! The own optional keys of a module (`restart`, `health`, `stop`, `limits`, `sandbox`, `output`, `watch`,
//! `reload`, `keep_moving`, `access`): how it is to be treated.
//!
//! Of a module with a mistake in one of them nothing is started: what it would be treated by is never a guess.

use std::path::{Path, PathBuf};

use mainstay_model::suggest::nearest;
use mainstay_model::{
    Build, Health, Limits, ModuleAccess, OnStuckCall, Output, Policy, Restart, RestartWhen, Role, Sandbox, Seccomp,
    Span, Stop, Watch,
};

use crate::keys::shown;
use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};
use crate::{keys, names, values};

/// Reads the whole policy.
pub(super) fn policy(reader: &mut Reader, keys: &Keys<'_>, executable: &Path) -> Policy {
    let policy = Policy {
        restart: keys
            .get("restart")
            .map_or(Restart::DEFAULT, |node| restart(reader, node)),
        health: health(reader, keys).unwrap_or_default(),
        stop: stop(reader, keys).unwrap_or_default(),
        limits: limits(reader, keys).unwrap_or_default(),
        sandbox: sandbox(reader, keys, executable).unwrap_or_default(),
        output: keys.get("output").map_or(Output::DEFAULT, |node| output(reader, node)),
        watch: watch(reader, keys),
        build: build(reader, keys),
        keep_moving: reader.flag(keys, "keep_moving"),
        access: keys
            .get("access")
            .map_or(ModuleAccess::Everything, |node| access(reader, node)),
    };
    if policy.output.file.as_deref() == Some(executable) {
        let message = "`output` would overwrite the program of the module";
        reader.error_with(keys.span_of("output"), message, Some("name another file"));
    }
    policy
}

fn restart(reader: &mut Reader, node: &TreeNode) -> Restart {
    let usual = Restart::DEFAULT;
    match &node.value {
        NodeValue::Text(_) => {
            let when = reader.as_word("`restart`", node, &RestartWhen::WORDS);
            return Restart {
                when: when.unwrap_or_default(),
                ..usual
            };
        }
        NodeValue::Map(_) => {}
        other => {
            let help = match other {
                NodeValue::Bool(true) => "write `always`".to_owned(),
                NodeValue::Bool(false) => "write `never`".to_owned(),
                _ => format!("it is {}", values::one_of(&RestartWhen::WORDS.map(|(word, _)| word))),
            };
            reader
                .wrong_type("`restart`", node, "a word or a map of keys and values")
                .help = Some(help);
            return usual;
        }
    }
    let Some(keys) = reader.keys(&keys::RESTART, node) else {
        return usual;
    };
    let restart = Restart {
        when: reader.word(&keys, "policy", &RestartWhen::WORDS).unwrap_or_default(),
        first: reader.duration(&keys, "first").unwrap_or(usual.first),
        burst: reader.whole(&keys, "burst").unwrap_or(usual.burst),
        then: reader.duration(&keys, "then").unwrap_or(usual.then),
        factor: reader.number(&keys, "factor").unwrap_or(usual.factor),
        jitter: reader.number(&keys, "jitter").unwrap_or(usual.jitter),
        max_delay: reader.duration(&keys, "max_delay").unwrap_or(usual.max_delay),
        limit: limit(reader, &keys),
        quiet: reader.duration(&keys, "quiet").unwrap_or(usual.quiet),
    };
    if keys.get("max_delay").is_some() {
        for (key, pause) in [("first", restart.first), ("then", restart.then)] {
            if let Some(node) = keys.get(key).filter(|_| pause > restart.max_delay) {
                let message = format!("`restart.{key}` is longer than `restart.max_delay`, which counts");
                reader.warn(node.span, message);
            }
        }
    }
    let unused = |limit| restart.burst >= limit;
    if let Some(node) = keys.get("burst").filter(|_| restart.limit.is_some_and(unused)) {
        let message = "`restart.burst` is never used up, because `restart.limit` ends the tries before";
        reader.warn(node.span, message);
    }
    restart
}

/// What is not understood allows nothing; its module is not started either.
fn access(reader: &mut Reader, node: &TreeNode) -> ModuleAccess {
    let nothing = ModuleAccess::Roles(Vec::new());
    match &node.value {
        NodeValue::Text(_) => {
            let word = reader.as_word("`access`", node, &ModuleAccess::WORDS);
            return word.unwrap_or(nothing);
        }
        NodeValue::Map(_) => {}
        _ => {
            let help = format!(
                "it is {}, or {{roles: [viewer]}}",
                values::one_of(&ModuleAccess::WORDS.map(|(word, _)| word))
            );
            reader
                .wrong_type("`access`", node, "a word or a map of keys and values")
                .help = Some(help);
            return nothing;
        }
    }
    let Some(keys) = reader.keys(&keys::ACCESS, node) else {
        return nothing;
    };
    if keys.get("roles").is_none() {
        let help = Some("write {roles: [viewer]}");
        reader.error_with(node.span, "`access` as a map must have `roles`", help);
        return nothing;
    }
    let named = reader.texts(&keys, "roles");
    if named.is_empty() {
        let message = "`access.roles` names no role, so the module may call its own resources and little else";
        reader.warn(keys.span_of("roles"), message);
    }
    let roles = named.into_iter().map(|(name, span)| {
        let known = Role::BUILT_IN.contains(&name.as_str()) || reader.roles.contains(&name);
        if !known {
            let near = nearest(&name, reader.roles.iter().map(String::as_str).chain(Role::BUILT_IN));
            let near = near.map(str::to_owned);
            let message = format!("there is no role `{}`, so it allows nothing", name.escape_debug());
            reader.warn(span, message).help = Some(near.map_or_else(
                || "define it in `auth.roles`".to_owned(),
                |near| format!("did you mean `{}`?", near.escape_debug()),
            ));
        }
        name
    });
    ModuleAccess::Roles(roles.collect())
}

fn limit(reader: &mut Reader, keys: &Keys<'_>) -> Option<u32> {
    let node = keys.get("limit")?;
    match &node.value {
        NodeValue::Text(text) if text == "none" => None,
        NodeValue::Number(0.0) => {
            let help = "write `restart: never` if it shall never be started again, `limit: none` to never give up";
            reader.error_with(node.span, "`restart.limit` must be at least 1", Some(help));
            None
        }
        NodeValue::Number(_) => reader.whole(keys, "limit"),
        _ => {
            let diagnostic = reader.wrong_type("`restart.limit`", node, "a number");
            diagnostic.help.get_or_insert("or `none`".to_owned());
            None
        }
    }
}

fn health(reader: &mut Reader, keys: &Keys<'_>) -> Option<Health> {
    let keys = reader.map(keys, "health")?;
    let usual = Health::DEFAULT;
    let health = Health {
        interval: reader.duration(&keys, "interval").unwrap_or(usual.interval),
        timeout: reader.duration(&keys, "timeout").unwrap_or(usual.timeout),
        kill_after: reader.duration(&keys, "kill_after").unwrap_or(usual.kill_after),
        stuck_after: reader.duration(&keys, "stuck_after").unwrap_or(usual.stuck_after),
        on_stuck_call: reader
            .word(&keys, "on_stuck_call", &OnStuckCall::WORDS)
            .unwrap_or_default(),
        start_timeout: reader.duration(&keys, "start_timeout"),
    };
    // A probe that is asked every `interval` and answered within `timeout` is no sign of a hang.
    if health.kill_after < health.interval.max(health.timeout) {
        let span = ["kill_after", "timeout", "interval"]
            .iter()
            .find_map(|key| keys.get(key))
            .map_or(keys.span, |node| node.span);
        let message = format!(
            "`health.kill_after` ({}) is shorter than `interval` ({}) or `timeout` ({}): modules that are well would be killed",
            shown(health.kill_after),
            shown(health.interval),
            shown(health.timeout)
        );
        reader.error_with(span, message, Some("make it several times as long as both together"));
    }
    Some(health)
}

fn stop(reader: &mut Reader, keys: &Keys<'_>) -> Option<Stop> {
    let keys = reader.map(keys, "stop")?;
    Some(Stop {
        drain: reader.duration(&keys, "drain").unwrap_or(Stop::DEFAULT.drain),
        grace: reader.duration(&keys, "grace").unwrap_or(Stop::DEFAULT.grace),
    })
}

fn limits(reader: &mut Reader, keys: &Keys<'_>) -> Option<Limits> {
    let keys = reader.map(keys, "limits")?;
    Some(Limits {
        memory: reader.size(&keys, "memory"),
        cpu: reader.number(&keys, "cpu"),
        pids: reader.whole(&keys, "pids"),
        open_files: reader.whole(&keys, "open_files"),
    })
}

fn sandbox(reader: &mut Reader, keys: &Keys<'_>, executable: &Path) -> Option<Sandbox> {
    let keys = reader.map(keys, "sandbox")?;
    let written = keys.get("no_new_privs").map(|node| node.span);
    let asked = reader.flag(&keys, "no_new_privs");
    let mut sandbox = Sandbox {
        no_new_privs: asked,
        writable: keys
            .get("writable")
            .map(|_| paths(reader, &keys, "writable"))
            .map(|paths| paths.into_iter().map(|(path, _)| path).collect()),
        hidden: Vec::new(),
        seccomp: reader.word(&keys, "seccomp", &Seccomp::WORDS),
        user: account(reader, &keys, "user"),
        group: account(reader, &keys, "group"),
    };
    for (path, span) in paths(reader, &keys, "hidden") {
        if executable.starts_with(&path) && !executable.as_os_str().is_empty() {
            let message = format!("hiding `{}` hides the program of the module itself", path.display());
            reader.error_with(span, message, Some("hide only what it does not need"));
        }
        sandbox.hidden.push(path);
    }
    let kernel_asks = sandbox.writable.is_some() || sandbox.seccomp.is_some();
    if let Some(span) = written.filter(|_| !asked && kernel_asks) {
        let message = "`writable` and `seccomp` do not hold a module that can gain rights: `no_new_privs` must be on";
        reader.error_with(span, message, Some("leave it out"));
    }
    sandbox.no_new_privs |= kernel_asks || (written.is_none() && sandbox != Sandbox::default());
    Some(sandbox)
}

fn watch(reader: &mut Reader, keys: &Keys<'_>) -> Watch {
    match keys.get("watch").map(|node| (&node.value, node)) {
        None | Some((NodeValue::Bool(false), _)) => Watch::Off,
        Some((NodeValue::Bool(true), _)) => Watch::Program,
        Some((NodeValue::List(_), _)) => {
            let paths = paths(reader, keys, "watch");
            Watch::Paths(paths.into_iter().map(|(path, _)| path).collect())
        }
        Some((_, node)) => {
            reader.wrong_type("`watch`", node, "true or false, or a list of paths");
            Watch::Off
        }
    }
}

fn build(reader: &mut Reader, keys: &Keys<'_>) -> Option<Build> {
    let keys = reader.map(keys, "reload")?;
    let command = reader.text_or_empty(&keys, "build");
    if command.trim().is_empty() {
        let help = "write a command, like `cargo build`, or leave `reload` out";
        reader.error_with(keys.span_of("build"), names::missing("reload.build"), Some(help));
    }
    let directory = reader.text(&keys, "directory").unwrap_or(".");
    let directory = path(reader, &keys.label("directory"), directory, keys.span_of("directory"));
    Some(Build {
        command,
        directory: directory?,
        timeout: reader.duration(&keys, "timeout").unwrap_or(Build::TIMEOUT),
    })
}

fn output(reader: &mut Reader, node: &TreeNode) -> Output {
    let usual = Output::DEFAULT;
    match &node.value {
        NodeValue::Text(text) => {
            return Output {
                file: file(reader, "`output`", text, node.span),
                ..usual
            };
        }
        NodeValue::Map(_) => {}
        _ => {
            reader.wrong_type("`output`", node, "a path or a map of keys and values");
            return usual;
        }
    }
    let Some(keys) = reader.keys(&keys::OUTPUT, node) else {
        return usual;
    };
    if keys.get("file").is_none() {
        let help = "name the file, or leave `output` out";
        reader.error_with(node.span, names::missing("output.file"), Some(help));
    }
    let written = reader.text(&keys, "file");
    Output {
        file: written.and_then(|text| file(reader, &keys.label("file"), text, keys.span_of("file"))),
        max_size: reader.size(&keys, "max_size").unwrap_or(usual.max_size),
        keep: reader.whole(&keys, "keep").unwrap_or(usual.keep),
    }
}

fn file(reader: &mut Reader, what: &str, written: &str, span: Span) -> Option<PathBuf> {
    if written.ends_with('/') {
        let message = format!("{what} must be a file, but names a folder");
        reader.error_with(span, message, Some("put the name of a file behind it"));
        return None;
    }
    path(reader, what, written, span)
}

fn path(reader: &mut Reader, what: &str, written: &str, span: Span) -> Option<PathBuf> {
    if written.is_empty() {
        let help = "relative paths start at the folder of the config: `.` is that folder";
        reader.error_with(span, format!("{what} is an empty path"), Some(help));
        return None;
    }
    match reader.located(written, span) {
        Ok(path) => Some(path),
        Err((message, help)) => {
            reader.error_with(span, format!("{what}: {message}"), Some(help));
            None
        }
    }
}

fn paths(reader: &mut Reader, keys: &Keys<'_>, key: &str) -> Vec<(PathBuf, Span)> {
    let what = format!("an item of {}", keys.label(key));
    let texts = reader.texts(keys, key);
    texts
        .into_iter()
        .filter_map(|(text, span)| Some((path(reader, &what, &text, span)?, span)))
        .collect()
}

/// A user or group by name or number.
fn account(reader: &mut Reader, keys: &Keys<'_>, key: &str) -> Option<String> {
    let name = reader.text(keys, key)?;
    let good = !name.is_empty() && !name.contains([':', '/', '\0']) && !name.contains(char::is_whitespace);
    if !good {
        let message = format!("{}: `{}` is no name of a {key}", keys.label(key), name.escape_debug());
        let help = "write its name as `id` shows it, or its number in quotes";
        reader.error_with(keys.span_of(key), message, Some(help));
    }
    good.then(|| name.to_owned())
}
