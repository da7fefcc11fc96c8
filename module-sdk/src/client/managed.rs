//! Managed service: a program's calls to a machine, each with its token, its session, and patience.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use hyper::body::Incoming;
use mainstay_dial::Credentials;
use mainstay_proto::{custom::CustomService, methods};
use tokio::time::timeout;
use tonic::{Code, Status, body::Body};

use super::{
    CLIENT,
    connection::{Connection, Link, LinkState},
    replay,
    session::{Session, is_expired},
    transport::Transport,
};
use crate::Error;

/// Longest time for a connection to be made, with all that is asked before it counts.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

const SESSION_ID: &str = "viam-sid";

/// Proof of who calls.
#[derive(Clone)]
pub(super) enum Proof {
    /// None, or the client certificate of the connection.
    None,
    /// Value of the header `authorization`, as it was given.
    Token(HeaderValue),
    /// Exchanged for a token.
    Credentials(Credentials),
}

/// Token of the moment, as the header `authorization`.
#[derive(Default)]
struct Token(Mutex<Option<HeaderValue>>);

impl Token {
    fn get(&self) -> Option<HeaderValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, value: Option<HeaderValue>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    /// Takes the token away if it is still this one.
    fn forget(&self, value: &HeaderValue) {
        let mut token = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if token.as_ref() == Some(value) {
            *token = None;
        }
    }
}

/// Keys, session and patience of a connection to a machine.
pub(super) struct Managed {
    proof: Proof,
    authorization: Token,
    /// Held while credentials are shown, so that concurrent calls show them once.
    showing: tokio::sync::Mutex<()>,
    pub(super) session: Session,
    /// Calls that move something carry a session.
    sessions: bool,
    /// Longest wait of a call for a connection.
    patience: Duration,
    /// Services of custom APIs, for their methods that move something.
    custom: Mutex<HashMap<String, Arc<CustomService>>>,
}

/// Refusal that another proof may cure.
enum Refusal {
    Credentials,
    Session,
}

impl Managed {
    pub(super) fn new(proof: Proof, sessions: bool, patience: Duration) -> Self {
        Self {
            proof,
            authorization: Token::default(),
            showing: tokio::sync::Mutex::default(),
            session: Session::default(),
            sessions,
            patience,
            custom: Mutex::default(),
        }
    }

    /// Notes a service that the method table does not know.
    pub(super) fn learn(&self, service: CustomService) {
        let mut custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        custom.insert(service.name.clone(), Arc::new(service));
    }

    pub(super) fn knows(&self, service: &str) -> bool {
        let custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        custom.contains_key(service)
    }

    /// True if a call to this path sets something moving.
    fn actuates(&self, path: &str) -> bool {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return false;
        };
        if let Some(method) = methods::find(service, method) {
            return method.actuates;
        }
        let custom = self.custom.lock().unwrap_or_else(PoisonError::into_inner);
        let method = custom.get(service).and_then(|service| service.method(method));
        method.is_some_and(|method| method.actuates)
    }

    /// Makes a call, once more if the machine refuses its token or its session.
    pub(super) async fn call(
        &self,
        connection: &Connection,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Status> {
        let (mut head, body) = request.into_parts();
        head.headers.entry("viam_client").or_insert(CLIENT);
        let actuates = self.sessions && self.actuates(head.uri.path());
        let (mut body, recorder) = replay::record(body);
        let mut second = false;
        loop {
            let transport = self.transport(connection.link()).await?;
            let shown = self.authorization(&transport).await.map_err(|status| {
                let address = connection.address();
                Status::new(status.code(), format!("{address} is not called: {}", status.message()))
            })?;
            match &shown {
                Some(value) => drop(head.headers.insert(AUTHORIZATION, value.clone())),
                None => drop(head.headers.remove(AUTHORIZATION)),
            }
            let session = if actuates {
                self.session.id(&connection.weak()).await?
            } else {
                None
            };
            match &session {
                Some(id) => drop(head.headers.insert(SESSION_ID, id.clone())),
                None => drop(head.headers.remove(SESSION_ID)),
            }
            let sent = transport.send(Request::from_parts(head.clone(), body)).await;
            let response = sent.map_err(|status| connection.link().lost(status))?;
            match refusal(response.headers()) {
                Some(Refusal::Credentials) => self.forget(shown.as_ref()),
                Some(Refusal::Session) => {
                    if let Some(id) = &session {
                        self.session.expired(id).await;
                    }
                }
                None => return Ok(response),
            }
            let curable = session.is_some() || matches!(self.proof, Proof::Credentials(_));
            match recorder.again() {
                Some(again) if curable && !second => (body, second) = (again, true),
                _ => return Ok(response),
            }
        }
    }

    /// Longest wait for a connection.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Forgets the token of the connection before: the machine may be another by now.
    pub(super) fn begin_anew(&self) {
        self.authorization.set(None);
    }

    /// Looks at the trailers of a response that began well.
    pub(super) fn see(&self, trailers: &HeaderMap) {
        if let Some(Refusal::Credentials) = refusal(trailers) {
            self.forget(self.authorization.get().as_ref());
        }
    }

    /// Forgets a token that the machine refused, so that the next call shows the credentials again.
    fn forget(&self, shown: Option<&HeaderValue>) {
        if let Some(shown) = shown {
            self.authorization.forget(shown);
        }
    }

    /// The connection, for which a call waits as long as the program said.
    async fn transport(&self, link: &Link) -> Result<Transport, Status> {
        let mut state = link.state.subscribe();
        let there = state.wait_for(|state| state.is_up() || matches!(state, LinkState::Closed));
        let state = match timeout(self.patience, there).await {
            Ok(Ok(state)) => state.clone(),
            _ => link.state.borrow().clone(),
        };
        match state {
            LinkState::Up { transport, .. } if !transport.is_closed() => Ok(transport),
            state => Err(state.unavailable(&link.endpoint.text())),
        }
    }

    /// The header `authorization` of the moment. Credentials are shown first if there is no token for them.
    pub(super) async fn authorization(&self, transport: &Transport) -> Result<Option<HeaderValue>, Status> {
        let credentials = match &self.proof {
            Proof::None => return Ok(None),
            Proof::Token(token) => return Ok(Some(token.clone())),
            Proof::Credentials(credentials) => credentials,
        };
        if let Some(known) = self.authorization.get() {
            return Ok(Some(known));
        }
        let _alone = self.showing.lock().await;
        if let Some(known) = self.authorization.get() {
            return Ok(Some(known));
        }
        let late = |_| Status::deadline_exceeded(format!("it did not look at the credentials within {CONNECT:?}"));
        let exchanged = timeout(CONNECT, credentials.exchange(transport.clone())).await;
        match exchanged.map_err(late).and_then(|answer| answer) {
            Ok(value) => {
                self.authorization.set(Some(value.clone()));
                Ok(Some(value))
            }
            Err(status) => {
                let (kind, entity, text) = (&credentials.kind, &credentials.entity, status.message());
                let text = match status.code() {
                    Code::Unauthenticated => format!("it does not take the {kind} of `{entity}`: {text}"),
                    Code::Unimplemented => {
                        format!("it asks nobody for credentials: leave the {kind} of `{entity}` out")
                    }
                    _ => format!("it did not look at the {kind} of `{entity}`: {text}"),
                };
                Err(Status::new(status.code(), text))
            }
        }
    }
}

/// What a response refuses that another proof may cure.
fn refusal(headers: &HeaderMap) -> Option<Refusal> {
    // Most responses have no status in their head.
    headers.get(Status::GRPC_STATUS)?;
    let status = Status::from_header_map(headers)?;
    match status.code() {
        Code::Unauthenticated => Some(Refusal::Credentials),
        _ if is_expired(&status) => Some(Refusal::Session),
        _ => None,
    }
}

impl Managed {
    /// Error of a machine that is there and does not want this program.
    pub(super) fn refused(&self, address: &str, status: &Status) -> Error {
        let text = status.message();
        match (status.code(), &self.proof) {
            (code @ Code::Unauthenticated, Proof::None) => Error::new(
                code,
                format_args!("{address} wants to know who calls, for example by `.api_key(id, key)`: {text}"),
            ),
            (code @ Code::Unauthenticated, Proof::Token(_)) => {
                Error::new(code, format_args!("{address} does not take the token: {text}"))
            }
            (code, _) => Error::new(code, format_args!("cannot connect to {address}: {text}")),
        }
    }
}

impl Link {
    /// The same status, with the reason for which the connection is lost. A call itself hears of its end alone.
    fn lost(&self, status: Status) -> Status {
        match &*self.state.borrow() {
            LinkState::Down { cause, .. } if status.code() == Code::Unavailable => {
                Status::unavailable(format!("the connection to {} is lost: {cause}", self.endpoint.text()))
            }
            _ => status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_moves_something_is_known_by_its_path() {
        let managed = Managed::new(Proof::None, true, Duration::ZERO);
        for (path, actuates) in [
            ("/viam.component.motor.v1.MotorService/SetPower", true),
            ("/viam.component.motor.v1.MotorService/Stop", false),
            ("/acme.v1.Nothing/SetPower", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(managed.actuates(path), actuates, "{path}");
        }
    }
}
