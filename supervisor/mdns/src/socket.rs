//! Socket on the group of mDNS, and the interfaces of the host. One socket serves all interfaces: the system says on which one
//! a packet came in, and is told on which one it goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd as _;

use nix::cmsg_space;
use nix::ifaddrs::getifaddrs;
use nix::libc::{in_addr, in_pktinfo};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::debug;

use crate::GROUP;
use crate::advert::Interface;

/// Socket of an advertiser or a browser.
#[derive(Debug)]
pub(crate) struct GroupSocket {
    socket: UdpSocket,
    /// Interfaces whose group was joined, by index.
    joined: BTreeSet<u32>,
    /// True if it hears the group, false if only what is sent to itself.
    pub(crate) hears_group: bool,
}

/// Packet that came in.
#[derive(Debug)]
pub(crate) struct Received {
    /// Length of it, in the buffer that was given.
    pub(crate) length: usize,
    pub(crate) from: SocketAddrV4,
    /// Index of the interface.
    pub(crate) interface: u32,
}

impl GroupSocket {
    /// Opens the port of mDNS, which every program on the host may have as long as all let others in.
    ///
    /// # Errors
    /// Another program has it for itself, or the system refuses.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = udp()?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // What is sent to the port of this host itself is for others, who may have it too.
        Self::bound(socket, GROUP, true)
    }

    /// Opens any port, for questions whose answers come back to it alone.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn open_unheard() -> io::Result<Self> {
        Self::bound(udp()?, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), false)
    }

    fn bound(socket: Socket, address: SocketAddrV4, hears_group: bool) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // What others on this host joined is no business of this socket.
        socket.set_multicast_all_v4(false)?;
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(255)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&SocketAddr::V4(address).into())?;
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            joined: BTreeSet::new(),
            hears_group,
        })
    }

    /// Joins the group on these interfaces, and leaves it on others. Returns those that are new.
    pub(crate) fn join(&mut self, interfaces: &[&Interface]) -> BTreeSet<u32> {
        let wanted: BTreeSet<u32> = interfaces.iter().map(|interface| interface.index).collect();
        if !self.hears_group {
            return wanted;
        }
        let socket = socket2::SockRef::from(&self.socket);
        for index in self.joined.difference(&wanted) {
            // An interface that went has left it by itself.
            let _gone = socket.leave_multicast_v4_n(GROUP.ip(), &InterfaceIndexOrAddress::Index(*index));
        }
        self.joined.retain(|index| wanted.contains(index));
        let mut new = BTreeSet::new();
        for index in wanted.difference(&self.joined) {
            match socket.join_multicast_v4_n(GROUP.ip(), &InterfaceIndexOrAddress::Index(*index)) {
                Ok(()) => _ = new.insert(*index),
                // It takes part in no groups, or is gone since it was looked at; it is tried again at the next look.
                Err(error) => debug!(interface = index, "no mDNS there: {error}"),
            }
        }
        self.joined.extend(&new);
        new
    }

    /// Waits for the next packet.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket
            .async_io(Interest::READABLE, || {
                let mut space = cmsg_space!(in_pktinfo);
                let mut parts = [IoSliceMut::new(buffer)];
                let received = recvmsg::<SockaddrIn>(
                    self.socket.as_raw_fd(),
                    &mut parts,
                    Some(&mut space),
                    MsgFlags::MSG_DONTWAIT,
                )?;
                let interface = received.cmsgs()?.find_map(|message| match message {
                    ControlMessageOwned::Ipv4PacketInfo(info) => u32::try_from(info.ipi_ifindex).ok(),
                    _ => None,
                });
                let from = received.address.map(|from| SocketAddrV4::new(from.ip(), from.port()));
                Ok(Received {
                    // One that was cut off cannot be read, and is not.
                    length: match received.flags.contains(MsgFlags::MSG_TRUNC) {
                        true => 0,
                        false => received.bytes,
                    },
                    from: from.unwrap_or(GROUP),
                    interface: interface.unwrap_or_default(),
                })
            })
            .await
    }

    /// Sends a packet on an interface, to the group or to one asker. What cannot be sent is lost, as packets are.
    pub(crate) fn send(&self, packet: &[u8], interface: &Interface, to: Option<SocketAddrV4>) {
        let source = interface
            .addresses
            .first()
            .map_or(Ipv4Addr::UNSPECIFIED, |first| first.0);
        let info = in_pktinfo {
            ipi_ifindex: i32::try_from(interface.index).unwrap_or_default(),
            ipi_spec_dst: in_addr {
                s_addr: u32::from_ne_bytes(source.octets()),
            },
            ipi_addr: in_addr { s_addr: 0 },
        };
        let to = SockaddrStorage::from(SocketAddr::V4(to.unwrap_or(GROUP)));
        let sent = self.socket.try_io(Interest::WRITABLE, || {
            let control = [ControlMessage::Ipv4PacketInfo(&info)];
            let parts = [IoSlice::new(packet)];
            sendmsg(
                self.socket.as_raw_fd(),
                &parts,
                &control,
                MsgFlags::MSG_DONTWAIT,
                Some(&to),
            )
            .map_err(io::Error::from)
        });
        if let Err(error) = sent {
            debug!(interface = interface.index, "a packet of mDNS is lost: {error}");
        }
    }

    /// Waits until packets can be sent: at once, but for the first.
    pub(crate) async fn writable(&self) {
        let _broken = self.socket.writable().await;
    }
}

fn udp() -> io::Result<Socket> {
    Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))
}

/// Interfaces that are up, with an IPv4 address, and take part in groups; and the loopback interface.
pub(crate) fn interfaces() -> Vec<Interface> {
    let mut found = BTreeMap::<u32, Interface>::new();
    for one in getifaddrs().into_iter().flatten() {
        let loopback = one.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let usable = one.flags.contains(InterfaceFlags::IFF_UP)
            && (loopback || one.flags.contains(InterfaceFlags::IFF_MULTICAST));
        let ip = |address: Option<SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
        let (Some(address), true) = (ip(one.address), usable) else {
            continue;
        };
        let Ok(index) = if_nametoindex(one.interface_name.as_str()) else {
            continue;
        };
        let mask = ip(one.netmask).unwrap_or(Ipv4Addr::BROADCAST);
        let interface = found.entry(index).or_insert_with(|| Interface {
            index,
            addresses: Vec::new(),
            loopback,
        });
        interface.addresses.push((address, mask));
    }
    found.into_values().collect()
}
