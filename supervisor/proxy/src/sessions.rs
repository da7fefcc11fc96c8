//! Sessions: a client that moves an actuator keeps saying that it is there; when it falls silent, the actuator stops.
//!
//! `SessionTable` decides (pure, time comes in); `Sessions` holds it behind a lock and says when the next one is due.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mainstay_model::ModuleName;
use mainstay_proto::ResourceName;
use tokio::sync::Notify;
use uuid::Uuid;

/// The exact text by which clients know that they must start a new session.
pub const SESSION_EXPIRED: &str = "SESSION_EXPIRED";
/// Most sessions: more than any machine has clients.
const MAX_SESSIONS: usize = 1025;

/// Error of a session call.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SessionError {
    /// Unknown, expired, or somebody else's.
    #[error("{SESSION_EXPIRED}")]
    Expired,
    /// Not a UUID.
    #[error("invalid UUID length: {0}")]
    BadId(usize),
    /// A UUID's length, and yet none.
    #[error("invalid UUID format")]
    BadFormat,
    /// The metadata carries several.
    #[error("found more than one session id in metadata")]
    Several,
    /// Too many sessions.
    #[error("too many concurrent sessions")]
    TooMany,
}

/// Refusal of a call whose module has ended meanwhile: it moves nothing any more.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("module {0} has ended since it made this call")]
pub struct CallerEnded(pub ModuleName);

/// Reads a session id as it came in metadata or in a request.
pub fn parse_id(text: &str) -> Result<Uuid, SessionError> {
    match Uuid::try_parse(text) {
        Ok(id) => Ok(id),
        Err(_) if text.len() == 36 => Err(SessionError::BadFormat),
        Err(_) => Err(SessionError::BadId(text.len())),
    }
}

/// Session of a client.
#[derive(Debug, Clone)]
pub struct Session {
    /// Owner: the authenticated entity, empty without authentication.
    pub owner: String,
    /// Address that the client was last heard from.
    pub peer: String,
    expires: Instant,
}

/// Table of all sessions, and of who moved what last.
#[derive(Debug)]
pub struct SessionTable {
    /// Time that a client may be silent; counts from its next sign of life.
    pub window: Duration,
    sessions: HashMap<Uuid, Session>,
    users: HashMap<ResourceName, Uuid>,
    owners: HashMap<ResourceName, Owner>,
    /// The last life of each module that is over.
    over: HashMap<ModuleName, u64>,
}

/// The module that moved something last, and in which of its lives.
#[derive(Debug)]
struct Owner {
    module: ModuleName,
    life: u64,
}

impl SessionTable {
    /// An empty book with this heartbeat window.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            sessions: HashMap::new(),
            users: HashMap::new(),
            owners: HashMap::new(),
            over: HashMap::new(),
        }
    }

    /// Starts a session, or goes on with `resume` if that lives and has the same owner.
    pub fn start(&mut self, resume: Option<Uuid>, owner: &str, peer: &str, now: Instant) -> Result<Uuid, SessionError> {
        if let Some(id) = resume
            && self.heartbeat(id, owner, peer, now).is_ok()
        {
            return Ok(id);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return Err(SessionError::TooMany);
        }
        let id = Uuid::new_v4();
        self.sessions.insert(
            id,
            Session {
                owner: owner.into(),
                peer: peer.into(),
                expires: now + self.window,
            },
        );
        Ok(id)
    }

    /// The client is there.
    pub fn heartbeat(&mut self, id: Uuid, owner: &str, peer: &str, now: Instant) -> Result<(), SessionError> {
        match self.sessions.get_mut(&id) {
            Some(session) if session.owner == owner && session.expires > now => {
                session.expires = now + self.window;
                if session.peer != peer {
                    session.peer = peer.into();
                }
                Ok(())
            }
            _ => Err(SessionError::Expired),
        }
    }

    /// A client moves `resource`. Without a session nobody answers for it any more.
    pub fn moved_by_client(&mut self, resource: &ResourceName, session: Option<Uuid>) {
        match session {
            Some(id) => {
                self.users.insert(resource.clone(), id);
            }
            None => {
                self.users.remove(resource);
            }
        }
        self.owners.remove(resource);
    }

    /// Process number `life` of a module moves `resource`: what a session answers for stays as it is.
    ///
    /// # Errors
    /// That process has ended. Its last words may be read after that, and nobody is left to answer for them.
    pub fn moved_by_module(
        &mut self,
        resource: &ResourceName,
        module: &ModuleName,
        life: u64,
    ) -> Result<(), CallerEnded> {
        if self.over.get(module).is_some_and(|over| life <= *over) {
            return Err(CallerEnded(module.clone()));
        }
        let module = module.clone();
        self.owners.insert(resource.clone(), Owner { module, life });
        Ok(())
    }

    /// Resources that `module` itself set moving, in any of its lives, and nobody else since.
    pub fn moved_by(&self, module: &ModuleName) -> Vec<ResourceName> {
        let own = self.owners.iter().filter(|(_, mover)| mover.module == *module);
        own.map(|(resource, _)| resource.clone()).collect()
    }

    /// The module's processes up to number `life` have ended: from now on they move nothing.
    pub fn module_ended(&mut self, module: &ModuleName, life: u64) {
        let over = self.over.entry(module.clone()).or_default();
        *over = life.max(*over);
    }

    /// Takes what `module` set moving, in its lives up to `life`, and nobody else since. It answers for that no longer,
    /// so a second question gets another answer.
    pub fn take_moved_by(&mut self, module: &ModuleName, life: u64) -> Vec<ResourceName> {
        let own = |mover: &Owner| mover.module == *module && mover.life <= life;
        let taken = self.owners.extract_if(|_, mover| own(mover));
        let mut taken: Vec<_> = taken.map(|(resource, _)| resource).collect();
        taken.sort();
        taken
    }

    /// Live sessions, oldest id first.
    pub fn list(&self) -> Vec<(Uuid, Session)> {
        let sessions = self.sessions.iter();
        let mut all: Vec<_> = sessions.map(|(id, session)| (*id, session.clone())).collect();
        all.sort_by_key(|(id, _)| *id);
        all
    }

    /// Forgets the sessions that fell silent and returns the address of each, and what has to stop for it.
    pub fn expire(&mut self, now: Instant) -> Vec<(Uuid, String, Vec<ResourceName>)> {
        let over = self.sessions.iter().filter(|(_, session)| session.expires <= now);
        let over: Vec<_> = over.map(|(id, _)| *id).collect();
        let ended = over.into_iter().map(|id| {
            let peer = self.sessions.remove(&id).map(|session| session.peer);
            let mut used: Vec<_> = self
                .users
                .extract_if(|_, user| *user == id)
                .map(|(resource, _)| resource)
                .collect();
            used.sort();
            (id, peer.unwrap_or_default(), used)
        });
        ended.collect()
    }

    /// Time at which the next session expires.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.sessions.values().map(|session| session.expires).min()
    }
}

/// The sessions of the machine.
#[derive(Debug)]
pub struct Sessions {
    table: Mutex<SessionTable>,
    changed: Notify,
}

impl Sessions {
    /// No sessions yet; each lasts `window` beyond its last sign of life.
    pub fn new(window: Duration) -> Self {
        Self {
            table: Mutex::new(SessionTable::new(window)),
            changed: Notify::new(),
        }
    }

    /// Starts or resumes a session.
    pub fn start(&self, resume: Option<Uuid>, owner: &str, peer: &str) -> Result<Uuid, SessionError> {
        let id = self.table().start(resume, owner, peer, Instant::now())?;
        self.changed.notify_one();
        Ok(id)
    }

    /// The client is there.
    pub fn heartbeat(&self, id: Uuid, owner: &str, peer: &str) -> Result<(), SessionError> {
        self.table().heartbeat(id, owner, peer, Instant::now())
    }

    /// Waits for sessions to fall silent, and returns what has to stop for each.
    pub async fn expired(&self) -> Vec<(Uuid, String, Vec<ResourceName>)> {
        loop {
            let next = self.table().next_expiry();
            match next {
                None => self.changed.notified().await,
                // Heartbeats only move an expiry away, so nothing can become due before `next`.
                Some(next) => tokio::time::sleep_until(next.into()).await,
            }
            let ended = self.table().expire(Instant::now());
            if !ended.is_empty() {
                return ended;
            }
        }
    }

    /// The table, locked: for one look, or one change that no expiry follows from.
    pub fn table(&self) -> MutexGuard<'_, SessionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(2);

    fn motor(name: &str) -> ResourceName {
        format!("rdk:component:motor/{name}").parse().expect("a name")
    }

    #[test]
    fn a_silent_client_loses_what_it_moved_and_nothing_else() {
        let (mut table, zero) = (SessionTable::new(WINDOW), Instant::now());
        let a = table.start(None, "", "p", zero).expect("room");
        let b = table.start(None, "", "p", zero).expect("room");
        table.moved_by_client(&motor("left"), Some(a));
        table.moved_by_client(&motor("right"), Some(b));
        table.moved_by_client(&motor("free"), Some(a));
        table.moved_by_client(&motor("free"), None);
        assert_eq!(table.heartbeat(b, "", "p", zero + Duration::from_secs(1)), Ok(()));
        assert_eq!(table.expire(zero + Duration::from_millis(1999)), []);
        assert_eq!(table.expire(zero + WINDOW), [(a, "p".to_owned(), vec![motor("left")])]);
        assert_eq!(table.heartbeat(a, "", "p", zero + WINDOW), Err(SessionError::Expired));
        assert_eq!(
            table.expire(zero + Duration::from_secs(3)),
            [(b, "p".to_owned(), vec![motor("right")])]
        );
        assert_eq!(table.next_expiry(), None);
    }

    #[test]
    fn another_window_counts_from_the_next_sign_of_life() {
        let sessions = Sessions::new(WINDOW);
        let id = sessions.start(None, "", "p").expect("room");
        let due = |sessions: &Sessions| sessions.table().next_expiry().expect("one session");
        let before = due(&sessions);
        sessions.table().window = WINDOW * 30;
        assert_eq!(due(&sessions), before);
        assert_eq!(sessions.heartbeat(id, "", "p"), Ok(()));
        assert!(due(&sessions) >= before + WINDOW * 28);
        assert_eq!(sessions.table().window, WINDOW * 30);
    }

    #[test]
    fn an_actuator_follows_the_session_that_moved_it_last() {
        let (mut table, zero) = (SessionTable::new(WINDOW), Instant::now());
        let a = table.start(None, "", "p", zero).expect("room");
        let b = table.start(None, "", "p", zero + Duration::from_secs(1)).expect("room");
        table.moved_by_client(&motor("left"), Some(a));
        table.moved_by_client(&motor("left"), Some(b));
        assert_eq!(table.expire(zero + WINDOW), [(a, "p".to_owned(), vec![])]);
        assert_eq!(
            table.expire(zero + Duration::from_secs(3)),
            [(b, "p".to_owned(), vec![motor("left")])]
        );
    }

    #[test]
    fn a_session_is_resumed_by_its_owner_alone() {
        let (mut table, zero) = (SessionTable::new(WINDOW), Instant::now());
        let a = table.start(None, "me", "p", zero).expect("room");
        assert_eq!(table.start(Some(a), "me", "q", zero), Ok(a));
        assert_ne!(table.start(Some(a), "you", "p", zero), Ok(a));
        assert_eq!(table.heartbeat(a, "you", "p", zero), Err(SessionError::Expired));
        assert_ne!(table.start(Some(a), "me", "p", zero + WINDOW), Ok(a));
    }

    #[test]
    fn a_module_answers_for_what_it_moved_until_a_client_takes_over() {
        let mut table = SessionTable::new(WINDOW);
        let (pilot, other): (ModuleName, ModuleName) = ("pilot".into(), "other".into());
        assert_eq!(table.moved_by_module(&motor("left"), &pilot, 1), Ok(()));
        assert_eq!(table.moved_by_module(&motor("right"), &pilot, 1), Ok(()));
        assert_eq!(table.moved_by(&other), []);
        table.moved_by_client(&motor("right"), None);
        assert_eq!(table.moved_by(&pilot), [motor("left")]);
        assert_eq!(table.moved_by_module(&motor("left"), &other, 1), Ok(()));
        assert_eq!(table.moved_by(&pilot), []);
    }

    #[test]
    fn what_an_ended_process_moved_is_taken_once_and_what_others_moved_since_is_not() {
        let mut table = SessionTable::new(WINDOW);
        let (pilot, other): (ModuleName, ModuleName) = ("pilot".into(), "other".into());
        for name in ["c", "a", "client", "other", "again"] {
            assert_eq!(table.moved_by_module(&motor(name), &pilot, 1), Ok(()));
        }
        table.moved_by_client(&motor("client"), None);
        assert_eq!(table.moved_by_module(&motor("other"), &other, 7), Ok(()));
        assert_eq!(table.moved_by_module(&motor("again"), &pilot, 2), Ok(()));
        assert_eq!(table.take_moved_by(&pilot, 1), [motor("a"), motor("c")]);
        assert_eq!(table.take_moved_by(&pilot, 1), []);
        assert_eq!(
            (table.moved_by(&pilot), table.moved_by(&other)),
            (vec![motor("again")], vec![motor("other")])
        );
    }

    #[test]
    fn the_last_words_of_an_ended_process_move_nothing() {
        let mut table = SessionTable::new(WINDOW);
        let pilot: ModuleName = "pilot".into();
        table.module_ended(&pilot, 2);
        table.module_ended(&pilot, 1);
        for life in [1, 2] {
            let refused = table.moved_by_module(&motor("left"), &pilot, life);
            assert_eq!(refused, Err(CallerEnded(pilot.clone())));
        }
        assert_eq!(table.moved_by(&pilot), []);
        assert_eq!(table.moved_by_module(&motor("left"), &pilot, 3), Ok(()));
        assert_eq!(table.moved_by_module(&motor("right"), &"other".into(), 1), Ok(()));
    }

    #[test]
    fn there_is_an_end_to_sessions() {
        let (mut table, zero) = (SessionTable::new(WINDOW), Instant::now());
        for _ in 0..MAX_SESSIONS {
            table.start(None, "", "p", zero).expect("room");
        }
        assert_eq!(table.start(None, "", "p", zero), Err(SessionError::TooMany));
    }

    #[test]
    fn an_id_that_is_no_uuid_is_told_so() {
        assert_eq!(
            parse_id("not-a-one").map_err(|error| error.to_string()),
            Err("invalid UUID length: 9".into())
        );
        assert_eq!(
            parse_id("").map_err(|error| error.to_string()),
            Err("invalid UUID length: 0".into())
        );
        assert_eq!(
            parse_id("zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz"),
            Err(SessionError::BadFormat)
        );
    }
}
