//! Credentials that the config knows: checked without a hint about how much of a guess was right, and never shown.

use std::fmt;
use std::sync::OnceLock;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mainstay_model::{ApiKey, KeyHash};
use ring::hmac::{self, Tag};
use ring::rand::SystemRandom;

/// Type of credential of an API key, as peers name it.
pub const API_KEY: &str = "api-key";
/// Type of a token that somebody else signed.
pub const EXTERNAL: &str = "external";
/// Type of a client certificate.
pub const CERTIFICATE: &str = "certificate";

/// Key of this process alone, under which secrets are remembered and compared: what is kept is no secret to whoever lacks it.
#[derive(Clone, Debug)]
pub struct ProcessKey(hmac::Key);

impl ProcessKey {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, ring::error::Unspecified> {
        hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map(Self)
    }

    fn sign(&self, purpose: &str, parts: &[&[u8]]) -> Tag {
        hmac::sign(&self.0, &message(purpose, parts))
    }
}

/// One message of several parts, each with its length in front so that no two lists of parts make the same.
fn message(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = purpose.as_bytes().to_vec();
    for part in parts {
        message.extend((part.len() as u64).to_be_bytes());
        message.extend(*part);
    }
    message
}

/// One API key.
pub struct Credential {
    id: String,
    /// Tells a changed key from the same one, in tokens that were made for it.
    fingerprint: String,
    /// The hash that the config has instead of the key.
    hash: Option<KeyHash>,
    /// Signature of the right key: from the start, or since somebody showed it.
    right: OnceLock<Tag>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Result of a look at a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the key.
    Right,
    /// It is not.
    Wrong,
    /// It has to be hashed to tell, which takes a while.
    Unhashed,
}

/// Failure to hash a candidate.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash the key: {0}")]
pub struct HashError(argon2::Error);

impl Credential {
    /// The key that the config has for `id`.
    pub fn new(key: &ProcessKey, id: &str, stored: &ApiKey) -> Self {
        let right = OnceLock::new();
        let (hash, fingerprint) = match stored {
            ApiKey::Plain(secret) => {
                let secret = secret.0.as_bytes();
                let _first = right.set(key.sign("key", &[id.as_bytes(), secret]));
                (None, key.sign("plain", &[id.as_bytes(), secret]))
            }
            ApiKey::Hashed(hash) => {
                let parameters = [hash.memory_kib, hash.passes, hash.lanes]
                    .map(u32::to_be_bytes)
                    .concat();
                let parts: [&[u8]; 4] = [id.as_bytes(), &parameters, &hash.salt, &hash.hash];
                (Some(hash.clone()), key.sign("hash", &parts))
            }
        };
        Self {
            id: id.to_owned(),
            fingerprint: URL_SAFE_NO_PAD.encode(&fingerprint.as_ref()[..16]),
            hash,
            right,
        }
    }

    /// The id of the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Fingerprint of the key as the config has it; says nothing about it outside of this process.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Looks at a candidate, at once.
    pub fn check(&self, key: &ProcessKey, candidate: &str) -> Verdict {
        let Some(right) = self.right.get() else {
            return Verdict::Unhashed;
        };
        let candidate = message("key", &[self.id.as_bytes(), candidate.as_bytes()]);
        // In constant time.
        match hmac::verify(&key.0, &candidate, right.as_ref()) {
            Ok(()) => Verdict::Right,
            Err(_) => Verdict::Wrong,
        }
    }

    /// Hashes a candidate, which takes tens of milliseconds and as much memory as the config says. The right one is known at
    /// once from then on.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn check_slowly(&self, key: &ProcessKey, candidate: &str) -> Result<Verdict, HashError> {
        let Some(hash) = &self.hash else {
            return Ok(self.check(key, candidate));
        };
        let params = Params::new(hash.memory_kib, hash.passes, hash.lanes, Some(hash.hash.len())).map_err(HashError)?;
        let mut made = vec![0; hash.hash.len()];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(candidate.as_bytes(), &hash.salt, &mut made)
            .map_err(HashError)?;
        // In constant time: two signatures of one key are compared.
        let expected = key.sign("compare", &[&hash.hash]);
        if hmac::verify(&key.0, &message("compare", &[&made]), expected.as_ref()).is_err() {
            return Ok(Verdict::Wrong);
        }
        let _known = self
            .right
            .set(key.sign("key", &[self.id.as_bytes(), candidate.as_bytes()]));
        Ok(Verdict::Right)
    }

    /// Takes over what an earlier policy knows of the same key.
    pub fn learn(&self, earlier: &Self) {
        if self.fingerprint == earlier.fingerprint
            && let Some(right) = earlier.right.get()
        {
            let _known = self.right.set(*right);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use mainstay_model::Secret;

    use super::*;

    /// `hunter2`, with parameters that cost nothing.
    pub(crate) fn hashed() -> ApiKey {
        let (salt, mut hash) = (b"saltsalt".to_vec(), vec![0; 32]);
        let params = Params::new(8, 1, 1, Some(32)).expect("possible");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"hunter2", &salt, &mut hash)
            .expect("little memory");
        ApiKey::Hashed(KeyHash {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
            salt,
            hash,
        })
    }

    pub(crate) fn plain(secret: &str) -> ApiKey {
        ApiKey::Plain(Secret(secret.to_owned()))
    }

    #[test]
    fn a_plain_key_is_known_at_once_and_shown_nowhere() {
        let key = ProcessKey::generate().expect("random numbers");
        let credential = Credential::new(&key, "k", &plain("hunter2"));
        for (candidate, verdict) in [
            ("hunter2", Verdict::Right),
            ("hunter3", Verdict::Wrong),
            ("hunter", Verdict::Wrong),
            ("", Verdict::Wrong),
        ] {
            assert_eq!(credential.check(&key, candidate), verdict, "{candidate}");
        }
        assert!(!format!("{credential:?}{key:?}").contains("hunter2"));
        // What is right for one id is wrong for another.
        let other = Credential::new(&key, "", &plain("khunter2"));
        assert_ne!(other.fingerprint(), credential.fingerprint());
    }

    #[test]
    fn a_hashed_key_is_hashed_until_somebody_showed_the_right_one() {
        let key = ProcessKey::generate().expect("random numbers");
        let credential = Credential::new(&key, "k", &hashed());
        assert_eq!(credential.check(&key, "hunter2"), Verdict::Unhashed);
        assert_eq!(
            credential.check_slowly(&key, "hunter3").expect("hashed"),
            Verdict::Wrong
        );
        assert_eq!(credential.check(&key, "hunter2"), Verdict::Unhashed);
        assert_eq!(
            credential.check_slowly(&key, "hunter2").expect("hashed"),
            Verdict::Right
        );
        assert_eq!(credential.check(&key, "hunter2"), Verdict::Right);
        assert_eq!(credential.check(&key, "hunter3"), Verdict::Wrong);
        let again = Credential::new(&key, "k", &hashed());
        again.learn(&credential);
        assert_eq!(again.check(&key, "hunter2"), Verdict::Right);
    }

    #[test]
    fn a_fingerprint_follows_id_and_key_and_differs_in_each_process() {
        let key = ProcessKey::generate().expect("random numbers");
        let print = |key, id, stored: &ApiKey| Credential::new(key, id, stored).fingerprint().to_owned();
        let first = print(&key, "k", &plain("a"));
        assert_eq!(first, print(&key, "k", &plain("a")));
        for other in [
            print(&key, "k", &plain("b")),
            print(&key, "l", &plain("a")),
            print(&key, "k", &hashed()),
            print(&ProcessKey::generate().expect("random numbers"), "k", &plain("a")),
        ] {
            assert_ne!(first, other);
        }
    }
}
