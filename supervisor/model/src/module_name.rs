//! Names of modules.

use std::fmt;
use std::sync::Arc;

/// The name of a module as the config gives it; `builtin:NAME` for a built-in one, `remote:NAME` for another machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(Arc<str>);

impl ModuleName {
    /// The built-in module `name`. The colon cannot stand in a configured name.
    pub fn builtin(name: &str) -> Self {
        Self(format!("builtin:{name}").into())
    }

    /// Beginning of the names that stand for remotes.
    pub const REMOTE: &'static str = "remote:";

    /// The remote `name`, as the holder of what it has: to who needs that it is a module without a process here.
    pub fn remote(name: &str) -> Self {
        Self(format!("{}{name}", Self::REMOTE).into())
    }

    /// Name of the remote in the config; `None` for a module.
    pub fn remote_name(&self) -> Option<&str> {
        self.0.strip_prefix(Self::REMOTE)
    }

    /// True for a remote.
    pub fn is_remote(&self) -> bool {
        self.0.starts_with(Self::REMOTE)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// True for a module that the core brings along.
    pub fn is_builtin(&self) -> bool {
        self.0.starts_with("builtin:")
    }
}

impl From<&str> for ModuleName {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
