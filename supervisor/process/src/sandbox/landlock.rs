//! The only places where a module may write: Landlock, which a process sets for itself and its children for ever.
//!
//! The rules are made before the fork; `restrict` runs between fork and exec and is one system call, which is why it is not
//! the crate's, whose own takes the rules by value. Reading, stat and connect pass; devices must be named to be opened for
//! writing, but for those that lead nowhere.

use std::error::Error;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use landlock::{
    ABI, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _,
};
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

/// Access rights of the first version of Landlock: writing, and making and removing entries of every kind.
const FIRST: ABI = ABI::V1;
/// Moving between directories, which was refused altogether before version 2, and truncating without opening, which was not
/// told apart before version 3. What later versions can refuse is left alone: control of devices, sockets.
const LAST: ABI = ABI::V3;

/// A set of rules under which nothing can be written but below `writable`.
pub(super) fn ruleset<'a>(writable: impl Iterator<Item = &'a Path>) -> Result<OwnedFd, ConfinementError> {
    let cannot_make = |error| {
        ConfinementError(format!(
            "cannot make a set of Landlock rules (`sandbox.writable`): {}",
            cause(&error)
        ))
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(FIRST))
        .map_err(|_| missing())?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_write(LAST))
        .and_then(Ruleset::create)
        .map_err(cannot_make)?;
    let harmless = HARMLESS.iter().map(Path::new).filter(|path| path.exists());
    for path in harmless.chain(writable) {
        ruleset = allow(ruleset, path).map_err(|error| {
            ConfinementError(format!(
                "cannot let it write below `{}` (`sandbox.writable`): {}; make that path, or remove it from the list",
                path.display(),
                cause(&*error)
            ))
        })?;
    }
    Option::from(ruleset).ok_or_else(missing)
}

fn missing() -> ConfinementError {
    ConfinementError(
        "cannot restrict where it writes (`sandbox.writable`): this kernel has no Landlock (Linux 5.13 with `landlock` in \
         its `lsm=` list); enable it, or remove `writable`"
            .to_owned(),
    )
}

fn allow(ruleset: RulesetCreated, path: &Path) -> Result<RulesetCreated, Box<dyn Error>> {
    // Of a file only what means anything for files: it has no entries to make.
    Ok(ruleset.add_rule(PathBeneath::new(PathFd::new(path)?, AccessFs::from_write(LAST)))?)
}

/// Error of the system; the errors around it say what we say better.
fn cause(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
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
    fn a_path_that_does_not_exist_is_refused_with_its_name() {
        let refused = ruleset([Path::new("/nowhere/at/all")].into_iter()).expect_err("not there");
        if refused.0 == missing().0 {
            return eprintln!("SKIPPED: this kernel has no Landlock");
        }
        assert_eq!(
            refused.to_string(),
            "cannot let it write below `/nowhere/at/all` (`sandbox.writable`): No such file or directory (os error 2); make \
             that path, or remove it from the list"
        );
    }
}
