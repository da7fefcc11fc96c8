//! Advertiser: the task that announces what is advertised, answers questions and says goodbye. It never fails: what cannot be
//! had is told once, and tried again.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::GROUP;
use crate::advert::{Advert, Interface, Reach};
use crate::message::{Kind, MAX_PACKET, Message, Question, query};
use crate::responder::{announcements, answers, rival};
use crate::socket::{GroupSocket, Received, interfaces};

/// How often the interfaces of the host are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Pause before the second announcement, for those who missed the first.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// Answers to questions on one interface within [`LOOK_EVERY`]: who asks more often is not heard.
const MAX_ANSWERS: u32 = 150;

/// Most other machines with one of our names that are told.
const MAX_RIVALS: usize = 16;
/// Looks after which another machine that has our name and does not answer is gone.
const GONE_AFTER: u32 = 3;

/// What is to be advertised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Names of this machine.
    pub adverts: Vec<Advert>,
    /// Why there are none, for people, if somebody might expect some.
    pub problem: Option<String>,
}

/// What an advertiser does at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdvertState {
    /// Names that are advertised.
    pub names: Vec<String>,
    /// What keeps others from finding the machine, for people.
    pub problem: Option<String>,
}

/// Advertises what `wanted` holds until `stop`, and says in `state` how that goes.
pub async fn advertise(
    mut wanted: watch::Receiver<Wanted>,
    state: watch::Sender<AdvertState>,
    stop: CancellationToken,
) {
    let mut advertiser = Advertiser::new(state);
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = Vec::new();
    let first = wanted.borrow_and_update().clone();
    advertiser.take_up(first).await;
    loop {
        // Silence costs nothing.
        let is_silent = advertiser.adverts.is_empty();
        tokio::select! {
            () = stop.cancelled() => break,
            changed = wanted.changed() => {
                if changed.is_err() {
                    break;
                }
                let next = wanted.borrow_and_update().clone();
                advertiser.take_up(next).await;
            }
            _ = looks.tick(), if !is_silent => advertiser.look().await,
            () = at(advertiser.again), if !is_silent => {
                advertiser.again = None;
                advertiser.announce(None);
            }
            received = receive(advertiser.socket.as_ref(), &mut buffer) => match received {
                Ok(received) => advertiser.answer(&buffer[..received.length], &received),
                Err(error) => advertiser.lose(&error),
            },
        }
    }
    advertiser.say_goodbye();
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn receive(socket: Option<&GroupSocket>, buffer: &mut Vec<u8>) -> io::Result<Received> {
    match socket {
        Some(socket) => {
            buffer.resize(MAX_PACKET, 0);
            socket.receive(buffer).await
        }
        None => std::future::pending().await,
    }
}

struct Advertiser {
    adverts: Vec<Advert>,
    socket: Option<GroupSocket>,
    interfaces: Vec<Interface>,
    /// When everything is announced once more.
    again: Option<Instant>,
    /// Answers given since the last look, by interface.
    given: BTreeMap<u32, u32>,
    /// Ports that were ever advertised here: what was sent a moment ago comes back to us, too.
    ports: BTreeSet<u16>,
    /// Other machines with one of our names, and how many looks ago each was heard.
    rivals: BTreeMap<(String, Option<Ipv4Addr>), u32>,
    state: watch::Sender<AdvertState>,
}

impl Advertiser {
    fn new(state: watch::Sender<AdvertState>) -> Self {
        Self {
            adverts: Vec::new(),
            socket: None,
            interfaces: Vec::new(),
            again: None,
            given: BTreeMap::new(),
            ports: BTreeSet::new(),
            rivals: BTreeMap::new(),
            state,
        }
    }

    /// Advertises this from now on.
    async fn take_up(&mut self, wanted: Wanted) {
        let Wanted { adverts, problem } = wanted;
        if !adverts.is_empty() && self.adverts == adverts {
            return;
        }
        // Of an instance that stays others hear its new records, which replace those that they know.
        let gone: Vec<Advert> = self
            .adverts
            .iter()
            .filter(|old| {
                !adverts
                    .iter()
                    .any(|new| new.instance == old.instance && new.reach == old.reach)
            })
            .cloned()
            .collect();
        self.send(&gone, None, true);
        self.adverts = adverts;
        self.rivals.clear();
        if self.adverts.is_empty() {
            (self.socket, self.again) = (None, None);
            if let Some(problem) = &problem {
                debug!("not found by mDNS: {problem}");
            }
            self.tell(problem);
            return;
        }
        self.ports.extend(self.adverts.iter().map(|advert| advert.port));
        self.look().await;
        self.announce(None);
        self.ask_for_rivals();
        self.again = Some(Instant::now() + ANNOUNCE_AGAIN);
    }

    /// Looks at the interfaces, and opens the socket if there is none.
    async fn look(&mut self) {
        self.given.clear();
        let before = std::mem::replace(&mut self.interfaces, interfaces());
        if self.socket.is_none() {
            match GroupSocket::open() {
                Ok(socket) => {
                    socket.writable().await;
                    self.socket = Some(socket);
                }
                Err(error) => return self.lose(&error),
            }
        }
        let told_on = told_on(&self.adverts, &self.interfaces);
        let mut new = match &mut self.socket {
            Some(socket) => socket.join(&listened_on(&self.adverts, &self.interfaces)),
            None => return,
        };
        // One whose addresses changed is told on anew, too.
        let is_changed = |interface: &&&Interface| !before.contains(interface);
        new.extend(told_on.iter().filter(is_changed).map(|interface| interface.index));
        let problem = told_on.is_empty().then(|| {
            "no interface that is up has an address at which the machine is served, so nobody finds it".to_owned()
        });
        if !new.is_empty() {
            self.announce(Some(&new));
            self.again = Some(Instant::now() + ANNOUNCE_AGAIN);
        }
        self.rivals.retain(|_, looks| {
            *looks += 1;
            *looks <= GONE_AFTER
        });
        if self.rivals.is_empty() {
            self.tell(problem);
        } else {
            self.ask_for_rivals();
        }
    }

    /// Announces on these interfaces, or on all.
    fn announce(&self, on: Option<&BTreeSet<u32>>) {
        self.send(&self.adverts, on, false);
    }

    fn send(&self, adverts: &[Advert], on: Option<&BTreeSet<u32>>, gone: bool) {
        let Some(socket) = &self.socket else {
            return;
        };
        let chosen = |interface: &&Interface| on.is_none_or(|on| on.contains(&interface.index));
        for interface in self.interfaces.iter().filter(chosen) {
            for packet in announcements(adverts, interface, gone) {
                socket.send(&packet, interface, None);
            }
        }
    }

    /// Asks who else has these names; what comes back is noticed.
    fn ask_for_rivals(&self) {
        let questions = self.adverts.iter().map(|advert| Question {
            name: advert.full_name(),
            kind: Kind::Srv,
        });
        let packet = query(&questions.collect::<Vec<_>>(), false);
        if let (Some(socket), Some(packet)) = (&self.socket, packet) {
            for interface in told_on(&self.adverts, &self.interfaces) {
                socket.send(&packet, interface, None);
            }
        }
    }

    fn answer(&mut self, packet: &[u8], received: &Received) {
        let interface = self.interfaces.iter().find(|one| one.index == received.interface);
        let (Some(interface), Some(message)) = (interface, Message::read(packet)) else {
            return;
        };
        if message.is_response {
            if told_on(&self.adverts, &self.interfaces).contains(&interface) {
                self.notice_rival(&message);
            }
            return;
        }
        let legacy = received.from.port() != GROUP.port();
        // Nobody is to have packets sent to somewhere else.
        if legacy && !interface.holds(*received.from.ip()) {
            return;
        }
        let to: Option<SocketAddrV4> = legacy.then_some(received.from);
        // Clients ask where the routes of their host lead, wherever the machine is. What its own host alone may know is
        // answered on the loopback interface.
        let is_own = self.own_addresses().contains(received.from.ip());
        let loopback = self
            .interfaces
            .iter()
            .filter(|one| one.loopback && is_own && !interface.loopback);
        for interface in [interface].into_iter().chain(loopback) {
            let packets = answers(&self.adverts, interface, &message, legacy);
            let given = self.given.entry(interface.index).or_default();
            if packets.is_empty() || *given >= MAX_ANSWERS {
                continue;
            }
            *given += 1;
            if let Some(socket) = &self.socket {
                for packet in &packets {
                    socket.send(packet, interface, to);
                }
            }
        }
    }

    fn own_addresses(&self) -> Vec<Ipv4Addr> {
        let addresses = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        addresses.map(|(address, _)| *address).collect()
    }

    fn notice_rival(&mut self, message: &Message) {
        let Some(rival) = rival(&self.adverts, &self.ports, &self.own_addresses(), message) else {
            return;
        };
        // Somebody who makes them up fills no log.
        let is_full = self.rivals.len() >= MAX_RIVALS;
        match self.rivals.entry(rival.clone()) {
            Entry::Occupied(mut known) => {
                known.insert(0);
                return;
            }
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(new) => _ = new.insert(0),
        }
        let (name, address) = rival;
        let place = address.map(|address| format!(" at {address}")).unwrap_or_default();
        let problem = format!(
            "another machine{place} is called `{name}`, too, and clients may find either; give one of them a `network.fqdn` of its own"
        );
        warn!("mDNS: {problem}");
        self.tell(Some(problem));
    }

    /// Goes on without a socket until the next look.
    fn lose(&mut self, error: &io::Error) {
        self.socket = None;
        let problem = format!(
            "no other machine finds this one by its name: UDP port {} of mDNS cannot be had: {error}; `network.mdns: false` does without",
            GROUP.port()
        );
        if self.state.borrow().problem.as_ref() != Some(&problem) {
            warn!("mDNS: {problem}");
        }
        self.tell(Some(problem));
    }

    fn tell(&self, problem: Option<String>) {
        let names = self.adverts.iter().map(|advert| advert.instance.clone());
        let next = AdvertState {
            names: names.filter(|_| self.socket.is_some()).collect(),
            problem,
        };
        self.state.send_if_modified(|state| {
            if *state == next {
                return false;
            }
            debug!(?next, "mDNS");
            *state = next;
            true
        });
    }

    fn say_goodbye(&self) {
        self.send(&self.adverts, None, true);
    }
}

/// Interfaces on which questions are heard: those on which one of these is told, and for what its own host alone may know all.
fn listened_on<'a>(adverts: &[Advert], interfaces: &'a [Interface]) -> Vec<&'a Interface> {
    match adverts.iter().any(|advert| advert.reach == Reach::Loopback) {
        true => interfaces.iter().collect(),
        false => told_on(adverts, interfaces),
    }
}

/// Interfaces on which one of these is told.
fn told_on<'a>(adverts: &[Advert], interfaces: &'a [Interface]) -> Vec<&'a Interface> {
    let told = |interface: &&Interface| adverts.iter().any(|advert| !advert.addresses_on(interface).is_empty());
    interfaces.iter().filter(told).collect()
}
