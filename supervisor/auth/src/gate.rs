//! Gate of the machine: who makes a call, whether they may, and the session that answers for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use mainstay_model::ModuleName;
use mainstay_proto::{ResourceName, methods as wire};
use mainstay_proxy::gate::{CallGate, ConnectionGate, Entered, GatedCall};
use mainstay_proxy::identity::{ClientIdentity, Entity, Identity};
use mainstay_proxy::ingress::split;
use mainstay_proxy::sessions::Sessions;
use mainstay_proxy::status::CallError;
use mainstay_proxy::table::Table;
use tracing::warn;
use uuid::Uuid;

use crate::access::Access;
use crate::denials::Denial;
use crate::modules::{ModuleGate, ModuleRights};
use crate::policy::{Admission, Grant, Policy};
use crate::roles::{AskedCall, AskedResource, Rights, cure};
use crate::text::quoted;

/// The one call that needs no token.
const AUTHENTICATE: &str = "/proto.rpc.v1.AuthService/Authenticate";
/// Calls by which a computer joins a machine of several parts: it proves by them that it may.
const JOIN: &str = "/mainstay.parts.v1.JoinService/";
const BEARER: &str = "Bearer ";
/// Most tokens that are remembered of one connection.
const MAX_SHOWN: usize = 8;

/// The answer to callers from elsewhere while nobody has to prove who they are.
const LOCAL_ONLY: &str = "this machine asks nobody who they are, so it serves callers on its own host only; to let others in, give them API keys \
     (`auth.handlers` in the machine's config), or set `network.allow_unauthenticated: true` there to serve whoever reaches the port";

/// The gate.
#[derive(Debug)]
pub struct Gate {
    access: Arc<Access>,
    sessions: Arc<Sessions>,
    /// What the resources of a module depend on.
    table: Arc<ArcSwap<Table>>,
}

impl Gate {
    /// A gate where `access` counts.
    pub fn new(access: Arc<Access>, sessions: Arc<Sessions>, table: Arc<ArcSwap<Table>>) -> Self {
        Self {
            access,
            sessions,
            table,
        }
    }
}

impl CallGate for Gate {
    fn connection(&self, identity: &Arc<Identity>) -> Option<Arc<dyn ConnectionGate>> {
        if let Identity::Module(_) = **identity {
            return Some(Arc::new(ModuleGate::new(&self.access, identity)));
        }
        ClientGate::new(&self.access, identity).map(|gate| Arc::new(gate) as Arc<dyn ConnectionGate>)
    }

    fn denial(&self, identity: &Identity, path: &str) -> CallError {
        let (service, method) = split(path).unwrap_or_default();
        let asked = AskedCall {
            service,
            method,
            resource: None,
        };
        let roles = |entity: &Entity| self.access.policy().rights(entity).unwrap_or_default();
        match identity {
            Identity::Client(ClientIdentity {
                entity: Some(entity), ..
            }) => self.access.deny(entity, &roles(entity), &asked),
            Identity::Module(module) => match self.access.policy().modules.get(module) {
                Some(rights) => self.access.deny_module(module, rights, &asked),
                // It was given more meanwhile.
                None => CallError::PermissionDenied("the module may call it by now; try again".to_owned()),
            },
            _ => CallError::Unimplemented,
        }
    }

    fn admit(&self, call: &GatedCall<'_>) -> Result<Option<Uuid>, CallError> {
        if let Identity::Client(ClientIdentity {
            entity: Some(entity), ..
        }) = call.identity
            && let Some(rights) = self.access.policy().rights(entity)
        {
            let (service, method) = split(call.path).unwrap_or_default();
            let standard = || {
                wire::service(service)
                    .and_then(|service| service.api)
                    .unwrap_or_default()
            };
            let (name, api) = match call.destination {
                Some(destination) => (
                    destination.resource.name.name.as_str(),
                    destination.resource.name.api.as_str(),
                ),
                None => (call.name, standard()),
            };
            let asked = AskedCall {
                service,
                method,
                resource: Some(AskedResource { name, api }),
            };
            if !rights.allow(&asked) {
                return Err(self.access.deny(entity, &rights, &asked));
            }
        }
        if let Identity::Module(module) = call.identity {
            self.access.admit_module(module, call, &self.table.load())?;
        }
        self.sessions.admit(call)
    }

    fn monitored(&self, identity: &Identity, headers: &HeaderMap, resource: &ResourceName) {
        self.sessions.monitored(identity, headers, resource);
    }
}

impl Access {
    /// Refuses a call of a client.
    fn deny(&self, entity: &Entity, rights: &Rights, call: &AskedCall<'_>) -> CallError {
        let who = format!("`{}`", quoted(&entity.id));
        self.refuse((who, quoted(&entity.id)), rights.shown(), cure(call), call)
    }

    /// Refuses a call of a module.
    pub(crate) fn deny_module(&self, module: &ModuleName, rights: &ModuleRights, call: &AskedCall<'_>) -> CallError {
        let name = quoted(module.as_str());
        let who = (format!("module `{name}`"), format!("module {name}"));
        self.refuse(who, rights.shown(), rights.cure(module, call), call)
    }

    /// Remembers that a call was refused, and says what would allow it. `who`: in a sentence, and in a table.
    fn refuse(&self, who: (String, String), roles: String, cure: String, call: &AskedCall<'_>) -> CallError {
        let resource = call.resource.map_or(String::new(), |resource| match resource.api {
            "" => quoted(resource.name),
            api => format!("{api}/{}", quoted(resource.name)),
        });
        let what = match resource.as_str() {
            "" => format!("`{}/{}`", quoted(call.service), quoted(call.method)),
            resource => format!("`{}` of `{resource}`", quoted(call.method)),
        };
        let text = format!("{} ({roles}) may not call {what}: {cure}", who.0);
        let denial = Denial {
            last: SystemTime::now(),
            entity: who.1,
            roles,
            path: format!("/{}/{}", quoted(call.service), quoted(call.method)),
            resource,
            cure,
            count: 1,
        };
        if self.denials.add(denial) {
            warn!("refused a call: {text}");
        }
        CallError::PermissionDenied(text)
    }
}

/// Gate of one client's connection.
#[derive(Debug)]
struct ClientGate {
    access: Arc<Access>,
    /// As its socket tells.
    identity: Arc<Identity>,
    client: ClientIdentity,
    /// What it has shown last: a call with the same token costs a comparison.
    proved: ArcSwapOption<Proved>,
    /// What it has shown before, latest first: a proxy may speak for several.
    earlier: Mutex<VecDeque<Arc<Proved>>>,
    /// True once the log has a line about a refusal here.
    told: AtomicBool,
}

/// Identity that a client has proved, and by what.
#[derive(Debug)]
struct Proved {
    /// The policy that confirmed it.
    generation: u64,
    proof: Proof,
    entity: Arc<Entity>,
    identity: Arc<Identity>,
    /// `None`: all.
    rights: Option<Arc<Rights>>,
}

#[derive(Debug, Clone)]
enum Proof {
    /// Value of the header, and what it grants.
    Token(HeaderValue, Grant),
    Certificate,
}

impl Proof {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Token(one, _), Self::Token(other, _)) => one == other,
            (Self::Certificate, Self::Certificate) => true,
            _ => false,
        }
    }
}

impl Proved {
    /// True if a request with this token is of whoever it was.
    fn still_counts(&self, policy: &Policy, token: &Result<&HeaderValue, CallError>) -> bool {
        self.generation == policy.generation
            && match (&self.proof, token) {
                (Proof::Token(shown, grant), Ok(token)) => {
                    let ends = matches!(grant, Grant::External { until: Some(until), .. } if *until <= Instant::now());
                    // A token that comes again in a connection is mostly the very same bytes.
                    shown == *token && !ends
                }
                (Proof::Certificate, Err(_)) => true,
                _ => false,
            }
    }
}

impl Proved {
    /// The caller of `path`.
    fn entered(&self, path: &str) -> Entered {
        let denied = |rights: &Arc<Rights>| {
            let (service, method) = split(path).unwrap_or_default();
            // What has no service is told so.
            !service.is_empty()
                && !rights.allow(&AskedCall {
                    service,
                    method,
                    resource: None,
                })
        };
        Entered {
            identity: self.identity.clone(),
            denied: self.rights.as_ref().is_some_and(denied),
        }
    }
}

impl ConnectionGate for ClientGate {
    fn enter(&self, headers: &HeaderMap, path: &str) -> Result<Entered, CallError> {
        let entered = self.decide(headers, path);
        if let Err(CallError::Unauthenticated(text)) = &entered
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let peer = self.client.remote.ip().to_canonical();
            warn!(%peer, "refused a call: {text}");
        }
        entered
    }
}

impl ClientGate {
    /// The gate of a client; `None` for whoever comes through another socket, and is known by it.
    fn new(access: &Arc<Access>, identity: &Arc<Identity>) -> Option<Self> {
        let Identity::Client(client) = &**identity else {
            return None;
        };
        Some(Self {
            access: access.clone(),
            identity: identity.clone(),
            client: client.clone(),
            proved: ArcSwapOption::empty(),
            earlier: Mutex::default(),
            told: AtomicBool::new(false),
        })
    }

    fn decide(&self, headers: &HeaderMap, path: &str) -> Result<Entered, CallError> {
        let anybody = || Entered {
            identity: self.identity.clone(),
            denied: false,
        };
        let policy = self.access.policy();
        // Not even as anybody: its operator is to know that it is not the main part any more.
        if self.client.certificate.is_some()
            && let Some(text) = policy.superseded(&self.client, self.access.followed().as_deref())
        {
            return Err(CallError::Unauthenticated(text));
        }
        // A certificate that counts is who its holder is, whatever others must show.
        let by_certificate = || policy.by_certificate(&self.client).is_some();
        match policy.admission {
            _ if path.starts_with(JOIN) => return Ok(anybody()),
            Admission::Open | Admission::LocalOnly if by_certificate() => {}
            Admission::Open => return Ok(anybody()),
            Admission::LocalOnly if self.client.is_local() => return Ok(anybody()),
            Admission::LocalOnly => return Err(CallError::Unauthenticated(LOCAL_ONLY.to_owned())),
            Admission::Authenticated if path == AUTHENTICATE => return Ok(anybody()),
            Admission::Authenticated => {}
        }
        let token = bearer(headers);
        let before = self.proved.load();
        if let Some(proved) = &*before
            && proved.still_counts(&policy, &token)
        {
            return Ok(proved.entered(path));
        }
        let known = token.as_ref().ok().and_then(|token| self.known(token));
        let proved = Arc::new(self.prove(&policy, token, known)?);
        self.remember(&proved);
        Ok(proved.entered(path))
    }

    /// Whom a token that was shown here before is of, and what it granted.
    fn known(&self, token: &HeaderValue) -> Option<(Arc<Entity>, Grant)> {
        let earlier = self.earlier();
        earlier.iter().find_map(|known| match &known.proof {
            Proof::Token(shown, grant) if shown == token => Some((known.entity.clone(), grant.clone())),
            _ => None,
        })
    }

    fn remember(&self, proved: &Arc<Proved>) {
        let mut earlier = self.earlier();
        earlier.retain(|known| !known.proof.is_same(&proved.proof));
        earlier.push_front(proved.clone());
        earlier.truncate(MAX_SHOWN);
        self.proved.store(Some(proved.clone()));
    }

    fn earlier(&self) -> MutexGuard<'_, VecDeque<Arc<Proved>>> {
        self.earlier.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds out who the client is. `known`: what the same token has granted on this connection before.
    ///
    /// A token that was good when the connection first showed it is good there for as long as its credential is: SDKs
    /// (Python, Rust, TypeScript) keep the one that they got when they dialled, and would lose the machine after an hour.
    fn prove(
        &self,
        policy: &Policy,
        token: Result<&HeaderValue, CallError>,
        known: Option<(Arc<Entity>, Grant)>,
    ) -> Result<Proved, CallError> {
        let refused = |error: crate::tokens::TokenError| CallError::Unauthenticated(error.to_string());
        let (entity, proof) = match token {
            Ok(token) => {
                let now = Instant::now();
                let (entity, grant) = match known {
                    Some((entity, grant)) => {
                        policy.confirm(&entity, &grant, now).map_err(refused)?;
                        (entity, grant)
                    }
                    None => {
                        let text = token.to_str().ok().and_then(|text| text.strip_prefix(BEARER));
                        let verified = policy.by_token(&self.access.signer, text.unwrap_or_default(), now);
                        let (entity, grant) = verified.map_err(refused)?;
                        (Arc::new(entity), grant)
                    }
                };
                (entity, Proof::Token(token.clone(), grant))
            }
            // Without a token the certificate counts, if it does.
            Err(missing) => match policy.by_certificate(&self.client) {
                Some(entity) => (Arc::new(entity), Proof::Certificate),
                None => return Err(missing),
            },
        };
        let client = ClientIdentity {
            entity: Some(entity.clone()),
            ..self.client.clone()
        };
        Ok(Proved {
            generation: policy.generation,
            proof,
            rights: policy.rights(&entity),
            identity: Arc::new(Identity::Client(client)),
            entity,
        })
    }
}

/// The one value of `authorization` that a request has.
fn bearer(headers: &HeaderMap) -> Result<&HeaderValue, CallError> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(CallError::Unauthenticated("authentication required".to_owned()));
    };
    if !value.as_bytes().starts_with(BEARER.as_bytes()) {
        let text = "expected authorization header with prefix: Bearer ";
        return Err(CallError::Unauthenticated(text.to_owned()));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use mainstay_model::{Config, Role};
    use mainstay_proxy::identity::PeerCertificate;
    use tonic::Code;

    use super::*;
    use crate::access::Candidate;
    use crate::access::tests::config;
    use crate::credentials::tests::plain;

    const VERSION: &str = "/viam.robot.v1.RobotService/GetVersion";
    const SHUTDOWN: &str = "/viam.robot.v1.RobotService/Shutdown";

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn client(remote: &str) -> Identity {
        Identity::Client(ClientIdentity::new(address(remote), address("10.0.0.1:8080")))
    }

    fn access(config: &Config) -> Arc<Access> {
        Arc::new(Access::new(config).expect("random numbers"))
    }

    fn enter_as(access: &Arc<Access>, identity: Identity) -> Arc<dyn ConnectionGate> {
        let gate = Gate::new(
            access.clone(),
            Arc::new(Sessions::new(Duration::from_secs(2))),
            Arc::default(),
        );
        gate.connection(&Arc::new(identity)).expect("a client")
    }

    async fn token(access: &Access, entity: &str, payload: &str) -> String {
        let candidate = Candidate {
            address: address("10.0.0.2:1").ip(),
            entity,
            credentials: Some(("api-key", payload)),
        };
        access.authenticate(candidate).await.expect("the right key")
    }

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header"))])
    }

    fn outcome(entered: Result<Entered, CallError>) -> Result<String, (Code, String)> {
        let entity = entered.map(|entered| entered.identity.entity().to_owned());
        entity.map_err(|error| (error.code(), error.to_string()))
    }

    #[tokio::test]
    async fn a_request_without_a_good_token_gets_the_words_of_peers() {
        let access = access(&config(&[("a", plain("1"))]));
        let gate = enter_as(&access, client("127.0.0.1:1"));
        let refused = |text: &str| Err((Code::Unauthenticated, text.to_owned()));
        let none = HeaderMap::new();
        assert_eq!(outcome(gate.enter(&none, VERSION)), refused("authentication required"));
        assert_eq!(outcome(gate.enter(&none, AUTHENTICATE)), Ok(String::new()));
        assert_eq!(
            outcome(gate.enter(&none, "/proto.rpc.v1.AuthService/Authenticate2")),
            refused("authentication required")
        );
        let good = format!("Bearer {}", token(&access, "a", "1").await);
        let mut twice = with(&good);
        twice.append(AUTHORIZATION, good.parse().expect("a header"));
        assert_eq!(outcome(gate.enter(&twice, VERSION)), refused("authentication required"));
        for other in ["Basic ZmFrZSB1c2VybmFtZTpmYWtlIHBhc3N3b3Jk", "bearer x", "Bearer", ""] {
            assert_eq!(
                outcome(gate.enter(&with(other), VERSION)),
                refused("expected authorization header with prefix: Bearer ")
            );
        }
        let bad = outcome(gate.enter(&with("Bearer x"), VERSION));
        assert_eq!(
            bad,
            refused("unauthenticated: token contains an invalid number of segments")
        );
        for _ in 0..2 {
            assert_eq!(outcome(gate.enter(&with(&good), SHUTDOWN)), Ok("a".to_owned()));
        }
        // What was shown before is no good without being shown.
        assert_eq!(outcome(gate.enter(&none, VERSION)), refused("authentication required"));
    }

    #[tokio::test]
    async fn a_connection_follows_the_config() {
        let both = config(&[("a", plain("1")), ("b", plain("2"))]);
        let access = access(&both);
        let gate = enter_as(&access, client("10.0.0.2:1"));
        let a = with(&format!("Bearer {}", token(&access, "a", "1").await));
        assert_eq!(outcome(gate.enter(&a, VERSION)), Ok("a".to_owned()));
        let mut limited = both.clone();
        limited.auth.roles = Some(vec![Role {
            name: Role::VIEWER.to_owned(),
            entities: vec!["a".to_owned()],
            allow: Vec::new(),
        }]);
        access.take_up(&limited);
        assert_eq!(outcome(gate.enter(&a, VERSION)), Ok("a".to_owned()));
        let entered = gate.enter(&a, SHUTDOWN).expect("a good token");
        assert!(entered.denied && !gate.enter(&a, VERSION).expect("a good token").denied);
        let machine = Gate::new(
            access.clone(),
            Arc::new(Sessions::new(Duration::from_secs(2))),
            Arc::default(),
        );
        let refused = machine.denial(&entered.identity, SHUTDOWN);
        let (code, text) = (refused.code(), refused.to_string());
        assert_eq!(code, Code::PermissionDenied);
        assert_eq!(
            text,
            "`a` (role viewer) may not call `viam.robot.v1.RobotService/Shutdown`: the role owner allows it, and so does a rule in \
             `auth.roles` like `allow: [{service: viam.robot.v1.RobotService, methods: [Shutdown]}]`"
        );
        assert_eq!(access.denials.get()[0].path, SHUTDOWN);
        access.take_up(&config(&[("a", plain("changed")), ("b", plain("2"))]));
        let (code, text) = outcome(gate.enter(&a, VERSION)).expect_err("changed");
        assert_eq!(code, Code::Unauthenticated);
        assert!(
            text.starts_with("unauthenticated: this server did not sign this JWT"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_connection_may_speak_for_several_and_remembers_the_latest() {
        let ids: Vec<_> = (0..12).map(|number| format!("k{number}")).collect();
        let access = access(&config(
            &ids.iter().map(|id| (id.as_str(), plain(id))).collect::<Vec<_>>(),
        ));
        let gate = ClientGate::new(&access, &Arc::new(client("10.0.0.2:1"))).expect("a client");
        for id in ids.iter().chain(&ids) {
            let shown = with(&format!("Bearer {}", token(&access, id, id).await));
            assert_eq!(outcome(gate.enter(&shown, VERSION)), Ok(id.clone()));
        }
        assert_eq!(gate.earlier().len(), MAX_SHOWN);
    }

    #[test]
    fn without_authentication_only_this_host_is_served_unless_the_config_says_otherwise() {
        let mut open = Config::empty(std::path::Path::new("r.yaml"));
        let access = access(&open);
        for (remote, served) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.1:1", true),
            ("10.0.0.2:1", false),
            ("[2001:db8::1]:1", false),
        ] {
            let found = outcome(enter_as(&access, client(remote)).enter(&HeaderMap::new(), VERSION));
            match found {
                Ok(entity) => assert!(served && entity.is_empty(), "{remote}"),
                Err((code, text)) => {
                    assert!(!served, "{remote}");
                    assert_eq!((code, text.as_str()), (Code::Unauthenticated, LOCAL_ONLY));
                }
            }
        }
        open.network.allow_unauthenticated = true;
        access.take_up(&open);
        // A token for nobody is ignored, as by peers.
        let dummy = with("Basic eDp5");
        assert_eq!(
            outcome(enter_as(&access, client("10.0.0.2:1")).enter(&dummy, VERSION)),
            Ok(String::new())
        );
    }

    #[test]
    fn a_listed_certificate_needs_no_token_and_a_bad_token_is_bad_all_the_same() {
        let mut config = config(&[("a", plain("1"))]);
        config.auth.tls_auth_entities = vec!["pilot.local".to_owned()];
        let access = access(&config);
        let Identity::Client(mut identity) = client("10.0.0.2:1") else {
            panic!("a client")
        };
        identity.certificate = Some(Arc::new(PeerCertificate {
            names: vec!["pilot.local".to_owned()],
            signed_by: "0a".to_owned(),
            issuer: "CN=ca".to_owned(),
            serial: "01".to_owned(),
        }));
        let gate = enter_as(&access, Identity::Client(identity));
        for _ in 0..2 {
            assert_eq!(
                outcome(gate.enter(&HeaderMap::new(), VERSION)),
                Ok("pilot.local".to_owned())
            );
        }
        assert!(outcome(gate.enter(&with("Bearer x.y.z"), VERSION)).is_err());
        assert_eq!(
            outcome(gate.enter(&with("Basic eDp5"), VERSION)),
            Ok("pilot.local".to_owned())
        );
        config.auth.tls_auth_entities.clear();
        access.take_up(&config);
        let (_, text) = outcome(gate.enter(&HeaderMap::new(), VERSION)).expect_err("no longer");
        assert_eq!(text, "authentication required");
    }
}
