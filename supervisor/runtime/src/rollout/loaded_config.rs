//! A config that can be run, with all that travels with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_config::builtins::BuiltinModels;
use mainstay_config::load::Loaded;
use mainstay_config::{ConfigFiles, Diagnostic, LoadContext, Refused, Severity, parse};
use mainstay_core::rollout::{Origin, Revision};
use mainstay_model::membership::PartRole;
use mainstay_model::{Config, OnFailure, Remote, SourceSpan};
use mainstay_parts::folder::PartFolder;

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
fn join(config: &mut Config, folder: &PartFolder) -> Option<Diagnostic> {
    let membership = match folder.read() {
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
        for part in parts {
            if let Some(at) = config.remotes.iter().position(|remote| remote.name == part.name) {
                config.remotes.remove(at);
                let name = &part.name;
                let message = format!("remote `{name}` has the name of a part of this machine, which counts");
                warn(message, "give the remote another name");
            }
            config
                .remotes
                .push(Remote::of_part(&membership, part, config.network.mdns));
        }
    } else if !config.parts.is_empty() {
        let message = format!(
            "`parts` hands nothing down here: this computer is {}",
            membership.text()
        );
        warn(message, "it counts in the config of the main part");
    }
    config.membership = Some(membership);
    warned
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
            diagnostics.extend(join(&mut config, folder));
        }
        Self {
            config: Arc::new(config),
            rendered: diagnostics.iter().map(|diagnostic| diagnostic.render(false)).collect(),
            diagnostics,
            digest: bundle.digest().into(),
            bundle,
        }
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
