//! The user that a module runs as, and what must belong to it: its data, the directory of its sockets, and what its tarball
//! was unpacked into.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{Gid, Group, Uid, User, geteuid};

use super::ConfinementError;
use crate::launch::Launch;

/// User and groups of a module's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub uid: u32,
    /// First group.
    pub gid: u32,
    /// Group ids, the primary one included.
    groups: Vec<libc::gid_t>,
    name: String,
    home: PathBuf,
}

/// Looks a user up; `None` if the core runs as that user already, and no other group is asked for.
pub(super) fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Credentials>, ConfinementError> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let own = geteuid();
    let account = match user {
        Some(name) => account(name)?,
        None => User::from_uid(own).ok().flatten().ok_or_else(|| {
            ConfinementError(format!(
                "the core's own user {own} has no account; give `sandbox.user` as well"
            ))
        })?,
    };
    let gid = match group {
        Some(name) => gid(name)?,
        None => account.gid,
    };
    if !own.is_root() {
        if account.uid == own && gid == nix::unistd::getegid() {
            return Ok(None);
        }
        return Err(ConfinementError(format!(
            "cannot run it as user `{}` (`sandbox.user`): the core runs as user {own}, and only root may become somebody \
             else; run the core as root, or remove `user` and `group`",
            account.name
        )));
    }
    let name = CString::new(account.name.as_str()).unwrap_or_default();
    let groups = nix::unistd::getgrouplist(&name, gid)
        .map_err(|error| ConfinementError(format!("cannot tell the groups of user `{}`: {error}", account.name)))?;
    Ok(Some(Credentials {
        uid: account.uid.as_raw(),
        gid: gid.as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
        name: account.name,
        home: account.dir,
    }))
}

fn account(name: &str) -> Result<User, ConfinementError> {
    let found = match name.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(name),
    };
    match found {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(ConfinementError(format!(
            "there is no user `{name}` (`sandbox.user`); make it, for example with `useradd --system {name}`"
        ))),
        Err(error) => Err(ConfinementError(format!(
            "cannot look up user `{name}` (`sandbox.user`): {error}"
        ))),
    }
}

fn gid(name: &str) -> Result<Gid, ConfinementError> {
    let found = match name.parse() {
        Ok(number) => return Ok(Gid::from_raw(number)),
        Err(_) => Group::from_name(name),
    };
    match found {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(ConfinementError(format!(
            "there is no group `{name}` (`sandbox.group`); make it, for example with `groupadd --system {name}`"
        ))),
        Err(error) => Err(ConfinementError(format!(
            "cannot look up group `{name}` (`sandbox.group`): {error}"
        ))),
    }
}

impl Credentials {
    /// True if the kernel counts this user's processes apart from the core's.
    pub fn is_apart(&self) -> bool {
        self.uid != 0 && self.uid != geteuid().as_raw()
    }

    /// Gives the module's own directories to its user, makes sure that it can get to them and to its program, and sets
    /// what a log-in would, unless `configured` does.
    pub(super) fn prepare_for_user(
        &self,
        launch: &mut Launch,
        sockets: &Path,
        configured: &BTreeMap<String, String>,
    ) -> Result<(), ConfinementError> {
        let own = [
            ("data directory", launch.data.as_path(), "`--home`"),
            ("sockets", sockets, "XDG_RUNTIME_DIR"),
        ];
        // Its first run may well write there.
        let unpacked = launch.unpacked.as_deref();
        let unpacked = unpacked.map(|folder| ("unpacked tarball", folder, "`--home`"));
        for (what, path, place) in own.into_iter().chain(unpacked) {
            // What lies above is the core's; it may be passed through, not read.
            if let Some(above) = path.parent() {
                let _as_it_was = let_through(above);
                let _as_it_was = above.parent().map(let_through);
            }
            give(path, self.uid, self.gid).map_err(|error| {
                ConfinementError(format!(
                    "cannot give `{}` to user `{}`: {error}",
                    path.display(),
                    self.name
                ))
            })?;
            self.reaches(path, what, place)?;
        }
        self.reaches(&launch.executable, "program", "`executable_path`")?;
        self.reaches(&launch.directory.join("."), "working directory", "`executable_path`")?;
        for (key, value) in [
            ("HOME", self.home.clone().into_os_string()),
            ("USER", self.name.clone().into()),
            ("LOGNAME", self.name.clone().into()),
        ] {
            if !configured.contains_key(key) {
                launch.env.insert(key.to_owned(), value);
            }
        }
        Ok(())
    }

    /// Looks for a directory on the way to `path` that the user cannot pass: the start would fail with a riddle.
    fn reaches(&self, path: &Path, what: &str, place: &str) -> Result<(), ConfinementError> {
        // Through symlinks, which have no rights of their own.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let shut = real.ancestors().skip(1).find(|above| {
            fs::metadata(above).is_ok_and(|metadata| !self.may_pass(metadata.uid(), metadata.gid(), metadata.mode()))
        });
        match shut {
            None => Ok(()),
            Some(shut) => Err(ConfinementError(format!(
                "user `{}` (`sandbox.user`) cannot pass through `{shut}` to its {what} `{}`: `chmod o+x {shut}`, or move \
                 that elsewhere ({place})",
                self.name,
                path.display(),
                shut = shut.display()
            ))),
        }
    }

    fn may_pass(&self, uid: u32, gid: u32, mode: u32) -> bool {
        let shift = if uid == self.uid {
            6
        } else if self.gid == gid || self.groups.contains(&gid) {
            3
        } else {
            0
        };
        self.uid == 0 || mode >> shift & 1 == 1
    }

    /// Becomes the user, for ever. In the child: three system calls, not the wrappers of the C library, which would look
    /// for the other threads of the parent.
    #[cfg(target_os = "linux")]
    #[expect(
        unsafe_code,
        reason = "the wrappers in nix change all threads, which this child does not have"
    )]
    pub(super) fn enter(&self) -> io::Result<()> {
        let checked = |done: libc::c_long| match done {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        };
        // SAFETY: the kernel reads the list, whose length goes with it.
        checked(unsafe { libc::syscall(calls::SETGROUPS, self.groups.len(), self.groups.as_ptr()) })?;
        // SAFETY: integers only.
        checked(unsafe { libc::syscall(calls::SETRESGID, self.gid, self.gid, self.gid) })?;
        // SAFETY: integers only.
        checked(unsafe { libc::syscall(calls::SETRESUID, self.uid, self.uid, self.uid) })
    }

    /// Becomes the user, for ever.
    #[cfg(not(target_os = "linux"))]
    #[expect(unsafe_code, reason = "setgroups has no safe wrapper on this system")]
    pub(super) fn enter(&self) -> io::Result<()> {
        let count = libc::c_int::try_from(self.groups.len()).unwrap_or_default();
        // SAFETY: the system reads the list, whose length goes with it.
        if unsafe { libc::setgroups(count, self.groups.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        nix::unistd::setgid(Gid::from_raw(self.gid))?;
        Ok(nix::unistd::setuid(Uid::from_raw(self.uid))?)
    }
}

/// The calls that take ids of 32 bits: old machines had them twice.
#[cfg(target_os = "linux")]
mod calls {
    use nix::libc;

    #[cfg(target_pointer_width = "64")]
    pub(super) use libc::{SYS_setgroups as SETGROUPS, SYS_setresgid as SETRESGID, SYS_setresuid as SETRESUID};
    #[cfg(target_pointer_width = "32")]
    pub(super) use libc::{SYS_setgroups32 as SETGROUPS, SYS_setresgid32 as SETRESGID, SYS_setresuid32 as SETRESUID};
}

/// Lets others pass through a directory of ours. What cannot be changed is looked at later, with all that lies above.
fn let_through(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = fs::metadata(directory)?;
    let mode = metadata.mode() | 0o011;
    if mode == metadata.mode() || metadata.uid() != geteuid().as_raw() {
        return Ok(());
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(mode & 0o7777))
}

/// Gives `path`, and all below it if it was somebody else's, to a user. Symlinks are given, not followed.
fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if (metadata.uid(), metadata.gid()) == (uid, gid) {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    lchown(path, Some(uid), Some(gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uid: u32) -> Credentials {
        Credentials {
            uid,
            gid: 50,
            groups: vec![50, 60],
            name: "lidar".into(),
            home: "/nonexistent".into(),
        }
    }

    #[test]
    fn a_directory_is_passed_by_the_right_that_counts_for_the_user() {
        for (uid, gid, mode, expected) in [
            (7, 0, 0o700, true),
            (7, 0, 0o677, false),
            (0, 60, 0o710, true),
            (0, 60, 0o701, false),
            (0, 50, 0o710, true),
            (0, 0, 0o711, true),
            (0, 0, 0o770, false),
        ] {
            assert_eq!(identity(7).may_pass(uid, gid, mode), expected, "{uid} {gid} {mode:o}");
        }
        assert!(identity(0).may_pass(9, 9, 0));
    }

    #[test]
    fn a_shut_directory_is_named_with_the_cure() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).expect("writable");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("ours");
        let stranger = identity(geteuid().as_raw() + 77);
        let refused = stranger
            .reaches(&inner, "data directory", "`--home`")
            .expect_err("shut");
        let cure = format!(
            "chmod o+x {}",
            fs::canonicalize(folder.path()).expect("there").display()
        );
        assert!(refused.to_string().contains(&cure), "{refused}");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).expect("ours");
        assert_eq!(stranger.reaches(&inner, "data directory", "`--home`"), Ok(()));
    }

    #[test]
    fn a_user_that_does_not_exist_is_refused_with_the_cure() {
        let refused = find(Some("nobody-of-that-name"), None).expect_err("no such user");
        assert!(refused.to_string().contains("useradd"), "{refused}");
        assert_eq!(find(None, None), Ok(None));
    }
}
