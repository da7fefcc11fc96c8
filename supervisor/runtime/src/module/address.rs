//! Address of a module: its UNIX socket, or in TCP mode a loopback port (spec: module protocol §1.5).

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use mainstay_model::ModuleName;
use mainstay_process::loopback;
use mainstay_process::loopback::PortOwner;
use mainstay_process::members::Members;
use mainstay_proxy::upstream::Upstream;

/// Address of a listener on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A UNIX socket.
    Unix(PathBuf),
    /// A loopback port.
    Tcp(SocketAddr),
}

/// Failure to reach a module.
#[derive(Debug)]
pub enum Unreachable {
    /// No listener yet, or the connection broke.
    NotYet,
    /// Another process listens on the port that the module was given.
    PortTaken { port: u16, uid: u32 },
}

impl Address {
    /// A loopback port that is free now. Another program may be faster to take it than the module: then
    /// [`connect`](Self::connect) says so, and the next start is given another.
    ///
    /// # Errors
    /// If the system has none left.
    pub fn free_port() -> io::Result<Self> {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self::Tcp(probe.local_addr()?))
    }

    /// Address in the form the module reads it.
    pub fn to_os_string(&self) -> OsString {
        match self {
            Self::Unix(path) => path.into(),
            Self::Tcp(address) => address.to_string().into(),
        }
    }

    /// Connects to the module that got this address, whose processes are `members`.
    ///
    /// # Errors
    /// While nobody listens, and when somebody else does.
    pub async fn connect(&self, module: &ModuleName, members: &Members) -> Result<Upstream, Unreachable> {
        match self {
            Self::Unix(path) => Upstream::connect_to(module.as_str(), path).await,
            Self::Tcp(address) => {
                let (port, members) = (address.port(), members.clone());
                // A file in a private folder is the module's own; a port is whoever took it.
                match tokio::task::spawn_blocking(move || loopback::listener(port, &members)).await {
                    Ok(PortOwner::Nobody) => return Err(Unreachable::NotYet),
                    Ok(PortOwner::Other { uid }) => return Err(Unreachable::PortTaken { port, uid }),
                    Ok(PortOwner::Module | PortOwner::Unknown) | Err(_) => {}
                }
                Upstream::connect_tcp_to(module.as_str(), *address).await
            }
        }
        .map_err(|_refused| Unreachable::NotYet)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_as_peers_know_it() {
        let unix = Address::Unix("/r/a-1.sock".into());
        assert_eq!(unix.to_string(), "/r/a-1.sock");
        let Ok(Address::Tcp(address)) = Address::free_port() else {
            panic!("there is a free port");
        };
        assert!(address.ip().is_loopback() && address.port() != 0);
        assert_eq!(
            Address::Tcp(address).to_os_string(),
            *format!("127.0.0.1:{}", address.port())
        );
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_took_is_not_the_module() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = Address::Tcp(listener.local_addr().expect("bound"));
        let outcome = address.connect(&"gear".into(), &Members::default()).await;
        if cfg!(target_os = "linux") {
            assert!(matches!(outcome, Err(Unreachable::PortTaken { .. })), "{outcome:?}");
        }
        drop(listener);
        let outcome = address.connect(&"gear".into(), &Members::default()).await;
        assert!(matches!(outcome, Err(Unreachable::NotYet)), "{outcome:?}");
    }
}
