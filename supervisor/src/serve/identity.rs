//! Who is calling, as the socket tells it.

use std::net::SocketAddr;
use std::sync::Arc;

use uuid::Uuid;

use crate::module::ModuleName;

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
}

impl Identity {
    /// The address that a list of sessions shows, if there is one.
    pub fn peer(&self) -> String {
        match self {
            Self::Client { remote, .. } => remote.to_string(),
            Self::Module(_) | Self::Control => String::new(),
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
            Self::Client { .. } | Self::Control => None,
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
