//! Reads a file only when nobody is writing it: most beginnings of a YAML file are YAML, so half a file looks like a config
//! from which components were removed.
//!
//! On Linux a read lease is asked for, which the kernel grants only while nobody has the file open for writing; whoever opens it
//! for writing then waits for the microseconds of our read. Where there are no leases (a file of another user, a network file
//! system, another kernel), two equal reads some time apart have to do.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;

/// Longest file that is read, in bytes.
pub const MAX_SIZE: u64 = 64 << 20;
/// Time between two reads that must be equal, where there are no leases.
const GAP: Duration = Duration::from_millis(50);
/// Time stamps are this coarse on the worst file systems: a file that was changed this shortly before a look at it may be
/// changed again and look the same.
const COARSE: Duration = Duration::from_secs(2);

/// Identity of one state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    device: u64,
    inode: u64,
    /// Length in bytes.
    length: u64,
    modified: (i64, i64),
    /// Also moves when rights change, and when the time above is set back.
    changed: (i64, i64),
}

impl Mark {
    fn new(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Mark of the file that `path` leads to, or the reason why there is none.
    pub fn of(path: &Path) -> Result<Self, io::ErrorKind> {
        std::fs::metadata(path)
            .map(|metadata| Self::new(&metadata))
            .map_err(|error| error.kind())
    }

    /// True if a change at `now` could leave the mark as it is.
    pub fn is_fresh(&self, now: SystemTime) -> bool {
        let now_s = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let coarse = COARSE.as_secs() as i64;
        self.modified.0.max(self.changed.0) >= now_s - coarse
    }
}

/// Outcome of a read.
#[derive(Debug)]
pub enum StableRead {
    /// The whole content, which was at rest.
    Whole(Vec<u8>, Mark),
    /// Another process is writing the file.
    Busy,
}

/// Reads `path` if nobody is writing it. May block for [`GAP`].
///
/// # Errors
/// It is not there, may not be read, is no regular file or too long.
pub fn read(path: &Path) -> io::Result<StableRead> {
    read_by(path, lease::take)
}

fn read_by(path: &Path, take: impl Fn(&File) -> io::Result<lease::Lease<'_>>) -> io::Result<StableRead> {
    let (file, before) = open(path)?;
    match take(&file)? {
        lease::Lease::Refused => Ok(StableRead::Busy),
        lease::Lease::Granted(held) => {
            let bytes = content(&file)?;
            let after = Mark::new(&file.metadata()?);
            drop(held);
            Ok(if before == after {
                StableRead::Whole(bytes, after)
            } else {
                StableRead::Busy
            })
        }
        lease::Lease::Impossible => {
            let bytes = content(&file)?;
            thread::sleep(GAP);
            let (again, after) = open(path)?;
            let same = before == after && content(&again)? == bytes && Mark::new(&again.metadata()?) == before;
            Ok(if same {
                StableRead::Whole(bytes, after)
            } else {
                StableRead::Busy
            })
        }
    }
}

fn open(path: &Path) -> io::Result<(File, Mark)> {
    // A pipe without a writer must not hold us up.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory; name the file in it",
        ));
    }
    if !metadata.is_file() {
        let text = "it is no regular file, so its changes cannot be followed; save the config as a file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    if metadata.len() > MAX_SIZE {
        return Err(too_large());
    }
    Ok((file, Mark::new(&metadata)))
}

fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(too_large());
    }
    Ok(bytes)
}

fn too_large() -> io::Error {
    let text = format!("it is larger than {} MiB; is it the right file?", MAX_SIZE >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, text)
}

#[cfg(target_os = "linux")]
mod lease {
    use std::os::fd::{AsFd as _, AsRawFd as _};

    use nix::errno::Errno;
    use nix::sys::statfs::fstatfs;

    use super::*;

    /// Number of `fcntl`'s F_SETSIG, which sets the signal about a writer who waits for the lease. Not in the `libc` crate.
    const F_SETSIG: libc::c_int = 10;
    /// File systems whose files others may write without this kernel's knowledge, by their magic numbers: NFS, SMB (three), FUSE,
    /// 9P, Ceph, AFS, GFS2, OCFS2, and virtual machines' shared folders.
    const SHARED: [u64; 11] = [
        0x6969,
        0x517B,
        0xFF53_4D42,
        0xFE53_4D42,
        0x6573_5546,
        0x0102_1997,
        0x00C3_6400,
        0x5346_414F,
        0x0116_1970,
        0x7461_636F,
        0x786F_4256,
    ];

    /// A lease, given back when dropped.
    #[derive(Debug)]
    pub struct LeaseGuard<'a>(&'a File);

    #[derive(Debug)]
    pub enum Lease<'a> {
        /// No process writes the file, and none can before the guard is dropped.
        Granted(LeaseGuard<'a>),
        /// A process has the file open for writing.
        Refused,
        /// There are no leases for this file.
        Impossible,
    }

    pub fn take(file: &File) -> io::Result<Lease<'_>> {
        if fstatfs(file.as_fd()).is_ok_and(|fs| SHARED.contains(&(fs.filesystem_type().0 as u64 & 0xFFFF_FFFF))) {
            return Ok(Lease::Impossible);
        }
        // The default is SIGIO, which ends a process that does not expect it; SIGURG does nothing.
        if fcntl(file, F_SETSIG, libc::SIGURG).is_err() {
            return Ok(Lease::Impossible);
        }
        match fcntl(file, libc::F_SETLEASE, libc::F_RDLCK as libc::c_int) {
            Ok(()) => Ok(Lease::Granted(LeaseGuard(file))),
            Err(Errno::EAGAIN) => Ok(Lease::Refused),
            Err(Errno::EACCES | Errno::EPERM | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::ENOLCK) => {
                Ok(Lease::Impossible)
            }
            Err(error) => Err(error.into()),
        }
    }

    impl Drop for LeaseGuard<'_> {
        fn drop(&mut self) {
            // Closing alone would not do: a process that is just being spawned shares the open file until it execs.
            let _closing_does_it_otherwise = fcntl(self.0, libc::F_SETLEASE, libc::F_UNLCK as libc::c_int);
        }
    }

    #[expect(unsafe_code, reason = "nix does not offer leases")]
    fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> nix::Result<()> {
        // SAFETY: the descriptor is open as long as `file` is borrowed, and these commands take an integer and touch no memory.
        Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }).map(drop)
    }
}

#[cfg(not(target_os = "linux"))]
mod lease {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "no lease is ever granted here")]
    pub enum Lease<'a> {
        Granted(&'a File),
        Refused,
        Impossible,
    }

    /// Leases do not exist here: only time shows that no process writes.
    pub fn take(_: &File) -> io::Result<Lease<'_>> {
        Ok(Lease::Impossible)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::*;

    fn whole(stable_read: io::Result<StableRead>) -> Option<String> {
        match stable_read.expect("readable") {
            StableRead::Whole(bytes, _) => Some(String::from_utf8(bytes).expect("text")),
            StableRead::Busy => None,
        }
    }

    #[test]
    fn a_file_that_a_writer_has_open_is_not_read_and_then_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        let mut writer = File::create(&path).expect("made");
        writer.write_all(b"half").expect("written");
        if cfg!(target_os = "linux") {
            assert_eq!(whole(read(&path)), None);
        }
        drop(writer);
        assert_eq!(whole(read(&path)).as_deref(), Some("half"));
        // A lease that were still held would hold this up for 45 s.
        let begun = std::time::Instant::now();
        fs::write(&path, "whole").expect("written");
        assert!(begun.elapsed() < Duration::from_secs(5));
        assert_eq!(whole(read(&path)).as_deref(), Some("whole"));
    }

    #[test]
    fn without_leases_a_file_that_grows_between_two_reads_is_busy_and_one_at_rest_is_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        fs::write(&path, "one").expect("written");
        assert_eq!(
            whole(read_by(&path, |_| Ok(lease::Lease::Impossible))).as_deref(),
            Some("one")
        );
        let growing = read_by(&path, |_| {
            let path = path.clone();
            thread::spawn(move || {
                thread::sleep(GAP / 5);
                OpenOptions::new()
                    .append(true)
                    .open(path)
                    .and_then(|mut file| file.write_all(b"two"))
            });
            Ok(lease::Lease::Impossible)
        });
        assert_eq!(whole(growing), None);
    }

    #[test]
    fn folders_pipes_and_giants_are_refused_with_a_cure() {
        let folder = tempfile::tempdir().expect("a folder");
        let (pipe, giant) = (folder.path().join("pipe"), folder.path().join("giant"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        File::create(&giant)
            .and_then(|file| file.set_len(MAX_SIZE + 1))
            .expect("made");
        for (path, text) in [
            (folder.path(), "name the file in it"),
            (&pipe, "save the config as a file"),
            (&giant, "larger than 64 MiB"),
            (&folder.path().join("none"), "No such file"),
        ] {
            let error = read(path).expect_err("refused");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
