//! File descriptors of this process. The soft limit is raised to the hard one at the start: it is as low as 1,024 for the sake of
//! programs that use `select`, and modules, which may be such programs, get the old one back.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::OnceLock;

use mainstay_model::descriptors::Share;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use tracing::debug;

/// Limits that this process was started with.
static GIVEN: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// Raises the soft limit to the hard one.
pub fn raise_limit() {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    let _once = GIVEN.set((soft, hard));
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        debug!("the limit of open files stays at {soft}: {error}");
    }
}

/// Gives a child the limits that this process was started with. Between fork and exec: only system calls.
pub(crate) fn restore_limit() -> nix::Result<()> {
    match GIVEN.get() {
        Some((soft, hard)) => setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard),
        None => Ok(()),
    }
}

/// Text about descriptors that have run out, or will with the next clients; `None` while there are enough.
pub fn shortage() -> Option<String> {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let cure = "raise the limit of open files (`ulimit -n`, `LimitNOFILE=`)";
    // The kernel gives the lowest that is free. Counting all of them would take time with each of them.
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(next) => {
            let open = u64::try_from(next.as_raw_fd()).unwrap_or_default();
            (open >= Share::Clients.end(limit)).then(|| {
                format!("{open} of {limit} files are open: new clients are sent away until some of them close; {cure}")
            })
        }
        Err(error) if error.raw_os_error() == Some(nix::libc::EMFILE) => Some(format!(
            "all of {limit} files are open: nothing starts, and no client connects; {cure}"
        )),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_enough_is_short_of_nothing() {
        assert_eq!(shortage(), None);
    }
}
