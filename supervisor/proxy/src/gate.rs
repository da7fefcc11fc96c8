//! Gate for calls: asked who makes each call before anything of it is read, and of each call for a resource whether it may
//! pass.

use std::fmt::Debug;
use std::sync::Arc;

use http::HeaderMap;
use mainstay_proto::ResourceName;
use uuid::Uuid;

use crate::identity::Identity;
use crate::metadata::SESSION_ID;
use crate::sessions::{SessionError, Sessions, parse_id};
use crate::status::CallError;
use crate::table::{Destination, MethodShape};

/// Call at the gate, before anything of it is passed on.
#[derive(Debug)]
pub struct GatedCall<'c> {
    /// Identity of the caller.
    pub identity: &'c Identity,
    /// Number of the calling module's process; 0 for anybody else.
    pub life: u64,
    /// Shape of the method.
    pub shape: &'c MethodShape,
    /// `/package.Service/Method`.
    pub path: &'c str,
    /// Name of the resource, as the caller gave it.
    pub name: &'c str,
    /// Destination of the call; `None` if it names nothing that is there.
    pub destination: Option<&'c Destination<'c>>,
    /// The caller's metadata.
    pub headers: &'c HeaderMap,
}

/// Decides about calls. Asked on the hot path: it must not wait.
pub trait CallGate: Debug + Send + Sync {
    /// Gate of one connection, at whose other end is `identity`. `None`: who that is needs no proof.
    fn connection(&self, identity: &Arc<Identity>) -> Option<Arc<dyn ConnectionGate>> {
        let _trusted = identity;
        None
    }

    /// The answer to a caller who may not make this call, where no resource is to be named.
    fn denial(&self, identity: &Identity, path: &str) -> CallError {
        let _rightless = (identity, path);
        CallError::Unimplemented
    }

    /// Lets a call pass, with the session that answers for it if one does.
    ///
    /// # Errors
    /// It may not pass; the error is the caller's answer.
    fn admit(&self, call: &GatedCall<'_>) -> Result<Option<Uuid>, CallError>;

    /// A call of `identity`, with these headers, set `resource` moving on its behalf, beside what it called.
    fn monitored(&self, identity: &Identity, headers: &HeaderMap, resource: &ResourceName);
}

/// Caller of a request, as the gate made out.
#[derive(Debug, Clone)]
pub struct Entered {
    /// Identity of the caller.
    pub identity: Arc<Identity>,
    /// True if it may not make this call, whatever resource it is for.
    pub denied: bool,
}

/// Decides who makes the requests of one connection. Asked of every request: it must not wait.
pub trait ConnectionGate: Debug + Send + Sync {
    /// Finds out who makes a request with these headers for this path.
    ///
    /// # Errors
    /// Nobody who is served; the error is the caller's answer.
    fn enter(&self, headers: &HeaderMap, path: &str) -> Result<Entered, CallError>;
}

impl CallGate for Sessions {
    /// Writes down who answers for what moves now, before it moves.
    fn admit(&self, call: &GatedCall<'_>) -> Result<Option<Uuid>, CallError> {
        if !call.shape.actuates {
            return Ok(None);
        }
        if let Identity::Module(module) = call.identity {
            if let Some(destination) = call.destination {
                self.table()
                    .moved_by_module(&destination.resource.name, module, call.life)?;
            }
            return Ok(None);
        }
        let session = session_id(call.headers)?;
        if let Some(id) = session {
            self.heartbeat(id, call.identity.entity(), &call.identity.peer())?;
        }
        if let Some(destination) = call.destination {
            self.table().moved_by_client(&destination.resource.name, session);
        }
        Ok(session)
    }

    fn monitored(&self, identity: &Identity, headers: &HeaderMap, resource: &ResourceName) {
        // What a module moves is known by the calls that it makes itself.
        if identity.module().is_none()
            && let Ok(Some(session)) = session_id(headers)
        {
            self.table().moved_by_client(resource, Some(session));
        }
    }
}

fn session_id(headers: &HeaderMap) -> Result<Option<Uuid>, SessionError> {
    let mut given = headers.get_all(SESSION_ID).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(SessionError::Several),
        (Some(id), None) => id
            .to_str()
            .map_err(|_| SessionError::BadId(id.len()))
            .and_then(parse_id)
            .map(Some),
    }
}
