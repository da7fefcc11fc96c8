//! Paths that a module cannot see: a mount namespace of its own, with nothing mounted over them.
//!
//! Root makes one at once; others need a user namespace around it. Landlock could not do this: what it refuses can still
//! be looked at, and nothing below an allowed path can be taken out again.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{getegid, geteuid, write};

use super::ConfinementError;

/// Rights by which root would look behind what is mounted: CAP_DAC_READ_SEARCH (files by handle), CAP_SYS_MODULE,
/// CAP_SYS_PTRACE (the roots of other processes) and CAP_SYS_ADMIN (mounting). Numbers of capabilities(7).
const GIVEN_UP: [libc::c_ulong; 4] = [2, 16, 19, 21];

/// The paths, and what the namespace needs.
#[derive(Debug)]
pub(super) struct HiddenPaths {
    paths: Vec<(CString, FileKind)>,
    /// Content of `uid_map` and `gid_map` for an ordinary user; none for root.
    id_maps: Option<(CString, CString)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileKind {
    Directory,
    File,
}

impl HiddenPaths {
    /// Looks the paths up.
    pub(super) fn prepare(paths: &[PathBuf]) -> Result<Self, ConfinementError> {
        let paths = paths.iter().map(|path| {
            let refused = |problem: &dyn std::fmt::Display| {
                ConfinementError(format!(
                    "cannot hide `{}` (`sandbox.hidden`): {problem}; make that path, or remove it from the list",
                    path.display()
                ))
            };
            // What a symlink leads to is hidden: over the link itself nothing can be mounted.
            let real = fs::canonicalize(path).map_err(|error| refused(&error))?;
            let kind = match real.is_dir() {
                true => FileKind::Directory,
                false => FileKind::File,
            };
            let real = CString::new(real.as_os_str().as_bytes()).map_err(|error| refused(&error))?;
            Ok((real, kind))
        });
        let map = |id: u32| CString::new(format!("{id} {id} 1")).expect("digits hold no NUL");
        let ordinary = !geteuid().is_root();
        Ok(Self {
            paths: paths.collect::<Result<_, _>>()?,
            id_maps: ordinary.then(|| (map(geteuid().as_raw()), map(getegid().as_raw()))),
        })
    }

    /// Moves the calling process into a namespace without the paths. In the child: only system calls.
    pub(super) fn enter(&self) -> io::Result<()> {
        match &self.id_maps {
            Some((uids, gids)) => {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
                fill(c"/proc/self/setgroups", c"deny")?;
                fill(c"/proc/self/uid_map", uids)?;
                fill(c"/proc/self/gid_map", gids)?;
            }
            None => unshare(CloneFlags::CLONE_NEWNS)?,
        }
        // What the machine mounts later still shows here; what is mounted here shows nowhere else.
        mount(None, c"/", None, libc::MS_REC | libc::MS_SLAVE, None)?;
        let shut = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        for (path, kind) in &self.paths {
            match kind {
                FileKind::Directory => mount(Some(c"tmpfs"), path, Some(c"tmpfs"), shut, Some(c"mode=0,size=4k"))?,
                FileKind::File => mount(Some(c"/dev/null"), path, None, libc::MS_BIND, None)?,
            }
        }
        for capability in GIVEN_UP {
            give_up(capability)?;
        }
        Ok(())
    }
}

fn fill(path: &CStr, value: &CStr) -> nix::Result<()> {
    let file = open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(&file, value.to_bytes()).map(drop)
}

/// mount(2) without the copies of paths that the wrapper in nix may make.
#[expect(unsafe_code, reason = "runs between fork and exec, where nothing may be allocated")]
fn mount(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    data: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is null or to a text that ends and outlives the call.
    let done = unsafe {
        libc::mount(
            pointer(source),
            target.as_ptr(),
            pointer(kind),
            flags,
            pointer(data).cast(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes a right out of all that this process may ever have again.
#[expect(unsafe_code, reason = "prctl(PR_CAPBSET_DROP) has no safe wrapper in nix or std")]
fn give_up(capability: libc::c_ulong) -> io::Result<()> {
    // SAFETY: integers only.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_refused_and_a_link_hides_what_it_leads_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "secret").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("writable");
        let hidden = HiddenPaths::prepare(&[link, folder.path().to_owned()]).expect("both exist");
        let kinds: Vec<_> = hidden.paths.iter().map(|(_, kind)| *kind).collect();
        assert_eq!(kinds, [FileKind::File, FileKind::Directory]);
        assert!(hidden.paths[0].0.to_bytes().ends_with(b"/file"));
        let refused = HiddenPaths::prepare(&[folder.path().join("nothing")]).expect_err("not there");
        assert!(refused.to_string().contains("nothing"), "{refused}");
    }
}
