//! A look at the certificates that a machine shows, for somebody who is to decide whether to trust them. Nothing is sent on such a
//! connection.

use rustls_pki_types::CertificateDer;
use tokio_util::either::Either;

use crate::{DialError, Encryption, Fallback, Found, TlsSettings, dial_found};

/// Certificates that a machine shows, its own first. It has proved to hold the key of that one; nobody has judged who signed it.
/// `None`: it speaks no TLS.
///
/// # Errors
/// Nobody answers there.
pub async fn presented_chain(machine: &Found) -> Result<Option<Vec<CertificateDer<'static>>>, DialError> {
    let anybody = TlsSettings::trusting_anybody();
    match dial_found(machine, Encryption::On, Fallback::Never, &anybody).await {
        Ok((Either::Right(stream), _)) => {
            let (_, session) = stream.get_ref();
            Ok(Some(session.peer_certificates().unwrap_or_default().to_vec()))
        }
        Ok((Either::Left(_), _)) | Err(DialError::Cleartext) => Ok(None),
        Err(error) => Err(error),
    }
}
