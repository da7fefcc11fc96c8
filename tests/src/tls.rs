//! TLS as clients speak it: connections that trust one CA, and what they were shown.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mainstay_pki::certificate::CertificateInfo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use crate::place::Place;

/// TLS 1.2 alone.
pub static TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
/// TLS 1.3 alone.
pub static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];

/// What a client wants of a connection.
#[derive(Debug, Clone)]
pub struct TlsClient {
    /// The CA that it trusts, in PEM.
    pub ca: String,
    /// Versions on offer.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// Protocols on offer.
    pub protocols: &'static [&'static [u8]],
}

impl TlsClient {
    /// A client that trusts a CA, and speaks HTTP/2.
    pub fn trusting(ca: &str) -> Self {
        Self {
            ca: ca.to_owned(),
            versions: ALL_VERSIONS,
            protocols: &[b"h2"],
        }
    }

    /// Connects, and checks the certificate for `localhost`.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.ca.as_bytes()).map_err(io::Error::other)?;
        roots.add(ca).map_err(io::Error::other)?;
        let mut config = ClientConfig::builder_with_protocol_versions(self.versions)
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self.protocols.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

/// The certificate that the server showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> CertificateInfo {
    let (_, session) = stream.get_ref();
    let first = session.peer_certificates().and_then(|chain| chain.first());
    CertificateInfo::of(first.expect("a certificate")).expect("it can be read")
}

impl Place {
    /// Makes the keys of a machine with `mainstay keys init`. Gives the CA, in PEM.
    ///
    /// # Panics
    /// There are some already.
    pub async fn make_keys(&self, config: &Path) -> String {
        let config = config.to_str().expect("a path in UTF-8");
        let made = self.mainstay(&["keys", "init", config]).await;
        assert_eq!(made.code, 0, "{made:?}");
        let ca = self.mainstay(&["keys", "ca", config]).await;
        assert_eq!(ca.code, 0, "{ca:?}");
        ca.stdout
    }

    /// A CA, in PEM, and a file with a certificate for `localhost` that it signed and the key.
    ///
    /// # Panics
    /// The disk is full.
    pub async fn certificate_file(&self, name: &str) -> (String, PathBuf) {
        let ca = self.make_keys(&self.file(&format!("{name}-keys.yaml"))).await;
        let folder = fs::read_dir(self.file("state/keys")).expect("keys were made");
        let made = folder
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().contains(&format!("/{name}-keys-")));
        let file = self.file(&format!("{name}.pem"));
        fs::copy(made.expect("it was made").join("machine.pem"), &file).expect("copied");
        (ca, file)
    }
}
