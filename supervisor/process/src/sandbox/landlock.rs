//! The only places where a module may write: Landlock, which a process sets for itself and its children for ever.
//!
//! Raw system calls, because the rest is three numbers and a path, and `restrict` runs between fork and exec. Reading,
//! stat and connect pass; devices must be named to be opened for writing, but for those that lead nowhere.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

use super::ConfinementError;

/// Devices that every program may write to: nothing comes of it.
const HARMLESS: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

const WRITE_FILE: u64 = 1 << 1;
/// Removing and making entries of every kind.
const CHANGE_DIRECTORY: u64 = 0b1_1111_1111 << 4;
/// Since version 2 of the interface: moving between directories. Refused altogether before.
const REFER: u64 = 1 << 13;
/// Right to truncate without opening, since version 3; older kernels do not restrict it.
const TRUNCATE: u64 = 1 << 14;

/// `LANDLOCK_CREATE_RULESET_VERSION`
const VERSION: libc::c_uint = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`
const PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_ruleset_attr`, as long as it was in version 1.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: RawFd,
}

/// The kernel's version of the interface; none where there is no Landlock.
#[expect(unsafe_code, reason = "no safe wrapper in nix or std")]
pub(super) fn version() -> Option<u32> {
    // SAFETY: this form of the call reads no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, VERSION) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// Write rights that the kernel's Landlock `version` knows.
fn handled(version: u32) -> u64 {
    let mut rights = WRITE_FILE | CHANGE_DIRECTORY;
    if version >= 2 {
        rights |= REFER;
    }
    if version >= 3 {
        rights |= TRUNCATE;
    }
    rights
}

/// A set of rules under which nothing can be written but below `writable`.
pub(super) fn ruleset<'a>(writable: impl Iterator<Item = &'a Path>) -> Result<OwnedFd, ConfinementError> {
    let Some(version) = version() else {
        return Err(ConfinementError(
            "cannot restrict where it writes (`sandbox.writable`): this kernel has no Landlock (Linux 5.13 with `landlock` \
             in its `lsm=` list); enable it, or remove `writable`"
                .to_owned(),
        ));
    };
    let handled = handled(version);
    let ruleset = create(handled).map_err(|error| {
        ConfinementError(format!(
            "cannot make a set of Landlock rules (`sandbox.writable`): {error}"
        ))
    })?;
    for path in HARMLESS {
        if Path::new(path).exists() {
            allow(&ruleset, Path::new(path), handled)?;
        }
    }
    for path in writable {
        allow(&ruleset, path, handled)?;
    }
    Ok(ruleset)
}

#[expect(unsafe_code, reason = "no safe wrapper in nix or std")]
fn create(handled_access_fs: u64) -> io::Result<OwnedFd> {
    let attr = RulesetAttr { handled_access_fs };
    // SAFETY: the kernel reads the structure, whose size goes with it; the result is checked.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attr,
            size_of::<RulesetAttr>(),
            0,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given us this descriptor, closed at exec, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[expect(unsafe_code, reason = "no safe wrapper in nix or std")]
fn allow(ruleset: &OwnedFd, path: &Path, handled: u64) -> Result<(), ConfinementError> {
    let refused = |error: io::Error| {
        ConfinementError(format!(
            "cannot let it write below `{}` (`sandbox.writable`): {error}; make that path, or remove it from the list",
            path.display()
        ))
    };
    let open = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_CLOEXEC)
        .open(path);
    let open = open.map_err(refused)?;
    let directory = open.metadata().map_err(refused)?.is_dir();
    let attr = PathBeneathAttr {
        // A file has no entries to make; the kernel refuses rights that mean nothing.
        allowed_access: if directory {
            handled
        } else {
            handled & (WRITE_FILE | TRUNCATE)
        },
        parent_fd: open.as_raw_fd(),
    };
    // SAFETY: the kernel reads the structure, and the descriptors are open during the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            PATH_BENEATH,
            &raw const attr,
            0,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(refused(io::Error::last_os_error()))
    }
}

/// Puts the calling thread, and all it starts, under the rules. In the child: one system call.
#[expect(unsafe_code, reason = "no safe wrapper in nix or std")]
pub(super) fn restrict(ruleset: RawFd) -> io::Result<()> {
    // SAFETY: two integers.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_asked_only_for_rights_that_it_knows() {
        for (version, expected) in [(1, 0x1ff2), (2, 0x3ff2), (3, 0x7ff2), (7, 0x7ff2)] {
            assert_eq!(handled(version), expected, "version {version}");
        }
    }

    #[test]
    fn a_path_that_does_not_exist_is_refused_with_its_name() {
        if version().is_none() {
            return eprintln!("SKIPPED: this kernel has no Landlock");
        }
        let refused = ruleset([Path::new("/nowhere/at/all")].into_iter()).expect_err("not there");
        assert!(refused.to_string().contains("`/nowhere/at/all`"), "{refused}");
    }
}
