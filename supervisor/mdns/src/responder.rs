//! Responder: which packets answer a message, and which announce. Each packet is about one instance and holds all its records,
//! because Viam's clients put nothing together that came apart.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::SERVICE;
use crate::advert::{Advert, Interface};
use crate::message::{Data, Message, Question, Record, response};

/// Name under which all services of a network are listed.
const ALL_SERVICES: &str = "_services._dns-sd._udp.local";

/// Packets that announce these adverts on an interface; `gone`: that they are over.
#[must_use]
pub fn announcements(adverts: &[Advert], interface: &Interface, gone: bool) -> Vec<Vec<u8>> {
    let packets = adverts.iter().filter_map(|advert| {
        let records = told(advert, interface, gone)?;
        response(&records.iter().collect::<Vec<_>>(), &[], None)
    });
    packets.collect()
}

/// Packets that answer a question which came in on an interface. `legacy`: the asker does not listen to the group.
#[must_use]
pub fn answers(adverts: &[Advert], interface: &Interface, question: &Message, legacy: bool) -> Vec<Vec<u8>> {
    let legacy = legacy.then_some(question);
    let mut packets = Vec::new();
    let mut told_any = false;
    for advert in adverts {
        let Some(records) = told(advert, interface, false) else {
            continue;
        };
        told_any = true;
        let (asked, rest): (Vec<_>, Vec<_>) = records.iter().partition(|record| is_asked(record, question));
        // Who asks for the address alone does not want to know the rest.
        let rest = match asked.iter().all(|record| matches!(record.data, Data::A(_))) {
            true => Vec::new(),
            false => rest,
        };
        if !asked.is_empty() {
            packets.extend(response(&asked, &rest, legacy));
        }
    }
    let lists_services =
        |asked: &Question| asked.kind.takes(&Data::Ptr(String::new())) && asked.name.eq_ignore_ascii_case(ALL_SERVICES);
    if told_any && question.questions.iter().any(lists_services) {
        let service = Record {
            name: ALL_SERVICES.to_owned(),
            ttl: 3200,
            data: Data::Ptr(SERVICE.to_owned()),
        };
        packets.extend(response(&[&service], &[], legacy));
    }
    packets
}

fn told(advert: &Advert, interface: &Interface, gone: bool) -> Option<Vec<Record>> {
    let addresses = advert.addresses_on(interface);
    (!addresses.is_empty()).then(|| advert.records(&addresses, gone))
}

/// True if a record is asked for, and not among what the asker says that it knows.
fn is_asked(record: &Record, question: &Message) -> bool {
    let is_known = |known: &Record| {
        matches!((&known.data, &record.data), (Data::Ptr(known), Data::Ptr(own)) if known.eq_ignore_ascii_case(own))
            && known.name.eq_ignore_ascii_case(&record.name)
            && known.ttl >= record.ttl / 2
    };
    let mut asked = question.questions.iter();
    asked.any(|asked| asked.kind.takes(&record.data) && asked.name.eq_ignore_ascii_case(&record.name))
        && !question.records.iter().any(is_known)
}

/// Another machine that has the name of one of these adverts, as a response which came in on an interface tells: its name and
/// where it is. `ports` and `own`: those that this machine has or had, and all addresses of this host.
#[must_use]
pub fn rival(
    adverts: &[Advert],
    ports: &BTreeSet<u16>,
    own: &[Ipv4Addr],
    heard: &Message,
) -> Option<(String, Option<Ipv4Addr>)> {
    if !heard.is_response {
        return None;
    }
    let named = heard.records.iter().filter(|record| record.ttl > 0);
    let address = named.clone().find_map(|record| match record.data {
        Data::A(address) => Some(address),
        _ => None,
    });
    let elsewhere = address.is_some_and(|address| !own.contains(&address));
    let mut rivals = named.filter_map(|record| {
        let Data::Srv { port, .. } = &record.data else {
            return None;
        };
        let same = adverts
            .iter()
            .find(|advert| advert.full_name().eq_ignore_ascii_case(&record.name))?;
        (!ports.contains(port) || elsewhere).then(|| (same.instance.clone(), address))
    });
    rivals.next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advert::Reach;
    use crate::advert::tests::eth;
    use crate::message::{Kind, query};

    fn rover() -> Vec<Advert> {
        Advert::of_machine("rover.lab", 8080, &["grpc".to_owned()], Reach::All).expect("a name")
    }

    fn asking(name: &str, kind: Kind) -> Message {
        let question = Question {
            name: name.to_owned(),
            kind,
        };
        let packet = query(&[question], false).expect("it fits");
        Message::read(&packet).expect("readable")
    }

    /// What each packet says, in short.
    fn shown(packets: &[Vec<u8>]) -> Vec<String> {
        let show = |record: Record| match record.data {
            Data::Ptr(name) => format!("PTR {name}"),
            Data::Srv { port, target } => format!("SRV {target}:{port}"),
            Data::Txt(strings) => format!("TXT {}", strings.join(" ")),
            Data::A(address) => format!("A {} {address}", record.name),
        };
        let read = |packet: &Vec<u8>| Message::read(packet).expect("readable").records;
        packets
            .iter()
            .map(|packet| read(packet).into_iter().map(show).collect::<Vec<_>>().join(", "))
            .collect()
    }

    const DASHED: &str =
        "PTR rover-lab._rpc._tcp.local, SRV rover-lab.local:8080, TXT grpc, A rover-lab.local 10.0.0.5";
    const DOTTED: &str =
        "PTR rover.lab._rpc._tcp.local, SRV rover.lab.local:8080, TXT grpc, A rover.lab.local 10.0.0.5";

    #[test]
    fn each_packet_is_about_one_instance_and_whole() {
        let ask = |name: &str, kind| shown(&answers(&rover(), &eth(), &asking(name, kind), false));
        assert_eq!(ask("_rpc._tcp.local", Kind::Ptr), [DASHED, DOTTED]);
        assert_eq!(ask("_RPC._tcp.Local", Kind::Any), [DASHED, DOTTED]);
        // What was asked for comes first.
        assert_eq!(
            ask("rover.lab._rpc._tcp.local", Kind::Srv),
            ["SRV rover.lab.local:8080, PTR rover.lab._rpc._tcp.local, TXT grpc, A rover.lab.local 10.0.0.5"]
        );
        assert_eq!(
            ask("rover-lab._rpc._tcp.local", Kind::Txt),
            ["TXT grpc, PTR rover-lab._rpc._tcp.local, SRV rover-lab.local:8080, A rover-lab.local 10.0.0.5"]
        );
        assert_eq!(ask("rover.lab.local", Kind::A), ["A rover.lab.local 10.0.0.5"]);
        assert_eq!(ask("_services._dns-sd._udp.local", Kind::Ptr), ["PTR _rpc._tcp.local"]);
        for silent in ["_http._tcp.local", "rover._rpc._tcp.local", "local", ""] {
            assert!(ask(silent, Kind::Any).is_empty(), "{silent}");
        }
        let lo = Interface {
            loopback: true,
            ..eth()
        };
        assert!(answers(&rover(), &lo, &asking("_services._dns-sd._udp.local", Kind::Ptr), false).is_empty());
    }

    #[test]
    fn what_the_asker_knows_is_not_told_again() {
        let mut question = asking("_rpc._tcp.local", Kind::Ptr);
        let known = |ttl| Record {
            name: "_rpc._tcp.local".to_owned(),
            ttl,
            data: Data::Ptr("ROVER-lab._rpc._tcp.local".to_owned()),
        };
        question.records = vec![known(1600)];
        assert_eq!(shown(&answers(&rover(), &eth(), &question, false)), [DOTTED]);
        question.records = vec![known(1599)];
        assert_eq!(shown(&answers(&rover(), &eth(), &question, false)), [DASHED, DOTTED]);
    }

    #[test]
    fn who_does_not_know_mdns_is_told_the_question_again_and_short_lives() {
        let mut question = asking("_rpc._tcp.local", Kind::Ptr);
        question.id = 77;
        let answer = &answers(&rover(), &eth(), &question, true)[0];
        let answer = Message::read(answer).expect("readable");
        assert_eq!((answer.id, &answer.questions), (77, &question.questions));
        assert!(answer.records.iter().all(|record| record.ttl == 10));
        let plain = &answers(&rover(), &eth(), &question, false)[0];
        let plain = Message::read(plain).expect("readable");
        assert_eq!((plain.id, plain.questions.len()), (0, 0));
        let lives: Vec<_> = plain.records.iter().map(|record| record.ttl).collect();
        assert_eq!(lives, [3200, 3200, 3200, 120]);
    }

    #[test]
    fn goodbye_says_that_everything_is_over() {
        let packets = announcements(&rover(), &eth(), true);
        assert_eq!(shown(&packets), [DASHED, DOTTED]);
        for packet in &packets {
            let records = Message::read(packet).expect("readable").records;
            assert!(records.iter().all(|record| record.ttl == 0));
        }
    }

    #[test]
    fn another_machine_of_the_same_name_is_noticed_and_our_own_echo_is_not() {
        let own = [Ipv4Addr::new(10, 0, 0, 5), Ipv4Addr::LOCALHOST];
        let heard = |change: &dyn Fn(&mut Advert, &mut Interface), gone| {
            let (mut adverts, mut interface) = (rover(), eth());
            change(&mut adverts[0], &mut interface);
            let packet = &announcements(&adverts, &interface, gone)[0];
            let message = Message::read(packet).expect("readable");
            rival(&rover(), &[8080].into(), &own, &message)
        };
        let there = Ipv4Addr::new(10, 0, 0, 9);
        let named = |address| Some(("rover-lab".to_owned(), Some(address)));
        assert_eq!(heard(&|_, _| {}, false), None);
        assert_eq!(
            heard(&|_, interface| interface.addresses[0].0 = there, false),
            named(there)
        );
        assert_eq!(heard(&|advert, _| advert.port = 1, false), named(own[0]));
        assert_eq!(heard(&|advert, _| advert.port = 1, true), None, "one that goes");
        assert_eq!(heard(&|advert, _| advert.instance = "other".to_owned(), false), None);
        let question = asking("rover-lab._rpc._tcp.local", Kind::Any);
        assert_eq!(rival(&rover(), &[8080].into(), &own, &question), None);
    }
}
