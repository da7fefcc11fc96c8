//! Tokens: JSON Web Tokens as they are read, and our own as they are signed and verified (Ed25519).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use mainstay_model::duration;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::credentials::API_KEY;
use crate::text::quoted;

/// As peers read it: what is left of the last byte says nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Time that a token of ours can be shown for the first time on a connection.
pub const LIFETIME: Duration = Duration::from_secs(3600);

/// Reason why a token does not count, in the words that peers know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts with dots between them.
    #[error("unauthenticated: token contains an invalid number of segments")]
    Segments,
    /// A part is not base64.
    #[error("unauthenticated: illegal base64 data at input byte {0}")]
    Base64(usize),
    /// A part does not begin as JSON does.
    #[error("unauthenticated: invalid character '{}' looking for beginning of value", quoted(.0))]
    NoJson(String),
    /// A part is no JSON, or not of the form of a token.
    #[error("unauthenticated: token is malformed at byte {0} of its JSON")]
    Json(usize),
    /// Signed in a way that does not belong to the key.
    #[error("unauthenticated: unexpected signing method \"{}\"", quoted(.0))]
    Algorithm(String),
    /// Of a type of credential that is not accepted here.
    #[error("unauthenticated: do not know how to handle credential type \"{}\"", quoted(.0))]
    Kind(String),
    /// Signed with another key, or for a credential that has changed since.
    #[error("unauthenticated: this server did not sign this JWT with kid \"{}\"", quoted(.0))]
    Foreign(String),
    /// External, and signed with a key that is not among ours.
    #[error("unauthenticated: no key of `external_auth_config` has the kid \"{}\"", quoted(.0))]
    UnknownKey(String),
    /// The signature does not fit.
    #[error("unauthenticated: {0}: verification error")]
    Signature(&'static str),
    /// Its time is over.
    #[error("unauthenticated: token is expired by {}", duration::show(*.0))]
    Expired(Duration),
    /// Its time has not come.
    #[error("unauthenticated: token is not valid yet")]
    NotYet,
    /// It was made in the future.
    #[error("unauthenticated: token used before issued")]
    BeforeIssued,
    /// Made for another machine.
    #[error("invalid audience")]
    Audience,
    /// It names nobody.
    #[error("expected entity (sub) in claims")]
    NoSubject,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    typ: String,
}

/// Claims of a token.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// Entity.
    #[serde(default)]
    pub sub: String,
    /// Machines that it is meant for.
    #[serde(default)]
    pub aud: Audience,
    /// Issuer.
    #[serde(default)]
    pub iss: String,
    /// End of its time, in seconds of the UNIX clock; like the other two.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    pub exp: Option<f64>,
    /// Begin of its time.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    pub nbf: Option<f64>,
    /// Time of its making.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "whole")]
    pub iat: Option<f64>,
    /// Id of the token.
    #[serde(default)]
    pub jti: String,
    /// Type of the credential that it was made for.
    #[serde(default)]
    pub rpc_creds_type: String,
    /// Fingerprint of that credential: with another one the token ends. A claim of ours.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cred: String,
}

/// Writes whole seconds without a fraction, as peers do.
fn whole<S: Serializer>(seconds: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(seconds.unwrap_or_default() as i64)
}

/// Audience of a token: one, or a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl Audience {
    fn names(&self, machine: &str) -> bool {
        match self {
            Self::One(one) => one == machine,
            Self::Several(several) => several.iter().any(|one| one == machine),
        }
    }
}

impl Claims {
    /// Checks the claims about time at `now`, in seconds of the UNIX clock.
    ///
    /// # Errors
    /// The token does not count at this time.
    pub fn check_time(&self, now: f64) -> Result<(), TokenError> {
        if let Some(late) = self.exp.map(|exp| now - exp).filter(|late| *late >= 0.0) {
            let late = Duration::try_from_secs_f64(late.floor()).unwrap_or(Duration::MAX);
            return Err(TokenError::Expired(late));
        }
        if self.nbf.is_some_and(|nbf| now < nbf) {
            return Err(TokenError::NotYet);
        }
        if self.iat.is_some_and(|iat| now < iat) {
            return Err(TokenError::BeforeIssued);
        }
        Ok(())
    }

    /// Checks that the token is meant for `machine`, and for somebody.
    ///
    /// # Errors
    /// It is not.
    pub fn check_names(&self, machine: &str) -> Result<(), TokenError> {
        if !self.aud.names(machine) {
            return Err(TokenError::Audience);
        }
        if self.sub.is_empty() {
            return Err(TokenError::NoSubject);
        }
        Ok(())
    }
}

/// A token as it was read; nothing of it is true before its signature was verified.
pub struct Jwt<'t> {
    /// What is signed.
    pub signed: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
    /// Algorithm.
    pub algorithm: String,
    /// Id of the key.
    pub key_id: String,
    /// Claims.
    pub claims: Claims,
}

impl<'t> Jwt<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// It is none.
    pub fn read(token: &'t str) -> Result<Self, TokenError> {
        let mut parts = token.splitn(4, '.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Segments);
        };
        let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
        let (header, claims): (Header, Claims) = (part(header)?, part(claims)?);
        Ok(Self {
            signed,
            signature: decode(signature)?,
            algorithm: header.alg,
            key_id: header.kid,
            claims,
        })
    }
}

fn decode(text: &str) -> Result<Vec<u8>, TokenError> {
    use base64::DecodeError::{InvalidByte, InvalidLastSymbol, InvalidLength, InvalidPadding};
    LENIENT.decode(text).map_err(|error| {
        TokenError::Base64(match error {
            InvalidByte(at, _) | InvalidLastSymbol(at, _) | InvalidLength(at) => at,
            InvalidPadding => text.len(),
        })
    })
}

fn part<T: for<'d> Deserialize<'d>>(text: &str) -> Result<T, TokenError> {
    let bytes = decode(text)?;
    if bytes.first() != Some(&b'{') {
        let first = String::from_utf8_lossy(&bytes).chars().take(1).collect();
        return Err(TokenError::NoJson(first));
    }
    serde_json::from_slice(&bytes).map_err(|error| TokenError::Json(error.column()))
}

/// Clock of our own tokens: set by the wall clock at the start, then only forward as time passes. A clock that is put right
/// while the machine runs must not end every token, nor make one last for years.
#[derive(Debug, Clone, Copy)]
struct TokenClock {
    wall: Duration,
    started: Instant,
}

impl TokenClock {
    fn start() -> Self {
        Self {
            wall: unix_time(),
            started: Instant::now(),
        }
    }

    fn at(&self, now: Instant) -> f64 {
        (self.wall + now.saturating_duration_since(self.started)).as_secs_f64()
    }
}

/// Time of the wall clock since 1970.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Signer of our own tokens, with a key of this process alone: its tokens end with it.
#[derive(Debug)]
pub struct Signer {
    pair: Ed25519KeyPair,
    key_id: String,
    clock: TokenClock,
}

/// A credential that a token is made for.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'h> {
    /// Entity.
    pub entity: &'h str,
    /// Fingerprint of its credential.
    pub fingerprint: &'h str,
    /// Name of the machine.
    pub machine: &'h str,
}

impl Signer {
    /// A signer with a new key.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, ring::error::Unspecified> {
        let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())?;
        let pair = Ed25519KeyPair::from_pkcs8(secret.as_ref()).map_err(|_| ring::error::Unspecified)?;
        Ok(Self {
            key_id: URL_SAFE_NO_PAD.encode(pair.public_key()),
            pair,
            clock: TokenClock::start(),
        })
    }

    /// Makes a token for the holder of an API key.
    pub fn sign(&self, holder: Holder<'_>, now: Instant) -> String {
        // Whole seconds, as peers write them.
        let issued = self.clock.at(now).floor();
        let header = Header {
            alg: "EdDSA".to_owned(),
            kid: self.key_id.clone(),
            typ: "JWT".to_owned(),
        };
        let claims = Claims {
            sub: holder.entity.to_owned(),
            aud: Audience::Several(vec![holder.machine.to_owned()]),
            iss: holder.machine.to_owned(),
            exp: Some(issued + LIFETIME.as_secs_f64()),
            nbf: None,
            iat: Some(issued),
            jti: Uuid::new_v4().to_string(),
            rpc_creds_type: API_KEY.to_owned(),
            cred: holder.fingerprint.to_owned(),
        };
        let encode = |json: Result<Vec<u8>, serde_json::Error>| URL_SAFE_NO_PAD.encode(json.unwrap_or_default());
        let mut token = encode(serde_json::to_vec(&header));
        token.push('.');
        token.push_str(&encode(serde_json::to_vec(&claims)));
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }

    /// Verifies that a token is ours, and its time. Whether its credential is still there is another question.
    ///
    /// # Errors
    /// It does not count.
    pub fn verify(&self, token: &Jwt<'_>, now: Instant) -> Result<(), TokenError> {
        if token.algorithm != "EdDSA" {
            return Err(TokenError::Algorithm(token.algorithm.clone()));
        }
        if token.key_id != self.key_id {
            return Err(TokenError::Foreign(token.key_id.clone()));
        }
        UnparsedPublicKey::new(&ED25519, self.pair.public_key())
            .verify(token.signed, &token.signature)
            .map_err(|_| TokenError::Signature("ed25519"))?;
        token.claims.check_time(self.clock.at(now))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const HOLDER: Holder<'_> = Holder {
        entity: "k",
        fingerprint: "print",
        machine: "rover.local",
    };

    /// A token of these parts, whose signature is whatever it is.
    pub(crate) fn token(header: &str, claims: &str, signature: &[u8]) -> String {
        let parts = [header.as_bytes(), claims.as_bytes(), signature];
        parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    #[test]
    fn a_token_of_ours_says_what_peers_say() {
        let signer = Signer::generate().expect("random numbers");
        let text = signer.sign(HOLDER, Instant::now());
        let parts: Vec<_> = text.split('.').collect();
        let json = |part: &str| -> serde_json::Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
        };
        let (header, claims) = (json(parts[0]), json(parts[1]));
        assert_eq!(
            header,
            serde_json::json!({ "alg": "EdDSA", "kid": signer.key_id, "typ": "JWT" })
        );
        assert_eq!(
            (
                &claims["sub"],
                &claims["aud"],
                &claims["iss"],
                &claims["rpc_creds_type"]
            ),
            (
                &"k".into(),
                &serde_json::json!(["rover.local"]),
                &"rover.local".into(),
                &"api-key".into()
            )
        );
        let seconds = |claim: &str| claims[claim].as_u64().expect("a whole number");
        assert_eq!(seconds("exp"), seconds("iat") + 3600, "{claims}");
        assert!(Uuid::try_parse(claims["jti"].as_str().unwrap_or_default()).is_ok());
        assert!(
            claims.get("nbf").is_none() && claims.get("rpc_auth_md").is_none(),
            "{claims}"
        );
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn a_token_counts_for_an_hour_and_only_with_its_own_signature() {
        let (signer, now) = (Signer::generate().expect("random numbers"), Instant::now());
        let text = signer.sign(HOLDER, now);
        let read = Jwt::read(&text).expect("a token");
        let verify = |after: u64| signer.verify(&read, now + Duration::from_secs(after));
        assert_eq!((verify(0), verify(3598)), (Ok(()), Ok(())));
        assert!(
            matches!(verify(3601), Err(TokenError::Expired(_))),
            "{:?}",
            verify(3601)
        );
        let late = verify(7201).expect_err("late").to_string();
        assert!(late.starts_with("unauthenticated: token is expired by 1h0m"), "{late}");
        assert_eq!(read.claims.check_names("rover.local"), Ok(()));
        assert_eq!(read.claims.check_names("other"), Err(TokenError::Audience));

        let other = Signer::generate().expect("random numbers").sign(HOLDER, now);
        let other = Jwt::read(&other).expect("a token");
        let foreign = signer.verify(&other, now).expect_err("foreign").to_string();
        let text_of_peers = format!(
            "unauthenticated: this server did not sign this JWT with kid \"{}\"",
            other.key_id
        );
        assert_eq!(foreign, text_of_peers);

        let cut = &text[..text.len() - 4];
        let cut = Jwt::read(cut).expect("a token still");
        let error = signer.verify(&cut, now).expect_err("cut").to_string();
        assert_eq!(error, "unauthenticated: ed25519: verification error");
    }

    #[test]
    fn what_is_no_token_says_where_it_is_none() {
        let good = r#"{"alg":"EdDSA"}"#;
        for (text, error) in [
            (String::new(), "token contains an invalid number of segments"),
            ("a.b".to_owned(), "token contains an invalid number of segments"),
            ("a.b.c.d".to_owned(), "token contains an invalid number of segments"),
            ("e30.=.".to_owned(), "token is malformed at byte 2 of its JSON"),
            ("!.e30.".to_owned(), "illegal base64 data at input byte 0"),
            (
                token("xyz", "{}", b""),
                "invalid character 'x' looking for beginning of value",
            ),
            (
                token(good, "[1]", b""),
                "invalid character '[' looking for beginning of value",
            ),
            (
                token(good, r#"{"sub":1}"#, b""),
                "token is malformed at byte 8 of its JSON",
            ),
            (token("{}", "{}", b""), "token is malformed at byte 2 of its JSON"),
        ] {
            let found = Jwt::read(&text).err().map(|error| error.to_string());
            assert_eq!(found, Some(format!("unauthenticated: {error}")), "{text}");
        }
        let signer = Signer::generate().expect("random numbers");
        for algorithm in ["none", "HS256", "RS256", "eddsa", ""] {
            let text = token(
                &format!(r#"{{"alg":"{algorithm}","kid":"{}"}}"#, signer.key_id),
                "{}",
                b"",
            );
            let read = Jwt::read(&text).expect("a token");
            assert_eq!(
                signer.verify(&read, Instant::now()),
                Err(TokenError::Algorithm(algorithm.to_owned()))
            );
        }
    }

    #[test]
    fn claims_about_time_and_names_are_honoured_if_they_are_there() {
        let claims = |json: &str| -> Claims { serde_json::from_str(json).expect("claims") };
        for (json, error) in [
            ("{}", None),
            (r#"{"exp": 101}"#, None),
            (r#"{"exp": 100}"#, Some(TokenError::Expired(Duration::ZERO))),
            (r#"{"exp": -1e300}"#, Some(TokenError::Expired(Duration::MAX))),
            (r#"{"nbf": 100.5}"#, Some(TokenError::NotYet)),
            (r#"{"nbf": 100, "iat": 100}"#, None),
            (r#"{"iat": 101}"#, Some(TokenError::BeforeIssued)),
        ] {
            assert_eq!(claims(json).check_time(100.0).err(), error, "{json}");
        }
        for (json, error) in [
            (r#"{"aud": "m", "sub": "x"}"#, None),
            (r#"{"aud": ["a", "m"], "sub": "x"}"#, None),
            (r#"{"aud": ["a"], "sub": "x"}"#, Some(TokenError::Audience)),
            (r#"{"sub": "x"}"#, Some(TokenError::Audience)),
            (r#"{"aud": "m"}"#, Some(TokenError::NoSubject)),
        ] {
            assert_eq!(claims(json).check_names("m").err(), error, "{json}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_a_fault_and_no_change_to_a_token_is_taken(
            text in ".{0,200}",
            parts in ("[ -~]{0,80}", "[ -~]{0,80}"),
            at in proptest::prelude::any::<proptest::sample::Index>(),
            other in "[-_A-Za-z0-9.]",
        ) {
            let signer = Signer::generate().expect("random numbers");
            let now = Instant::now();
            let no_json = token(&parts.0, &parts.1, b"");
            let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, signer.key_id);
            let unsigned = token(&header, &format!("{{{}}}", parts.1), b"");
            for text in [text, no_json, unsigned] {
                let taken = Jwt::read(&text).and_then(|jwt| signer.verify(&jwt, now));
                proptest::prop_assert!(taken.is_err(), "{}", text);
            }
            let whole = signer.sign(HOLDER, now);
            let at = at.index(whole.len());
            let changed = format!("{}{other}{}", &whole[..at], &whole[at + 1..]);
            let same = match (Jwt::read(&whole), Jwt::read(&changed)) {
                // The last character of a part has bits that stand for nothing.
                (Ok(whole), Ok(changed)) => (whole.signed, whole.signature) == (changed.signed, changed.signature),
                _ => false,
            };
            let taken = Jwt::read(&changed).and_then(|jwt| signer.verify(&jwt, now));
            proptest::prop_assert_eq!(taken.is_ok(), same, "{}", changed);
        }
    }
}
