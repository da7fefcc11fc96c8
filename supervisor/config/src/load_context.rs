//! Load context of a config: its folder, its user and the environment, on which its meaning depends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::store::LastGood;

/// Default folder of modules and data, below the user's home.
const DEFAULT_VIAM_HOME: &str = ".viam";

/// Facts outside a config that it refers to.
#[derive(Clone, Debug, Default)]
pub struct LoadContext {
    /// Folder of the config file, absolute: relative paths of programs start here.
    pub folder: PathBuf,
    /// Folder that `~` stands for.
    pub home: Option<PathBuf>,
    /// `VIAM_HOME`: packages lie below it. `None`: this user has none.
    pub viam_home: Option<PathBuf>,
    /// True if this computer is a part of a machine of several, whose resources may be here then.
    pub is_part: bool,
    /// The variables of the environment as they were when this was made.
    pub environment: BTreeMap<String, String>,
}

impl LoadContext {
    /// Context of a config file at `path` in this process.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = absolute.parent().unwrap_or(Path::new("/")).to_owned();
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let given = std::env::var_os("VIAM_HOME").filter(|path| !path.is_empty());
        let viam_home = given
            .and_then(|path| std::path::absolute(path).ok())
            .or_else(|| home.as_ref().map(|home| home.join(DEFAULT_VIAM_HOME)));
        let part = LastGood::open(&absolute).part_folder();
        Self {
            folder,
            is_part: part.is_some_and(|folder| folder.join("machine.json").exists()),
            environment: environment(),
            viam_home,
            home,
        }
    }

    /// Same context with another `VIAM_HOME`.
    #[must_use]
    pub fn with_viam_home(mut self, home: &Path) -> Self {
        self.viam_home = Some(home.to_owned());
        self
    }

    /// True if the environment has every configured module speak TCP.
    pub(super) fn tcp_for_all(&self) -> bool {
        let value = self.environment.get("VIAM_TCP_SOCKETS");
        value.is_some_and(|value| ["true", "TRUE", "yes", "YES", "1"].contains(&value.as_str()))
    }

    /// Values of `$NAME` and `${NAME}` in the text of a config: the environment, in which `VIAM_HOME` is always.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.environment.clone();
        if let Some(home) = &self.viam_home {
            variables.insert("VIAM_HOME".to_owned(), home.to_string_lossy().into_owned());
        }
        variables
    }
}

/// The variables of this process. One that is not Unicode cannot stand in a config and is left out.
pub(super) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
