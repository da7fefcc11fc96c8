//! Rules of the log: which logger an event belongs to, which levels a config lets through, and what is counted when it repeats.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use mainstay_model::{Config, LogRule};
use mainstay_runtime::module::output::PRINTED_BY_MODULE;
use mainstay_runtime::rollout::ASKED_FOR;
use tracing::{Level, Metadata};

use super::fields::Fields;

/// Entries that modules send by RPC: what a module sends is wanted, because filtering is its own job.
pub const SENT_BY_MODULE: &str = "module";

/// Loggers of the core's own events by where in the code they are written, the first that fits.
const LOGGERS: [(&str, &str); 9] = [
    ("mainstay_runtime::module", MODULES),
    ("mainstay_runtime::machine", RESOURCES),
    ("mainstay_runtime::remote", NETWORKING),
    ("mainstay_runtime::rollout", CONFIG),
    ("mainstay_server::jobs", JOBS),
    ("mainstay_proxy", NETWORKING),
    ("mainstay_auth", NETWORKING),
    ("mainstay_mdns", NETWORKING),
    ("mainstay_config", CONFIG),
];
const ROOT: &str = "rdk";
const MODULES: &str = "rdk.modmanager";
const RESOURCES: &str = "rdk.resource_manager";
const JOBS: &str = "rdk.job_manager";
const NETWORKING: &str = "rdk.networking";
const CONFIG: &str = "rdk.config";

/// Levels of the loggers, which may change at any time.
#[derive(Clone, Debug)]
pub struct Levels(Arc<ArcSwap<Rules>>);

impl Levels {
    /// The levels of this config.
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Rules::new(config))))
    }

    /// Whether any rule lets an event of this origin through.
    pub fn may_write(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == SENT_BY_MODULE || *metadata.level() <= self.0.load().most
    }

    /// The rules that count now.
    pub fn rules(&self) -> Guard<Arc<Rules>> {
        self.0.load()
    }

    /// Sets the levels of this config.
    pub fn set(&self, config: &Config) {
        let rules = Rules::new(config);
        if **self.0.load() != rules {
            self.0.store(Arc::new(rules));
            // What was of no interest so far may be now.
            tracing::callsite::rebuild_interest_cache();
        }
    }
}

/// Level rules of a config.
#[derive(Debug, PartialEq)]
pub struct Rules {
    root: Level,
    /// Rules in config order; the last that matches counts.
    rules: Vec<LogRule>,
    /// The most talkative level that any rule lets through.
    most: Level,
    /// Repetitions are counted, of loggers that are not at debug level.
    counts_repeats: bool,
    /// Modules that were told to log at debug level.
    debugged: BTreeSet<String>,
}

impl Rules {
    fn new(config: &Config) -> Self {
        let root = if config.debug { Level::DEBUG } else { Level::INFO };
        let own = config.resources.iter().filter_map(|resource| {
            let level = resource.log_level?;
            Some(LogRule::of_name(
                &format!("rdk.resource_manager.{}", resource.name),
                level,
            ))
        });
        let jobs = config.jobs.iter().filter_map(|job| {
            let level = job.log_level?;
            Some(LogRule::of_name(&format!("rdk.job_manager.{}", job.name), level))
        });
        let rules: Vec<_> = config.log.iter().cloned().chain(own).chain(jobs).collect();
        let most = rules
            .iter()
            .map(|rule| of(rule.level))
            .chain([root])
            .max()
            .unwrap_or(root);
        let debugs = |module: &&mainstay_model::ModuleConfig| {
            let level = config.module_log_level(module, false);
            level.is_some_and(|level| level.eq_ignore_ascii_case("debug"))
        };
        Self {
            root,
            rules,
            most,
            counts_repeats: !config.disable_log_deduplication,
            debugged: config
                .modules
                .iter()
                .filter(debugs)
                .map(|module| module.name.clone())
                .collect(),
        }
    }

    /// Whether an event of this origin is written.
    pub fn writes(&self, target: &str, level: Level, logger: &str) -> bool {
        target == SENT_BY_MODULE || level <= self.level_of(logger)
    }

    fn level_of(&self, logger: &str) -> Level {
        self.rules
            .iter()
            .rev()
            .find(|rule| rule.matches(logger))
            .map_or(self.root, |rule| of(rule.level))
    }

    /// Whether a message of this origin is counted once it was said often enough. A line that a module printed is not
    /// a message: without its like, a traceback or a table would fall apart. Nor is
    /// the answer to what somebody just did. Whoever looks for a fault wants all.
    pub fn counts(&self, target: &str, logger: &str, module: Option<&str>) -> bool {
        let debugged = || target == SENT_BY_MODULE && module.is_some_and(|module| self.debugged.contains(module));
        self.counts_repeats
            && target != PRINTED_BY_MODULE
            && target != ASKED_FOR
            && self.root < Level::DEBUG
            && self.level_of(logger) < Level::DEBUG
            && !debugged()
    }
}

/// A level as configs know it.
pub fn level_of(level: Level) -> mainstay_model::Level {
    match level {
        Level::TRACE | Level::DEBUG => mainstay_model::Level::Debug,
        Level::INFO => mainstay_model::Level::Info,
        Level::WARN => mainstay_model::Level::Warn,
        Level::ERROR => mainstay_model::Level::Error,
    }
}

fn of(level: mainstay_model::Level) -> Level {
    match level {
        mainstay_model::Level::Debug => Level::DEBUG,
        mainstay_model::Level::Info => Level::INFO,
        mainstay_model::Level::Warn => Level::WARN,
        mainstay_model::Level::Error => Level::ERROR,
    }
}

/// The name by which `log` patterns know the origin of an event.
pub fn logger(target: &str, fields: &Fields) -> String {
    match (target, &fields.module) {
        (PRINTED_BY_MODULE, Some(module)) if fields.stream.as_deref() == Some("stderr") => {
            return format!("{MODULES}.{module}.StdErr");
        }
        (PRINTED_BY_MODULE, Some(module)) => return format!("{MODULES}.{module}.StdOut"),
        _ => {}
    }
    let base = match target {
        SENT_BY_MODULE => MODULES,
        _ => LOGGERS
            .iter()
            .find(|(place, _)| is_within(target, place))
            .map_or(ROOT, |(_, logger)| *logger),
    };
    match (base, &fields.module, &fields.job, &fields.resource) {
        (MODULES, Some(module), ..) => format!("{MODULES}.{module}"),
        (JOBS, _, Some(job), _) => format!("{JOBS}.{job}"),
        (MODULES | JOBS, ..) | (_, _, _, None) => base.to_owned(),
        (_, _, _, Some(resource)) => format!("{RESOURCES}.{resource}"),
    }
}

/// True for `place` and for what is below it.
fn is_within(target: &str, place: &str) -> bool {
    target
        .strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn messages_are_counted_unless_somebody_wants_all_of_them() {
        let own = ("mainstay::run", ROOT, None);
        let network = ("mainstay_proxy::listen", NETWORKING, None);
        let sent = (SENT_BY_MODULE, "rdk.modmanager.eyes", Some("eyes"));
        let printed = (PRINTED_BY_MODULE, "rdk.modmanager.eyes.StdOut", Some("eyes"));
        let eyes = |level: &str| format!("modules: [{{name: eyes, executable_path: /bin/eyes, log_level: {level}}}]");
        for (text, of, counts) in [
            ("{}".to_owned(), own, true),
            ("{}".to_owned(), printed, false),
            ("disable_log_deduplication: true".to_owned(), own, false),
            ("debug: true".to_owned(), own, false),
            ("log: [{pattern: rdk.n*, level: debug}]".to_owned(), network, false),
            ("log: [{pattern: rdk.n*, level: debug}]".to_owned(), own, true),
            (eyes("info"), sent, true),
            (eyes("DEBUG"), sent, false),
            (eyes("debug"), own, true),
        ] {
            let bundle = mainstay_config::ConfigFiles::single("/r.yaml", &*text);
            let loaded = mainstay_config::parse(&bundle, &mainstay_config::LoadContext::default()).expect("usable");
            let (target, logger, module) = of;
            assert_eq!(
                Rules::new(&loaded.config).counts(target, logger, module),
                counts,
                "{text} {of:?}"
            );
        }
    }

    #[test]
    fn patterns_meet_the_names_that_the_config_documents() {
        let fields = |module: Option<&str>, resource: Option<&str>, stderr: bool| Fields {
            module: module.map(str::to_owned),
            resource: resource.map(str::to_owned),
            stream: stderr.then(|| "stderr".to_owned()),
            ..Fields::default()
        };
        for (target, fields, expected) in [
            (
                PRINTED_BY_MODULE,
                fields(Some("gear"), None, false),
                "rdk.modmanager.gear.StdOut",
            ),
            (
                PRINTED_BY_MODULE,
                fields(Some("gear"), None, true),
                "rdk.modmanager.gear.StdErr",
            ),
            (
                "mainstay_runtime::module::actor",
                fields(Some("gear"), None, false),
                "rdk.modmanager.gear",
            ),
            (
                "mainstay_runtime::machine::actor",
                fields(None, Some("a:b:c/d"), false),
                "rdk.resource_manager.a:b:c/d",
            ),
            ("mainstay_proxy::listen", fields(None, None, false), "rdk.networking"),
            ("mainstay_proxying", fields(None, None, false), "rdk"),
            (
                "mainstay_runtime::remote::task",
                fields(None, None, false),
                "rdk.networking",
            ),
            (
                "mainstay_runtime::rollout::driver",
                fields(Some("gear"), None, false),
                "rdk.config",
            ),
            (
                SENT_BY_MODULE,
                fields(Some("gear"), Some("a:b:c/d"), false),
                "rdk.modmanager.gear",
            ),
            ("mainstay_server::jobs", fields(None, None, false), "rdk.job_manager"),
            ("mainstay::run", fields(None, None, false), "rdk"),
        ] {
            assert_eq!(logger(target, &fields), expected, "{target}");
        }
        let look = Fields {
            job: Some("look".to_owned()),
            ..Fields::default()
        };
        assert_eq!(logger("mainstay_server::jobs", &look), "rdk.job_manager.look");
    }

    #[test]
    fn loggers_are_of_places_that_exist() {
        for (place, _) in LOGGERS {
            let mut names = place.split("::");
            let folder = names.next().and_then(|name| name.strip_prefix("mainstay_"));
            let mut path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            path.extend([folder.expect("one of our crates"), "src"]);
            path.extend(names);
            assert!(path.is_dir() || path.with_extension("rs").is_file(), "{place}");
        }
    }
}
