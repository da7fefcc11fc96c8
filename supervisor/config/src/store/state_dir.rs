//! State folder of the core, for what outlives it and belongs to nobody's config: evidence and the last good config.

use std::ffi::OsString;
use std::path::PathBuf;

/// Environment variables that choose the state folder.
#[derive(Debug, Clone, Default)]
pub struct StateFolders {
    /// `STATE_DIRECTORY`: a service manager made it for us; several are separated by colons.
    pub given: Option<OsString>,
    /// True if this process runs as root.
    pub root: bool,
    /// `XDG_STATE_HOME`.
    pub xdg: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
}

impl StateFolders {
    /// State folders of this process.
    pub fn here() -> Self {
        Self {
            given: std::env::var_os("STATE_DIRECTORY"),
            root: nix::unistd::geteuid().is_root(),
            xdg: std::env::var_os("XDG_STATE_HOME"),
            home: std::env::var_os("HOME"),
        }
    }

    /// The directory: the given one, else the system's for root and the user's own for others. `None` where there is none.
    pub fn state_directory(self) -> Option<PathBuf> {
        let absolute = |text: Option<OsString>| text.map(PathBuf::from).filter(|path| path.is_absolute());
        let first = self.given.map(|given| {
            use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
            let first = given.as_bytes().split(|byte| *byte == b':').next().unwrap_or_default();
            OsString::from_vec(first.to_vec())
        });
        if let Some(given) = absolute(first) {
            Some(given)
        } else if self.root {
            Some("/var/lib/mainstay".into())
        } else if let Some(xdg) = absolute(self.xdg) {
            Some(xdg.join("mainstay"))
        } else {
            absolute(self.home).map(|home| home.join(".local/state/mainstay"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_directory_counts_then_the_systems_for_root_then_the_users_own() {
        for (given, root, xdg, home, expected) in [
            ("/s", true, "/x", "/h", Some("/s")),
            ("/s:/t", false, "/x", "/h", Some("/s")),
            ("", true, "/x", "/h", Some("/var/lib/mainstay")),
            ("relative", false, "/x", "/h", Some("/x/mainstay")),
            ("", false, "relative", "/h", Some("/h/.local/state/mainstay")),
            ("", false, "", "", None),
        ] {
            let some = |text: &str| (!text.is_empty()).then(|| OsString::from(text));
            let surroundings = StateFolders {
                given: some(given),
                root,
                xdg: some(xdg),
                home: some(home),
            };
            assert_eq!(
                surroundings.state_directory(),
                expected.map(PathBuf::from),
                "{given} {xdg} {home}"
            );
        }
    }
}
