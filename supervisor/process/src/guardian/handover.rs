//! Memory shared by core and guardian, read by the guardian when the core is dead: path of its runtime directory, and the
//! lock of it.
//!
//! Both ends hold one half of a socket pair. Nobody else does, so each side also learns from it that the other is gone.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Ends the path in the stream; no path holds it.
const END: u8 = 0;

/// The last will of a core, as far as it came.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// The runtime directory that it was about to make.
    pub directory: Option<PathBuf>,
    /// The lock of that directory, once the core held it. While this is open nobody else gets it.
    pub lock: Option<OwnedFd>,
}

/// Says where the runtime directory will be; before it is made.
pub(super) fn send_directory(socket: BorrowedFd<'_>, directory: &Path) -> io::Result<()> {
    let path = directory.as_os_str().as_bytes();
    send(socket, &[path, &[END]].concat(), None)
}

/// Hands over the lock.
pub(super) fn send_lock(socket: BorrowedFd<'_>, lock: BorrowedFd<'_>) -> io::Result<()> {
    // A descriptor travels with at least one byte.
    send(socket, &[END], Some(lock.as_raw_fd()))
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], lock: Option<RawFd>) -> io::Result<()> {
    let locks: Vec<RawFd> = lock.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&locks)];
    let control = if locks.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    // A path of 4 KiB at most: it fits into an empty socket whole.
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
    Ok(())
}

/// Reads what the core sent; it is dead, or what it sends from now on does not count.
#[expect(unsafe_code, reason = "received descriptors come as numbers")]
pub(super) fn read(socket: BorrowedFd<'_>) -> Handover {
    let mut handover = Handover::default();
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let mut control = nix::cmsg_space!(RawFd);
    loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let received = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(received) => received,
            Err(Errno::EINTR) => continue,
            Err(_) => break,
        };
        for message in received.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
                    handover.lock = Some(unsafe { OwnedFd::from_raw_fd(descriptor) });
                }
            }
        }
        let bytes = received.bytes;
        if bytes == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..bytes]);
    }
    if let Some(end) = text.iter().position(|byte| *byte == END) {
        handover.directory = Some(PathBuf::from(OsStr::from_bytes(&text[..end])));
    }
    handover
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_will_is_read_as_far_as_it_came() {
        let directory = Path::new("/run/mainstay/0123");
        for steps in 0..3 {
            let (core, guardian) = UnixStream::pair().expect("sockets");
            if steps > 0 {
                send_directory(core.as_fd(), directory).expect("room");
            }
            if steps > 1 {
                send_lock(core.as_fd(), tempfile::tempfile().expect("a file").as_fd()).expect("room");
            }
            // Whether the core is gone or not makes no difference.
            let core = (steps != 1).then_some(core);
            let handover = read(guardian.as_fd());
            drop(core);
            assert_eq!(
                handover.directory.as_deref(),
                (steps > 0).then_some(directory),
                "{steps}"
            );
            assert_eq!(handover.lock.is_some(), steps > 1, "{steps}");
        }
    }

    #[test]
    fn the_lock_stays_locked_with_the_one_that_holds_it_last() {
        let temp = tempfile::NamedTempFile::new().expect("a file");
        let lock = temp.reopen().expect("it is there");
        lock.try_lock().expect("nobody has it");
        let (core, guardian) = UnixStream::pair().expect("sockets");
        send_lock(core.as_fd(), lock.as_fd()).expect("room");
        drop((lock, core));
        let other: File = temp.reopen().expect("it is there");
        assert!(other.try_lock().is_err(), "in the socket");
        let handover = read(guardian.as_fd());
        assert!(other.try_lock().is_err(), "in the guardian's hand");
        drop(handover);
        other.try_lock().expect("free again");
    }
}
