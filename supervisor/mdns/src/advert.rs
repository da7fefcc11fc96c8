//! Advert: one name under which a machine is found, and where it is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::message::{Data, Record};
use crate::{SERVICE, dashed};

/// Life of names of services in the caches of others, in seconds.
const SERVICE_TTL: u32 = 3200;
/// Life of addresses, in seconds.
const ADDRESS_TTL: u32 = 120;
/// Longest label of a name, in bytes.
const MAX_LABEL: usize = 63;
/// Longest name of a machine, in bytes: with the service behind it fits in the 255 bytes of a name of DNS.
const MAX_NAME: usize = 200;

/// One name under which a machine is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Name of the instance. Its dots part labels.
    pub instance: String,
    /// Port at which it speaks gRPC.
    pub port: u16,
    /// Strings for whoever reads more than the name: `grpc` for Viam's clients, and others of our own.
    pub txt: Vec<String>,
    /// Interfaces on which it is told.
    pub reach: Reach,
}

/// Interfaces on which a machine is advertised, as its listener has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The loopback interface alone, as 127.0.0.1.
    Loopback,
    /// The interface that has this address.
    Address(Ipv4Addr),
    /// All but the loopback interface, each with its own addresses.
    All,
}

impl Reach {
    /// Interfaces on which a listener at `address` can be reached; none without an IPv4 address, which all clients need.
    #[must_use]
    pub fn of(address: SocketAddr) -> Option<Self> {
        match address.ip() {
            ip if ip.is_unspecified() => Some(Self::All),
            ip => match ip.to_canonical() {
                IpAddr::V4(ip) if ip.is_loopback() => Some(Self::Loopback),
                IpAddr::V4(ip) => Some(Self::Address(ip)),
                IpAddr::V6(_) => None,
            },
        }
    }
}

/// Interface of the host that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The system's number of it.
    pub index: u32,
    /// Its IPv4 addresses, each with its mask.
    pub addresses: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// True for the one that leads nowhere.
    pub loopback: bool,
}

impl Advert {
    /// Adverts of one machine: its name, and the same with dashes instead of dots, which comes first because most clients look
    /// for that.
    ///
    /// # Errors
    /// The name cannot be one of DNS, in words for people.
    pub fn of_machine(name: &str, port: u16, txt: &[String], reach: Reach) -> Result<Vec<Self>, String> {
        check(name)?;
        let advert = |instance: String| Self {
            instance,
            port,
            txt: txt.to_vec(),
            reach,
        };
        let mut adverts = vec![advert(dashed(name))];
        check(&adverts[0].instance)?;
        if name.contains('.') {
            adverts.push(advert(name.to_owned()));
        }
        Ok(adverts)
    }

    /// Whole name of the instance.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{SERVICE}", self.instance)
    }

    /// Host name of the instance, which is its own: so a plain lookup of `NAME.local` finds it, too.
    #[must_use]
    pub fn host(&self) -> String {
        let name = self.instance.strip_suffix(".local").unwrap_or(&self.instance);
        format!("{name}.local")
    }

    /// Addresses that are told on an interface: none means silence there.
    #[must_use]
    pub fn addresses_on(&self, interface: &Interface) -> Vec<Ipv4Addr> {
        let own = interface.addresses.iter().map(|(address, _)| *address);
        match self.reach {
            Reach::Loopback if interface.loopback => vec![Ipv4Addr::LOCALHOST],
            Reach::Loopback => Vec::new(),
            Reach::Address(wanted) => own.filter(|address| *address == wanted).collect(),
            Reach::All if interface.loopback => Vec::new(),
            Reach::All => own.collect(),
        }
    }

    /// All records: PTR, SRV, TXT and A. `gone`: what they say is over.
    #[must_use]
    pub fn records(&self, addresses: &[Ipv4Addr], gone: bool) -> Vec<Record> {
        let record = |name: &str, ttl: u32, data| Record {
            name: name.to_owned(),
            ttl: if gone { 0 } else { ttl },
            data,
        };
        let (full, host) = (self.full_name(), self.host());
        let service = Data::Srv {
            port: self.port,
            target: host.clone(),
        };
        let mut records = vec![
            record(SERVICE, SERVICE_TTL, Data::Ptr(full.clone())),
            record(&full, SERVICE_TTL, service),
            record(&full, SERVICE_TTL, Data::Txt(self.txt.clone())),
        ];
        records.extend(
            addresses
                .iter()
                .map(|address| record(&host, ADDRESS_TTL, Data::A(*address))),
        );
        records
    }
}

fn check(name: &str) -> Result<(), String> {
    let labels = || name.split('.');
    let cure = "set `network.fqdn` to a name of letters, digits, dashes and dots";
    if name.is_empty() || labels().any(str::is_empty) {
        return Err(format!("`{name}` has an empty part between its dots; {cure}"));
    }
    if name.chars().any(|c| c.is_control() || c == '\\') {
        return Err(format!(
            "`{}` has characters that no name has; {cure}",
            name.escape_debug()
        ));
    }
    if name.len() > MAX_NAME || labels().any(|label| label.len() > MAX_LABEL) {
        return Err(format!(
            "`{name}` is too long: at most {MAX_NAME} bytes, {MAX_LABEL} between two dots and with dashes instead of them"
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An interface for all tests of this crate.
    pub(crate) fn eth() -> Interface {
        interface(false, &[[10, 0, 0, 5]])
    }

    fn interface(loopback: bool, addresses: &[[u8; 4]]) -> Interface {
        let mask = Ipv4Addr::new(255, 255, 255, 0);
        Interface {
            index: 1,
            addresses: addresses.iter().map(|address| ((*address).into(), mask)).collect(),
            loopback,
        }
    }

    #[test]
    fn what_is_told_where_follows_the_listener() {
        let (lo, eth) = (
            interface(true, &[[127, 0, 0, 1]]),
            interface(false, &[[10, 0, 0, 5], [10, 0, 1, 5]]),
        );
        let none: &[[u8; 4]] = &[];
        for (listener, on_lo, on_eth) in [
            ("127.0.0.1:8080", &[[127, 0, 0, 1]][..], none),
            ("127.0.0.9:8080", &[[127, 0, 0, 1]], none),
            ("0.0.0.0:8080", none, &[[10, 0, 0, 5], [10, 0, 1, 5]]),
            ("[::]:8080", none, &[[10, 0, 0, 5], [10, 0, 1, 5]]),
            ("10.0.1.5:8080", none, &[[10, 0, 1, 5]]),
            ("[::ffff:10.0.1.5]:8080", none, &[[10, 0, 1, 5]]),
            ("10.9.9.9:8080", none, none),
        ] {
            let reach = Reach::of(listener.parse().expect("an address")).expect("IPv4");
            let advert = &Advert::of_machine("a", 1, &[], reach).expect("a name")[0];
            let told = |interface| {
                let addresses = advert.addresses_on(interface);
                addresses.iter().map(Ipv4Addr::octets).collect::<Vec<_>>()
            };
            assert_eq!((&*told(&lo), &*told(&eth)), (on_lo, on_eth), "{listener}");
        }
        for v6 in ["[::1]:1", "[fe80::1]:1"] {
            assert_eq!(Reach::of(v6.parse().expect("an address")), None);
        }
    }

    #[test]
    fn a_machine_is_told_by_its_name_and_with_dashes() {
        let names = |name: &str| {
            let adverts = Advert::of_machine(name, 8080, &["grpc".to_owned()], Reach::All).expect("a name");
            let pairs = adverts.iter().map(|advert| (advert.full_name(), advert.host()));
            pairs.collect::<Vec<_>>()
        };
        let pair = |full: &str, host: &str| (full.to_owned(), host.to_owned());
        assert_eq!(names("rover"), [pair("rover._rpc._tcp.local", "rover.local")]);
        assert_eq!(
            names("rover.local"),
            [
                pair("rover-local._rpc._tcp.local", "rover-local.local"),
                pair("rover.local._rpc._tcp.local", "rover.local")
            ]
        );
    }

    #[test]
    fn what_cannot_be_a_name_says_why() {
        let long = "a".repeat(64);
        let dashed_long = format!("{}.{}", "a".repeat(40), "b".repeat(40));
        for (name, why) in [
            ("", "empty part"),
            ("a..b", "empty part"),
            (".a", "empty part"),
            ("a\\b", "characters"),
            ("a\nb", "characters"),
            (&long, "too long"),
            (&dashed_long, "too long"),
        ] {
            let refused = Advert::of_machine(name, 1, &[], Reach::All).expect_err(name);
            assert!(refused.contains(why), "{name}: {refused}");
        }
    }
}
