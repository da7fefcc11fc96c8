//! Sightings: machines as they come out of responses. Pure, and bounded, whatever comes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::advert::Interface;
use crate::message::{Data, Message};
use crate::{SERVICE, dashed};

/// Most instances, and most hosts, that are kept.
const MAX_KEPT: usize = 1024;
/// Most addresses of one host, and most strings of one instance.
const MAX_EACH: usize = 16;

/// Machine that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Name of its instance, without the service.
    pub name: String,
    /// Where it is served, the likeliest address first.
    pub addresses: Vec<SocketAddrV4>,
    /// Its strings.
    pub txt: Vec<String>,
}

impl Sighting {
    /// True if it is the machine that somebody calls `name`: by that, or with dashes instead of dots.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.name.eq_ignore_ascii_case(&dashed(name))
    }
}

/// What was heard so far.
#[derive(Debug, Default)]
pub struct Sightings {
    instances: BTreeMap<String, Instance>,
    hosts: BTreeMap<String, Vec<Ipv4Addr>>,
}

#[derive(Debug, Default)]
struct Instance {
    /// As it was written.
    name: String,
    port: u16,
    host: String,
    txt: Vec<String>,
}

impl Sightings {
    /// Takes up a message that came in on an interface.
    pub fn hear(&mut self, message: &Message, interface: &Interface) {
        if !message.is_response {
            return;
        }
        for record in &message.records {
            let name = record.name.to_ascii_lowercase();
            match &record.data {
                Data::Ptr(instance) if name == SERVICE && record.ttl == 0 => {
                    self.instances.remove(&instance.to_ascii_lowercase());
                }
                Data::Ptr(_) => {}
                Data::Srv { .. } | Data::Txt(_) if record.ttl == 0 => {
                    self.instances.remove(&name);
                }
                Data::Srv { port, target } => {
                    if let Some(instance) = self.instance(&record.name) {
                        instance.port = *port;
                        instance.host = target.to_ascii_lowercase();
                    }
                }
                Data::Txt(strings) => {
                    if let Some(instance) = self.instance(&record.name) {
                        instance.txt = strings.iter().take(MAX_EACH).cloned().collect();
                    }
                }
                Data::A(address) => self.address(name, *address, record.ttl, interface),
            }
        }
    }

    fn instance(&mut self, full: &str) -> Option<&mut Instance> {
        let key = full.to_ascii_lowercase();
        let length = key.strip_suffix(SERVICE)?.strip_suffix('.')?.len();
        if self.instances.len() >= MAX_KEPT && !self.instances.contains_key(&key) {
            return None;
        }
        let instance = self.instances.entry(key).or_default();
        full[..length].clone_into(&mut instance.name);
        Some(instance)
    }

    fn address(&mut self, host: String, address: Ipv4Addr, ttl: u32, interface: &Interface) {
        // Our own loopback address, told from elsewhere, would lead back here.
        let is_wrong = address.is_loopback() && !interface.loopback || address.is_unspecified();
        if is_wrong || self.hosts.len() >= MAX_KEPT && !self.hosts.contains_key(&host) {
            return;
        }
        let known = self.hosts.entry(host).or_default();
        known.retain(|known| *known != address);
        if ttl == 0 || known.len() >= MAX_EACH {
            return;
        }
        // An address of the network that it was told on is reached before one behind it.
        if interface.holds(address) {
            known.insert(0, address);
        } else {
            known.push(address);
        }
    }

    /// Machines that can be reached, in the order of their names.
    pub fn found(&self) -> impl Iterator<Item = Sighting> {
        self.instances.values().filter_map(|instance| {
            let hosts = self.hosts.get(&instance.host)?;
            let addresses = hosts.iter().map(|address| SocketAddrV4::new(*address, instance.port));
            let is_served = !hosts.is_empty() && instance.port != 0;
            is_served.then(|| Sighting {
                name: instance.name.clone(),
                addresses: addresses.collect(),
                txt: instance.txt.clone(),
            })
        })
    }
}

impl Interface {
    /// True if an address is in a network of this interface.
    #[must_use]
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        let mut networks = self.addresses.iter();
        networks.any(|(own, mask)| *own & *mask == address & *mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::tests::eth;
    use crate::advert::{Advert, Reach};
    use crate::message::{Record, response};
    use crate::responder::announcements;

    fn hear(sightings: &mut Sightings, packet: &[u8], interface: &Interface) {
        sightings.hear(&Message::read(packet).expect("readable"), interface);
    }

    fn names(sightings: &Sightings) -> Vec<String> {
        sightings.found().map(|found| found.name).collect()
    }

    #[test]
    fn what_was_announced_is_found_until_its_goodbye() {
        let there = Interface {
            addresses: vec![([10, 0, 0, 9].into(), Ipv4Addr::new(255, 255, 255, 0))],
            ..eth()
        };
        let adverts = Advert::of_machine("Rover.lab", 8080, &["grpc".to_owned(), "a=b".to_owned()], Reach::All);
        let adverts = adverts.expect("a name");
        let mut sightings = Sightings::default();
        for packet in announcements(&adverts, &there, false) {
            hear(&mut sightings, &packet, &eth());
        }
        assert_eq!(names(&sightings), ["Rover-lab", "Rover.lab"]);
        let found = sightings.found().next().expect("found");
        assert_eq!(found.addresses, ["10.0.0.9:8080".parse().expect("an address")]);
        assert_eq!(found.txt, ["grpc", "a=b"]);
        assert!(found.is_called("rover.lab") && found.is_called("ROVER-LAB") && !found.is_called("rover"));
        for packet in announcements(&adverts[..1], &there, true) {
            hear(&mut sightings, &packet, &eth());
        }
        assert_eq!(names(&sightings), ["Rover.lab"]);
    }

    #[test]
    fn records_that_come_apart_are_put_together_and_near_addresses_come_first() {
        let record = |name: &str, data| Record {
            name: name.to_owned(),
            ttl: 100,
            data,
        };
        let records = [
            record("x.local", Data::A([172, 17, 0, 1].into())),
            record("X.local", Data::A([10, 0, 0, 9].into())),
            record("x.local", Data::A([127, 0, 0, 1].into())),
            record(
                "a._rpc._tcp.local",
                Data::Srv {
                    port: 80,
                    target: "x.LOCAL".to_owned(),
                },
            ),
        ];
        let mut sightings = Sightings::default();
        for record in &records {
            hear(
                &mut sightings,
                &response(&[record], &[], None).expect("it fits"),
                &eth(),
            );
        }
        let found: Vec<_> = sightings.found().collect();
        let addresses: Vec<_> = found[0].addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["10.0.0.9:80", "172.17.0.1:80"]);
    }

    #[test]
    fn a_flood_of_names_and_addresses_is_bounded() {
        let mut sightings = Sightings::default();
        for number in 0..5000_u32 {
            let name = format!("m{number}");
            let host = if number % 2 == 0 {
                "x.local".to_owned()
            } else {
                format!("{name}.local")
            };
            let records = [
                Record {
                    name: format!("{name}.{SERVICE}"),
                    ttl: 1,
                    data: Data::Srv {
                        port: 1,
                        target: host.clone(),
                    },
                },
                Record {
                    name: host,
                    ttl: 1,
                    data: Data::A(Ipv4Addr::from_bits(number + 1)),
                },
            ];
            let packet = response(&records.iter().collect::<Vec<_>>(), &[], None).expect("it fits");
            hear(&mut sightings, &packet, &eth());
        }
        assert!(sightings.instances.len() <= MAX_KEPT && sightings.hosts.len() <= MAX_KEPT);
        assert!(sightings.hosts.values().all(|addresses| addresses.len() <= MAX_EACH));
    }
}
