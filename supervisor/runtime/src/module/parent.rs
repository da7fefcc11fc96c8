//! The door at which the core answers one module: a UNIX socket in the private directory, or for a module in TCP mode a
//! loopback port. A port is open to every user of the machine, so there is none unless the module needs it, and whoever
//! comes there is looked at.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_model::ModuleSpec;
use mainstay_process::loopback;
use mainstay_process::loopback::PortOwner;
use mainstay_process::path_listener::PathListener;
use mainstay_process::peers::AllowedPeers;
use mainstay_process::sockets::Sockets;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::entry::ModuleEntry;

/// A process may call before the task that spawned it has published its number.
const NUMBER_IS_LATE: Duration = Duration::from_millis(500);
/// Pause between two checks of the peer.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Parent socket of one module, on its way to be served.
#[derive(Debug)]
pub struct ParentSocket {
    /// The module.
    pub module: Arc<ModuleEntry>,
    /// Listener that the module connects to.
    pub listener: ParentListener,
    /// Access check of its peers.
    pub allowed_peers: AllowedPeers,
    /// Cancelled when the module is gone for good, or another parent socket replaces this one.
    pub closed: CancellationToken,
}

/// A listener for one module.
#[derive(Debug)]
pub enum ParentListener {
    /// UNIX socket in the private directory.
    Unix(PathListener),
    /// Loopback port.
    Tcp(TcpListener),
}

impl ParentListener {
    /// The listener that may be missed, as a file may.
    pub fn on_a_path(&self) -> Option<PathListener> {
        match self {
            Self::Unix(listener) => Some(listener.clone()),
            Self::Tcp(_) => None,
        }
    }

    /// Listens as the module needs it, and says where.
    ///
    /// # Errors
    /// The error of the system.
    pub fn open(spec: &ModuleSpec, names: &Sockets) -> io::Result<(Self, Address)> {
        if spec.tcp {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            let address = Address::Tcp(listener.local_addr()?);
            Ok((Self::Tcp(TcpListener::from_std(listener)?), address))
        } else {
            let path = names.parent();
            Ok((Self::Unix(PathListener::bind(path.clone())?), Address::Unix(path)))
        }
    }
}

/// Admits a peer that belongs to the module, as far as the system shows it.
///
/// # Errors
/// If it belongs to somebody else.
pub async fn admit(io: &TcpStream, allowed_peers: &AllowedPeers) -> io::Result<()> {
    io.set_nodelay(true)?;
    let (remote, port) = (io.peer_addr()?, io.local_addr()?.port());
    let until = Instant::now() + NUMBER_IS_LATE;
    loop {
        let members = allowed_peers.members();
        let holder = tokio::task::spawn_blocking(move || loopback::peer(remote, port, &members)).await?;
        match holder {
            PortOwner::Module | PortOwner::Unknown => return Ok(()),
            PortOwner::Nobody | PortOwner::Other { .. } if Instant::now() < until => {
                tokio::time::sleep(LOOK_AGAIN).await
            }
            PortOwner::Nobody => return Err(io::Error::other("nobody is at its other end")),
            PortOwner::Other { uid } => {
                let text = format!("a process of user id {uid} is at its other end, which is none of the module's");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
    }
}
