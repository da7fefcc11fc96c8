//! Owners of loopback ports, as far as the system shows them: a UNIX socket lies in a private folder, a port is open to
//! every user of the machine.
//!
//! Read from `/proc/net/tcp*` (user id and inode of a socket) and from the descriptors of the module's processes: those in
//! its cgroup, in its session, or descended from its first.

use std::net::SocketAddr;

#[cfg(target_os = "linux")]
use nix::unistd::Pid;

use crate::members::Members;
#[cfg(target_os = "linux")]
use crate::process_table;

/// Owner of a loopback socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortOwner {
    /// No process.
    Nobody,
    /// The module's.
    Module,
    /// A process that does not belong to the module.
    Other {
        /// User id.
        uid: u32,
    },
    /// This system does not show it.
    Unknown,
}

/// Owner of the listener on loopback port `port`: the module whose processes are `members`, or another. Blocks.
pub fn listener(port: u16, members: &Members) -> PortOwner {
    look(members, |row| row.listens && row.local == port)
}

/// Owner of `remote`, the other end of a connection to our port `local`. Blocks.
pub fn peer(remote: SocketAddr, local: u16, members: &Members) -> PortOwner {
    look(members, |row| {
        !row.listens && row.local == remote.port() && row.remote == local
    })
}

/// Row of the kernel's socket table: a socket bound to loopback or to every address.
#[derive(Debug, PartialEq, Eq)]
struct SocketRow {
    local: u16,
    remote: u16,
    listens: bool,
    uid: u32,
    inode: u64,
}

#[cfg(not(target_os = "linux"))]
fn look(_: &Members, _: impl Fn(&SocketRow) -> bool) -> PortOwner {
    PortOwner::Unknown
}

#[cfg(target_os = "linux")]
fn look(members: &Members, wanted: impl Fn(&SocketRow) -> bool) -> PortOwner {
    let tables: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .collect();
    if tables.is_empty() {
        return PortOwner::Unknown;
    }
    let mut holder = PortOwner::Nobody;
    for row in tables.iter().flat_map(|table| table.lines()).filter_map(read) {
        if wanted(&row) {
            if hold(members, row.inode) {
                return PortOwner::Module;
            }
            holder = PortOwner::Other { uid: row.uid };
        }
    }
    holder
}

/// Reads a line of `/proc/net/tcp` or `tcp6`: `N: LOCAL REMOTE STATE QUEUES TIMER RETRANSMITS UID TIMEOUT INODE …`.
/// `None` for other lines, and for sockets of other addresses than loopback.
#[cfg(target_os = "linux")]
fn read(line: &str) -> Option<SocketRow> {
    /// TCP_LISTEN of the kernel.
    const LISTENS: &str = "0A";
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (fields.next()?, fields.next()?);
    let state = fields.next()?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let (address, local) = local.split_once(':')?;
    let port = |text| u16::from_str_radix(text, 16).ok();
    // Words of the machine's own byte order: 127.0.0.1 ends in 7F on a little-endian one. A socket for both families
    // shows the address behind a prefix.
    let address = address.get(address.len().checked_sub(8)?..)?;
    let number = u32::from_str_radix(address, 16).ok()?;
    if number != 0 && number.to_ne_bytes()[0] != 127 {
        return None;
    }
    Some(SocketRow {
        local: port(local)?,
        remote: port(remote.split_once(':')?.1)?,
        listens: state == LISTENS,
        uid,
        inode,
    })
}

/// True if a process of the module has the socket open. Inode 0 is that of a connection that is in nobody's hands yet,
/// or no more.
#[cfg(target_os = "linux")]
fn hold(members: &Members, inode: u64) -> bool {
    let has = |pid: &Pid| has_socket(pid.as_raw(), inode);
    // Nearly always it is one that is counted already; one that is on its way into its cgroup is found by descent.
    let inside = || members.all().iter().any(has);
    let descends = || {
        let mut others = process_table::all()
            .into_iter()
            .map(|process| Pid::from_raw(process.pid));
        others.any(|pid| has(&pid) && members.contain(pid))
    };
    inode != 0 && (inside() || descends())
}

#[cfg(target_os = "linux")]
fn has_socket(pid: i32, inode: u64) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    open.into_iter().any(|descriptor| {
        std::fs::metadata(descriptor.path()).is_ok_and(|metadata| {
            // Sockets are numbered by themselves, files of a disk too.
            metadata.ino() == inode && metadata.mode() & nix::libc::S_IFMT == nix::libc::S_IFSOCK
        })
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let listens = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 23271 1 0 100 0 0 10 0";
        let row = |local, remote, listens, uid, inode| {
            Some(SocketRow {
                local,
                remote,
                listens,
                uid,
                inode,
            })
        };
        let mapped = "   1: 0000000000000000FFFF00000100007F:9C40 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 02:0 00000000     0        0 77 1";
        let other = "   2: 0200A8C0:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 5 1";
        for (line, expected) in [
            (listens, row(8080, 0, true, 1000, 23271)),
            (mapped, row(40000, 8080, false, 0, 77)),
            (other, None),
            ("  sl  local_address rem_address   st tx_queue rx_queue", None),
            ("", None),
        ] {
            let expected = if cfg!(target_endian = "little") {
                expected
            } else {
                read(line)
            };
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn our_own_sockets_are_found_and_told_from_those_of_others() {
        let own = Members {
            group: None,
            leader: Some(Pid::this()),
        };
        let stranger = Members {
            group: None,
            leader: Some(Pid::from_raw(i32::MAX)),
        };
        let listening = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listening.local_addr().expect("bound").port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connected");
        let remote = client.local_addr().expect("connected");
        let other = PortOwner::Other {
            uid: nix::unistd::getuid().as_raw(),
        };
        assert_eq!(listener(port, &stranger), other);
        assert_eq!(peer(remote, port, &stranger), other);
        assert_eq!(listener(port, &Members::default()), other);
        assert_eq!(listener(port, &own), PortOwner::Module);
        assert_eq!(peer(remote, port, &own), PortOwner::Module);
        drop((listening, client));
        assert_eq!(listener(port, &own), PortOwner::Nobody);
    }
}
