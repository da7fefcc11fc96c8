//! Invitations of the main part: each is for one part, works once and ends after ten minutes, or after too many wrong codes.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::code::{JoinCode, NoRandomNumbers};
use crate::exchange::{ExchangeError, Keys, answer};

/// Life of an invitation.
pub const LIFE: Duration = Duration::from_secs(10 * 60);
/// Tries after which an invitation ends. With 40 bits of secret, twenty guesses are one chance in fifty thousand million.
const TRIES: u32 = 20;
/// Most exchanges that are under way at a time.
const UNDER_WAY: usize = 8;
/// Limit for the second half of an exchange.
const PATIENCE: Duration = Duration::from_secs(30);

/// Invitations of a machine.
#[derive(Debug, Default)]
pub struct Invitations {
    open: Vec<Invitation>,
    /// Exchanges whose second half is missing, by their id.
    exchanges: HashMap<Uuid, Exchange>,
}

#[derive(Debug)]
struct Invitation {
    part: String,
    code: JoinCode,
    until: Instant,
    tries: u32,
}

#[derive(Debug)]
struct Exchange {
    invitation: String,
    keys: Keys,
    until: Instant,
}

/// Reason why somebody does not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// There is no such invitation, or no longer.
    #[error(
        "no such invitation is open: it works once, for ten minutes, and ends after {TRIES} wrong codes; `mainstay part invite` on the main part makes another"
    )]
    NoInvitation,
    /// Too many are joining at once.
    #[error("{UNDER_WAY} computers are joining at once; try again")]
    Busy,
    /// The code is wrong, or the messages are none.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// Somebody who knew the code.
#[derive(Debug)]
pub struct Joined {
    /// Part that the invitation was for.
    pub part: String,
    /// What the other side said.
    pub application: Vec<u8>,
    /// Seals the answer.
    pub keys: Keys,
}

impl Invitations {
    /// Invites a computer to be a part, in place of an earlier invitation for the same part.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn invite(&mut self, part: &str, now: Instant) -> Result<JoinCode, NoRandomNumbers> {
        self.tidy(now);
        self.withdraw(part);
        let code = loop {
            let code = JoinCode::generate()?;
            if self.open.iter().all(|open| open.code.invitation() != code.invitation()) {
                break code;
            }
        };
        self.open.push(Invitation {
            part: part.to_owned(),
            code: code.clone(),
            until: now + LIFE,
            tries: 0,
        });
        Ok(code)
    }

    /// Ends the invitation of a part.
    pub fn withdraw(&mut self, part: &str) {
        self.open.retain(|open| open.part != part);
    }

    /// True while somebody is invited.
    pub fn is_open(&mut self, now: Instant) -> bool {
        self.tidy(now);
        !self.open.is_empty() || !self.exchanges.is_empty()
    }

    /// First half of an exchange: the answer to the first message, and the id of the exchange.
    ///
    /// # Errors
    /// There is no such invitation, or the message is none.
    pub fn begin(&mut self, invitation: &str, first: &[u8], now: Instant) -> Result<(Uuid, Vec<u8>), JoinError> {
        self.tidy(now);
        if self.exchanges.len() >= UNDER_WAY {
            return Err(JoinError::Busy);
        }
        let found = self.open.iter_mut().find(|open| open.code.invitation() == invitation);
        // One whose tries are used up is only there for the exchange of the last one.
        let open = found.filter(|open| open.tries < TRIES).ok_or(JoinError::NoInvitation)?;
        // Counted before it is known whether the code is right: who never comes with the second half has had a guess.
        open.tries += 1;
        let (message, keys) = answer(&open.code, first)?;
        let id = Uuid::new_v4();
        self.exchanges.insert(
            id,
            Exchange {
                invitation: invitation.to_owned(),
                keys,
                until: now + PATIENCE,
            },
        );
        Ok((id, message))
    }

    /// Second half: what the other side says, if it knew the code. Then its invitation is over.
    ///
    /// # Errors
    /// There is no such exchange, or the code was wrong.
    pub fn finish(&mut self, exchange: Uuid, sealed: Vec<u8>, now: Instant) -> Result<Joined, JoinError> {
        self.tidy(now);
        let exchange = self.exchanges.remove(&exchange).ok_or(JoinError::NoInvitation)?;
        let position = self
            .open
            .iter()
            .position(|open| open.code.invitation() == exchange.invitation);
        let position = position.ok_or(JoinError::NoInvitation)?;
        let application = exchange.keys.open_application(sealed)?;
        let open = self.open.swap_remove(position);
        Ok(Joined {
            part: open.part,
            application,
            keys: exchange.keys,
        })
    }

    /// Drops what is over. An invitation whose tries are used up lasts as long as the exchange of the last one.
    fn tidy(&mut self, now: Instant) {
        self.exchanges.retain(|_, exchange| exchange.until > now);
        let exchanges = &self.exchanges;
        self.open.retain(|open| {
            let last = || exchanges.values().any(|one| one.invitation == open.code.invitation());
            open.until > now && (open.tries < TRIES || last())
        });
        let open = &self.open;
        self.exchanges
            .retain(|_, exchange| open.iter().any(|open| open.code.invitation() == exchange.invitation));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Joining;

    /// What comes of a try with a code.
    fn attempt(invitations: &mut Invitations, code: &JoinCode, now: Instant) -> Result<String, JoinError> {
        let (joining, first) = Joining::begin(code);
        let (id, reply) = invitations.begin(&code.invitation(), &first, now)?;
        let keys = joining.finish(&reply)?;
        let joined = invitations.finish(id, keys.seal_application(b"hello".to_vec()), now)?;
        assert_eq!(joined.application, b"hello");
        Ok(joined.part)
    }

    fn wrong(code: &JoinCode) -> JoinCode {
        let text = code.to_string();
        let last = if text.ends_with('0') { "1" } else { "0" };
        format!("{}{last}", &text[..text.len() - 1]).parse().expect("a code")
    }

    #[test]
    fn a_code_works_once_and_for_ten_minutes() {
        let (mut invitations, now) = (Invitations::default(), Instant::now());
        assert!(!invitations.is_open(now));
        let code = invitations.invite("arm", now).expect("random numbers");
        assert_eq!(attempt(&mut invitations, &code, now), Ok("arm".to_owned()));
        assert_eq!(attempt(&mut invitations, &code, now), Err(JoinError::NoInvitation));
        assert!(!invitations.is_open(now));
        let code = invitations.invite("arm", now).expect("random numbers");
        let late = now + LIFE;
        assert_eq!(attempt(&mut invitations, &code, late), Err(JoinError::NoInvitation));
        assert!(!invitations.is_open(late));
        let first = invitations.invite("arm", now).expect("random numbers");
        let second = invitations.invite("arm", now).expect("random numbers");
        assert_eq!(attempt(&mut invitations, &first, now), Err(JoinError::NoInvitation));
        assert_eq!(attempt(&mut invitations, &second, now), Ok("arm".to_owned()));
    }

    #[test]
    fn a_thousand_guesses_end_the_invitation_and_no_other() {
        let (mut invitations, now) = (Invitations::default(), Instant::now());
        let code = invitations.invite("arm", now).expect("random numbers");
        let other = invitations.invite("leg", now).expect("random numbers");
        let guess = wrong(&code);
        assert_eq!(
            attempt(&mut invitations, &guess, now),
            Err(JoinError::Exchange(ExchangeError::WrongCode))
        );
        for _ in 0..1_000 {
            assert!(attempt(&mut invitations, &guess, now).is_err());
        }
        assert_eq!(attempt(&mut invitations, &code, now), Err(JoinError::NoInvitation));
        assert_eq!(attempt(&mut invitations, &other, now), Ok("leg".to_owned()));
    }

    #[test]
    fn an_exchange_that_is_held_open_brings_no_further_guesses() {
        let (mut invitations, now) = (Invitations::default(), Instant::now());
        let code = invitations.invite("arm", now).expect("random numbers");
        let (_, first) = Joining::begin(&code);
        let _held = invitations.begin(&code.invitation(), &first, now).expect("begun");
        let guess = wrong(&code);
        let guesses = (0..100).filter(|_| {
            let outcome = attempt(&mut invitations, &guess, now);
            outcome == Err(JoinError::Exchange(ExchangeError::WrongCode))
        });
        assert_eq!(guesses.count(), TRIES as usize - 1);
        assert_eq!(attempt(&mut invitations, &code, now), Err(JoinError::NoInvitation));
    }

    #[test]
    fn whoever_begins_and_never_ends_holds_nobody_up_for_long() {
        let (mut invitations, now) = (Invitations::default(), Instant::now());
        let code = invitations.invite("arm", now).expect("random numbers");
        let begin = |invitations: &mut Invitations, now| {
            let (_, first) = Joining::begin(&code);
            invitations.begin(&code.invitation(), &first, now)
        };
        for _ in 0..UNDER_WAY {
            assert!(begin(&mut invitations, now).is_ok());
        }
        assert_eq!(begin(&mut invitations, now), Err(JoinError::Busy));
        let later = now + PATIENCE;
        assert_eq!(attempt(&mut invitations, &code, later), Ok("arm".to_owned()));
        assert_eq!(
            invitations.finish(Uuid::new_v4(), Vec::new(), later).err(),
            Some(JoinError::NoInvitation)
        );
    }
}
