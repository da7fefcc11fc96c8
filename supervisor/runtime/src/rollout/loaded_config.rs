//! A config that can be run, with all that travels with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mainstay_config::builtins::BuiltinModels;
use mainstay_config::load::Loaded;
use mainstay_config::{ConfigFiles, Diagnostic, LoadContext, Refused, Severity, parse};
use mainstay_core::rollout::{Origin, Revision};
use mainstay_model::membership::{Membership, PartRole, SubPart};
use mainstay_model::{Config, OnFailure, Remote, SourceSpan};
use mainstay_parts::folder::{FolderError, PartFolder};

/// Overrides that the command line sets over every config.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Serve here, whatever the config says.
    pub bind: Option<String>,
    /// Log at debug level, whatever the config says.
    pub debug: bool,
    /// Serve profiles and the graph to browsers, whatever the config says.
    pub web_profile: bool,
    /// Tell nobody by mDNS that the machine is there, whatever the config says.
    pub no_mdns: bool,
    /// VIAM_HOME, in which packages lie.
    pub home: PathBuf,
    /// The built-in modules.
    pub builtins: Arc<BuiltinModels>,
    /// Files that make this computer a part of a machine; `None` where there is no place for them.
    pub part: Option<PartFolder>,
    /// Told of each read of them that failed, and taken by whoever looks whether another one works.
    pub part_unread: Arc<AtomicBool>,
}

impl Overrides {
    /// Load context of a config at `path`.
    pub fn context(&self, path: &Path) -> LoadContext {
        LoadContext::of(path).with_viam_home(&self.home)
    }

    /// Looks for more that is wrong with a config that cannot be used. Blocks.
    pub fn look_further(&self, refused: &mut Refused) {
        if let Some(config) = &refused.config {
            self.builtins.look_for(config);
            refused.look_for_models(&self.builtins.present().offers());
        }
    }

    fn apply(&self, config: &mut Config) {
        if let Some(bind) = &self.bind {
            config.network.bind_address.clone_from(bind);
            // A diagnostic about the address is then one about the flag.
            config.network.bind_place = SourceSpan::file(Path::new("--bind"));
        }
        config.debug |= self.debug;
        config.enable_web_profile |= self.web_profile;
        config.network.mdns &= !self.no_mdns;
    }
}

/// Puts in what the files of a part say: its machine, and of a main part the connections to its sub-parts.
fn join(
    config: &mut Config,
    folder: &PartFolder,
    membership: Result<Option<Membership>, FolderError>,
) -> Option<Diagnostic> {
    let membership = match membership {
        Ok(membership) => membership?,
        Err(error) => {
            let place = SourceSpan::file(&folder.machine_file());
            return Some(Diagnostic::new(Severity::Local, error.to_string(), place));
        }
    };
    let mut warned = None;
    let mut warn = |message: String, help: &str| {
        let warning = Diagnostic::new(Severity::Warning, message, SourceSpan::file(&config.path));
        warned = warned.take().or(Some(warning.with_help(help)));
    };
    if let PartRole::HandingOver(handover) = &membership.role {
        let help = format!(
            "if {} is lost: `mainstay part make-main --main-is-lost` here",
            handover.to
        );
        warn(format!("this computer is {}", membership.text()), &help);
    }
    if let PartRole::Main(parts) = &membership.role {
        for part in parts.iter().filter(|part| has_remote(config, part)) {
            let name = &part.name;
            let message = format!("remote `{name}` has the name of a part of this machine, which counts");
            warn(message, "give the remote another name");
        }
    } else if !config.parts.is_empty() {
        let message = format!(
            "`parts` hands nothing down here: this computer is {}",
            membership.text()
        );
        warn(message, "it counts in the config of the main part");
    }
    put_in(config, Some(membership));
    warned
}

fn has_remote(config: &Config, part: &SubPart) -> bool {
    config.remotes.iter().any(|remote| remote.name == part.name)
}

/// Makes a config that of a part, in place of the one that it was of.
fn put_in(config: &mut Config, membership: Option<Membership>) {
    config.remotes.retain(|remote| remote.part.is_none());
    if let Some(membership) = &membership
        && let PartRole::Main(parts) = &membership.role
    {
        for part in parts {
            config.remotes.retain(|remote| remote.name != part.name);
            config
                .remotes
                .push(Remote::of_part(membership, part, config.network.mdns));
        }
    }
    config.membership = membership;
}

/// A config that was read, and can be run.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// Desired machine.
    pub config: Arc<Config>,
    /// Warnings and local errors.
    pub diagnostics: Vec<Diagnostic>,
    /// The same, each as a person should read it.
    pub rendered: Arc<[String]>,
    /// The text.
    pub bundle: Arc<ConfigFiles>,
    /// Digest of the texts.
    pub digest: Arc<str>,
}

impl LoadedConfig {
    /// Reads the text and looks for the programs. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn read(bundle: &ConfigFiles, overrides: &Overrides) -> Result<Self, Refused> {
        let mut read = parse(bundle, &overrides.context(&bundle.path));
        if let Err(refused) = &mut read {
            refused.look_for_programs();
        }
        let loaded = read.and_then(Loaded::look_for_programs).map_err(|mut refused| {
            overrides.look_further(&mut refused);
            refused
        })?;
        Ok(Self::new(loaded, overrides))
    }

    /// Loaded config with the overrides applied. Looks at the built-in models, and blocks for that.
    pub fn new(mut loaded: Loaded, overrides: &Overrides) -> Self {
        overrides.builtins.look_for(&loaded.config);
        // What modules offer shows when they start, and whatever a file says of it before may be old.
        let _after_start = loaded.look_for_models(&overrides.builtins.present().offers());
        let Loaded {
            mut config,
            mut diagnostics,
            bundle,
        } = loaded;
        overrides.apply(&mut config);
        if let Some(folder) = &overrides.part {
            let membership = folder.read();
            if membership.is_err() {
                overrides.part_unread.store(true, Ordering::Release);
            }
            diagnostics.extend(join(&mut config, folder, membership));
        }
        Self {
            config: Arc::new(config),
            rendered: diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect(),
            diagnostics,
            digest: bundle.digest().into(),
            bundle,
        }
    }

    /// The config as that of a part that this computer has become since it was read: a way back in the text is none in the role.
    pub fn config_of(&self, membership: Option<&Membership>) -> Arc<Config> {
        if self.config.membership.as_ref() == membership {
            return self.config.clone();
        }
        let mut config = Config::clone(&self.config);
        put_in(&mut config, membership.cloned());
        Arc::new(config)
    }

    /// Revision for the transaction. `revert_after` goes before what the config itself says.
    pub fn revision(self, origin: Origin, revert_after: Option<Duration>) -> Revision<Arc<Self>> {
        let policy = &self.config.apply;
        let own = (policy.on_failure == OnFailure::Revert).then_some(policy.window);
        Revision {
            digest: self.digest.clone(),
            origin,
            revert: revert_after.or(own),
            guarded: self.config.maintenance.is_some(),
            faults: self.faults(),
            what: Arc::new(self),
        }
    }

    /// Local errors without their places: those move when a line is put in above.
    pub fn faults(&self) -> BTreeSet<String> {
        let local = self
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Local);
        local.map(|diagnostic| diagnostic.message.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(role: PartRole, term: u64) -> Membership {
        Membership {
            machine_id: "m".to_owned(),
            machine: "rover".to_owned(),
            part: "base".to_owned(),
            role,
            term,
            shares_authority: false,
            authority: "0a".to_owned(),
            folder: "/none".into(),
        }
    }

    fn remotes(config: &Config) -> Vec<&str> {
        config.remotes.iter().map(|remote| remote.name.as_str()).collect()
    }

    #[test]
    fn a_config_from_before_has_the_role_of_now() {
        let part = |name: &str| SubPart {
            name: name.to_owned(),
            address: "10.0.0.2:8080".to_owned(),
            key: "0a".to_owned(),
        };
        let bundle = ConfigFiles::single("r.yaml", "remotes: [{name: other, address: \"x:1\"}]");
        let mut loaded = LoadedConfig::read(&bundle, &Overrides::default()).expect("usable");
        let main =
            |parts: &[&str], term| membership(PartRole::Main(parts.iter().map(|name| part(name)).collect()), term);
        put_in(Arc::make_mut(&mut loaded.config), Some(main(&["arm"], 1)));
        assert_eq!(remotes(&loaded.config), ["other", "arm"]);
        for (now, names) in [
            (Some(membership(PartRole::Sub, 2)), &["other"][..]),
            (Some(main(&["leg"], 3)), &["other", "leg"]),
            (None, &["other"]),
        ] {
            let config = loaded.config_of(now.as_ref());
            assert_eq!((remotes(&config).as_slice(), &config.membership), (names, &now));
        }
        let same = loaded.config.membership.clone();
        assert!(Arc::ptr_eq(&loaded.config, &loaded.config_of(same.as_ref())));
    }
}
