//! Profiles: machines on the network that `mainstay login` has stored, each with its address, its key and what it is trusted by.
//!
//! A profile holds a secret, so it is a file of its owner's alone, and one that anybody else could have read or written is
//! not used.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use mainstay_model::suggest::nearest;
use mainstay_process::runtime_dir;
use nix::libc;
use serde_json::{Value, json};

use crate::connection::{ApiKey, NetworkMachine};
use crate::failure::CliError;

/// Longest profile that is read, in bytes: a certificate is the most of it.
const MAX_LEN: u64 = 64 << 10;
/// Longest name, in bytes.
const MAX_NAME: usize = 64;
const ENDING: &str = "json";

/// Name of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProfileName(String);

impl FromStr for ProfileName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let good =
            !text.is_empty() && text.len() <= MAX_NAME && !text.starts_with(['.', '-']) && text.chars().all(plain);
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err("a profile has a name of letters, digits, `.`, `_` and `-`, for example `rover`".to_owned()),
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Folder of the profiles of this user.
#[derive(Debug)]
pub struct Profiles {
    folder: PathBuf,
}

impl Profiles {
    /// The folder `mainstay/profiles` of the user's configuration.
    ///
    /// # Errors
    /// The environment does not say where that is.
    pub fn of_user() -> Result<Self, CliError> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = || variable("HOME").map(|home| home.join(".config"));
        let base = variable("XDG_CONFIG_HOME").or_else(home).ok_or_else(|| {
            CliError::usage("profiles have no place, because HOME is not set; set it, or XDG_CONFIG_HOME")
        })?;
        Ok(Self {
            folder: base.join("mainstay/profiles"),
        })
    }

    /// True if there is a profile of this name, whatever is in it.
    pub fn has(&self, name: &ProfileName) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// File of a profile.
    pub fn path(&self, name: &ProfileName) -> PathBuf {
        self.folder.join(format!("{name}.{ENDING}"))
    }

    /// Names of all.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn names(&self) -> Result<Vec<ProfileName>, CliError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|error| failed(&self.folder, "cannot be read", &error))?,
        };
        let paths = entries.flatten().map(|entry| entry.path());
        let profiles = paths.filter(|path| path.extension().is_some_and(|ending| ending == ENDING));
        let mut names: Vec<_> = profiles
            .filter_map(|path| path.file_stem()?.to_str()?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Reads a profile, if it is this user's alone.
    ///
    /// # Errors
    /// There is none of this name, others may have read or written it, or it is none.
    pub fn read(&self, name: &ProfileName) -> Result<NetworkMachine, CliError> {
        let path = self.path(name);
        let file = match open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing(name)),
            opened => opened.map_err(|error| failed(&path, "cannot be opened", &error))?,
        };
        check_owned(
            &self.folder,
            &fs::metadata(&self.folder).map_err(|error| failed(&self.folder, "cannot be read", &error))?,
            0o022,
        )?;
        let found = file
            .metadata()
            .map_err(|error| failed(&path, "cannot be read", &error))?;
        check_owned(&path, &found, 0o077)?;
        let mut text = String::new();
        let read = file.take(MAX_LEN).read_to_string(&mut text);
        read.map_err(|error| failed(&path, "cannot be read", &error))?;
        let again = format!("mainstay login ADDRESS --name {name}");
        parse(&text).ok_or_else(|| {
            CliError::wrong(format!(
                "`{}` is no profile any more; make it anew:  {again}",
                path.display()
            ))
        })
    }

    /// Stores a profile, in place of an earlier one of this name. Nobody else can read it at any moment.
    ///
    /// # Errors
    /// The folder is somebody else's, or the disk refuses.
    pub fn write(&self, name: &ProfileName, machine: &NetworkMachine) -> Result<(), CliError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| failed(&self.folder, "cannot be made", &error))?;
        let folder = fs::metadata(&self.folder).map_err(|error| failed(&self.folder, "cannot be read", &error))?;
        check_owned(&self.folder, &folder, 0o022)?;
        let (path, fresh) = (
            self.path(name),
            self.folder.join(format!(".{name}.{}.new", std::process::id())),
        );
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(format!("{:#}\n", shown(machine)).as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|error| {
            let _left = fs::remove_file(&fresh);
            failed(&path, "cannot be written", &error)
        })
    }

    /// Removes a profile.
    ///
    /// # Errors
    /// There is none of this name, or the disk refuses.
    pub fn remove(&self, name: &ProfileName) -> Result<(), CliError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(name)),
            removed => removed.map_err(|error| failed(&path, "cannot be removed", &error)),
        }
    }

    fn missing(&self, name: &ProfileName) -> CliError {
        let known: Vec<String> = self
            .names()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        let hint = match (nearest(&name.0, known.iter().map(String::as_str)), known.is_empty()) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, true) => "there is none yet".to_owned(),
            (None, false) => format!("there are: {}", known.join(", ")),
        };
        CliError::usage(format!(
            "no profile `{name}` in {}; {hint}\n  make it:  mainstay login ADDRESS --name {name}",
            self.folder.display()
        ))
    }
}

/// Opens a file for reading: not what a link leads to, and nothing that waits, as a pipe does.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Checks that a file or folder is ours, and that nobody else has any of these permissions.
fn check_owned(path: &Path, found: &fs::Metadata, closed: u32) -> Result<(), CliError> {
    let (own, shown, mode) = (runtime_dir::uid(), path.display(), found.mode() & 0o777);
    if found.uid() != own {
        return Err(CliError::wrong(format!(
            "`{shown}` belongs to user {}, not to you ({own}), so it is not used\n  sudo rm -r {shown}, then log in again: mainstay login ADDRESS",
            found.uid()
        )));
    }
    if !found.is_dir() && !found.is_file() {
        return Err(CliError::wrong(format!(
            "`{shown}` is no file; remove it, and log in again: mainstay login ADDRESS"
        )));
    }
    if mode & closed == 0 {
        return Ok(());
    }
    Err(CliError::wrong(match found.is_dir() {
        true => format!(
            "other users can write into `{shown}` (mode {mode:03o}), so nothing in it is used\n  chmod 700 {shown}"
        ),
        false => format!(
            "other users can read `{shown}` (mode {mode:03o}), and it holds a key, so it is not used\n  chmod 600 {shown}; if somebody may have read it, have the key revoked: mainstay keys revoke ID"
        ),
    }))
}

fn failed(path: &Path, problem: &str, error: &io::Error) -> CliError {
    CliError::wrong(format!("`{}` {problem}: {error}", path.display()))
}

fn shown(machine: &NetworkMachine) -> Value {
    json!({
        "address": machine.address,
        "key_id": machine.key.as_ref().map(ApiKey::id),
        "key": machine.key.as_ref().map(ApiKey::secret),
        "ca": machine.ca,
        "insecure": machine.insecure,
    })
}

fn parse(text: &str) -> Option<NetworkMachine> {
    let stored: Value = serde_json::from_str(text).ok()?;
    let text = |key: &str| stored[key].as_str().map(str::to_owned);
    let key = match (text("key_id"), text("key")) {
        (Some(id), Some(secret)) => Some(ApiKey::new(&id, &secret)?),
        _ => None,
    };
    Some(NetworkMachine {
        address: text("address").filter(|address| !address.is_empty())?,
        key,
        ca: text("ca"),
        insecure: stored["insecure"].as_bool().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn machine(address: &str) -> NetworkMachine {
        NetworkMachine {
            address: address.to_owned(),
            key: "id:secret".parse().ok(),
            ca: Some("-----BEGIN".to_owned()),
            insecure: true,
        }
    }

    fn name(text: &str) -> ProfileName {
        text.parse().expect("a name")
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    #[test]
    fn a_profile_is_its_owners_alone_and_comes_back_as_it_was() {
        let home = tempfile::tempdir().expect("a folder");
        let profiles = Profiles {
            folder: home.path().join("mainstay/profiles"),
        };
        assert!(profiles.names().expect("none").is_empty());
        for address in ["rover:1", "rover:2"] {
            profiles.write(&name("rover"), &machine(address)).expect("written");
        }
        let path = profiles.path(&name("rover"));
        let mode_of = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        assert_eq!((mode_of(&path), mode_of(&profiles.folder)), (0o600, 0o700));
        let read = profiles.read(&name("rover")).expect("readable");
        assert_eq!(
            (read.address.as_str(), read.insecure, read.ca.as_deref()),
            ("rover:2", true, Some("-----BEGIN"))
        );
        let key = read.key.expect("a key");
        assert_eq!((key.id(), key.secret()), ("id", "secret"));
        assert_eq!(profiles.names().expect("one"), [name("rover")]);
        assert_eq!(fs::read_dir(&profiles.folder).expect("there").count(), 1);
        let missing = profiles.read(&name("rovr")).expect_err("none").message;
        assert!(missing.contains("did you mean `rover`?"), "{missing}");
        profiles.remove(&name("rover")).expect("removed");
        assert!(profiles.remove(&name("rover")).is_err() && !profiles.has(&name("rover")));
    }

    #[test]
    fn what_others_could_have_read_or_written_is_not_used() {
        let home = tempfile::tempdir().expect("a folder");
        let profiles = Profiles {
            folder: home.path().join("p"),
        };
        let rover = name("rover");
        profiles.write(&rover, &machine("rover:1")).expect("written");
        let path = profiles.path(&rover);
        let refused = || profiles.read(&rover).expect_err("refused").message;
        for open in [0o640, 0o604, 0o620, 0o602, 0o610] {
            mode(&path, open);
            let text = refused();
            assert!(
                text.contains("chmod 600") && !text.contains("secret"),
                "{open:o}: {text}"
            );
        }
        mode(&path, 0o400);
        assert!(profiles.read(&rover).is_ok());
        mode(&profiles.folder, 0o722);
        assert!(refused().contains("chmod 700"), "{}", refused());
        assert!(profiles.write(&rover, &machine("x:1")).is_err());
        mode(&profiles.folder, 0o755);
        assert!(profiles.read(&rover).is_ok());
        fs::rename(&path, home.path().join("elsewhere")).expect("moved");
        symlink(home.path().join("elsewhere"), &path).expect("linked");
        assert!(refused().contains("cannot be opened"), "{}", refused());
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert!(refused().contains("(mode"), "{}", refused());
        fs::remove_dir(&path).expect("removed");
        for text in ["", "[]", "{}", "{\"address\": 7}", "{\"address\": \"\"}"] {
            let _before = fs::remove_file(&path);
            fs::write(&path, text).expect("written");
            mode(&path, 0o600);
            assert!(refused().contains("make it anew"), "{text}: {}", refused());
        }
    }

    #[test]
    fn the_file_of_another_user_is_not_used() {
        let (_, found) = (Path::new("/"), fs::metadata("/").expect("there"));
        let refused = check_owned(Path::new("/"), &found, 0o022);
        // Tests may run as root.
        assert_eq!(refused.is_err(), runtime_dir::uid() != 0, "{refused:?}");
        if let Err(refused) = refused {
            assert!(refused.message.contains("belongs to user 0"), "{}", refused.message);
        }
    }

    #[test]
    fn a_name_is_never_a_path() {
        for good in ["rover", "r.local", "10.0.0.7", "a_b-c"] {
            assert_eq!(name(good).to_string(), good);
        }
        for bad in ["", ".", "..", "../a", "a/b", "-x", "a b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<ProfileName>().is_err(), "{bad}");
        }
    }
}
