//! Files of a part: what machine it belongs to, its certificate with the key, and the machine's authority. The main part's list
//! of its sub-parts is here, too.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use mainstay_model::membership::{Membership, PartRole, main_name};
use mainstay_pki::authority::{Authority, AuthorityError};
use mainstay_pki::certificate::CertificateInfo;
use mainstay_pki::{files, part};
use nix::fcntl::{Flock, FlockArg};

pub use crate::folder_error::FolderError;
use crate::handover::HandoverError;
use crate::record::Record;

pub(crate) const MACHINE: &str = "machine.json";
/// Certificate of a sub-part and its key in one file, so that both are replaced at once.
pub(crate) const CERTIFICATE: &str = "part.pem";
/// The same of a main part: another file, so that `machine.json` alone says which of the two this computer is.
pub(crate) const MAIN_CERTIFICATE: &str = "main.pem";
pub(crate) const AUTHORITY: &str = "ca.pem";
/// Folder of the machine's CA where it was not made by this computer.
pub(crate) const CA_FOLDER: &str = "ca";
/// Name of a main part that was never another part.
pub(crate) const FIRST: &str = "main";
const LOCK: &str = "lock";
const HANDED_DOWN: &str = "from-main.yaml";
/// Content of that file before there is something.
const NOTHING: &str = "{}\n";

/// Folder of a part.
#[derive(Debug, Clone)]
pub struct PartFolder {
    path: PathBuf,
}

/// What a computer gets when it joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// Id of the machine.
    pub machine_id: String,
    /// Name of the machine.
    pub machine: String,
    /// Name of the part.
    pub part: String,
    /// Term of the main part.
    pub term: u64,
    /// The machine's authority, in PEM.
    pub authority: String,
    /// Certificate of the part, in PEM.
    pub certificate: String,
}

impl PartFolder {
    /// Files in a folder, which need not be there.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// File that says what this computer is a part of.
    #[must_use]
    pub fn machine_file(&self) -> PathBuf {
        self.path.join(MACHINE)
    }

    /// File of the certificate of a sub-part, and its key.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.path.join(CERTIFICATE)
    }

    /// File of the certificate of a main part, and its key.
    #[must_use]
    pub fn main_certificate_file(&self) -> PathBuf {
        self.path.join(MAIN_CERTIFICATE)
    }

    /// File of the machine's authority.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.path.join(AUTHORITY)
    }

    /// What this computer is a part of; `None`: nothing. Blocks.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn read(&self) -> Result<Option<Membership>, FolderError> {
        let file = self.machine_file();
        let bytes = match files::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(disk("read", &file)(error)),
        };
        let record = Record::read(&bytes).map_err(|why| self.damaged(file, why))?;
        let authority = part::authority(&self.authority_file());
        let authority = authority.map_err(|error| self.damaged(self.authority_file(), error.to_string()))?;
        let authority = CertificateInfo::of(&authority)
            .map(|info| info.key_id)
            .unwrap_or_default();
        Ok(Some(record.membership(authority, self.path.clone())))
    }

    /// A damaged file: to join anew is the cure for a sub-part alone.
    fn damaged(&self, path: PathBuf, why: String) -> FolderError {
        match self.handed_ca().has_key() || self.main_certificate_file().exists() {
            true => FolderError::MainDamaged { path, why },
            false => FolderError::Damaged { path, why },
        }
    }

    /// Checks that no machine's CA is here of which nobody knows the machine: what would clear it away waits.
    fn check_ca_is_known(&self, known: &Result<Option<Membership>, FolderError>) -> Result<(), FolderError> {
        match known {
            Err(_) | Ok(None) if self.handed_ca().has_key() => Err(FolderError::LostRecord {
                ca: self.handed_ca().folder().to_owned(),
                record: self.machine_file(),
            }),
            _ => Ok(()),
        }
    }

    /// Makes this computer the main part of a new machine, with a certificate by its CA.
    ///
    /// # Errors
    /// It is a part already, there is no CA, or the disk refuses.
    pub fn init(&self, machine: &str, ca: &Authority, now: SystemTime) -> Result<Membership, FolderError> {
        let _lock = self.lock()?;
        let known = self.read();
        self.check_ca_is_known(&known)?;
        if let Some(known) = known? {
            return Err(FolderError::Member(known.text()));
        }
        // What a handover may have left that was never finished.
        self.drop_ca()?;
        self.found(machine, FIRST, ca, now)
    }

    /// A new machine, whose main part this computer is, in place of what it was.
    pub(crate) fn found(
        &self,
        machine: &str,
        part: &str,
        ca: &Authority,
        now: SystemTime,
    ) -> Result<Membership, FolderError> {
        let machine_id = uuid::Uuid::new_v4().to_string();
        self.certify_main(ca, &main_name(&machine_id, 1), now)?;
        self.write(AUTHORITY, &ca.ca_pem()?)?;
        self.begin(&Record {
            machine_id,
            machine: machine.to_owned(),
            part: part.to_owned(),
            term: 1,
            sub_parts: Some(Vec::new()),
            ..Record::default()
        })
    }

    /// Certificate of a main part, with a new key.
    pub(crate) fn certify_main(&self, ca: &Authority, name: &str, now: SystemTime) -> Result<(), FolderError> {
        let request = part::request().map_err(AuthorityError::from)?;
        let certificate = ca.part(&request.request, name, now)?;
        self.write(MAIN_CERTIFICATE, &format!("{certificate}{}", request.key))
    }

    /// Checks that this computer may join a machine; with `replace` it leaves the one that it is a part of.
    ///
    /// # Errors
    /// It is a part already, or is handing the role of its main part over; or its files are damaged.
    pub fn check_joins(&self, replace: bool) -> Result<(), FolderError> {
        let known = self.read();
        if let Ok(Some(known)) = &known
            && let PartRole::HandingOver(handover) = &known.role
        {
            return Err(HandoverError::Other(handover.to.clone()).into());
        }
        self.check_ca_is_known(&known)?;
        match (known, replace) {
            (Ok(Some(known)), false) => Err(FolderError::Member(known.text())),
            (Err(damaged), false) => Err(damaged),
            // Joining is the cure for files that are damaged.
            (Ok(_) | Err(_), true) | (Ok(None), false) => Ok(()),
        }
    }

    /// Makes this computer a sub-part, with the key that its certificate is for. A former main part that was restored from a copy
    /// of its disk has the key of the machine's CA in `keys` still, and gives it up.
    ///
    /// # Errors
    /// It is a part already, what it got is not for its key, or the disk refuses.
    pub fn join(
        &self,
        admitted: Admitted,
        key: &str,
        replace: bool,
        keys: &Authority,
    ) -> Result<Membership, FolderError> {
        let _lock = self.lock()?;
        self.check_joins(replace)?;
        self.write(AUTHORITY, &admitted.authority)?;
        self.write(CERTIFICATE, &format!("{}{key}", admitted.certificate))?;
        self.offer_handed_down()?;
        let membership = self.begin(&Record {
            machine_id: admitted.machine_id,
            machine: admitted.machine,
            part: admitted.part,
            term: admitted.term,
            shares_authority: self.is_authority(keys),
            ..Record::default()
        })?;
        // Last: until then it may be the main part, or was refused to join.
        self.clear_staged()?;
        if membership.shares_authority {
            keys.forget_key()?;
        }
        Ok(membership)
    }

    /// Makes the file for what is handed down, if there is none: an `include` of it must not fail.
    pub(crate) fn offer_handed_down(&self) -> Result<(), FolderError> {
        match self.handed_down().exists() {
            true => Ok(()),
            false => self.write(HANDED_DOWN, NOTHING),
        }
    }

    /// File of the config that the main part hands down, for `include` in the config of the sub-part.
    #[must_use]
    pub fn handed_down(&self) -> PathBuf {
        self.path.join(HANDED_DOWN)
    }

    /// Takes a config from the main part. `sources`: the files of the config that runs, of which it has to be one. True if it is
    /// another than before.
    ///
    /// # Errors
    /// This is no sub-part, its config does not include the file, or the disk refuses.
    pub fn take_config(&self, config: &str, sources: &[PathBuf]) -> Result<bool, FolderError> {
        let _lock = self.lock()?;
        match self.read()? {
            Some(membership) if !membership.is_main() => {}
            None | Some(_) => return Err(FolderError::NotSub),
        }
        let file = self.handed_down();
        if !sources.contains(&file) {
            return Err(FolderError::NotIncluded(file));
        }
        let config = if config.is_empty() { NOTHING } else { config };
        if files::read(&file).is_ok_and(|before| before == config.as_bytes()) {
            return Ok(false);
        }
        self.write(HANDED_DOWN, config)?;
        Ok(true)
    }

    /// This computer is a part of nothing from now on. True if it was of something.
    ///
    /// # Errors
    /// It is handing the role of its main part over, or the disk refuses.
    pub fn leave(&self) -> Result<bool, FolderError> {
        let _lock = self.lock()?;
        let known = self.read();
        self.check_ca_is_known(&known)?;
        // Whether its key of the CA is still of use, nobody knows.
        if let Ok(Some(membership)) = known
            && let PartRole::HandingOver(handover) = membership.role
        {
            return Err(HandoverError::Other(handover.to).into());
        }
        let was = self.machine_file().exists();
        self.drop_drafts()?;
        for name in [MACHINE, CERTIFICATE, MAIN_CERTIFICATE, AUTHORITY] {
            self.drop_file(name)?;
        }
        self.drop_ca()?;
        Ok(was)
    }

    /// Removes what a write has left that broke off, with the private keys in it. All writes are under the lock.
    pub(crate) fn drop_drafts(&self) -> Result<(), FolderError> {
        files::remove_drafts(&self.path, "").map_err(disk("clear", &self.path))
    }

    pub(crate) fn drop_file(&self, name: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes the machine's CA, if this computer has it from another.
    pub(crate) fn drop_ca(&self) -> Result<(), FolderError> {
        let path = self.path.join(CA_FOLDER);
        // The key first: should the rest fail, that is gone.
        Authority::at(path.clone()).forget_key()?;
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// CA with which the main part takes in others: the one that it was handed with its role, else that of this computer's own
    /// `keys`, unless that is another one than the machine's.
    #[must_use]
    pub fn signing(&self, keys: &Authority) -> Authority {
        let handed = self.handed_ca();
        // A handover may have ended after the one that was handed had gone.
        match handed.exists() || (keys.exists() && !self.is_authority(keys)) {
            true => handed,
            false => keys.clone(),
        }
    }

    /// True for the CA of the machine.
    pub(crate) fn is_authority(&self, ca: &Authority) -> bool {
        let known = part::authority(&self.authority_file()).ok();
        let known = known.and_then(|der| part::key_digest(&der));
        let key = ca.ca().ok().and_then(|der| part::key_digest(&der));
        key.is_some() && key == known
    }

    pub(crate) fn handed_ca(&self) -> Authority {
        Authority::at(self.path.join(CA_FOLDER))
    }

    /// Writes the first record, when all else is there, and reads it as others will.
    pub(crate) fn begin(&self, record: &Record) -> Result<Membership, FolderError> {
        self.save_record(record)?;
        let unreadable = || FolderError::Damaged {
            path: self.machine_file(),
            why: "it is gone".to_owned(),
        };
        self.read()?.ok_or_else(unreadable)
    }

    pub(crate) fn save(&self, membership: &Membership) -> Result<(), FolderError> {
        self.save_record(&Record::of(membership))
    }

    fn save_record(&self, record: &Record) -> Result<(), FolderError> {
        let failed = |error: serde_json::Error| disk("write", &self.machine_file())(error.into());
        let text = serde_json::to_string_pretty(record).map_err(failed)?;
        self.write(MACHINE, &text)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        files::write(&path, content).map_err(disk("write", &path))
    }

    /// Keeps others from changing the files: the machine and the command line both do.
    pub(crate) fn lock(&self) -> Result<Flock<std::fs::File>, FolderError> {
        files::make_folder(&self.path).map_err(disk("make", &self.path))?;
        let path = self.path.join(LOCK);
        let file = files::open_lock(&path).map_err(disk("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| disk("lock", &path)(error.into()))
    }
}

pub(crate) fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError + use<> {
    let path = path.to_owned();
    move |source| FolderError::Disk { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main_part(folder: &Path) -> (PartFolder, Authority) {
        let ca = Authority::at(folder.join("keys"));
        ca.init("rover", &["rover".to_owned()], SystemTime::now())
            .expect("made");
        (PartFolder::at(folder.join("part")), ca)
    }

    fn names(folder: &PartFolder) -> Vec<(String, String)> {
        let Some(PartRole::Main(parts)) = folder.read().expect("readable").map(|membership| membership.role) else {
            panic!("a main part");
        };
        parts.into_iter().map(|part| (part.name, part.address)).collect()
    }

    #[test]
    fn a_computer_joins_is_replaced_and_removed() {
        let place = tempfile::tempdir().expect("a folder");
        let now = SystemTime::now();
        let (main, ca) = main_part(place.path());
        assert!(matches!(main.check_invited("arm", false), Err(FolderError::NotMain(_))));
        assert_eq!(main.read().expect("readable"), None);
        main.init("rover", &ca, now).expect("made");
        assert!(matches!(main.init("rover", &ca, now), Err(FolderError::Member(_))));
        main.check_invited("arm", false).expect("free");
        assert!(matches!(
            main.check_invited("Arm", false),
            Err(FolderError::BadName { .. })
        ));

        let sub = PartFolder::at(place.path().join("sub"));
        let none = Authority::at(place.path().join("none"));
        let request = part::request().expect("random numbers");
        let admitted = main
            .admit(&ca, "arm", (&request.request, "10.0.0.7:8080"), now)
            .expect("admitted");
        let membership = sub.join(admitted.clone(), &request.key, false, &none).expect("joined");
        assert_eq!(membership.text(), "part arm of rover");
        assert_eq!(sub.read().expect("readable"), Some(membership));
        assert!(matches!(
            sub.join(admitted, &request.key, false, &none),
            Err(FolderError::Member(_))
        ));
        assert!(matches!(sub.check_invited("leg", false), Err(FolderError::NotMain(_))));
        let pair = mainstay_pki::pair::CertificatePair::read(&sub.certificate_file(), &sub.certificate_file());
        assert!(pair.is_ok(), "{pair:?}");

        assert!(matches!(
            main.check_invited("arm", false),
            Err(FolderError::Taken { .. })
        ));
        main.check_invited("arm", true).expect("to be replaced");
        let other = part::request().expect("random numbers");
        main.admit(&ca, "arm", (&other.request, "10.0.0.8:8080"), now)
            .expect("admitted");
        assert_eq!(names(&main), [("arm".to_owned(), "10.0.0.8:8080".to_owned())]);
        main.set_address("arm", "arm.local:8080").expect("known");
        assert_eq!(names(&main), [("arm".to_owned(), "arm.local:8080".to_owned())]);
        let error = main.remove("leg").expect_err("unknown");
        assert_eq!(error.to_string(), "rover has no part `leg`; it has arm");
        main.remove("arm").expect("known");
        assert!(names(&main).is_empty());
        assert!(sub.leave().expect("left") && !sub.leave().expect("left"));
        assert_eq!(sub.read().expect("readable"), None);
    }

    #[test]
    fn a_damaged_file_is_said_and_harms_nobody() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = PartFolder::at(place.path().to_owned());
        for text in [
            "",
            "{}",
            "[]",
            "{\"machine_id\": 7}",
            "\u{0}",
            "{\"machine_id\":\"m\",\"machine\":\"r\",\"part\":\"../x\"}",
        ] {
            std::fs::write(folder.machine_file(), text).expect("written");
            assert!(matches!(folder.read(), Err(FolderError::Damaged { .. })), "{text}");
            assert!(
                folder.check_joins(false).is_err() && folder.check_joins(true).is_ok(),
                "{text}"
            );
        }
    }
}
