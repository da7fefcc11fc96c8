//! Browsing: all machines on the network, or the addresses of one that somebody names.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::advert::Interface;
use crate::message::{Kind, MAX_PACKET, Message, Question, query};
use crate::sightings::{Sighting, Sightings};
use crate::socket::{GroupSocket, interfaces};
use crate::{SERVICE, dashed};

/// Pause between two questions: packets get lost.
const ASK_EVERY: Duration = Duration::from_millis(400);
/// How long a machine that is named may take to answer.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Failure to find a machine by its name.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// Nobody answered to it.
    #[error(
        "no machine on this network answered to the name `{0}` within {LOOKUP_TIMEOUT:?} (mDNS); `mainstay discover` lists those that answer, and host:port goes past the name"
    )]
    NoAnswer(String),
    /// Nobody could be asked.
    #[error("`{0}` cannot be looked up by mDNS: {1}; host:port goes past the name")]
    Io(String, io::Error),
}

/// Addresses of the machine that is called `name`, by that or with dashes instead of dots; the likeliest first.
///
/// # Errors
/// Nobody answers to it, or nobody can be asked.
pub async fn resolve(name: &str) -> Result<Vec<SocketAddrV4>, LookupError> {
    let instances = [name.to_owned(), dashed(name)];
    let mut questions = vec![Question {
        name: SERVICE.to_owned(),
        kind: Kind::Ptr,
    }];
    for instance in &instances[usize::from(instances[0] == instances[1])..] {
        questions.push(Question {
            name: format!("{instance}.{SERVICE}"),
            kind: Kind::Srv,
        });
    }
    let mut addresses = None;
    let io = |error| LookupError::Io(name.to_owned(), error);
    let search = Search::begin(&questions).map_err(io)?;
    let called = |seen: &Sightings| {
        addresses = seen
            .found()
            .find(|found| found.is_called(name))
            .map(|found| found.addresses);
        addresses.is_some()
    };
    search.run(LOOKUP_TIMEOUT, called).await.map_err(io)?;
    addresses.ok_or_else(|| LookupError::NoAnswer(name.to_owned()))
}

/// Machines that answer within `time`, in the order of their names; of those that tell all of the strings in `txt`.
///
/// # Errors
/// Nobody can be asked.
pub async fn browse(time: Duration, txt: &[&str]) -> io::Result<Vec<Sighting>> {
    let questions = [Question {
        name: SERVICE.to_owned(),
        kind: Kind::Ptr,
    }];
    let seen = Search::begin(&questions)?.run(time, |_| false).await?;
    let tells = |found: &Sighting| txt.iter().all(|wanted| found.txt.iter().any(|told| told == wanted));
    Ok(seen.found().filter(tells).collect())
}

/// Search that is under way.
struct Search {
    socket: GroupSocket,
    interfaces: Vec<Interface>,
    question: Vec<u8>,
}

impl Search {
    fn begin(questions: &[Question]) -> io::Result<Self> {
        let interfaces = interfaces();
        // Without the port of mDNS answers come back to a port of our own, from those who send them there.
        let mut socket = GroupSocket::open().or_else(|_| GroupSocket::open_unheard())?;
        socket.join(&interfaces.iter().collect::<Vec<_>>());
        let question = query(questions, !socket.hears_group);
        let question = question.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no name of DNS"))?;
        Ok(Self {
            socket,
            interfaces,
            question,
        })
    }

    /// Asks again and again until `time` is over or what was seen is `enough`; what was seen.
    async fn run(self, time: Duration, mut enough: impl FnMut(&Sightings) -> bool) -> io::Result<Sightings> {
        let end = Instant::now() + time;
        let mut seen = Sightings::default();
        let mut buffer = vec![0; MAX_PACKET];
        let mut asks = interval(ASK_EVERY);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.socket.writable().await;
        loop {
            tokio::select! {
                // However much comes in.
                biased;
                () = sleep_until(end) => return Ok(seen),
                _ = asks.tick() => {
                    for interface in &self.interfaces {
                        self.socket.send(&self.question, interface, None);
                    }
                }
                received = self.socket.receive(&mut buffer) => {
                    let received = received?;
                    let interface = self.interfaces.iter().find(|one| one.index == received.interface);
                    let message = Message::read(&buffer[..received.length]);
                    if let (Some(interface), Some(message)) = (interface, message) {
                        seen.hear(&message, interface);
                        if enough(&seen) {
                            return Ok(seen);
                        }
                    }
                }
            }
        }
    }
}
