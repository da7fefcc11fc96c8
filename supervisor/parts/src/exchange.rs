//! Exchange by which a computer joins: SPAKE2 over the code, so that whoever listens or sits between learns nothing and has one
//! guess for each try, then one sealed message each way (ChaCha20-Poly1305 with a key for each, by HKDF-SHA256 over all that was
//! said).

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use spake2::{Ed25519Group, Identity, Password, Spake2};

use crate::code::JoinCode;

const MAIN: &[u8] = b"mainstay main part";
const JOINING: &[u8] = b"mainstay joining part";
/// Longest message that is looked at, in bytes.
pub const LONGEST: usize = 16 << 10;

/// Failure of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// What came is no message of an exchange.
    #[error("the message is none of this exchange")]
    Malformed,
    /// The two sides have different codes, or somebody changed what they said.
    #[error("the code is another one, or somebody between the two computers changed what they say")]
    WrongCode,
}

/// The side that joins, waiting for the answer to its first message.
pub struct Joining {
    state: Spake2<Ed25519Group>,
    first: Vec<u8>,
}

/// Both sides' keys, of which each has the same two if the codes are the same.
pub struct Keys {
    /// Seals what the joining side says.
    joining: LessSafeKey,
    /// Seals what the main part says.
    main: LessSafeKey,
}

impl Joining {
    /// Begins, with the message for the main part.
    #[must_use]
    pub fn begin(code: &JoinCode) -> (Self, Vec<u8>) {
        let (state, first) = Spake2::start_a(&password(code), &Identity::new(JOINING), &Identity::new(MAIN));
        let message = first.clone();
        (Self { state, first }, message)
    }

    /// Takes the answer of the main part.
    ///
    /// # Errors
    /// It is none.
    pub fn finish(self, answer: &[u8]) -> Result<Keys, ExchangeError> {
        let secret = self.state.finish(answer).map_err(|_| ExchangeError::Malformed)?;
        Keys::new(&secret, &self.first, answer)
    }
}

/// The main part's answer to a first message, and its keys.
///
/// # Errors
/// The message is none.
pub fn answer(code: &JoinCode, first: &[u8]) -> Result<(Vec<u8>, Keys), ExchangeError> {
    let (state, answer) =
        Spake2::<Ed25519Group>::start_b(&password(code), &Identity::new(JOINING), &Identity::new(MAIN));
    let secret = state.finish(first).map_err(|_| ExchangeError::Malformed)?;
    let keys = Keys::new(&secret, first, &answer)?;
    Ok((answer, keys))
}

fn password(code: &JoinCode) -> Password {
    Password::new(code.secret())
}

impl Keys {
    fn new(secret: &[u8], first: &[u8], answer: &[u8]) -> Result<Self, ExchangeError> {
        let pseudo_random = Salt::new(HKDF_SHA256, b"mainstay join 1").extract(secret);
        let key = |side: &[u8]| {
            let info = [side, first, answer];
            let okm = pseudo_random.expand(&info, &CHACHA20_POLY1305).ok()?;
            Some(LessSafeKey::new(UnboundKey::from(okm)))
        };
        match (key(JOINING), key(MAIN)) {
            (Some(joining), Some(main)) => Ok(Self { joining, main }),
            _ => Err(ExchangeError::Malformed),
        }
    }

    /// What the joining side says, sealed. To be called once: each key seals one message.
    #[must_use]
    pub fn seal_application(&self, plain: Vec<u8>) -> Vec<u8> {
        seal(&self.joining, plain)
    }

    /// What the joining side says.
    ///
    /// # Errors
    /// It has another code.
    pub fn open_application(&self, sealed: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
        open(&self.joining, sealed)
    }

    /// What the main part says, sealed. To be called once.
    #[must_use]
    pub fn seal_admission(&self, plain: Vec<u8>) -> Vec<u8> {
        seal(&self.main, plain)
    }

    /// What the main part says.
    ///
    /// # Errors
    /// It has another code.
    pub fn open_admission(&self, sealed: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
        open(&self.main, sealed)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl fmt::Debug for Joining {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joining").finish_non_exhaustive()
    }
}

/// The one number that each key is used with.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn seal(key: &LessSafeKey, mut plain: Vec<u8>) -> Vec<u8> {
    key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut plain)
        .expect("a message is far shorter than the cipher's limit");
    plain
}

fn open(key: &LessSafeKey, mut sealed: Vec<u8>) -> Result<Vec<u8>, ExchangeError> {
    if sealed.len() > LONGEST {
        return Err(ExchangeError::Malformed);
    }
    let plain = key.open_in_place(nonce(), Aad::empty(), &mut sealed);
    plain.map(|plain| plain.to_vec()).map_err(|_| ExchangeError::WrongCode)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> JoinCode {
        text.parse().expect("a code")
    }

    #[test]
    fn two_sides_with_one_code_understand_each_other_and_nobody_else() {
        let right = code("k7q-4m2x-9trb");
        for (other, same) in [
            ("k7q-4m2x-9trb", true),
            ("k7q-4m2x-9trc", false),
            ("k7p-4m2x-9trb", true),
        ] {
            let (joining, first) = Joining::begin(&code(other));
            let (reply, main) = answer(&right, &first).expect("a message");
            let ours = joining.finish(&reply).expect("an answer");
            let heard = main.open_application(ours.seal_application(b"let me in".to_vec()));
            let back = ours.open_admission(main.seal_admission(b"come in".to_vec()));
            match same {
                true => assert_eq!((heard, back), (Ok(b"let me in".to_vec()), Ok(b"come in".to_vec()))),
                false => assert_eq!(
                    (heard, back),
                    (Err(ExchangeError::WrongCode), Err(ExchangeError::WrongCode))
                ),
            }
        }
    }

    #[test]
    fn what_one_side_said_cannot_be_thrown_back_at_it() {
        let code = code("k7q-4m2x-9trb");
        let (joining, first) = Joining::begin(&code);
        let (reply, main) = answer(&code, &first).expect("a message");
        let ours = joining.finish(&reply).expect("an answer");
        let said = ours.seal_application(b"x".to_vec());
        assert_eq!(ours.open_admission(said.clone()), Err(ExchangeError::WrongCode));
        // Nor can its first message be the answer to itself.
        let (again, first) = Joining::begin(&code);
        assert_eq!(again.finish(&first).err(), Some(ExchangeError::Malformed));
        let mut changed = said;
        changed[0] ^= 1;
        assert_eq!(main.open_application(changed), Err(ExchangeError::WrongCode));
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let code = code("k7q-4m2x-9trb");
            if let Ok((_, keys)) = answer(&code, &bytes) {
                prop_assert!(keys.open_application(bytes.clone()).is_err());
            }
            let (joining, _) = Joining::begin(&code);
            if let Ok(keys) = joining.finish(&bytes) {
                prop_assert!(keys.open_admission(bytes).is_err());
            }
        }
    }
}
