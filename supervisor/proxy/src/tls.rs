//! TLS of clients: the handshake, the certificate that a client shows, and the answer to one that speaks cleartext.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use mainstay_pki::certificate::CertificateInfo;
use rustls::{AlertDescription, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::connection::refuse;
use crate::identity::PeerCertificate;
use mainstay_io::{Sniffed, sniff};

const NOT_CLEARTEXT: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 69\r\nConnection: close\r\n\r\nThis port speaks TLS; connect with https://, or with TLS switched on\n";

/// Content type of a TLS record that begins a handshake.
const HANDSHAKE: u8 = 0x16;

/// TLS of a server.
#[derive(Debug, Clone)]
pub struct TlsServer {
    /// Certificate, versions, clients that are asked for theirs.
    pub config: Arc<ServerConfig>,
    /// Clients may speak cleartext, too.
    pub cleartext: bool,
}

/// Settings that new connections of clients get; `None` within: cleartext. Changed while the machine runs.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings(Arc<ArcSwapOption<TlsServer>>);

impl TlsSettings {
    /// Settings for the connections to come.
    pub fn set(&self, settings: Option<Arc<TlsServer>>) {
        self.0.store(settings);
    }

    /// Settings for a connection.
    pub fn get(&self) -> Option<Arc<TlsServer>> {
        self.0.load_full()
    }
}

/// True if a client begins a TLS handshake; false if it says something else, or nothing.
pub(crate) async fn is_asked_for(io: &TcpStream) -> bool {
    let mut first = [0];
    matches!(io.peek(&mut first).await, Ok(1..) if first == [HANDSHAKE])
}

/// Makes a connection one of TLS, with the certificate that the client showed. `None`: it was refused, or its peer is gone.
pub(crate) async fn accept(
    mut io: TcpStream,
    settings: Arc<ServerConfig>,
    peer: IpAddr,
) -> Option<(TlsStream<TcpStream>, Option<PeerCertificate>)> {
    let mut first = [0];
    match io.peek(&mut first).await {
        Ok(1..) if first == [HANDSHAKE] => {}
        Ok(1..) => {
            if let Ok((Sniffed::Http1, _)) = sniff(&mut io).await {
                refuse(io, NOT_CLEARTEXT).await;
            } else {
                refuse(io, b"").await;
            }
            return None;
        }
        Ok(0) | Err(_) => return None,
    }
    match TlsAcceptor::from(settings).accept(io).await {
        Ok(stream) => {
            let (_, session) = stream.get_ref();
            let shown = session.peer_certificates().and_then(|chain| chain.first());
            let certificate = shown
                .and_then(|shown| CertificateInfo::of(shown))
                .map(|info| PeerCertificate {
                    names: info.names,
                    issuer: info.issuer,
                    signed_by: info.signed_by,
                    serial: info.serial,
                });
            Some((stream, certificate))
        }
        Err(error) => {
            tell(&error, peer);
            None
        }
    }
}

/// Says why a handshake failed, if somebody will look for the reason.
fn tell(error: &io::Error, peer: IpAddr) {
    use AlertDescription::{BadCertificate, CertificateExpired, CertificateUnknown, UnknownCA};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            warn!("sent away a client from {peer}: the certificate that it shows cannot be accepted: {why}");
        }
        Some(rustls::Error::AlertReceived(
            alert @ (UnknownCA | BadCertificate | CertificateUnknown | CertificateExpired),
        )) => {
            info!("a client from {peer} does not accept the certificate of this machine: {alert:?}");
        }
        // Port scans, browsers that give up, and the like.
        _ => debug!("a TLS handshake with {peer} failed: {error}"),
    }
}
