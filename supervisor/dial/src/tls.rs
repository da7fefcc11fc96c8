//! TLS towards other machines: authorities that are trusted, our own certificate, the handshake.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    WantsVerifier,
};
use tokio_util::either::Either;

use crate::{ADDRESS_TIMEOUT, DialError, Stream};

/// Settings of TLS: whom it trusts, and the certificate that it shows. By default it trusts what the system trusts, or the
/// authorities of `SSL_CERT_FILE`, and shows none.
#[derive(Clone, Default)]
pub struct TlsSettings {
    /// `None`: those of the system, read when they are needed first.
    config: Option<Arc<ClientConfig>>,
    /// Name that the certificate must be for, if it is not the one that is dialled.
    server_name: Option<String>,
}

impl TlsSettings {
    /// Settings that trust the authorities in `authorities` alone, and show the certificate in `identity` (chain and key), all of
    /// it PEM. What is `None` is as by default. Reads the system's files where it needs them.
    ///
    /// # Errors
    /// [`DialError::Tls`]: what is given is no such PEM, or certificate and key do not belong together.
    pub fn new(authorities: Option<&[u8]>, identity: Option<(&[u8], &[u8])>) -> Result<Self, DialError> {
        if authorities.is_none() && identity.is_none() {
            return Ok(Self::default());
        }
        let roots = match authorities {
            Some(pem) => Arc::new(given_authorities(pem)?),
            None => Arc::new(authorities_of_the_system()),
        };
        let builder = builder().with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = certificates(chain, "the client certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|error| DialError::Tls(format!("the key of the client certificate: {error}")))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| DialError::Tls(format!("the client certificate and its key: {error}")))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            config: Some(Arc::new(config)),
            server_name: None,
        })
    }

    /// Settings that take any certificate, for an exchange in which both sides prove themselves by other means.
    #[must_use]
    pub fn trusting_anybody() -> Self {
        let builder = builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self {
            config: Some(Arc::new(config)),
            server_name: None,
        }
    }

    /// The same settings for a machine whose certificate is for this name and not for the address that is dialled.
    #[must_use]
    pub fn named(mut self, name: Option<String>) -> Self {
        self.server_name = name;
        self
    }

    /// Settings for rustls. Those of the system are made once, on a thread that may wait for files.
    async fn config(&self) -> Result<Arc<ClientConfig>, DialError> {
        static SYSTEM: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();
        if let Some(config) = &self.config {
            return Ok(config.clone());
        }
        let config = SYSTEM.get_or_try_init(|| tokio::task::spawn_blocking(trusting_the_system));
        let config = config.await.map_err(|error| DialError::Tls(error.to_string()))?;
        Ok(config.clone())
    }
}

impl fmt::Debug for TlsSettings {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("given", &self.config.is_some())
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// Takes every certificate. The signature is looked at all the same, so that a handshake is one.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Certificate that the other side showed, encoded; `None` in cleartext.
#[must_use]
pub fn peer_certificate(stream: &Stream) -> Option<&[u8]> {
    match stream {
        Either::Left(_) => None,
        Either::Right(stream) => stream.get_ref().1.peer_certificates()?.first().map(AsRef::as_ref),
    }
}

/// A stream in cleartext.
pub(crate) fn clear(stream: TcpStream) -> Stream {
    Either::Left(stream)
}

/// Speaks TLS over a connection to `host`. [`DialError::Cleartext`]: what came back is no TLS.
pub(crate) async fn encrypt(host: &str, stream: TcpStream, tls: &TlsSettings) -> Result<Stream, DialError> {
    let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| DialError::Tls(error.to_string()))?;
    let connector = TlsConnector::from(tls.config().await?);
    match tokio::time::timeout(ADDRESS_TIMEOUT, connector.connect(name, stream)).await {
        Err(_) => Err(DialError::Tls(format!("no handshake within {ADDRESS_TIMEOUT:?}"))),
        Ok(Ok(stream)) => Ok(Either::Right(stream)),
        Ok(Err(error)) => Err(
            match error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) {
                Some(TlsError::InvalidMessage(_)) => DialError::Cleartext,
                Some(TlsError::InvalidCertificate(cause)) => DialError::Untrusted(format!("{cause:?}")),
                Some(error) => DialError::Tls(error.to_string()),
                None => DialError::Tls(error.to_string()),
            },
        ),
    }
}

/// Clock by which certificates of others are judged. It is never earlier than this program's year: a robot without a clock of
/// its own begins in 1970, and would trust nobody until it has heard the time.
#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        /// Start of 2026, in seconds since 1970.
        const FLOOR: Duration = Duration::from_secs(1_767_225_600);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Some(UnixTime::since_unix_epoch(since.unwrap_or_default().max(FLOOR)))
    }
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_details(Arc::new(ring::default_provider()), Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions that it was built with")
}

fn trusting_the_system() -> Arc<ClientConfig> {
    let roots = authorities_of_the_system();
    let mut config = builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// The authorities of the system, or those of `SSL_CERT_FILE`.
fn authorities_of_the_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!("some certificate authorities of the system cannot be read: {error}");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

fn given_authorities(pem: &[u8]) -> Result<RootCertStore, DialError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(pem, "the authority")? {
        roots
            .add(authority)
            .map_err(|error| DialError::Tls(format!("the authority: {error}")))?;
    }
    Ok(roots)
}

/// The certificates of a PEM text, of which there must be one at least.
fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if read.is_empty() => Err(DialError::Tls(format!("{what} holds no certificate in PEM"))),
        Ok(read) => Ok(read),
        Err(error) => Err(DialError::Tls(format!("{what}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_its_name() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (good, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let (good, key) = (good.as_bytes(), key.as_bytes());
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let foreign = other.signing_key.serialize_pem();
        assert!(TlsSettings::new(Some(good), Some((good, key))).is_ok());
        let garbage: &[u8] = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        for (authorities, identity, text) in [
            (Some(&b"none"[..]), None, "the authority holds no certificate in PEM"),
            (Some(garbage), None, "the authority"),
            (
                Some(good),
                Some((&b""[..], key)),
                "the client certificate holds no certificate in PEM",
            ),
            (Some(good), Some((good, &b"x"[..])), "the key of the client certificate"),
            (
                Some(good),
                Some((good, foreign.as_bytes())),
                "the client certificate and its key",
            ),
        ] {
            let error = TlsSettings::new(authorities, identity).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
