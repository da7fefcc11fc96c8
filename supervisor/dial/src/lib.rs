//! Connections to other machines, of remotes, of the command line and of programs: TLS by default, cleartext where somebody
//! says so, or where there is nothing to protect and nothing else to be had; and the exchange of credentials for a token.
//!
//! * [`lookup()`]: the addresses of a machine; with the feature `mdns` also of one that is called by its bare name
//! * [`dial`]: a stream of bytes to an address
//! * [`TlsSettings`]: whom TLS trusts, and the certificate that it shows
//! * [`Credentials`]: proof of who we are
//! * `presented_chain`: the certificates that a machine shows, for somebody who is to decide whether to trust them
//!
//! Without the feature `tls` it brings no TLS, for programs that reach machines of their own host alone.

mod credentials;
mod lookup;
#[cfg(feature = "tls")]
mod presented;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;

pub use credentials::{Credentials, bearer};
#[cfg(feature = "mdns")]
pub use lookup::lookup_either;
pub use lookup::{Found, lookup};
#[cfg(feature = "tls")]
pub use presented::presented_chain;
#[cfg(feature = "tls")]
pub use tls::{TlsSettings, peer_certificate};

/// Longest wait for one address to answer.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Port of machines whose address names none.
const DEFAULT_PORT: u16 = 8080;

/// Byte stream of a connection, in cleartext or encrypted.
#[cfg(feature = "tls")]
pub type Stream = tokio_util::either::Either<TcpStream, tokio_rustls::client::TlsStream<TcpStream>>;
/// Byte stream of a connection.
#[cfg(not(feature = "tls"))]
pub type Stream = TcpStream;

/// Failure to reach another machine.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address has no port.
    #[error("its address `{0}` has no port: write host:port, like {1}:8080")]
    NoPort(String, String),
    /// No machine on the network has the name.
    #[cfg(feature = "mdns")]
    #[error(transparent)]
    Name(#[from] mainstay_mdns::LookupError),
    /// No machine on the network has the name, and no host.
    #[cfg(feature = "mdns")]
    #[error("{0}; and no host is found by it: {1}")]
    Nobody(mainstay_mdns::LookupError, io::Error),
    /// The name means no address.
    #[error("`{0}` cannot be looked up: {1}")]
    Lookup(String, io::Error),
    /// No address answered.
    #[error("{0}")]
    Connect(io::Error),
    /// The other side speaks no TLS, and cleartext will not do.
    #[error(
        "it speaks no TLS, and credentials are not sent in cleartext unless that is allowed: `insecure: true` on a remote, `--insecure` on the command line, where the network is trusted"
    )]
    Cleartext,
    /// The certificate is signed by nobody who is trusted here, or is for another name, or out of date.
    #[error(
        "TLS: its certificate is not trusted here ({0}); give this machine the authority that signed it, in the system's store or by SSL_CERT_FILE"
    )]
    Untrusted(String),
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// This program was built without TLS.
    #[error("this program was built without TLS")]
    NoTls,
}

/// Way to reach another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Cleartext, because somebody says so.
    Off,
    /// Cleartext, after it turned out that the other side speaks no TLS.
    Refused,
    /// TLS.
    On,
}

/// Places where cleartext will do, after it turned out that the other side speaks no TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Nowhere: there are credentials to be shown.
    Never,
    /// This host, where nobody listens on the way.
    Loopback,
    /// Anywhere: there is nothing to protect.
    Anywhere,
}

impl Fallback {
    /// True if it covers this connection.
    fn covers(self, stream: &TcpStream) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => stream
                .peer_addr()
                .is_ok_and(|peer| peer.ip().to_canonical().is_loopback()),
            Self::Anywhere => true,
        }
    }
}

/// Settings of TLS in a program that was built without it.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Clone, Default)]
pub struct TlsSettings(());

/// Opens a connection by TLS, or in cleartext as far as `encryption` and `fallback` go. Tells which it became.
///
/// # Errors
/// Nobody answers there, or not in the way that is asked for.
pub async fn dial(
    address: &str,
    encryption: Encryption,
    fallback: Fallback,
    tls: &TlsSettings,
) -> Result<(Stream, Encryption), DialError> {
    dial_found(&lookup(address).await?, encryption, fallback, tls).await
}

/// [`dial`] for a machine whose addresses are known.
///
/// # Errors
/// As [`dial`].
pub async fn dial_found(
    machine: &Found,
    encryption: Encryption,
    fallback: Fallback,
    tls: &TlsSettings,
) -> Result<(Stream, Encryption), DialError> {
    let stream = connect(&machine.addresses).await?;
    if encryption != Encryption::On {
        return Ok((clear(stream), encryption));
    }
    let covered = fallback.covers(&stream);
    match encrypt(&machine.host, stream, tls).await {
        Err(DialError::Cleartext | DialError::NoTls) if covered => {
            Ok((clear(connect(&machine.addresses).await?), Encryption::Refused))
        }
        outcome => Ok((outcome?, Encryption::On)),
    }
}

#[cfg(feature = "tls")]
use tls::{clear, encrypt};

#[cfg(not(feature = "tls"))]
fn clear(stream: TcpStream) -> Stream {
    stream
}

#[cfg(not(feature = "tls"))]
async fn encrypt(_: &str, _: TcpStream, _: &TlsSettings) -> Result<Stream, DialError> {
    Err(DialError::NoTls)
}

/// Completes `host`, `host:port`, `[v6]`, `[v6]:port` and bare v6 addresses with the port of machines.
#[must_use]
pub fn with_port(address: &str) -> String {
    let address = address.strip_prefix("http://").unwrap_or(address);
    let address = address
        .strip_prefix("https://")
        .unwrap_or(address)
        .trim_end_matches('/');
    if address.parse::<Ipv6Addr>().is_ok() {
        return format!("[{address}]:{DEFAULT_PORT}");
    }
    let after_host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    if after_host.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:{DEFAULT_PORT}")
    }
}

/// Opens a TCP connection to the first address that answers.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match tokio::time::timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small frames must not wait for each other.
                stream.set_nodelay(true).map_err(DialError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {ADDRESS_TIMEOUT:?}")),
        }
    }
    Err(DialError::Connect(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        let cases = [
            ("rover.local", "rover.local:8080"),
            ("rover.local:9000", "rover.local:9000"),
            ("10.0.0.5", "10.0.0.5:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("[::1]:9000", "[::1]:9000"),
            ("http://10.0.0.5:8080/", "10.0.0.5:8080"),
        ];
        for (given, dialled) in cases {
            assert_eq!(with_port(given), dialled);
        }
    }

    #[tokio::test]
    async fn cleartext_is_taken_only_where_it_will_do() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _gone = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        };
        let ask = async {
            let tls = TlsSettings::default();
            for (encryption, fallback, expected) in [
                (Encryption::Off, Fallback::Never, Some(Encryption::Off)),
                (Encryption::On, Fallback::Never, None),
                (Encryption::On, Fallback::Loopback, Some(Encryption::Refused)),
                (Encryption::On, Fallback::Anywhere, Some(Encryption::Refused)),
            ] {
                let outcome = dial(&address, encryption, fallback, &tls).await;
                assert_eq!(outcome.ok().map(|(_, encryption)| encryption), expected, "{fallback:?}");
            }
        };
        tokio::select! {
            () = serve => {}
            () = ask => {}
        }
    }
}
