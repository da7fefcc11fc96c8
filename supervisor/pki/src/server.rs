//! Settings of a TLS server: its certificate, the versions and protocols that it speaks, and the clients that it asks for theirs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use crate::certificate::CertificateInfo;
use crate::pair::{CertificatePair, provider};

/// Protocols on offer to clients, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Settings of a server that shows `pair`, or `part` to clients that ask for a name of its: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
/// With `client_cas`, clients may show a certificate; one that none of these signed ends their handshake.
///
/// # Errors
/// A CA cannot be used.
pub fn settings(
    pair: &CertificatePair,
    part: Option<&CertificatePair>,
    client_cas: &[CertificateDer<'static>],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(provider());
    let infos = client_cas.iter().filter_map(|ca| CertificateInfo::of(ca));
    let earliest = infos.map(|ca| ca.not_before).max();
    let clock = Arc::new(Clock { earliest });
    let builder = ServerConfig::builder_with_details(provider.clone(), clock).with_safe_default_protocol_versions()?;
    let builder = match client_cas {
        [] => builder.with_no_client_auth(),
        cas => {
            let mut roots = RootCertStore::empty();
            for ca in cas {
                roots.add(ca.clone())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let shown = Shown {
        usual: pair.clone(),
        part: part.cloned(),
    };
    let mut settings = builder.with_cert_resolver(Arc::new(shown));
    settings.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(settings))
}

/// Certificates that a server shows.
#[derive(Debug)]
struct Shown {
    usual: CertificatePair,
    /// For those who ask for a name of its.
    part: Option<CertificatePair>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = |part: &&CertificatePair| {
            let name = hello.server_name().map(str::to_owned);
            name.is_some_and(|name| part.info.names.contains(&name))
        };
        let shown = self.part.as_ref().filter(asked).unwrap_or(&self.usual);
        Some(shown.certified.clone())
    }
}

/// Clock by which certificates of clients are judged. It is never earlier than our CA: a robot without a clock of its own begins
/// in 1970, and would send away every client until it has heard the time.
#[derive(Debug)]
struct Clock {
    earliest: Option<SystemTime>,
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = SystemTime::now().max(self.earliest.unwrap_or(SystemTime::UNIX_EPOCH));
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Some(UnixTime::since_unix_epoch(since))
    }
}
