//! Content of an X.509 certificate, as far as people and configs speak of it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{ASN1Time, FromDer as _, X509Certificate, X509Name};

/// Content of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Distinguished name of its holder (RFC 4514).
    pub subject: String,
    /// DNS names that it is for.
    pub names: Vec<String>,
    /// Addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// Distinguished name of its issuer (RFC 4514).
    pub issuer: String,
    /// Identifier of the key that signed it (authorityKeyIdentifier), in hex; empty if it names none.
    pub signed_by: String,
    /// Identifier of its own key (subjectKeyIdentifier), in hex; empty if it names none.
    pub key_id: String,
    /// Serial number, in hex.
    pub serial: String,
    /// First moment at which it counts.
    pub not_before: SystemTime,
    /// Last moment at which it counts.
    pub not_after: SystemTime,
}

/// Relation of a certificate to a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It counts.
    Valid,
    /// It will.
    NotYetValid,
    /// It did.
    Expired,
}

impl CertificateInfo {
    /// Content of an encoded certificate; `None` if it is none.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (mut signed_by, mut key_id) = (String::new(), String::new());
        for extension in parsed.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    signed_by = id.key_identifier.as_ref().map_or_else(String::new, |id| hex(id.0));
                }
                ParsedExtension::SubjectKeyIdentifier(id) => key_id = hex(id.0),
                _ => {}
            }
        }
        Some(Self {
            subject: distinguished_name(parsed.subject()),
            names,
            addresses,
            issuer: distinguished_name(parsed.issuer()),
            serial: hex(parsed.raw_serial()),
            signed_by,
            key_id,
            not_before: moment(parsed.validity().not_before),
            not_after: moment(parsed.validity().not_after),
        })
    }

    /// Whether it counts at `now`.
    #[must_use]
    pub fn validity(&self, now: SystemTime) -> Validity {
        if now < self.not_before {
            Validity::NotYetValid
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// Complaint about a certificate that does not count at `now`: `has expired on 2026-01-31`.
    #[must_use]
    pub fn complaint(&self, now: SystemTime) -> Option<String> {
        match self.validity(now) {
            Validity::Valid => None,
            Validity::NotYetValid => Some(format!(
                "is not valid before {} (it is {} here)",
                date(self.not_before),
                date(now)
            )),
            Validity::Expired => Some(format!(
                "has expired on {} (it is {} here)",
                date(self.not_after),
                date(now)
            )),
        }
    }

    /// First of its names, for lists: a DNS name, an address, else its holder.
    #[must_use]
    pub fn label(&self) -> String {
        let address = || self.addresses.first().map(ToString::to_string);
        let first = self.names.first().cloned().or_else(address);
        first.unwrap_or_else(|| self.subject.clone())
    }
}

/// SHA-256 fingerprint of an encoded certificate, as `openssl x509 -fingerprint -sha256` writes it: `AB:CD:…`.
#[must_use]
pub fn fingerprint(der: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, der);
    let bytes: Vec<_> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

/// Day of a moment, in UTC: `2026-01-31`.
#[must_use]
pub fn date(moment: SystemTime) -> String {
    let day = time::OffsetDateTime::from(moment);
    format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

fn moment(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// Distinguished name in the form of RFC 4514: last part first, special characters escaped.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|part| {
            let attributes = part.iter().map(|attribute| {
                let oid = attribute.attr_type();
                let kind = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
                match attribute.as_str() {
                    Ok(value) => format!("{kind}={}", escaped(value)),
                    Err(_) => {
                        let hex = attribute.as_slice().iter().map(|byte| format!("{byte:02x}"));
                        format!("{kind}=#{}", hex.collect::<String>())
                    }
                }
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let at_the_edge = (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        match c {
            '\0' => text.push_str("\\00"),
            _ => {
                if at_the_edge || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn names_addresses_holder_and_validity_are_read() {
        let key = KeyPair::generate().expect("a key");
        let names = ["rover.local".to_owned(), "10.0.0.5".to_owned(), "::1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, "#1 rover ");
        params.not_before = rcgen::date_time_ymd(2026, 1, 31);
        params.not_after = rcgen::date_time_ymd(2027, 1, 31);
        let certificate = params.self_signed(&key).expect("signed");
        let info = CertificateInfo::of(certificate.der()).expect("a certificate");
        assert_eq!(info.names, ["rover.local"]);
        assert_eq!(
            info.addresses,
            ["10.0.0.5", "::1"].map(|text| text.parse::<IpAddr>().expect("one"))
        );
        // rcgen has a common name of its own, which the one given replaces.
        assert!(info.subject.contains("O=Acme\\, Inc."), "{}", info.subject);
        assert!(info.subject.contains("CN=\\#1 rover\\ "), "{}", info.subject);
        assert_eq!(info.subject, info.issuer);
        assert!(info.serial.len() >= 2 && info.serial.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let day = Duration::from_secs(86_400);
        for (now, validity, text) in [
            (
                info.not_before - day,
                Validity::NotYetValid,
                "is not valid before 2026-01-31 (it is 2026-01-30 here)",
            ),
            (info.not_before, Validity::Valid, ""),
            (info.not_after, Validity::Valid, ""),
            (
                info.not_after + day,
                Validity::Expired,
                "has expired on 2027-01-31 (it is 2027-02-01 here)",
            ),
        ] {
            assert_eq!(info.validity(now), validity);
            assert_eq!(info.complaint(now).unwrap_or_default(), text);
        }
        assert!(CertificateInfo::of(b"no certificate").is_none());
    }
}
