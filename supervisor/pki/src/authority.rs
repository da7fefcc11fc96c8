//! Private CA of a machine: one folder with its key, the machine's own certificate, which it renews, and those of clients.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::certificate::CertificateInfo;
use crate::files;
use crate::pair::{CertificatePair, PairError};

const DAY: Duration = Duration::from_secs(86_400);
/// Start of 2026, in seconds since 1970. Clocks that show an earlier time are wrong: what is issued counts from here, and a robot
/// that begins in 1970 has certificates that its clients take.
const FLOOR: Duration = Duration::from_secs(1_767_225_600);
/// Life of the CA: no robot that was built with it is to be visited for it.
const CA_LIFE: Duration = Duration::from_secs(50 * 365 * 86_400);
/// Life of the machine's certificate: as long as browsers and systems take one.
const MACHINE_LIFE: Duration = Duration::from_secs(397 * 86_400);
/// Rest of its life at which the machine's certificate is renewed: a robot may lie in a box for months.
const RENEW_BEFORE: Duration = Duration::from_secs(132 * 86_400);
/// Life of a client's certificate. Who is let in is said by the config, so a name that is taken out there is out at once.
const CLIENT_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);

pub(crate) const CA: &str = "ca.pem";
pub(crate) const CA_KEY: &str = "ca.key";
/// Certificate and key in one file, so that both are replaced at once.
const MACHINE: &str = "machine.pem";
const CLIENTS: &str = "clients";

/// Folder of a machine's CA.
#[derive(Debug, Clone)]
pub struct Authority {
    folder: PathBuf,
}

/// Failure of the CA.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It is there already.
    #[error("there are keys already, in `{}`; whoever trusts them would have to be told of new ones", .0.display())]
    Exists(PathBuf),
    /// It is not there.
    #[error("there are no keys in `{}`", .0.display())]
    Missing(PathBuf),
    /// Its private key went to another computer.
    #[error("the CA in `{}` has no private key here any more: it went to the computer that became the main part of the machine; `mainstay keys init` makes this computer a CA of its own, of which its clients have to be told", .0.display())]
    NoKey(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Disk {
        /// Action that failed.
        action: &'static str,
        /// File or folder of the action.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// What is there is no CA.
    #[error("`{}` is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Fault of its content.
        why: String,
    },
    /// The machine's certificate cannot be read.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// A name that no certificate can have.
    #[error("`{}` is no name for a client: letters, digits, `.`, `_` and `-`, at most 63 of them", .0.escape_debug())]
    BadName(String),
    /// Nothing can be signed.
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
}

/// Client certificate that was issued: what its holder needs.
#[derive(Clone)]
pub struct ClientCertificate {
    /// Certificate, in PEM.
    pub certificate: String,
    /// Private key, in PEM. Kept nowhere else.
    pub key: String,
}

impl std::fmt::Debug for ClientCertificate {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// Certificate of the folder, for a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Use of the certificate.
    pub kind: CertificateKind,
    /// Content of the certificate.
    pub info: CertificateInfo,
    /// File of the certificate.
    pub path: PathBuf,
}

/// Use of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// Signs the others.
    Ca,
    /// Shown by the machine.
    Machine,
    /// Shown by a client.
    Client,
}

impl Authority {
    /// CA in a folder, which need not be there.
    #[must_use]
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Folder of all files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// File of the CA's certificate, which clients are to trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join(CA)
    }

    /// File of the machine's certificate and key.
    #[must_use]
    pub fn machine_file(&self) -> PathBuf {
        self.folder.join(MACHINE)
    }

    /// True if there is a CA.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.ca_file().exists()
    }

    /// True if its private key is here: it may have gone to another computer.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.folder.join(CA_KEY).exists()
    }

    /// Makes the CA of a machine called `name`, and the machine's certificate for `hosts`. One whose key went to another computer
    /// is replaced.
    ///
    /// # Errors
    /// There is one already, or the disk refuses.
    pub fn init(&self, name: &str, hosts: &[String], now: SystemTime) -> Result<(), AuthorityError> {
        if self.exists() && self.has_key() {
            return Err(AuthorityError::Exists(self.folder.clone()));
        }
        let clients = self.folder.join(CLIENTS);
        files::make_folder(&clients).map_err(disk("make", &clients))?;
        self.make(name, now)?;
        self.issue_machine(hosts, now)
    }

    /// Makes the CA alone, in place of what is there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn make(&self, name: &str, now: SystemTime) -> Result<(), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Mainstay CA of {name}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let from = SystemTime::UNIX_EPOCH + FLOOR;
        (params.not_before, params.not_after) = (from.into(), (from.max(now) + CA_LIFE).into());
        let certificate = params.self_signed(&key)?;
        self.keep(&certificate.pem(), &key.serialize_pem())
    }

    /// Writes certificate and key of a CA.
    pub(crate) fn keep(&self, certificate: &str, key: &str) -> Result<(), AuthorityError> {
        files::make_folder(&self.folder).map_err(disk("make", &self.folder))?;
        // First gone and written last, for it is what is looked for: a CA is there as a whole or not at all.
        let file = self.ca_file();
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk("remove", &file)(error)),
            _ => self.write(CA_KEY, key)?,
        }
        self.write(CA, certificate)
    }

    /// The certificate that clients are to trust, in PEM.
    ///
    /// # Errors
    /// There is none.
    pub fn ca_pem(&self) -> Result<String, AuthorityError> {
        self.read(CA)
    }

    /// The certificate that clients are to trust.
    ///
    /// # Errors
    /// There is none.
    pub fn ca(&self) -> Result<CertificateDer<'static>, AuthorityError> {
        CertificateDer::from_pem_slice(self.read(CA)?.as_bytes()).map_err(|error| self.damaged(CA, error))
    }

    /// The machine's certificate; a new one, if the one that is there does not count much longer or is not for all of `hosts`.
    ///
    /// # Errors
    /// There is no CA, or the disk refuses.
    pub fn machine(&self, hosts: &[String], now: SystemTime) -> Result<CertificatePair, AuthorityError> {
        if !self.exists() {
            return Err(AuthorityError::Missing(self.folder.clone()));
        }
        let file = self.machine_file();
        match CertificatePair::read(&file, &file) {
            Ok(pair) if !is_due(&pair.info, Some(hosts), now) => return Ok(pair.followed_by(self.ca()?)),
            // Nobody here can renew it, and clients are better served with it than not at all.
            Ok(pair) if !self.has_key() => return Ok(pair.followed_by(self.ca()?)),
            // One that nobody can read is replaced as one that has expired is.
            Ok(_) | Err(_) => self.issue_machine(hosts, now)?,
        }
        // Its CA comes with it, so that a client can show people what they are asked to trust.
        Ok(CertificatePair::read(&file, &file)?.followed_by(self.ca()?))
    }

    /// Issues a certificate for a client.
    ///
    /// # Errors
    /// There is no CA, the name is none, or the disk refuses.
    pub fn client(&self, name: &str, now: SystemTime) -> Result<ClientCertificate, AuthorityError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > 63 || name.starts_with('.') || !name.chars().all(plain) {
            return Err(AuthorityError::BadName(name.to_owned()));
        }
        let floor = SystemTime::UNIX_EPOCH + FLOOR;
        let names = vec![name.to_owned()];
        let (certificate, key) = self.issue(
            name,
            names,
            ExtendedKeyUsagePurpose::ClientAuth,
            (floor, now.max(floor) + CLIENT_LIFE),
        )?;
        self.write(&format!("{CLIENTS}/{name}.pem"), &certificate)?;
        Ok(ClientCertificate { certificate, key })
    }

    /// Issues a certificate for a part of the machine, whose key another computer keeps. `request` is what [`part::request`] made
    /// there; the names in it do not count.
    ///
    /// # Errors
    /// There is no CA, it cannot be read, or the request is none.
    ///
    /// [`part::request`]: crate::part::request
    pub fn part(&self, request: &str, name: &str, now: SystemTime) -> Result<String, AuthorityError> {
        let request = CertificateSigningRequestParams::from_pem(request)?;
        Self::part_by(&self.issuer()?, &request, name, now)
    }

    pub(crate) fn part_by(
        issuer: &Issuer<'_, KeyPair>,
        request: &CertificateSigningRequestParams,
        name: &str,
        now: SystemTime,
    ) -> Result<String, AuthorityError> {
        let floor = SystemTime::UNIX_EPOCH + FLOOR;
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let params = params(
            name,
            vec![name.to_owned()],
            usages,
            (floor, now.max(floor) + CLIENT_LIFE),
        )?;
        Ok(params.signed_by(&request.public_key, issuer)?.pem())
    }

    /// All certificates of the folder: the CA, the machine's, those of clients by name.
    ///
    /// # Errors
    /// There is no CA, or the disk refuses.
    pub fn list(&self) -> Result<Vec<IssuedCertificate>, AuthorityError> {
        self.read(CA)?;
        let clients = self.folder.join(CLIENTS);
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&clients)
            .map_err(disk("read", &clients))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
            .collect();
        paths.sort();
        let all = [
            (CertificateKind::Ca, self.ca_file()),
            (CertificateKind::Machine, self.machine_file()),
        ];
        let all = all
            .into_iter()
            .chain(paths.into_iter().map(|path| (CertificateKind::Client, path)));
        let listed = all.filter_map(|(kind, path)| {
            let bytes = files::read(&path).ok()?;
            let info = CertificateInfo::of(&CertificateDer::from_pem_slice(&bytes).ok()?)?;
            Some(IssuedCertificate { kind, info, path })
        });
        Ok(listed.collect())
    }

    fn issue_machine(&self, hosts: &[String], now: SystemTime) -> Result<(), AuthorityError> {
        let now = now.max(SystemTime::UNIX_EPOCH + FLOOR);
        let name = hosts.first().map_or("mainstay", String::as_str);
        let (certificate, key) = self.issue(
            name,
            hosts.to_vec(),
            ExtendedKeyUsagePurpose::ServerAuth,
            // Clocks of clients may be behind.
            (now - DAY, now - DAY + MACHINE_LIFE),
        )?;
        self.write(MACHINE, &format!("{certificate}{key}"))
    }

    /// A new key and its certificate, in PEM.
    fn issue(
        &self,
        holder: &str,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
        (from, until): (SystemTime, SystemTime),
    ) -> Result<(String, String), AuthorityError> {
        let key = KeyPair::generate()?;
        let certificate = params(holder, names, vec![usage], (from, until))?.signed_by(&key, &self.issuer()?)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
        if self.exists() && !self.has_key() {
            return Err(AuthorityError::NoKey(self.folder.clone()));
        }
        let key = KeyPair::from_pem(&self.read(CA_KEY)?).map_err(|error| self.damaged(CA_KEY, error))?;
        Issuer::from_ca_cert_pem(&self.read(CA)?, key).map_err(|error| self.damaged(CA, error))
    }

    pub(crate) fn read(&self, name: &str) -> Result<String, AuthorityError> {
        let path = self.folder.join(name);
        match files::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|error| self.damaged(name, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && name == CA => {
                Err(AuthorityError::Missing(self.folder.clone()))
            }
            Err(error) => Err(disk("read", &path)(error)),
        }
    }

    fn write(&self, name: &str, content: &str) -> Result<(), AuthorityError> {
        let path = self.folder.join(name);
        files::write(&path, content).map_err(disk("write", &path))
    }

    pub(crate) fn damaged(&self, name: &str, why: impl ToString) -> AuthorityError {
        AuthorityError::Damaged {
            path: self.folder.join(name),
            why: why.to_string(),
        }
    }
}

/// Content of a certificate that the CA is to sign.
fn params(
    holder: &str,
    names: Vec<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    (from, until): (SystemTime, SystemTime),
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, short(holder));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (from.into(), until.into());
    Ok(params)
}

/// As much of a name as a common name may have (RFC 5280, ub-common-name). Who it is for stands among the alternative names.
fn short(name: &str) -> &str {
    name.get(..name.len().min(64)).unwrap_or(name)
}

/// Writes what a client needs to `NAME.pem` and `NAME.key` in a folder, for its owner alone.
///
/// # Errors
/// The disk refuses.
pub fn write_client(folder: &Path, name: &str, made: &ClientCertificate) -> Result<[PathBuf; 2], AuthorityError> {
    let paths = ["pem", "key"].map(|extension| folder.join(format!("{name}.{extension}")));
    for (path, content) in paths.iter().zip([&made.certificate, &made.key]) {
        files::write(path, content).map_err(disk("write", path))?;
    }
    Ok(paths)
}

/// Name of this host; empty if it has none.
#[must_use]
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.unwrap_or_default()
}

/// Names and addresses by which clients reach a machine on this host, the one that people would use first. `told`: the name by
/// which it is found on the local network; some clients look for it with dashes instead of dots.
#[must_use]
pub fn hosts(fqdn: &str, told: &str) -> Vec<String> {
    let mut hosts = Vec::from_iter((!fqdn.is_empty()).then(|| fqdn.to_owned()));
    let host = host_name();
    if !host.is_empty() {
        let local = (!host.contains('.')).then(|| format!("{host}.local"));
        hosts.push(host);
        hosts.extend(local);
    }
    hosts.extend(
        [told.to_owned(), told.replace('.', "-")]
            .into_iter()
            .filter(|name| !name.is_empty()),
    );
    hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        let v6 = address.as_sockaddr_in6().map(|address| address.ip());
        // Nobody can dial a link-local address without naming an interface, which no certificate does.
        let v6 = v6.filter(|ip| !ip.is_unicast_link_local()).map(IpAddr::from);
        hosts.extend(v4.or(v6).map(|ip| ip.to_string()));
    }
    let mut seen = HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

/// True if the machine's certificate is to be renewed: for its time, or for `hosts`, if these are known.
#[must_use]
pub fn is_due(info: &CertificateInfo, hosts: Option<&[String]>, now: SystemTime) -> bool {
    let now = now.max(SystemTime::UNIX_EPOCH + FLOOR);
    let covered = |host: &String| match host.parse::<IpAddr>() {
        Ok(address) => info.addresses.contains(&address),
        Err(_) => info.names.contains(host),
    };
    now < info.not_before || now + RENEW_BEFORE > info.not_after || !hosts.into_iter().flatten().all(covered)
}

pub(crate) fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthorityError + use<> {
    let path = path.to_owned();
    move |source| AuthorityError::Disk { action, path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn set(hosts: &[&str]) -> Vec<String> {
        hosts.iter().map(|host| (*host).to_owned()).collect()
    }

    #[test]
    fn a_certificate_is_renewed_well_before_its_end_and_when_the_host_has_other_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::at(folder.path().join("keys/rover"));
        let now = SystemTime::UNIX_EPOCH + FLOOR + 10 * DAY;
        let home = set(&["rover", "localhost", "127.0.0.1"]);
        assert!(matches!(authority.machine(&home, now), Err(AuthorityError::Missing(_))));
        authority.init("rover", &home, now).expect("made");
        assert!(matches!(
            authority.init("rover", &home, now),
            Err(AuthorityError::Exists(_))
        ));
        let serial = |hosts: &[String], now| authority.machine(hosts, now).expect("one").info.serial;
        let first = serial(&home, now);
        assert_eq!(serial(&home, now + 200 * DAY), first);
        // A subset of its names, and a clock that was never set, are no reason.
        assert_eq!(serial(&set(&["rover"]), now), first);
        let second = serial(&home, now + 270 * DAY);
        assert_ne!(second, first);
        let third = serial(&set(&["rover", "10.0.0.5"]), now + 270 * DAY);
        assert_ne!(third, second);
        // A year ahead, and back again.
        let ahead = serial(&set(&["rover"]), now + 700 * DAY);
        let back = serial(&set(&["rover"]), now);
        assert_ne!(ahead, back);
        let unset = authority
            .machine(&set(&["rover"]), SystemTime::UNIX_EPOCH)
            .expect("one")
            .info;
        assert_eq!(serial(&set(&["rover"]), SystemTime::UNIX_EPOCH), unset.serial);
        assert!(unset.not_before <= SystemTime::UNIX_EPOCH + FLOOR);
    }

    #[test]
    fn all_that_is_issued_is_listed_and_its_owners_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::at(folder.path().join("keys/rover"));
        let now = SystemTime::UNIX_EPOCH + FLOOR + DAY;
        authority.init("rover", &set(&["rover"]), now).expect("made");
        let made = authority.client("laptop", now).expect("issued");
        let files = write_client(folder.path(), "laptop", &made).expect("written");
        for bad in ["", "../x", ".", "a b", &"x".repeat(64), "ä"] {
            assert!(
                matches!(authority.client(bad, now), Err(AuthorityError::BadName(_))),
                "{bad}"
            );
        }
        let listed = authority.list().expect("a list");
        let shown: Vec<_> = listed.iter().map(|one| (one.kind, one.info.label())).collect();
        assert_eq!(
            shown,
            [
                (CertificateKind::Ca, "CN=Mainstay CA of rover".to_owned()),
                (CertificateKind::Machine, "rover".to_owned()),
                (CertificateKind::Client, "laptop".to_owned()),
            ]
        );
        assert!(listed.iter().all(|one| one.info.issuer == "CN=Mainstay CA of rover"));
        let pair = CertificatePair::read(&files[0], &files[1]).expect("they belong together");
        assert_eq!(pair.info.names, ["laptop"]);
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(
            (mode(authority.folder()), mode(&authority.folder().join(CA_KEY))),
            (0o700, 0o600)
        );
        assert_eq!((mode(&files[1]), mode(&authority.machine_file())), (0o600, 0o600));
    }
}
