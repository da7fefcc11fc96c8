//! Join code: what a person carries from the main part to the computer that joins. `k7q-4m2x-9trb`: the invitation that it is
//! for, which anybody may know, and a secret of 40 bits.

use std::fmt;
use std::str::FromStr;

use ring::rand::{SecureRandom, SystemRandom};

/// Letters of a code: Crockford's base 32, without those that look like others.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of the invitation.
const PUBLIC: usize = 3;
/// Letters of the secret, five bits each.
const SECRET: usize = 8;

/// Join code.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinCode {
    letters: [u8; PUBLIC + SECRET],
}

/// A text that is no join code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a join code has eleven letters and digits, like k7q-4m2x-9trb; `mainstay part invite` on the main part prints one"
)]
pub struct NoCode;

/// The system has no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomNumbers;

impl JoinCode {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, NoRandomNumbers> {
        let mut letters = [0; PUBLIC + SECRET];
        SystemRandom::new().fill(&mut letters).map_err(|_| NoRandomNumbers)?;
        // 256 is a multiple of 32: each letter is as likely as the others.
        Ok(Self {
            letters: letters.map(|byte| LETTERS[usize::from(byte % 32)]),
        })
    }

    /// The invitation that it is for, which is no secret.
    #[must_use]
    pub fn invitation(&self) -> String {
        text(&self.letters[..PUBLIC])
    }

    /// The secret.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.letters[PUBLIC..]
    }
}

fn text(letters: &[u8]) -> String {
    letters.iter().map(|letter| char::from(*letter)).collect()
}

impl FromStr for JoinCode {
    type Err = NoCode;

    /// Reads what a person types: in any case, with or without hyphens, `o` for 0 and `i` or `l` for 1.
    fn from_str(typed: &str) -> Result<Self, NoCode> {
        let typed = typed
            .chars()
            .filter(|letter| !matches!(letter, '-' | ' '))
            .take(PUBLIC + SECRET + 1);
        let letters: Option<Vec<u8>> = typed
            .map(|letter| {
                let letter = match letter.to_ascii_lowercase() {
                    'o' => b'0',
                    'i' | 'l' => b'1',
                    other => u8::try_from(other).ok()?,
                };
                LETTERS.contains(&letter).then_some(letter)
            })
            .collect();
        let letters = letters.and_then(|letters| letters.try_into().ok());
        letters.map(|letters| Self { letters }).ok_or(NoCode)
    }
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (public, secret) = self.letters.split_at(PUBLIC);
        let (front, back) = secret.split_at(SECRET / 2);
        write!(f, "{}-{}-{}", text(public), text(front), text(back))
    }
}

impl fmt::Debug for JoinCode {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinCode({}…)", self.invitation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = JoinCode::generate().expect("random numbers");
        let shown = code.to_string();
        assert_eq!(shown.len(), 13, "{shown}");
        assert!(!format!("{code:?}").contains(&shown[4..]));
        for typed in [
            shown.clone(),
            shown.to_uppercase(),
            shown.replace('-', ""),
            shown.replace('-', " "),
            shown.replace('0', "O").replace('1', "l"),
        ] {
            assert_eq!(typed.parse(), Ok(code.clone()), "{typed}");
        }
        for bad in [
            "",
            "k7q",
            "k7q-4m2x-9tr",
            "k7q-4m2x-9trbb",
            "u7q-4m2x-9trb",
            "ä7q-4m2x-9trb",
        ] {
            assert_eq!(bad.parse::<JoinCode>(), Err(NoCode), "{bad}");
        }
    }
}
