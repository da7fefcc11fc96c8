//! Transfer of a CA: how its private key goes from one computer to another, and is on one of them in the end.

use std::fs;
use std::io;
use std::time::SystemTime;

use rcgen::{CertificateSigningRequestParams, Issuer, KeyPair, PublicKeyData as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::authority::{Authority, AuthorityError, CA, CA_KEY, disk};
use crate::files;

impl Authority {
    /// The private key, in PEM, for the computer that issues certificates from now on.
    ///
    /// # Errors
    /// It is not here.
    pub fn key_pem(&self) -> Result<String, AuthorityError> {
        match self.exists() && !self.has_key() {
            true => Err(AuthorityError::NoKey(self.folder().to_owned())),
            false => self.read(CA_KEY),
        }
    }

    /// Takes a CA from another computer, in place of what is there.
    ///
    /// # Errors
    /// The key is not that of the certificate, or the disk refuses.
    pub fn adopt(&self, certificate: &str, key: &str) -> Result<(), AuthorityError> {
        self.check(certificate, key)?;
        self.keep(certificate, key)
    }

    /// [`part`](Self::part) by a CA that would be [adopted](Self::adopt) here, while nothing of it is on the disk yet.
    ///
    /// # Errors
    /// The key is not that of the certificate, or the request is none.
    pub fn part_before(
        &self,
        (certificate, key): (&str, &str),
        request: &str,
        name: &str,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let pair = self.check(certificate, key)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, pair).map_err(|error| self.damaged(CA, error))?;
        Self::part_by(&issuer, &CertificateSigningRequestParams::from_pem(request)?, name, now)
    }

    fn check(&self, certificate: &str, key: &str) -> Result<KeyPair, AuthorityError> {
        let pair = KeyPair::from_pem(key).map_err(|error| self.damaged(CA_KEY, error))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|_| self.damaged(CA, "it is no certificate"))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| self.damaged(CA, error))?;
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(self.damaged(CA_KEY, "it is not the key of this CA"));
        }
        Ok(pair)
    }

    /// Removes the private key: another computer has it. Its certificate stays, by which others are known.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn forget_key(&self) -> Result<(), AuthorityError> {
        let path = self.folder().join(CA_KEY);
        // A draft of it is as good as the key.
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        files::remove_drafts(self.folder(), &stem).map_err(disk("clear", self.folder()))?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("remove", &path)(error)),
            _ => match fs::File::open(self.folder()).and_then(|folder| folder.sync_all()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("write", self.folder())(error)),
                _ => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::part;

    #[test]
    fn a_ca_goes_to_another_computer_and_signs_there_alone() {
        let place = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let [one, other] = ["one", "other"].map(|name| Authority::at(place.path().join(name)));
        let hosts = ["rover".to_owned()];
        one.init("rover", &hosts, now).expect("made");
        let (certificate, key) = (one.ca_pem().expect("there"), one.key_pem().expect("there"));
        let stranger = Authority::at(place.path().join("stranger"));
        stranger.make("rover", now).expect("made");
        let wrong = stranger.key_pem().expect("there");
        for key in [wrong.as_str(), "", &certificate] {
            assert!(matches!(
                other.adopt(&certificate, key),
                Err(AuthorityError::Damaged { .. })
            ));
            assert!(!other.exists());
        }
        other.adopt(&certificate, &key).expect("kept");
        one.forget_key().expect("removed");
        one.forget_key().expect("gone already");
        let request = part::request().expect("random numbers").request;
        assert!(other.part(&request, "x", now).is_ok());
        assert!(matches!(one.part(&request, "x", now), Err(AuthorityError::NoKey(_))));
        assert!(matches!(one.key_pem(), Err(AuthorityError::NoKey(_))));
        // What it shows stays as long as somebody takes it; one of its own begins anew.
        let late = now + Duration::from_secs(390 * 86_400);
        let shown = one.machine(&hosts, late).expect("as it is").info;
        assert_eq!(shown, one.machine(&["other".to_owned()], now).expect("as it is").info);
        one.init("rover", &hosts, now).expect("made anew");
        assert_ne!(one.ca_pem().expect("there"), certificate);
        assert_ne!(shown, one.machine(&hosts, now).expect("one").info);
    }
}
