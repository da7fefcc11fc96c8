//! Check of the certificate that a config names: its files are there, belong together, and count today.

use std::time::SystemTime;

use mainstay_model::{Config, Tls};
use mainstay_pki::certificate::{CertificateInfo, Validity};
use mainstay_pki::pair::CertificatePair;

use crate::diagnostic::{Diagnostic, Severity};

/// Looks at the files of the certificate that clients would be shown at `now`. Files that cannot be used refuse the config, which
/// else would serve cleartext where it asks for TLS. A certificate that does not count today is a warning: it may be the clock.
pub fn check(config: &Config, now: SystemTime) -> Option<Diagnostic> {
    let network = &config.network;
    let Tls::Files { certificate, key } = network.tls_in_force() else {
        return None;
    };
    let [place, key_place] = &network.tls_places;
    let about = |severity, place, message: String| {
        let message = config.source.scrub(message, place);
        Diagnostic::about(config, severity, place, message)
    };
    match CertificatePair::read(certificate, key) {
        Ok(pair) => {
            let complaint = pair.info.complaint(now)?;
            let message = format!("the certificate in `{}` {complaint}", certificate.display());
            Some(about(Severity::Warning, place, message).with_help(cure(&pair.info, now)))
        }
        Err(error) => {
            let place = if error.is_about_key(key) { key_place } else { place };
            let mut diagnostic = about(Severity::Refused, place, error.to_string());
            diagnostic.open = true;
            Some(diagnostic)
        }
    }
}

/// Cure for a certificate that does not count.
#[must_use]
pub fn cure(info: &CertificateInfo, now: SystemTime) -> &'static str {
    match info.validity(now) {
        Validity::Valid => "",
        Validity::NotYetValid => "clients refuse it until then; if the clock of this host is wrong, set it",
        Validity::Expired => "clients refuse it; put a new one into the file, which is taken up while the machine runs",
    }
}
