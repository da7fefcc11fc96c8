//! Messages of DNS: packets read into values and written from them. Whatever comes is read without a panic, and what is no
//! business of ours is left out.

use std::net::Ipv4Addr;

use simple_dns::rdata::{A, PTR, RData, SRV, TXT};
use simple_dns::{
    CLASS, CharacterString, Name, Packet, PacketFlag, QCLASS, QTYPE, Question as Asked, ResourceRecord, TYPE,
};

/// Largest packet that is read or written, in bytes.
pub const MAX_PACKET: usize = 9000;
/// Length of the header, and of the shortest question and record.
const LENGTHS: [usize; 3] = [12, 5, 11];
/// Longest life of what is told to somebody who does not know mDNS, in seconds.
const LEGACY_TTL: u32 = 10;

/// Message that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Number of the question, for its answer.
    pub id: u16,
    /// True for an answer or an announcement.
    pub is_response: bool,
    /// Questions of the types that are known here.
    pub questions: Vec<Question>,
    /// Records of all sections, of the types that are known here.
    pub records: Vec<Record>,
}

/// Question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Name that is asked about, without a dot at its end.
    pub name: String,
    /// Type that is asked for.
    pub kind: Kind,
}

/// Type of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Instances of a service.
    Ptr,
    /// Host and port of an instance.
    Srv,
    /// Strings of an instance.
    Txt,
    /// IPv4 address of a host.
    A,
    /// All of them.
    Any,
}

/// Record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Name that it is about.
    pub name: String,
    /// Life in caches, in seconds; 0 says that it is over.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// Content of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Whole name of an instance.
    Ptr(String),
    /// Where an instance is served.
    Srv {
        /// Its port.
        port: u16,
        /// Its host.
        target: String,
    },
    /// Strings.
    Txt(Vec<String>),
    /// Address.
    A(Ipv4Addr),
}

impl Kind {
    /// True if a question for this takes a record with this content.
    #[must_use]
    pub fn takes(self, data: &Data) -> bool {
        let of = match data {
            Data::Ptr(_) => Self::Ptr,
            Data::Srv { .. } => Self::Srv,
            Data::Txt(_) => Self::Txt,
            Data::A(_) => Self::A,
        };
        self == Self::Any || self == of
    }

    fn read(kind: QTYPE) -> Option<Self> {
        match kind {
            QTYPE::ANY => Some(Self::Any),
            QTYPE::TYPE(TYPE::PTR) => Some(Self::Ptr),
            QTYPE::TYPE(TYPE::SRV) => Some(Self::Srv),
            QTYPE::TYPE(TYPE::TXT) => Some(Self::Txt),
            QTYPE::TYPE(TYPE::A) => Some(Self::A),
            _ => None,
        }
    }

    fn write(self) -> QTYPE {
        match self {
            Self::Any => QTYPE::ANY,
            Self::Ptr => TYPE::PTR.into(),
            Self::Srv => TYPE::SRV.into(),
            Self::Txt => TYPE::TXT.into(),
            Self::A => TYPE::A.into(),
        }
    }
}

impl Message {
    /// Reads a packet; none if it is no message of DNS.
    #[must_use]
    pub fn read(packet: &[u8]) -> Option<Self> {
        if packet.len() > MAX_PACKET || !can_hold(packet) {
            return None;
        }
        let packet = Packet::parse(packet).ok()?;
        let questions = packet.questions.iter().filter_map(|asked| {
            Some(Question {
                name: text(&asked.qname),
                kind: Kind::read(asked.qtype)?,
            })
        });
        let records = [&packet.answers, &packet.name_servers, &packet.additional_records];
        Some(Self {
            id: packet.id(),
            is_response: packet.has_flags(PacketFlag::RESPONSE),
            questions: questions.collect(),
            records: records.into_iter().flatten().filter_map(Record::read).collect(),
        })
    }
}

/// True if a packet is long enough for all that its header counts: else space would be made for what is not there.
fn can_hold(packet: &[u8]) -> bool {
    let count = |at: usize| match packet.get(at..at + 2) {
        Some(bytes) => usize::from(u16::from_be_bytes([bytes[0], bytes[1]])),
        None => usize::MAX / LENGTHS[2] / 8,
    };
    let [header, question, record] = LENGTHS;
    let records = count(6) + count(8) + count(10);
    packet.len() >= header + count(4) * question + records * record
}

impl Record {
    fn read(record: &ResourceRecord<'_>) -> Option<Self> {
        let data = match &record.rdata {
            RData::PTR(PTR(name)) => Data::Ptr(text(name)),
            RData::SRV(service) => Data::Srv {
                port: service.port,
                target: text(&service.target),
            },
            RData::TXT(strings) => Data::Txt(strings.iter_raw().map(string).collect()),
            RData::A(address) => Data::A(Ipv4Addr::from_bits(address.address)),
            _ => return None,
        };
        Some(Self {
            name: text(&record.name),
            ttl: record.ttl,
            data,
        })
    }

    /// As it goes into a packet. Records of an instance are its own, so those that were known before are forgotten; there are
    /// many instances of a service.
    fn write(&self, legacy: bool) -> simple_dns::Result<ResourceRecord<'_>> {
        let (data, unique) = match &self.data {
            Data::Ptr(name) => (RData::PTR(PTR(Name::new(name)?)), false),
            Data::Srv { port, target } => {
                let service = SRV {
                    priority: 0,
                    weight: 0,
                    port: *port,
                    target: Name::new(target)?,
                };
                (RData::SRV(service), true)
            }
            Data::Txt(strings) => {
                let mut txt = TXT::new();
                for string in strings {
                    txt.add_char_string(CharacterString::new(string.as_bytes())?);
                }
                (RData::TXT(txt), true)
            }
            Data::A(address) => {
                let address = A {
                    address: address.to_bits(),
                };
                (RData::A(address), true)
            }
        };
        let ttl = if legacy { self.ttl.min(LEGACY_TTL) } else { self.ttl };
        let record = ResourceRecord::new(Name::new(&self.name)?, CLASS::IN, ttl, data);
        Ok(record.with_cache_flush(unique && !legacy))
    }
}

/// A name with its dots, whatever is in it.
fn text(name: &Name<'_>) -> String {
    let labels: Vec<_> = name.as_bytes().map(String::from_utf8_lossy).collect();
    labels.join(".")
}

fn string((key, value): (&[u8], Option<&[u8]>)) -> String {
    let mut text = String::from_utf8_lossy(key).into_owned();
    if let Some(value) = value {
        text.push('=');
        text.push_str(&String::from_utf8_lossy(value));
    }
    text
}

/// Writes questions; none if a name is none. `unicast`: the answer is to come back to the asker alone.
#[must_use]
pub fn query(questions: &[Question], unicast: bool) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(0);
    packet.questions = asked(questions, unicast)?;
    packet.build_bytes_vec_compressed().ok()
}

/// Writes an answer; none if it does not fit. `legacy`: to a question from somebody who does not know mDNS, and who is told it
/// once more.
#[must_use]
pub fn response(answers: &[&Record], additional: &[&Record], legacy: Option<&Message>) -> Option<Vec<u8>> {
    let mut packet = Packet::new_reply(legacy.map_or(0, |question| question.id));
    packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    if let Some(question) = legacy {
        packet.questions = asked(&question.questions, false)?;
    }
    for (records, section) in [
        (answers, &mut packet.answers),
        (additional, &mut packet.additional_records),
    ] {
        let written: simple_dns::Result<Vec<_>> = records.iter().map(|record| record.write(legacy.is_some())).collect();
        *section = written.ok()?;
    }
    let bytes = packet.build_bytes_vec_compressed().ok()?;
    (bytes.len() <= MAX_PACKET).then_some(bytes)
}

fn asked(questions: &[Question], unicast: bool) -> Option<Vec<Asked<'_>>> {
    let asked = questions.iter().map(|question| {
        let name = Name::new(&question.name).ok()?;
        Some(Asked::new(
            name,
            question.kind.write(),
            QCLASS::CLASS(CLASS::IN),
            unicast,
        ))
    });
    asked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::tests::eth;
    use crate::advert::{Advert, Reach};
    use crate::responder::{announcements, answers, rival};
    use crate::sightings::Sightings;

    fn adverts() -> Vec<Advert> {
        let txt = ["grpc".to_owned(), "webrtc=".to_owned(), "größe=ü".to_owned()];
        Advert::of_machine("rover.lab", 8080, &txt, Reach::All).expect("a name")
    }

    fn questions() -> Vec<Question> {
        let question = |name: &str, kind| Question {
            name: name.to_owned(),
            kind,
        };
        vec![
            question("_rpc._tcp.local", Kind::Ptr),
            question("rover.lab._rpc._tcp.local", Kind::Any),
            question("rover-lab._rpc._tcp.local", Kind::Srv),
            question("rover.lab.local", Kind::A),
        ]
    }

    /// Reads a packet and does with it all that is done with packets.
    fn take(packet: &[u8]) -> bool {
        let Some(message) = Message::read(packet) else {
            return false;
        };
        let mut seen = Sightings::default();
        seen.hear(&message, &eth());
        let found = seen.found().count();
        for legacy in [true, false] {
            for answer in answers(&adverts(), &eth(), &message, legacy) {
                assert!(Message::read(&answer).is_some_and(|answer| answer.is_response));
            }
        }
        let _other = rival(&adverts(), &[8080].into(), &[], &message);
        assert!(found <= message.records.len());
        true
    }

    #[test]
    fn what_was_written_is_read() {
        let packet = query(&questions(), true).expect("it fits");
        let message = Message::read(&packet).expect("readable");
        assert_eq!((message.questions, message.is_response), (questions(), false));
        let records = adverts()[1].records(&[Ipv4Addr::new(10, 0, 0, 5)], false);
        let packet = response(&records.iter().collect::<Vec<_>>(), &[], None).expect("it fits");
        let message = Message::read(&packet).expect("readable");
        assert_eq!((message.records, message.is_response), (records, true));
    }

    #[test]
    fn what_belongs_to_one_instance_replaces_what_was_known_of_it() {
        let records = adverts()[0].records(&[Ipv4Addr::new(10, 0, 0, 5)], false);
        let packet = response(&records.iter().collect::<Vec<_>>(), &[], None).expect("it fits");
        let packet = Packet::parse(&packet).expect("readable");
        let flushes: Vec<_> = packet.answers.iter().map(|record| record.cache_flush).collect();
        assert_eq!(flushes, [false, true, true, true], "PTR, SRV, TXT, A");
        assert!(packet.has_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RESPONSE));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let counts = |counts: [u8; 4]| {
            let [questions, answers, authorities, others] = counts;
            let mut packet = vec![0, 0, 0x84, 0, 0, questions, 0, answers, 0, authorities, 0, others];
            packet.extend([0; 20]);
            packet
        };
        let loop_to_itself = [&counts([1, 0, 0, 0])[..12], &[0xc0, 12, 0, 12, 0, 1]].concat();
        let two_in_a_ring = [
            &counts([2, 0, 0, 0])[..12],
            &[0xc0, 18, 0, 12, 0, 1, 0xc0, 12, 0, 12, 0, 1],
        ]
        .concat();
        let forward = [&counts([1, 0, 0, 0])[..12], &[0xc0, 200, 0, 12, 0, 1]].concat();
        let cut = [&counts([1, 0, 0, 0])[..12], &[63, b'a', b'b', 0, 0]].concat();
        for (what, packet) in [
            ("nothing", &[][..]),
            ("half a header", &[0, 0, 0x84]),
            ("more questions than bytes", &counts([255, 0, 0, 0])),
            ("more records than bytes", &counts([0, 0, 255, 0])),
            ("a name that is itself", &loop_to_itself),
            ("two names in a ring", &two_in_a_ring),
            ("a name that is not there yet", &forward),
            ("a label that goes on after the end", &cut),
            ("more than a packet", &[0; MAX_PACKET + 1]),
        ] {
            assert!(!take(packet), "{what}");
        }
    }

    /// Numbers that are the same in each run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).expect("31 bits") % end
        }

        fn byte(&mut self) -> u8 {
            u8::try_from(self.below(256)).expect("a byte")
        }
    }

    #[test]
    fn whatever_is_changed_in_a_packet_is_read_or_refused() {
        let mut samples = announcements(&adverts(), &eth(), false);
        samples.push(query(&questions(), false).expect("it fits"));
        let question = Message::read(&samples[2]).expect("readable");
        samples.extend(answers(&adverts(), &eth(), &question, true));
        let (mut dice, mut readable) = (Dice(0x5eed), 0);
        for _ in 0..20_000 {
            let mut packet = samples[dice.below(samples.len())].clone();
            for _ in 0..=dice.below(4) {
                let at = dice.below(packet.len().max(1)).min(packet.len().saturating_sub(1));
                match dice.below(6) {
                    0 => packet.truncate(at),
                    1 => packet.insert(at, dice.byte()),
                    2 => packet.extend((0..dice.below(40)).map(|_| 0xc0)),
                    // A pointer to anywhere.
                    3 if at + 1 < packet.len() => (packet[at], packet[at + 1]) = (0xc0, dice.byte()),
                    4 if !packet.is_empty() => _ = packet.remove(at),
                    _ if !packet.is_empty() => packet[at] = dice.byte(),
                    _ => {}
                }
            }
            readable += usize::from(take(&packet));
        }
        assert!(readable > 2_000, "the changes are too rough to test much: {readable}");
    }
}
