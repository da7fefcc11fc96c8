//! Identity of a caller, as its socket tells it and as it proved it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_model::ModuleName;
use uuid::Uuid;

/// Identity of the peer at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Identity {
    /// A client on the network.
    Client(ClientIdentity),
    /// A module on its own parent socket.
    Module(ModuleName),
    /// The command line on the control socket.
    Control,
    /// A job of the config, by its name.
    Job(Arc<str>),
}

/// Identity of a client on the network.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Remote address.
    pub remote: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// The certificate that it showed in its TLS handshake, verified.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// The entity that it proved to be.
    pub entity: Option<Arc<Entity>>,
}

impl ClientIdentity {
    /// A client that has proved nothing yet.
    pub fn new(remote: SocketAddr, local: SocketAddr) -> Self {
        Self {
            remote,
            local,
            certificate: None,
            entity: None,
        }
    }

    /// True if the client runs on this host: its address is loopback, or the one of ours that it reached.
    pub fn is_local(&self) -> bool {
        let remote = self.remote.ip().to_canonical();
        remote.is_loopback() || remote == self.local.ip().to_canonical()
    }
}

/// Client certificate of a TLS connection whose chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its DNS names.
    pub names: Vec<String>,
    /// Distinguished name of its issuer (RFC 4514).
    pub issuer: String,
    /// Identifier of the key that signed it, in hex; empty if it names none.
    pub signed_by: String,
    /// Serial number, in hex.
    pub serial: String,
}

/// Entity that authenticated: owner of its sessions, and holder of rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Id of an API key, name of a certificate, subject of a token.
    pub id: String,
    /// Type of the credential, as peers name it: `api-key`, `robot-location-secret`, `external`, `certificate`.
    pub credential: String,
}

impl Identity {
    /// The address that a list of sessions shows, if there is one.
    pub fn peer(&self) -> String {
        match self {
            Self::Client(client) => client.remote.to_string(),
            Self::Module(_) | Self::Control | Self::Job(_) => String::new(),
        }
    }

    /// Label of the peer in a list of callers.
    pub fn label(&self) -> String {
        match self {
            Self::Client(client) => match &client.entity {
                Some(entity) => format!("{} ({})", client.remote, entity.id),
                None => client.remote.to_string(),
            },
            Self::Module(name) => format!("module {name}"),
            Self::Control => "the command line".to_owned(),
            Self::Job(name) => format!("job {name}"),
        }
    }

    /// Authenticated entity, which owns sessions; empty without authentication.
    pub fn entity(&self) -> &str {
        match self {
            Self::Client(client) => client.entity.as_ref().map_or("", |entity| &entity.id),
            Self::Module(_) | Self::Control | Self::Job(_) => "",
        }
    }

    /// The module, if it is one.
    pub fn module(&self) -> Option<&ModuleName> {
        match self {
            Self::Module(name) => Some(name),
            Self::Client(_) | Self::Control | Self::Job(_) => None,
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
