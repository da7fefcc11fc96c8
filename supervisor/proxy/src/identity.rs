//! Identity of a caller, as the socket tells it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_model::ModuleName;
use uuid::Uuid;

/// Identity of the peer at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A client on the network.
    Client {
        /// Remote address.
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

    /// Label of the peer in a list of callers.
    pub fn label(&self) -> String {
        match self {
            Self::Client { remote, .. } => remote.to_string(),
            Self::Module(name) => format!("module {name}"),
            Self::Control => "the command line".to_owned(),
            Self::Job(name) => format!("job {name}"),
        }
    }

    /// Authenticated entity, which owns sessions. Nobody is asked to authenticate yet.
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

/// A module at the other end of its own parent socket.
pub trait ModulePeer: fmt::Debug + Send + Sync {
    /// Name of the module.
    fn name(&self) -> &ModuleName;

    /// Number of its newest process, from 1; 0 before the first.
    fn life(&self) -> u64;

    /// Records that the module made a call, which shows that it is alive.
    fn record_call(&self);
}

/// Caller of a local service, in the extensions of its request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Identity of the caller.
    pub identity: Arc<Identity>,
    /// The operation that the call is.
    pub operation: Option<Uuid>,
}
