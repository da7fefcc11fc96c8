//! Certificates of the parts of one machine: the request of a computer that keeps its key to itself, and the digest by which a
//! key is known again.

use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files;
use crate::pair::PairError;

/// New key of a part, and the request to certify it, both in PEM.
#[derive(Clone)]
pub struct PartRequest {
    /// Request for a certificate (PKCS #10).
    pub request: String,
    /// Private key, for this computer alone.
    pub key: String,
}

/// Makes a key and the request to certify it.
///
/// # Errors
/// The system has no random numbers.
pub fn request() -> Result<PartRequest, rcgen::Error> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::new(Vec::new())?.serialize_request(&key)?.pem()?;
    Ok(PartRequest {
        request,
        key: key.serialize_pem(),
    })
}

/// Certificate of an authority, from a file in PEM.
///
/// # Errors
/// It cannot be read, or is none.
pub fn authority(file: &Path) -> Result<CertificateDer<'static>, PairError> {
    let bytes = files::read(file).map_err(|source| PairError::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    CertificateDer::from_pem_slice(&bytes).map_err(|_| PairError::DamagedCertificate(file.to_owned()))
}

/// SHA-256 of the public key of an encoded certificate (its SubjectPublicKeyInfo), in hex; `None` if it is no certificate.
#[must_use]
pub fn key_digest(der: &[u8]) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let digest = digest(&SHA256, parsed.public_key().raw);
    Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// [`key_digest`] of a certificate in PEM.
#[must_use]
pub fn key_digest_of_pem(pem: &str) -> Option<String> {
    key_digest(&CertificateDer::from_pem_slice(pem.as_bytes()).ok()?)
}

impl std::fmt::Debug for PartRequest {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartRequest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::authority::Authority;
    use crate::certificate::CertificateInfo;

    #[test]
    fn a_part_gets_a_certificate_for_its_own_key_and_the_name_that_it_is_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::at(folder.path().join("keys"));
        let now = SystemTime::now();
        authority.init("rover", &["rover".to_owned()], now).expect("made");
        let request = request().expect("random numbers");
        let name = "arm.0d4c8f4e-1111-4222-8333-444455556666.part.mainstay.internal";
        let issued = authority.part(&request.request, name, now).expect("issued");
        let der = CertificateDer::from_pem_slice(issued.as_bytes()).expect("PEM");
        assert_eq!(CertificateInfo::of(&der).expect("a certificate").names, [name]);
        let again = authority.part(&request.request, name, now).expect("issued");
        assert_eq!(key_digest_of_pem(&issued), key_digest_of_pem(&again));
        assert_eq!(key_digest_of_pem(&issued).map(|hex| hex.len()), Some(64));
        assert!(authority.part("no request", name, now).is_err());
        assert_eq!(key_digest(b"no certificate"), None);
    }
}
