//! Access: the policy in force, and tokens for those who show their credentials. One for each machine.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use mainstay_model::Config;
use tokio::sync::Semaphore;
use tonic::{Code, Status};
use tracing::{info, warn};
use uuid::Uuid;

use crate::credentials::{API_KEY, Credential, EXTERNAL, ProcessKey, Verdict};
use crate::denials::Denials;
use crate::exposure::Exposure;
use crate::policy::{Admission, Policy};
use crate::text::quoted;
use crate::throttle::Throttle;
use crate::tokens::{Holder, Signer};

/// Access to one machine.
#[derive(Debug)]
pub struct Access {
    policy: ArcSwap<Policy>,
    key: ProcessKey,
    /// Signer of tokens.
    pub(crate) signer: Signer,
    /// Name for tokens while the config has none: nobody else can know it, so no token of elsewhere is meant for us.
    name: String,
    throttle: Mutex<Throttle>,
    /// Hashing takes memory: one at a time.
    hashing: Semaphore,
    /// What was refused lately.
    pub denials: Denials,
    exposure: Exposure,
    /// Main part that this sub-part was told to follow, which counts before a config with it is applied.
    followed: ArcSwapOption<FollowedMain>,
}

/// Main part that a sub-part follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedMain {
    /// Id of the machine.
    pub machine_id: String,
    /// Its term: none of an earlier one counts.
    pub term: u64,
}

/// The system has no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers for keys")]
pub struct NoRandomNumbers;

/// Credentials of somebody who wants a token.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'c> {
    /// Address that they come from.
    pub address: IpAddr,
    /// Entity that they claim to be.
    pub entity: &'c str,
    /// Type of the credential, and the secret.
    pub credentials: Option<(&'c str, &'c str)>,
}

/// Reason why no token is given, in the words that peers know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthenticateError {
    /// There are no credentials.
    #[error("credentials required")]
    Required,
    /// Of a type that has no handler.
    #[error("do not know how to handle credential type \"{}\"", quoted(.0))]
    UnknownType(String),
    /// Of a type for which tokens come from elsewhere.
    #[error("direct authentication not supported for \"{0}\"")]
    NotDirect(&'static str),
    /// The wrong entity, or the wrong secret.
    #[error("invalid credentials")]
    Invalid,
    /// Whether they are right could not be found out.
    #[error("failed to authenticate: {0}")]
    Failed(String),
    /// From one address come more tries than are looked at.
    #[error("too many failed tries to authenticate from {0}; try again in a minute")]
    TooMany(IpAddr),
}

impl From<AuthenticateError> for Status {
    fn from(error: AuthenticateError) -> Self {
        let code = match error {
            AuthenticateError::Required | AuthenticateError::UnknownType(_) => Code::InvalidArgument,
            AuthenticateError::NotDirect(_) => Code::Unimplemented,
            AuthenticateError::Invalid => Code::Unauthenticated,
            AuthenticateError::Failed(_) => Code::PermissionDenied,
            AuthenticateError::TooMany(_) => Code::ResourceExhausted,
        };
        Self::new(code, error.to_string())
    }
}

impl Access {
    /// Access as `config` gives it.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(config: &Config) -> Result<Self, NoRandomNumbers> {
        let key = ProcessKey::generate().map_err(|_| NoRandomNumbers)?;
        let name = Uuid::new_v4().to_string();
        Ok(Self {
            policy: ArcSwap::from_pointee(Policy::new(config, &key, &name, None)),
            signer: Signer::generate().map_err(|_| NoRandomNumbers)?,
            key,
            name,
            throttle: Mutex::default(),
            hashing: Semaphore::new(1),
            denials: Denials::default(),
            exposure: Exposure::default(),
            followed: ArcSwapOption::empty(),
        })
    }

    /// Takes up another config: from now on it counts, for new calls on old connections, too. Calls under way go on.
    pub fn take_up(&self, config: &Config) {
        self.exposure.take_up(config);
        let earlier = self.policy.load();
        let policy = Policy::new(config, &self.key, &self.name, Some(&earlier));
        self.policy.store(Arc::new(policy));
    }

    /// No main part of an earlier term counts from now on, whenever the config is read again: that may wait for a maintenance.
    pub fn follow(&self, main: FollowedMain) {
        self.followed.store(Some(Arc::new(main)));
    }

    /// Main part that this sub-part was told to follow.
    pub(crate) fn followed(&self) -> Option<Arc<FollowedMain>> {
        self.followed.load_full()
    }

    /// The policy in force.
    pub fn policy(&self) -> arc_swap::Guard<Arc<Policy>> {
        self.policy.load()
    }

    /// How callers on the network are treated now.
    pub fn admission(&self) -> Admission {
        self.policy.load().admission
    }

    /// Gives a token to whoever shows the right credentials. Takes its time with those who guess.
    ///
    /// # Errors
    /// They are not right.
    pub async fn authenticate(&self, candidate: Candidate<'_>) -> Result<String, AuthenticateError> {
        let (kind, payload) = candidate.credentials.ok_or(AuthenticateError::Required)?;
        match kind {
            API_KEY if self.policy.load().handles_keys() => {}
            EXTERNAL if self.policy.load().accepts_external() => return Err(AuthenticateError::NotDirect(EXTERNAL)),
            other => return Err(AuthenticateError::UnknownType(other.to_owned())),
        }
        let address = candidate.address.to_canonical();
        let wait = self.throttle().begin(address, Instant::now());
        match wait {
            Ok(wait) if wait.is_zero() => {}
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(_) => return Err(AuthenticateError::TooMany(address)),
        }
        let policy = self.policy.load_full();
        let known = policy.key(candidate.entity);
        let verdict = match known {
            Some(credential) => self.check(credential, payload).await?,
            None => Verdict::Wrong,
        };
        match (known, verdict) {
            (Some(credential), Verdict::Right) => {
                info!(peer = %address, entity = quoted(credential.id()), "a client has authenticated");
                let holder = Holder {
                    entity: credential.id(),
                    fingerprint: credential.fingerprint(),
                    machine: &policy.machine,
                };
                Ok(self.signer.sign(holder, Instant::now()))
            }
            _ => {
                let failures = self.throttle().failed(address, Instant::now());
                // An id that is not known may be a key in the wrong place.
                let entity = known.map_or("an unknown one".to_owned(), |known| quoted(known.id()));
                warn!(peer = %address, entity, failures, "a client was refused: wrong API key");
                Err(AuthenticateError::Invalid)
            }
        }
    }

    async fn check(&self, credential: &Arc<Credential>, payload: &str) -> Result<Verdict, AuthenticateError> {
        let failed = |error: &dyn std::fmt::Display| AuthenticateError::Failed(error.to_string());
        if let known @ (Verdict::Right | Verdict::Wrong) = credential.check(&self.key, payload) {
            return Ok(known);
        }
        let _turn = self.hashing.acquire().await.map_err(|error| failed(&error))?;
        // Somebody may have shown it meanwhile.
        if let known @ (Verdict::Right | Verdict::Wrong) = credential.check(&self.key, payload) {
            return Ok(known);
        }
        let (credential, key, payload) = (credential.clone(), self.key.clone(), payload.to_owned());
        let hashed = tokio::task::spawn_blocking(move || credential.check_slowly(&key, &payload)).await;
        hashed.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::time::Duration;

    use mainstay_model::{ApiKey, AuthHandler};

    use super::*;
    use crate::credentials::tests::{hashed, plain};
    use crate::external::tests::public;

    /// A config with these keys.
    pub(crate) fn config(keys: &[(&str, ApiKey)]) -> Config {
        let mut config = Config::empty(Path::new("r.yaml"));
        let keys: BTreeMap<_, _> = keys.iter().map(|(id, key)| ((*id).to_owned(), key.clone())).collect();
        config.auth.handlers.push(AuthHandler::ApiKeys(keys));
        config
    }

    fn ask<'c>(entity: &'c str, kind: &'c str, payload: &'c str) -> Candidate<'c> {
        Candidate {
            address: "10.0.0.1".parse().expect("an address"),
            entity,
            credentials: Some((kind, payload)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_shows_the_right_key_gets_a_token_and_others_get_the_words_of_peers() {
        let mut config = config(&[("a", plain("1")), ("h", hashed())]);
        let access = Access::new(&config).expect("random numbers");
        for (entity, payload) in [("a", "1"), ("h", "hunter2"), ("h", "hunter2")] {
            let token = access
                .authenticate(ask(entity, "api-key", payload))
                .await
                .expect("right");
            let policy = access.policy();
            let (found, _) = policy.by_token(&access.signer, &token, Instant::now()).expect("ours");
            assert_eq!(found.id, entity);
        }
        let refused = async |candidate| Status::from(access.authenticate(candidate).await.expect_err("refused"));
        for (candidate, code, text) in [
            (ask("a", "api-key", "2"), Code::Unauthenticated, "invalid credentials"),
            (ask("a", "api-key", ""), Code::Unauthenticated, "invalid credentials"),
            (ask("b", "api-key", "1"), Code::Unauthenticated, "invalid credentials"),
            (
                ask("h", "api-key", "hunter3"),
                Code::Unauthenticated,
                "invalid credentials",
            ),
            (
                ask("a", "robot-secret", "1"),
                Code::InvalidArgument,
                "do not know how to handle credential type \"robot-secret\"",
            ),
            (
                ask("a", "external", "1"),
                Code::InvalidArgument,
                "do not know how to handle credential type \"external\"",
            ),
            (
                Candidate {
                    credentials: None,
                    ..ask("a", "", "")
                },
                Code::InvalidArgument,
                "credentials required",
            ),
        ] {
            let status = refused(candidate).await;
            assert_eq!((status.code(), status.message()), (code, text));
        }
        config.auth.external_jwks = Some(public("x", "RS256"));
        access.take_up(&config);
        let status = refused(ask("a", "external", "1")).await;
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), "direct authentication not supported for \"external\"");
    }

    #[tokio::test(start_paused = true)]
    async fn a_guesser_waits_and_whoever_comes_from_elsewhere_does_not() {
        let access = Access::new(&config(&[("a", plain("1"))])).expect("random numbers");
        let begun = tokio::time::Instant::now();
        for _ in 0..9 {
            let _wrong = access.authenticate(ask("a", "api-key", "guess")).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(300), "{:?}", begun.elapsed());
        let elsewhere = Candidate {
            address: "10.0.0.2".parse().expect("an address"),
            ..ask("a", "api-key", "1")
        };
        let begun = tokio::time::Instant::now();
        assert!(access.authenticate(elsewhere).await.is_ok());
        assert!(begun.elapsed() < Duration::from_millis(10));
    }
}
