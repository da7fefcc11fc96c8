//! Hash of an API key: an argon2id string in the PHC format, `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// Memory in KiB: the least that argon2 takes, and what a small machine can spare for a moment.
const MEMORY: RangeInclusive<u32> = 8..=256 * 1024;
const PASSES: RangeInclusive<u32> = 1..=64;
const LANES: RangeInclusive<u32> = 1..=16;
/// Bytes.
const SALT: RangeInclusive<usize> = 8..=64;
const HASH: RangeInclusive<usize> = 16..=64;

/// Hash of an API key, with all that it takes to hash a candidate alike.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyHash {
    /// Memory to use, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Salt.
    pub salt: Vec<u8>,
    /// The hash.
    pub hash: Vec<u8>,
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Text that is no usable hash. Never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyHash {
    /// Another algorithm, or none.
    #[error("it does not begin with `$argon2id$v=19$`")]
    Algorithm,
    /// The parameters are not of the form `m=…,t=…,p=…`, or out of range.
    #[error("its parameters are not `m=8…262144,t=1…64,p=1…16`")]
    Parameters,
    /// Salt and hash are not two parts in base64, of a usable length.
    #[error("salt (8 to 64 bytes) and hash (16 to 64 bytes) are not two parts in base64 without padding")]
    SaltOrHash,
}

impl FromStr for KeyHash {
    type Err = BadKeyHash;

    fn from_str(text: &str) -> Result<Self, BadKeyHash> {
        let rest = text.strip_prefix("$argon2id$v=19$").ok_or(BadKeyHash::Algorithm)?;
        let mut parts = rest.split('$');
        let mut parameters = parts.next().unwrap_or_default().split(',');
        let mut parameter = |name: &str, range: RangeInclusive<u32>| {
            let value = parameters.next()?.strip_prefix(name)?.strip_prefix('=')?;
            value.parse().ok().filter(|value| range.contains(value))
        };
        let (Some(memory_kib), Some(passes), Some(lanes)) =
            (parameter("m", MEMORY), parameter("t", PASSES), parameter("p", LANES))
        else {
            return Err(BadKeyHash::Parameters);
        };
        // argon2 itself wants eight blocks for each lane.
        if parameters.next().is_some() || memory_kib < 8 * lanes {
            return Err(BadKeyHash::Parameters);
        }
        let mut bytes = |range: RangeInclusive<usize>| {
            let bytes = STANDARD_NO_PAD.decode(parts.next()?).ok()?;
            range.contains(&bytes.len()).then_some(bytes)
        };
        match (bytes(SALT), bytes(HASH), parts.next()) {
            (Some(salt), Some(hash), None) => Ok(Self {
                memory_kib,
                passes,
                lanes,
                salt,
                hash,
            }),
            _ => Err(BadKeyHash::SaltOrHash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_with_its_parameters_and_what_is_none_says_which_part() {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let read: KeyHash = hash.parse().expect("a hash");
        assert_eq!((read.memory_kib, read.passes, read.lanes), (19456, 2, 1));
        assert_eq!((read.salt.as_slice(), read.hash.len()), (&b"saltsalt"[..], 32));
        assert_eq!(format!("{read:?}"), "***");
        for (from, to, error) in [
            ("$argon2id$", "$argon2i$", BadKeyHash::Algorithm),
            ("v=19", "v=16", BadKeyHash::Algorithm),
            (hash, "hunter2", BadKeyHash::Algorithm),
            (hash, "", BadKeyHash::Algorithm),
            ("m=19456", "m=9999999", BadKeyHash::Parameters),
            ("t=2", "t=0", BadKeyHash::Parameters),
            ("m=19456,t=2,p=1", "m=16,t=2,p=4", BadKeyHash::Parameters),
            (",p=1", "", BadKeyHash::Parameters),
            (",p=1", ",p=1,keyid=x", BadKeyHash::Parameters),
            ("c2FsdHNhbHQ", "c2Fs", BadKeyHash::SaltOrHash),
            ("c2FsdHNhbHQ", "c2FsdHNhbHQ=", BadKeyHash::SaltOrHash),
            ("$AAAA", "$AAAA$AAAA", BadKeyHash::SaltOrHash),
            (
                "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                "",
                BadKeyHash::SaltOrHash,
            ),
        ] {
            assert_eq!(hash.replace(from, to).parse::<KeyHash>(), Err(error), "{from} → {to}");
        }
    }
}
