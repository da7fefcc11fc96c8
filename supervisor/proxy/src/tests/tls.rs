//! Handshakes: which certificate of a client is taken, and what is made of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mainstay_pki::authority::Authority;
use mainstay_pki::server;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::identity::PeerCertificate;
use crate::tls::accept;

fn authority(folder: &Path, name: &str) -> Authority {
    let authority = Authority::at(folder.join(name));
    authority
        .init(name, &["localhost".to_owned()], SystemTime::now())
        .unwrap();
    authority
}

/// The certificate that a server which shows `settings` sees of a client that trusts `ca`; an error if the client was refused.
async fn seen(
    settings: Arc<ServerConfig>,
    ca: &Authority,
    client: Option<(&Authority, &str)>,
) -> io::Result<Option<PeerCertificate>> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.ca().unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((authority, name)) => {
            let issued = authority.client(name, SystemTime::now()).unwrap();
            let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"x").await?;
        // With TLS 1.3 a client hears of its refusal only when it reads.
        stream.read_u8().await
    };
    let server = async {
        let (stream, peer) = listener.accept().await?;
        let accepted = accept(stream, settings, peer.ip()).await;
        let (mut stream, certificate) = accepted.ok_or(io::ErrorKind::PermissionDenied)?;
        stream.write_all(b"y").await?;
        stream.flush().await?;
        stream.read_u8().await?;
        io::Result::Ok(certificate)
    };
    let (heard, certificate) = tokio::join!(client, server);
    assert_eq!(heard.is_ok(), certificate.is_ok(), "{heard:?} {certificate:?}");
    certificate
}

#[tokio::test]
async fn a_client_may_show_a_certificate_of_our_ca_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (authority(folder.path(), "own"), authority(folder.path(), "other"));
    let pair = own.machine(&["localhost".to_owned()], SystemTime::now()).unwrap();
    let plain = server::settings(&pair, None, &[]).unwrap();
    let asking = server::settings(&pair, None, &[own.ca().unwrap()]).unwrap();
    assert_eq!(seen(asking.clone(), &own, None).await.unwrap(), None);
    let laptop = seen(asking.clone(), &own, Some((&own, "laptop")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(laptop.names, ["laptop"]);
    assert_eq!(laptop.issuer, "CN=Mainstay CA of own");
    let listed = own.list().unwrap();
    assert_eq!(laptop.serial, listed[2].info.serial);
    assert!(seen(asking, &own, Some((&other, "laptop"))).await.is_err());
    // Not asked for, it is not sent.
    assert_eq!(seen(plain, &own, Some((&other, "laptop"))).await.unwrap(), None);
}
