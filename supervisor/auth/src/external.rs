//! External tokens: signed by somebody else with an RSA key of a JSON Web Key Set in the config.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mainstay_model::{Object, Value};
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

use crate::tokens::{Jwt, TokenError};

/// One key of the set.
#[derive(Clone, PartialEq, Eq)]
pub struct JwksKey {
    id: String,
    algorithm: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl fmt::Debug for JwksKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwksKey({}, {})", self.id, self.algorithm)
    }
}

/// Keys whose tokens are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Jwks(Vec<JwksKey>);

impl Jwks {
    /// Reads a set; what is no RSA key in it is left out.
    pub fn read(set: &Object) -> Self {
        let keys = match set.get("keys") {
            Some(Value::List(keys)) => keys.as_slice(),
            _ => &[],
        };
        Self(keys.iter().filter_map(key).collect())
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if the very same key is in it.
    pub fn holds(&self, key: &JwksKey) -> bool {
        self.0.contains(key)
    }

    /// Verifies a token at `now`, the time of the wall clock since 1970. Gives the key that it is signed with.
    ///
    /// # Errors
    /// It does not count.
    pub fn verify(&self, token: &Jwt<'_>, now: Duration) -> Result<&JwksKey, TokenError> {
        let named = self.0.iter().find(|key| key.id == token.key_id);
        let key = named.ok_or_else(|| TokenError::UnknownKey(token.key_id.clone()))?;
        let parameters = parameters(&token.algorithm).filter(|_| key.algorithm == token.algorithm);
        let parameters = parameters.ok_or_else(|| TokenError::Algorithm(token.algorithm.clone()))?;
        RsaPublicKeyComponents {
            n: &key.modulus,
            e: &key.exponent,
        }
        .verify(parameters, token.signed, &token.signature)
        .map_err(|_| TokenError::Signature("crypto/rsa"))?;
        token.claims.check_time(now.as_secs_f64())?;
        Ok(key)
    }
}

fn parameters(algorithm: &str) -> Option<&'static RsaParameters> {
    match algorithm {
        "RS256" => Some(&RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Some(&RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Some(&RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }
}

fn key(value: &Value) -> Option<JwksKey> {
    let Value::Map(fields) = value else { return None };
    let text = |name: &str| match fields.get(name) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    // Numbers without leading zeros, as ring wants them.
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text(name)?.trim_end_matches('=')).ok()?;
        let first = bytes.iter().position(|byte| *byte != 0)?;
        Some(bytes[first..].to_vec())
    };
    Some(JwksKey {
        id: text("kid").unwrap_or_default().to_owned(),
        algorithm: text("alg").filter(|alg| parameters(alg).is_some())?.to_owned(),
        modulus: number("n").filter(|_| text("kty") == Some("RSA"))?,
        exponent: number("e")?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use base64::engine::general_purpose::STANDARD;
    use ring::rand::SystemRandom;
    use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair};

    use super::*;

    /// A key that was made for these tests alone, PKCS #1.
    const PRIVATE: &str = include_str!("external_test_key.b64");
    pub(crate) const NOW: Duration = Duration::from_secs(1_700_000_000);

    /// The public half, as a config has it.
    pub(crate) fn public(id: &str, algorithm: &str) -> Object {
        let components = RsaPublicKeyComponents::<Vec<u8>>::from(pair().public());
        let number = |bytes: &[u8]| Value::Text(URL_SAFE_NO_PAD.encode(bytes));
        let text = |text: &str| Value::Text(text.to_owned());
        let key = Object::from([
            ("kid".to_owned(), text(id)),
            ("kty".to_owned(), text("RSA")),
            ("alg".to_owned(), text(algorithm)),
            ("n".to_owned(), number(&components.n)),
            ("e".to_owned(), number(&components.e)),
        ]);
        Object::from([("keys".to_owned(), Value::List(vec![Value::Map(key)]))])
    }

    fn pair() -> RsaKeyPair {
        let der = STANDARD
            .decode(PRIVATE.split_whitespace().collect::<String>())
            .expect("base64");
        RsaKeyPair::from_der(&der).expect("a key")
    }

    /// A token signed with it.
    pub(crate) fn signed(id: &str, algorithm: &str, claims: &str) -> String {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{id}","typ":"JWT"}}"#);
        let mut text = [header.as_str(), claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let encoding: &'static dyn RsaEncoding = match algorithm {
            "RS384" => &RSA_PKCS1_SHA384,
            "RS512" => &RSA_PKCS1_SHA512,
            _ => &RSA_PKCS1_SHA256,
        };
        let pair = pair();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .expect("signed");
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(signature));
        text
    }

    #[test]
    fn a_token_counts_with_the_key_and_the_algorithm_that_the_config_names() {
        let verify = |set: &Object, token: &str| {
            let read = Jwt::read(token).expect("a token");
            Jwks::read(set).verify(&read, NOW).map(|key| key.id.clone())
        };
        for algorithm in ["RS256", "RS384", "RS512"] {
            let token = signed("a", algorithm, r#"{"exp":1700000060}"#);
            assert_eq!(
                verify(&public("a", algorithm), &token),
                Ok("a".to_owned()),
                "{algorithm}"
            );
        }
        let token = signed("a", "RS256", "{}");
        for (set, error) in [
            (public("b", "RS256"), TokenError::UnknownKey("a".to_owned())),
            (public("a", "RS512"), TokenError::Algorithm("RS256".to_owned())),
            (Object::new(), TokenError::UnknownKey("a".to_owned())),
        ] {
            assert_eq!(verify(&set, &token), Err(error));
        }
        let set = public("a", "RS256");
        let forged = signed("a", "RS256", r#"{"sub":"me"}"#);
        let forged = format!(
            "{}.{}",
            &token[..token.rfind('.').expect("two")],
            &forged[forged.rfind('.').expect("two") + 1..]
        );
        assert_eq!(verify(&set, &forged), Err(TokenError::Signature("crypto/rsa")));
        for (claims, error) in [
            (r#"{"exp":1699999990}"#, TokenError::Expired(Duration::from_secs(10))),
            (r#"{"nbf":1700000001}"#, TokenError::NotYet),
            (r#"{"iat":1700000001}"#, TokenError::BeforeIssued),
        ] {
            assert_eq!(verify(&set, &signed("a", "RS256", claims)), Err(error));
        }
    }

    #[test]
    fn what_is_no_rsa_key_is_left_out() {
        let with = |name: &str, value: Value| {
            let mut set = public("a", "RS256");
            if let Some(Value::List(keys)) = set.get_mut("keys")
                && let Value::Map(key) = &mut keys[0]
            {
                key.insert(name.to_owned(), value);
            }
            Jwks::read(&set)
        };
        assert!(!with("use", Value::Null).is_empty());
        for (name, value) in [
            ("kty", Value::Text("EC".to_owned())),
            ("alg", Value::Text("HS256".to_owned())),
            ("alg", Value::Null),
            ("n", Value::Text("!".to_owned())),
            ("n", Value::Text("AAAA".to_owned())),
            ("e", Value::Number(3.0)),
        ] {
            assert!(with(name, value).is_empty(), "{name}");
        }
    }
}
