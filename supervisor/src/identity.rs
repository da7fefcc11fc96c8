//! Who is who: the names of modules, the key of a machine, and who is calling, as the socket tells it.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A client on the network.
    Client {
        /// Its address.
        remote: SocketAddr,
        /// Ours.
        local: SocketAddr,
    },
    /// A module on its own parent socket.
    Module(ModuleName),
    /// The command line on the control socket.
    Control,
    /// A job of the config, by its name.
    Job(Arc<str>),
}

impl Identity {
    /// The address that a list of sessions shows, if there is one.
    pub fn peer(&self) -> String {
        match self {
            Self::Client { remote, .. } => remote.to_string(),
            Self::Module(_) | Self::Control | Self::Job(_) => String::new(),
        }
    }

    /// Who it is, in the words of a list of callers.
    pub fn label(&self) -> String {
        match self {
            Self::Client { remote, .. } => remote.to_string(),
            Self::Module(name) => format!("module {name}"),
            Self::Control => "the command line".to_owned(),
            Self::Job(name) => format!("job {name}"),
        }
    }

    /// Whose sessions these are: the authenticated entity. Nobody is asked to authenticate yet.
    pub fn entity(&self) -> &str {
        ""
    }

    /// The module, if it is one.
    pub fn module(&self) -> Option<&ModuleName> {
        match self {
            Self::Module(name) => Some(name),
            Self::Client { .. } | Self::Control | Self::Job(_) => None,
        }
    }
}

/// What the core's own services know of a call; in its extensions.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who calls.
    pub identity: Arc<Identity>,
    /// The operation that the call is.
    pub operation: Option<Uuid>,
}

/// The name of a module as the config gives it; `builtin:NAME` for a built-in one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(Arc<str>);

impl ModuleName {
    /// The built-in module `name`. The colon cannot stand in a configured name.
    pub fn builtin(name: &str) -> Self {
        Self(format!("builtin:{name}").into())
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

/// What one machine's runtime directory and cgroups are called by: the first 12 hex digits of the SHA-256 of its config's path.
pub fn key(canonical_path: &Path) -> String {
    let digest = Sha256::digest(canonical_path.as_os_str().as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
