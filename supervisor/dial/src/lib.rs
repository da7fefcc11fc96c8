//! Connections to other machines, of remotes and of the command line: TLS by default, cleartext where somebody says so, or
//! where there is nothing to protect and nothing else to be had.
//!
//! Never speaks what comes inside: it hands out a stream of bytes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};
use tokio_util::either::Either;

/// Longest wait for one address to answer.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);

/// Byte stream of a connection, in cleartext or encrypted.
pub type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Failure to reach another machine.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The address has no port.
    #[error("its address `{0}` has no port: write host:port, like {0}:8080")]
    NoPort(String),
    /// The name means no address.
    #[error("`{0}` cannot be looked up: {1}")]
    Lookup(String, io::Error),
    /// No address answered.
    #[error("{0}")]
    Connect(io::Error),
    /// The other side speaks no TLS, and there are credentials to be shown.
    #[error(
        "it speaks no TLS, and credentials are not sent in cleartext unless that is allowed: `insecure: true` on a remote, `--insecure` on the command line, where the network is trusted"
    )]
    Cleartext,
    /// TLS failed.
    #[error("TLS: {0}")]
    Tls(String),
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

/// Opens a connection. `secret`: there are credentials to be shown on it.
///
/// # Errors
/// Nobody answers there, or not in the way that is asked for.
pub async fn dial(address: &str, mut encryption: Encryption, secret: bool) -> Result<(Stream, Encryption), DialError> {
    loop {
        let stream = connect(address).await?;
        if encryption != Encryption::On {
            return Ok((Either::Left(stream), encryption));
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| DialError::Tls(error.to_string()))?;
        let connector = TlsConnector::from(client_config().await?);
        match tokio::time::timeout(ADDRESS_TIMEOUT, connector.connect(name, stream)).await {
            Err(_) => return Err(DialError::Tls(format!("no handshake within {ADDRESS_TIMEOUT:?}"))),
            Ok(Ok(stream)) => return Ok((Either::Right(stream), Encryption::On)),
            Ok(Err(error)) => match error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) {
                // What came back is no TLS.
                Some(TlsError::InvalidMessage(_)) if secret => return Err(DialError::Cleartext),
                Some(TlsError::InvalidMessage(_)) => encryption = Encryption::Refused,
                Some(error) => return Err(DialError::Tls(explain(error))),
                None => return Err(DialError::Tls(error.to_string())),
            },
        }
    }
}

async fn connect(address: &str) -> Result<TcpStream, DialError> {
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        return Err(DialError::NoPort(address.to_owned()));
    }
    let addresses = lookup_host(address)
        .await
        .map_err(|error| DialError::Lookup(address.to_owned(), error))?;
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

fn explain(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(cause) => format!(
            "its certificate is not trusted here ({cause:?}); give this machine the authority that signed it, in the system's store or by SSL_CERT_FILE"
        ),
        other => other.to_string(),
    }
}

/// Settings of TLS towards other machines. Made once, when they are needed first, on a thread that may wait for files.
async fn client_config() -> Result<Arc<ClientConfig>, DialError> {
    static CONFIG: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
    let config = CONFIG.get_or_try_init(|| tokio::task::spawn_blocking(trusting_the_system));
    let config = config.await.map_err(|error| DialError::Tls(error.to_string()))?;
    Ok(config.clone())
}

/// Trusts the authorities of the system, or those of `SSL_CERT_FILE`.
fn trusting_the_system() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("some certificate authorities of the system cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions that it was built with");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
