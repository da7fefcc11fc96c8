//! Listening ports for clients, and their change while the machine runs: a new port is open before the old one closes, and
//! one that cannot be had refuses the change.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_config::{Diagnostic, Severity};
use mainstay_model::Config;
use mainstay_pki::authority::{Authority, AuthorityError};
use mainstay_proxy::ingress::Routes;
use mainstay_proxy::listen::{ClientSettings, serve_tcp};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::certificates::{self, Certificates, LoadError, LoadedCertificate, ShownCertificate, Wanted};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Addresses that the machine is served on now, for its status.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    addresses: watch::Sender<Vec<SocketAddr>>,
    /// Certificate that clients are shown there.
    pub certificate: ShownCertificate,
}

impl Addresses {
    /// Newest last.
    pub fn get(&self) -> Vec<SocketAddr> {
        self.addresses.borrow().clone()
    }

    /// Addresses as they change; newest last.
    pub fn follow(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.addresses.subscribe()
    }

    fn set(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }
}

/// Preparations for a config: a port that is open, and a certificate, unless both are in use already.
#[derive(Debug, Default)]
pub struct Prepared {
    bound: Option<Bound>,
    certificate: Option<Option<LoadedCertificate>>,
}

/// A port that is open, and that nobody is served on yet.
#[derive(Debug)]
pub struct Bound {
    /// Address as the config has it.
    wanted: String,
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Listener that is served.
#[derive(Clone, Debug)]
struct Served {
    wanted: String,
    address: SocketAddr,
    /// Descriptor that shows the kernel who may bind the same port.
    socket: Arc<OwnedFd>,
    stop: CancellationToken,
}

/// Set of all ports that clients are served on.
#[derive(Debug)]
pub struct ClientListeners {
    settings: ClientSettings,
    certificates: Certificates,
    /// Cancelled when no client is to be served any more.
    stop: CancellationToken,
    served: Vec<Served>,
    tasks: JoinSet<()>,
    addresses: Addresses,
}

impl ClientListeners {
    /// Network without a port yet. Readers of `addresses` see those that come. `own`: keys of the machine.
    pub fn new(routes: Arc<Routes>, own: Authority, stop: CancellationToken, addresses: Addresses) -> Self {
        let settings = ClientSettings::new(routes);
        Self {
            certificates: Certificates::new(own, settings.tls.clone(), addresses.certificate.clone()),
            settings,
            stop,
            served: Vec::new(),
            tasks: JoinSet::new(),
            addresses,
        }
    }

    /// Opens and loads what `config` asks for, unless it is in use.
    ///
    /// # Errors
    /// The port or the certificate cannot be had: as a person should read it, with the line of the config underlined.
    pub fn prepare(&self, config: Arc<Config>) -> impl Future<Output = Result<Prepared, Unbound>> + use<> {
        let served = self.served.clone();
        let loading = self.certificates.load(Wanted::of(&config));
        async move {
            let certificate = loading.await.map_err(|error| unshown(&config, &error))?;
            let wanted = &config.network.bind_address;
            let bound = match served.iter().any(|served| served.wanted == *wanted) {
                true => None,
                false => Some(bind_beside(&config, &served).await?),
            };
            Ok(Prepared { bound, certificate })
        }
    }

    /// Serves clients as `config` wants it, at its port too.
    pub fn serve(&mut self, prepared: Prepared, config: &Config) {
        let Prepared { bound, certificate } = prepared;
        if let Some(keeper) = self.certificates.show(Wanted::of(config), certificate) {
            let stop = self.stop.clone();
            self.tasks
                .spawn(async move { stop.run_until_cancelled(keeper).await.unwrap_or_default() });
        }
        if let Some(bound) = bound {
            self.open(bound);
        }
    }

    fn open(&mut self, bound: Bound) {
        let Bound {
            wanted,
            listener,
            address,
        } = bound;
        let stop = self.stop.child_token();
        match listener.as_fd().try_clone_to_owned() {
            Ok(socket) => {
                self.tasks
                    .spawn(serve_tcp(listener, self.settings.clone(), stop.clone()));
                self.served.push(Served {
                    wanted,
                    address,
                    socket: Arc::new(socket),
                    stop,
                });
            }
            Err(error) => warn!(%address, "no client is served there: {error}"),
        }
        self.publish();
    }

    /// Closes every port but that of `config`. Calls under way there have a moment to end.
    pub fn settle(&mut self, config: &Config) {
        self.certificates.settle();
        let wanted = &config.network.bind_address;
        // Whatever happens, the machine can be reached.
        if self.served.iter().any(|served| served.wanted == *wanted) {
            let closed = self.served.extract_if(.., |served| served.wanted != *wanted);
            for served in closed {
                info!(address = %served.address, "no longer serving here");
                served.stop.cancel();
            }
            self.publish();
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn publish(&self) {
        self.addresses
            .set(self.served.iter().map(|served| served.address).collect());
    }

    /// Waits until nobody is served any more.
    pub async fn finish(mut self) {
        // With the last descriptor of a port it is closed.
        self.served.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Opens the port of a machine that starts, and loads its certificate. `own`: keys of the machine.
///
/// # Errors
/// As [`ClientListeners::prepare`].
pub async fn prepare(config: &Config, own: &Authority) -> Result<Prepared, Box<Diagnostic>> {
    let certificate = certificates::load(&Wanted::of(config), own, SystemTime::now());
    let certificate = certificate.map_err(|error| unshown(config, &error).diagnostic)?;
    let bound = bind_beside(config, &[]).await.map_err(|unbound| unbound.diagnostic)?;
    Ok(Prepared {
        bound: Some(bound),
        certificate: Some(certificate),
    })
}

/// A certificate that cannot be had: now, for whatever was written in the config was looked at before.
fn unshown(config: &Config, error: &LoadError) -> Unbound {
    let place = &config.network.tls_places[0];
    let mut diagnostic = Diagnostic::about(config, Severity::Refused, place, error.to_string());
    if matches!(error, LoadError::Own(AuthorityError::Missing(_))) {
        let cure = format!("make them: mainstay keys init {}", place.file.display());
        diagnostic = diagnostic.with_help(cure);
    }
    Unbound {
        diagnostic: Box::new(diagnostic),
        transient: true,
    }
}

/// A port or a certificate that cannot be had.
#[derive(Debug)]
pub struct Unbound {
    /// Reason for the failure, with its place.
    pub diagnostic: Box<Diagnostic>,
    /// True if it may be had later: another process has the address, the host has no such one, or files are not there yet.
    pub transient: bool,
}

async fn bind_beside(config: &Config, served: &[Served]) -> Result<Bound, Unbound> {
    let network = &config.network;
    let wanted = &network.bind_address;
    let refused = |problem: &str| {
        let message = format!("cannot serve on `{wanted}`: {problem}");
        Unbound {
            diagnostic: Box::new(Diagnostic::about(
                config,
                Severity::Refused,
                &network.bind_place,
                message,
            )),
            transient: false,
        }
    };
    let (host, port) = wanted
        .rsplit_once(':')
        .ok_or_else(|| refused("not of the form host:port"))?;
    // `localhost` means this machine alone, and an empty host every interface, as peers have it.
    let candidates = match host {
        "localhost" => vec![format!("127.0.0.1:{port}")],
        "" => vec![format!("[::]:{port}"), format!("0.0.0.0:{port}")],
        _ => vec![wanted.clone()],
    };
    let mut last = io::Error::other("no address");
    for candidate in candidates {
        let resolved = match lookup_host(&candidate).await {
            Ok(resolved) => resolved,
            Err(error) => {
                last = error;
                continue;
            }
        };
        for address in resolved {
            match listen(address, served) {
                Ok(listener) => {
                    let address = listener.local_addr().map_err(|error| refused(&error.to_string()))?;
                    return Ok(Bound {
                        wanted: wanted.clone(),
                        listener,
                        address,
                    });
                }
                Err(error) => last = error,
            }
        }
    }
    let transient = matches!(last.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable);
    let unbound = match last.kind() {
        io::ErrorKind::AddrInUse => refused(&format!(
            "listen tcp {wanted}: bind: address already in use; stop the other program, or choose another port (0 takes any free one)"
        )),
        _ => refused(&last.to_string()),
    };
    Err(Unbound { transient, ..unbound })
}

/// Listens there, also where a listener of our own has the port for other addresses.
fn listen(address: SocketAddr, served: &[Served]) -> io::Result<TcpListener> {
    let open = |shared: bool| -> io::Result<TcpListener> {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        if shared {
            share(&socket, true)?;
        }
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        if shared {
            share(&listener, false)?;
        }
        Ok(listener)
    };
    let own: Vec<_> = served
        .iter()
        .filter(|served| served.address.port() == address.port() && served.address != address)
        .collect();
    match open(false) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !own.is_empty() => {
            // For this moment alone: nobody else is to come in beside us.
            for served in &own {
                share(&*served.socket, true)?;
            }
            let opened = open(true);
            for served in &own {
                share(&*served.socket, false)?;
            }
            opened
        }
        done => done,
    }
}

fn share(socket: &impl AsFd, shared: bool) -> io::Result<()> {
    setsockopt(socket, sockopt::ReusePort, &shared).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(listener: &TcpListener) -> Served {
        Served {
            wanted: String::new(),
            address: listener.local_addr().expect("bound"),
            socket: Arc::new(listener.as_fd().try_clone_to_owned().expect("a descriptor")),
            stop: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_port_of_our_own_is_had_for_another_address_and_nobody_elses_is() {
        let any: SocketAddr = "0.0.0.0:0".parse().expect("an address");
        let wide = listen(any, &[]).expect("some port");
        let port = wide.local_addr().expect("bound").port();
        let narrow = SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(listen(narrow, &[]).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        let own = [served(&wide)];
        let local = listen(narrow, &own).expect("it is ours");
        // And back again.
        drop((wide, own));
        let own = [served(&local)];
        let wide = listen(SocketAddr::from(([0, 0, 0, 0], port)), &own).expect("it is ours");
        drop((local, own));
        let other = TcpSocket::new_v4().expect("a socket");
        other.set_reuseaddr(true).expect("allowed");
        let refused = other.bind(narrow).and_then(|()| other.listen(1).map(|_| ()));
        assert_eq!(refused.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(wide);
    }
}
