//! Machines on the local network by name: mDNS (RFC 6762) and service discovery (RFC 6763), as Viam's clients use them.
//!
//! * [`advert`]: what a machine says of itself, and where; pure
//! * [`message`]: packets read and written; pure, on `simple-dns`
//! * [`responder`]: which packets answer which question; pure
//! * [`advertiser`]: the task that announces, answers and says goodbye
//! * [`sightings`]: machines as they come out of what was heard; pure
//! * [`browse`](mod@browse): all machines on the network, or the addresses of one
//! * `socket`: the one socket that each of them has, and the interfaces of the host
//!
//! Never knows configs or calls.

pub mod advert;
pub mod advertiser;
pub mod browse;
pub mod message;
pub mod responder;
pub mod sightings;
mod socket;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

pub use crate::advert::{Advert, Reach};
pub use crate::advertiser::{AdvertState, Wanted, advertise};
pub use crate::browse::{LookupError, browse, resolve};
pub use crate::sightings::Sighting;

/// Group that all questions and answers go to.
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// Service that machines offer.
const SERVICE: &str = "_rpc._tcp.local";

/// True if an address is the name of a machine to be looked up by mDNS: it has no port and is no IP address.
#[must_use]
pub fn is_bare_name(address: &str) -> bool {
    !address.is_empty() && !address.contains([':', '/']) && address.parse::<IpAddr>().is_err()
}

/// Name as the SDKs on Viam's Rust core look it up first: each dot is a dash.
#[must_use]
pub fn dashed(name: &str) -> String {
    name.replace('.', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_has_no_port_and_is_no_address() {
        for (address, bare) in [
            ("rover", true),
            ("rover.local", true),
            ("rover-main.abc.viam.cloud", true),
            ("rover:8080", false),
            ("10.0.0.5", false),
            ("::1", false),
            ("[::1]", false),
            ("http://rover", false),
            ("", false),
        ] {
            assert_eq!(is_bare_name(address), bare, "{address}");
        }
    }
}
