//! Policy: one config's answer to who is whom, and who may do what. Immutable; another config makes another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_model::membership::Membership;
use mainstay_model::{AuthHandler, Config, ModuleName};
use mainstay_proxy::identity::{ClientIdentity, Entity, PeerCertificate};

use crate::access::FollowedMain;
use crate::credentials::{API_KEY, CERTIFICATE, Credential, EXTERNAL, ProcessKey};
use crate::external::{Jwks, JwksKey};
use crate::modules::{self, ModuleRights};
use crate::roles::{Rights, Roles};
use crate::tokens::{Jwt, Signer, TokenError, unix_time};

/// Treatment of callers on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Everybody proves who they are.
    Authenticated,
    /// Nobody does, and only callers on this host are served.
    LocalOnly,
    /// Nobody does.
    Open,
}

impl Admission {
    /// What a config asks for.
    pub fn of(config: &Config) -> Self {
        match (config.auth.is_asked_for(), config.network.allow_unauthenticated) {
            (true, _) => Self::Authenticated,
            (false, false) => Self::LocalOnly,
            (false, true) => Self::Open,
        }
    }
}

/// Policy of one config.
#[derive(Debug)]
pub struct Policy {
    /// Number of the policy, from 1.
    pub generation: u64,
    /// Treatment of callers.
    pub admission: Admission,
    /// Rights of entities.
    roles: Roles,
    /// Rights of the modules that are limited.
    pub modules: HashMap<ModuleName, Arc<ModuleRights>>,
    /// Name of the machine, for tokens.
    pub machine: String,
    handles_keys: bool,
    keys: HashMap<String, Arc<Credential>>,
    certificates: Vec<String>,
    /// Main part of the machine that this one is a sub-part of.
    main_part: Option<MainPart>,
    external: Option<Jwks>,
}

/// What a caller has shown to be an entity: good for as long as the policy knows it.
#[derive(Debug, Clone)]
pub enum Grant {
    /// Token for an API key.
    Key {
        /// Fingerprint of the key.
        fingerprint: String,
        /// The key of the machine that the token is signed with.
        key_id: String,
    },
    /// Token of somebody else.
    External {
        /// The key that it is signed with.
        key: JwksKey,
        /// End of its time. `None`: it has none.
        until: Option<Instant>,
    },
}

impl Policy {
    /// The policy of `config`, after `earlier`. `fallback` is the machine's name for tokens unless the config has one.
    pub fn new(config: &Config, key: &ProcessKey, fallback: &str, earlier: Option<&Self>) -> Self {
        let mut keys = HashMap::new();
        for AuthHandler::ApiKeys(by_id) in &config.auth.handlers {
            for (id, stored) in by_id {
                let credential = Credential::new(key, id, stored);
                if let Some(known) = earlier.and_then(|earlier| earlier.keys.get(id)) {
                    credential.learn(known);
                }
                keys.insert(id.clone(), Arc::new(credential));
            }
        }
        let fqdn = &config.network.fqdn;
        Self {
            generation: earlier.map_or(0, |earlier| earlier.generation) + 1,
            admission: Admission::of(config),
            roles: Roles::new(config.auth.roles.as_deref()),
            modules: modules::of_config(config),
            machine: if fqdn.is_empty() { fallback } else { fqdn }.to_owned(),
            handles_keys: !config.auth.handlers.is_empty(),
            keys,
            certificates: config.auth.tls_auth_entities.clone(),
            main_part: config.membership.as_ref().and_then(MainPart::of),
            external: config.auth.external_jwks.as_ref().map(Jwks::read),
        }
    }

    /// True if tokens are given for API keys.
    pub fn handles_keys(&self) -> bool {
        self.handles_keys
    }

    /// True if external tokens are accepted.
    pub fn accepts_external(&self) -> bool {
        self.external.is_some()
    }

    /// The API key of this id.
    pub fn key(&self, id: &str) -> Option<&Arc<Credential>> {
        self.keys.get(id)
    }

    /// The entity that a client is by its certificate, if it is one.
    pub fn by_certificate(&self, client: &ClientIdentity) -> Option<Entity> {
        let certificate = client.certificate.as_ref()?;
        let shown = &certificate.names;
        if let Some(main) = self.main_part.as_ref().filter(|main| main.vouches_for(certificate)) {
            match main.membership.main_term(shown) {
                Some(term) if term >= main.membership.term => return Some(entity(&main.entity, CERTIFICATE)),
                // Its own authority vouches for those that the config lists, its machine's for the main part.
                None if main.membership.shares_authority => {}
                None | Some(_) => return None,
            }
        }
        let name = self.certificates.iter().find(|name| shown.contains(name))?;
        Some(entity(name, CERTIFICATE))
    }

    /// Text for a client that was the main part of this machine once, and is not any more. `followed`: what the sub-part was told
    /// since.
    pub fn superseded(&self, client: &ClientIdentity, followed: Option<&FollowedMain>) -> Option<String> {
        let certificate = client.certificate.as_ref()?;
        let main = self.main_part.as_ref().filter(|main| main.vouches_for(certificate))?;
        let Membership {
            machine,
            machine_id,
            part,
            term,
            ..
        } = &main.membership;
        let followed = followed.filter(|followed| followed.machine_id == *machine_id);
        let term = followed.map_or(*term, |followed| followed.term.max(*term));
        let shown = main.membership.main_term(&certificate.names)?;
        (shown < term).then(|| {
            format!(
                "part {part} of {machine} serves the main part of term {term}, and this one is of term {shown}: another computer was made the \
                 main part since. `mainstay part leave` there makes it a machine of its own, and it may join again as a sub-part"
            )
        })
    }

    /// The rights of an entity; `None`: all. The main part of the machine has them, whatever the config says.
    pub fn rights(&self, entity: &Entity) -> Option<Arc<Rights>> {
        let is_main = |main: &MainPart| entity.credential == CERTIFICATE && main.entity == entity.id;
        match self.main_part.as_ref().is_some_and(is_main) {
            true => None,
            false => self.roles.of(&entity.id),
        }
    }

    /// Verifies a token. Gives the entity, and for how long it is one.
    ///
    /// # Errors
    /// The token does not count here and now.
    pub fn by_token(&self, signer: &Signer, token: &str, now: Instant) -> Result<(Entity, Grant), TokenError> {
        let token = Jwt::read(token)?;
        let claims = &token.claims;
        match (claims.rpc_creds_type.as_str(), &self.external) {
            (EXTERNAL, Some(external)) => {
                let wall = unix_time();
                let key = external.verify(&token, wall)?.clone();
                claims.check_names(&self.machine)?;
                let left = claims.exp.map(|exp| (exp - wall.as_secs_f64()).max(0.0));
                // A time that no clock has is as good as none.
                let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok());
                let until = left.and_then(|left| now.checked_add(left));
                Ok((entity(&claims.sub, EXTERNAL), Grant::External { key, until }))
            }
            (API_KEY, _) if self.handles_keys => {
                signer.verify(&token, now)?;
                claims.check_names(&self.machine)?;
                let grant = Grant::Key {
                    fingerprint: claims.cred.clone(),
                    key_id: token.key_id.clone(),
                };
                let entity = entity(&claims.sub, API_KEY);
                self.confirm(&entity, &grant, now)?;
                Ok((entity, grant))
            }
            _ => Err(TokenError::Kind(claims.rpc_creds_type.clone())),
        }
    }

    /// Confirms what was granted before, perhaps by an earlier policy.
    ///
    /// # Errors
    /// It counts no longer.
    pub fn confirm(&self, entity: &Entity, grant: &Grant, now: Instant) -> Result<(), TokenError> {
        match grant {
            Grant::Key { fingerprint, key_id } => {
                let key = self.keys.get(&entity.id);
                match key.is_some_and(|key| key.fingerprint() == fingerprint) {
                    true => Ok(()),
                    false => Err(TokenError::Foreign(key_id.clone())),
                }
            }
            Grant::External { key, until } => {
                let known = self.external.as_ref().is_some_and(|external| external.holds(key));
                let late = until.filter(|until| *until <= now);
                match (known, late) {
                    (false, _) => Err(TokenError::Kind(EXTERNAL.to_owned())),
                    (true, Some(until)) => Err(TokenError::Expired(now.saturating_duration_since(until))),
                    (true, None) => Ok(()),
                }
            }
        }
    }
}

/// Main part of the machine that this one is a sub-part of.
#[derive(Debug)]
struct MainPart {
    /// What this one knows of the machine.
    membership: Membership,
    /// Who it is in lists and logs. No config can list it: names of entities there have no spaces.
    entity: String,
}

impl MainPart {
    fn of(membership: &Membership) -> Option<Self> {
        (!membership.is_main()).then(|| Self {
            membership: membership.clone(),
            entity: format!("main part of {}", membership.machine),
        })
    }

    /// True if the authority of the machine has signed it.
    fn vouches_for(&self, certificate: &PeerCertificate) -> bool {
        self.membership.authority == certificate.signed_by
    }
}

fn entity(id: &str, credential: &str) -> Entity {
    Entity {
        id: id.to_owned(),
        credential: credential.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use mainstay_model::membership::{PartRole, main_name, part_name};

    use super::*;
    use crate::credentials::tests::plain;
    use crate::external::tests::{public, signed};
    use crate::tokens::Holder;

    fn config(keys: &[(&str, &str)]) -> Config {
        let mut config = Config::empty(Path::new("r.yaml"));
        let keys: BTreeMap<_, _> = keys.iter().map(|(id, key)| ((*id).to_owned(), plain(key))).collect();
        if !keys.is_empty() {
            config.auth.handlers.push(AuthHandler::ApiKeys(keys));
        }
        config
    }

    #[test]
    fn a_changed_key_ends_its_tokens_and_no_others() {
        let (key, signer) = (
            ProcessKey::generate().expect("random numbers"),
            Signer::generate().expect("random numbers"),
        );
        let now = Instant::now();
        let first = Policy::new(&config(&[("a", "1"), ("b", "2")]), &key, "m", None);
        let token = |policy: &Policy, id: &str| {
            let fingerprint = policy.key(id).expect("there").fingerprint();
            let (entity, machine) = (id, policy.machine.as_str());
            signer.sign(
                Holder {
                    entity,
                    fingerprint,
                    machine,
                },
                now,
            )
        };
        let (a, b) = (token(&first, "a"), token(&first, "b"));
        let second = Policy::new(&config(&[("a", "changed"), ("b", "2")]), &key, "m", Some(&first));
        let third = Policy::new(&config(&[("a", "1")]), &key, "m", Some(&second));
        let entity = |policy: &Policy, token: &str| {
            let found = policy.by_token(&signer, token, now);
            found.map(|(entity, _)| entity.id).map_err(|error| error.to_string())
        };
        assert_eq!(
            (entity(&first, &a), entity(&first, &b)),
            (Ok("a".into()), Ok("b".into()))
        );
        let refused = entity(&second, &a).expect_err("changed");
        assert!(
            refused.starts_with("unauthenticated: this server did not sign this JWT with kid \""),
            "{refused}"
        );
        assert_eq!(entity(&second, &b), Ok("b".into()));
        assert!(entity(&third, &b).is_err());
        // The same key again is the same key.
        assert_eq!(entity(&third, &a), Ok("a".into()));
        let off = Policy::new(&config(&[]), &key, "m", Some(&third));
        assert!(entity(&off, &a).is_err());
        assert_eq!((off.generation, off.admission), (4, Admission::LocalOnly));
    }

    #[test]
    fn what_was_granted_outlives_the_token_but_not_the_key() {
        let (key, signer) = (
            ProcessKey::generate().expect("random numbers"),
            Signer::generate().expect("random numbers"),
        );
        let now = Instant::now();
        let policy = Policy::new(&config(&[("a", "1")]), &key, "m", None);
        let fingerprint = policy.key("a").expect("there").fingerprint();
        let token = signer.sign(
            Holder {
                entity: "a",
                fingerprint,
                machine: "m",
            },
            now,
        );
        let (entity, grant) = policy.by_token(&signer, &token, now).expect("fresh");
        let later = now + Duration::from_secs(24 * 3600);
        assert!(matches!(
            policy.by_token(&signer, &token, later),
            Err(TokenError::Expired(_))
        ));
        assert_eq!(policy.confirm(&entity, &grant, later), Ok(()));
        let changed = Policy::new(&config(&[("a", "2")]), &key, "m", Some(&policy));
        assert!(changed.confirm(&entity, &grant, later).is_err());
    }

    #[test]
    fn an_external_token_counts_for_its_machine_and_its_time() {
        let (key, signer) = (
            ProcessKey::generate().expect("random numbers"),
            Signer::generate().expect("random numbers"),
        );
        let mut config = config(&[("a", "1")]);
        config.network.fqdn = "rover.example".to_owned();
        let plain = Policy::new(&config, &key, "m", None);
        config.auth.external_jwks = Some(public("x", "RS256"));
        let policy = Policy::new(&config, &key, "m", None);
        let (now, wall) = (Instant::now(), unix_time().as_secs());
        let claims = |aud: &str, sub: &str| {
            let exp = wall + 100;
            format!(r#"{{"aud":"{aud}","sub":"{sub}","exp":{exp},"rpc_creds_type":"external"}}"#)
        };
        let good = signed("x", "RS256", &claims("rover.example", "ann"));
        let (entity, grant) = policy.by_token(&signer, &good, now).expect("it is for us");
        assert_eq!((entity.id.as_str(), entity.credential.as_str()), ("ann", "external"));
        assert_eq!(policy.confirm(&entity, &grant, now), Ok(()));
        let late = policy.confirm(&entity, &grant, now + Duration::from_secs(101));
        assert!(matches!(late, Err(TokenError::Expired(_))), "{late:?}");
        assert_eq!(
            plain.confirm(&entity, &grant, now),
            Err(TokenError::Kind("external".into()))
        );
        let refused = |token: &str| policy.by_token(&signer, token, now).expect_err("refused");
        assert_eq!(
            refused(&signed("x", "RS256", &claims("other", "ann"))),
            TokenError::Audience
        );
        assert_eq!(
            refused(&signed("x", "RS256", &claims("rover.example", ""))),
            TokenError::NoSubject
        );
        // An RSA key signs nothing for our own keys, whatever the token calls itself.
        let disguised = claims("rover.example", "a").replace("\"external\"", "\"api-key\"");
        assert_eq!(
            refused(&signed("x", "RS256", &disguised)),
            TokenError::Algorithm("RS256".into())
        );
        for kind in ["robot-location-secret", "__internal", ""] {
            let other = claims("rover.example", "a").replace("\"external\"", &format!("\"{kind}\""));
            assert_eq!(refused(&signed("x", "RS256", &other)), TokenError::Kind(kind.into()));
        }
    }

    #[test]
    fn a_certificate_is_an_entity_by_a_name_that_the_config_lists() {
        let key = ProcessKey::generate().expect("random numbers");
        let mut config = config(&[]);
        config.auth.tls_auth_entities = vec!["pilot.local".to_owned()];
        let policy = Policy::new(&config, &key, "m", None);
        assert_eq!(policy.admission, Admission::Authenticated);
        let address = "10.0.0.1:1".parse().expect("an address");
        let mut client = ClientIdentity::new(address, address);
        assert_eq!(policy.by_certificate(&client), None);
        for (names, wanted) in [(&["x", "pilot.local"][..], Some("pilot.local")), (&["x"], None)] {
            client.certificate = Some(Arc::new(PeerCertificate {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                signed_by: "0a".to_owned(),
                issuer: "CN=ca".to_owned(),
                serial: "01".to_owned(),
            }));
            let found = policy.by_certificate(&client).map(|entity| entity.id);
            assert_eq!(found.as_deref(), wanted, "{names:?}");
        }
    }

    #[test]
    fn a_sub_part_serves_the_main_part_of_its_term_or_a_later_one() {
        let key = ProcessKey::generate().expect("random numbers");
        let mut config = config(&[]);
        config.auth.tls_auth_entities = vec!["pilot".to_owned(), part_name("leg", "m")];
        let sub = Membership {
            machine_id: "m".to_owned(),
            machine: "rover".to_owned(),
            part: "arm".to_owned(),
            role: PartRole::Sub,
            term: 2,
            shares_authority: false,
            authority: "0a".to_owned(),
            folder: "/none".into(),
        };
        let main = Membership {
            role: PartRole::Main(Vec::new()),
            ..sub.clone()
        };
        let shares = Membership {
            shares_authority: true,
            ..sub.clone()
        };
        let address = "10.0.0.1:1".parse().expect("an address");
        let is_main = Some("main part of rover");
        for (membership, signed_by, name, expected, superseded) in [
            (&sub, "0a", main_name("m", 2), is_main, false),
            (&sub, "0a", main_name("m", 3), is_main, false),
            (&sub, "0a", main_name("m", 1), None, true),
            (&sub, "0b", main_name("m", 2), None, false),
            (&sub, "0b", main_name("m", 1), None, false),
            (&sub, "0a", main_name("n", 2), None, false),
            (&sub, "0a", "pilot".to_owned(), None, false),
            (&sub, "0b", "pilot".to_owned(), Some("pilot"), false),
            (&shares, "0a", "pilot".to_owned(), Some("pilot"), false),
            (&shares, "0a", main_name("m", 1), None, true),
            (&main, "0a", main_name("m", 2), None, false),
            (&main, "0a", "pilot".to_owned(), Some("pilot"), false),
        ] {
            config.membership = Some(membership.clone());
            let policy = Policy::new(&config, &key, "m", None);
            let mut client = ClientIdentity::new(address, address);
            client.certificate = Some(Arc::new(PeerCertificate {
                names: vec![name.clone()],
                signed_by: signed_by.to_owned(),
                issuer: "CN=ca".to_owned(),
                serial: "01".to_owned(),
            }));
            let found = policy.by_certificate(&client).map(|entity| entity.id);
            assert_eq!(found.as_deref(), expected, "{name} by {signed_by}");
            assert_eq!(
                policy.superseded(&client, None).is_some(),
                superseded,
                "{name} by {signed_by}"
            );
            // What it was told to follow counts at once, if it is of the same machine.
            for (machine_id, later) in [("m", true), ("n", false)] {
                let followed = FollowedMain {
                    machine_id: machine_id.to_owned(),
                    term: 3,
                };
                let now = policy.superseded(&client, Some(&followed));
                let counted = found.as_deref() == is_main && name == main_name("m", 2);
                assert_eq!(now.is_some(), superseded || (later && counted), "{name} by {signed_by}");
            }
        }
    }
}
