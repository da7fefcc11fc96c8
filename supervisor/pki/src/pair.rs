//! Certificate chain and private key from two PEM files, that belong together.

use std::io;
use std::path::{Path, PathBuf};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::certificate::CertificateInfo;
use crate::files;

/// Certificate chain and key that a server can show.
#[derive(Debug, Clone)]
pub struct CertificatePair {
    pub(crate) certified: std::sync::Arc<CertifiedKey>,
    /// Content of the first certificate.
    pub info: CertificateInfo,
}

/// Fault of a pair of files.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// No certificate is in the file of certificates.
    #[error("`{}` holds no certificate in PEM (`-----BEGIN CERTIFICATE-----`)", .0.display())]
    NoCertificate(PathBuf),
    /// A certificate that is none.
    #[error("a certificate in `{}` is damaged", .0.display())]
    DamagedCertificate(PathBuf),
    /// No key is in the file of the key.
    #[error("`{}` holds no private key in PEM (`-----BEGIN PRIVATE KEY-----`)", .0.display())]
    NoKey(PathBuf),
    /// The key is locked with a password.
    #[error("the private key in `{}` is locked with a password, which nobody is there to type; unlock it: openssl pkey -in OLD -out NEW", .0.display())]
    LockedKey(PathBuf),
    /// A key of a kind that is not served.
    #[error("the private key in `{}` cannot be used: it must be RSA, ECDSA P-256 or P-384, or Ed25519", .0.display())]
    UnusableKey(PathBuf),
    /// Two files that do not belong together.
    #[error("the private key in `{}` is not that of the certificate in `{}`", key.display(), certificate.display())]
    Mismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
    },
}

impl PairError {
    /// True if it is the file of the key that is at fault.
    #[must_use]
    pub fn is_about_key(&self, key_file: &Path) -> bool {
        match self {
            Self::Unreadable { path, .. } => path == key_file,
            Self::NoCertificate(_) | Self::DamagedCertificate(_) => false,
            Self::NoKey(_) | Self::LockedKey(_) | Self::UnusableKey(_) | Self::Mismatch { .. } => true,
        }
    }
}

impl CertificatePair {
    /// Reads both files.
    ///
    /// # Errors
    /// A file cannot be used, or they do not belong together. Whether the certificate counts today is not asked: a robot
    /// without a clock serves all the same.
    pub fn read(certificate_file: &Path, key_file: &Path) -> Result<Self, PairError> {
        let read = |path: &Path| {
            files::read(path).map_err(|source| PairError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        let (certificates, key) = (read(certificate_file)?, read(key_file)?);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
        let chain = chain.map_err(|_| PairError::DamagedCertificate(certificate_file.to_owned()))?;
        let Some(first) = chain.first() else {
            return Err(PairError::NoCertificate(certificate_file.to_owned()));
        };
        let info = CertificateInfo::of(first);
        let info = info.ok_or_else(|| PairError::DamagedCertificate(certificate_file.to_owned()))?;
        let locked = String::from_utf8_lossy(&key).contains("ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| match locked {
            true => PairError::LockedKey(key_file.to_owned()),
            false => PairError::NoKey(key_file.to_owned()),
        })?;
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => PairError::Mismatch {
                certificate: certificate_file.to_owned(),
                key: key_file.to_owned(),
            },
            rustls::Error::InvalidCertificate(_) => PairError::DamagedCertificate(certificate_file.to_owned()),
            _ => PairError::UnusableKey(key_file.to_owned()),
        })?;
        Ok(Self {
            certified: certified.into(),
            info,
        })
    }

    /// The same with another certificate at the end of its chain.
    #[must_use]
    pub fn followed_by(self, issuer: CertificateDer<'static>) -> Self {
        let mut certified = (*self.certified).clone();
        certified.cert.push(issuer);
        Self {
            certified: certified.into(),
            info: self.info,
        }
    }
}

/// Cryptography of all connections.
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::ring::default_provider()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn each_fault_of_the_files_is_named_with_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
        let made = |name: &str| {
            let key = KeyPair::generate().expect("a key");
            let params = CertificateParams::new(vec!["rover".to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("signed");
            write(&format!("{name}.pem"), &certificate.pem());
            write(&format!("{name}.key"), &key.serialize_pem());
            certificate.pem()
        };
        let first = made("first");
        made("other");
        write("empty.pem", "");
        write("cut.pem", &first[..first.len() / 2]);
        write(
            "rubbish.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        write(
            "locked.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        write(
            "rubbish.key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        );
        for (certificate, key, text) in [
            ("first.pem", "first.key", ""),
            ("none.pem", "first.key", "none.pem`: No such file"),
            ("first.pem", "none.key", "none.key`: No such file"),
            (".", "first.key", "it is no file"),
            ("empty.pem", "first.key", "empty.pem` holds no certificate in PEM"),
            ("first.key", "first.key", "first.key` holds no certificate in PEM"),
            ("cut.pem", "first.key", "cut.pem` is damaged"),
            ("rubbish.pem", "first.key", "rubbish.pem` is damaged"),
            ("first.pem", "first.pem", "first.pem` holds no private key in PEM"),
            ("first.pem", "locked.key", "locked.key` is locked with a password"),
            ("first.pem", "rubbish.key", "rubbish.key` cannot be used"),
            ("first.pem", "other.key", "other.key` is not that of the certificate in"),
        ] {
            let read = CertificatePair::read(&folder.path().join(certificate), &folder.path().join(key));
            match read {
                Ok(pair) => assert!(text.is_empty() && pair.info.names == ["rover"], "{certificate} {key}"),
                Err(error) => assert!(
                    !text.is_empty() && error.to_string().contains(text),
                    "{certificate} {key}: {error}"
                ),
            }
        }
    }
}
