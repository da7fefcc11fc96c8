//! Link to another machine, as the data path sees it: how a connection is made, and what calls there carry besides.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Status};

use crate::metadata::SESSION_ID;
use crate::sessions::SESSION_EXPIRED;

/// Entity on whose behalf this machine calls, for the other one to read; it grants nothing.
const ON_BEHALF_OF: HeaderName = HeaderName::from_static("mainstay-on-behalf-of");

/// Byte stream of a connection, encrypted or not.
pub trait LinkIo: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> LinkIo for T {}

/// A future of a link; rare enough to be boxed.
pub type LinkFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Link to another machine.
pub trait RemoteLink: Debug + Send + Sync {
    /// Name of the remote in the config.
    fn name(&self) -> &str;

    /// True for `https`.
    fn is_encrypted(&self) -> bool;

    /// Opens a connection.
    fn dial(&self) -> LinkFuture<'_, io::Result<Box<dyn LinkIo>>>;

    /// Proof of who we are, for every call.
    fn authorization(&self) -> Option<HeaderValue>;

    /// Our session over there, for calls that set something moving; begun with the first of them. `None` where the other
    /// machine knows no sessions.
    fn session(&self) -> LinkFuture<'_, Option<HeaderValue>>;

    /// The other machine no longer takes our session, or our proof of who we are.
    fn refused(&self, refusal: LinkRefusal);
}

/// Refusal that is about this machine and not about its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRefusal {
    /// The session is over.
    Session,
    /// The credentials, or what they were exchanged for.
    Credentials,
}

/// Puts what a call over `link` carries into its headers. `actuates`: the call sets something moving.
pub(crate) async fn equip(link: &dyn RemoteLink, entity: &str, actuates: bool, headers: &mut HeaderMap) {
    if let Some(authorization) = link.authorization() {
        headers.insert(header::AUTHORIZATION, authorization);
    }
    if let Ok(entity) = HeaderValue::from_str(entity)
        && !entity.is_empty()
    {
        headers.insert(ON_BEHALF_OF, entity);
    }
    if actuates && let Some(session) = link.session().await {
        headers.insert(SESSION_ID, session);
    }
}

/// The answer for the caller to a refusal that is about us: its own session and credentials are good.
pub(crate) fn translate(link: &dyn RemoteLink, headers: &HeaderMap) -> Option<Status> {
    let code = headers.get(Status::GRPC_STATUS)?.as_bytes();
    if code != b"3" && code != b"16" {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    let name = link.name();
    let (refusal, text) = match status.code() {
        Code::InvalidArgument if status.message() == SESSION_EXPIRED => (
            LinkRefusal::Session,
            format!(
                "remote `{name}` had ended this machine's session, which was silent for too long; a new one begins with the next call"
            ),
        ),
        Code::Unauthenticated => (
            LinkRefusal::Credentials,
            format!(
                "remote `{name}` does not take this machine's credentials ({}); they are shown once more, and `remotes[].auth` is to be checked if that does not help",
                status.message()
            ),
        ),
        _ => return None,
    };
    link.refused(refusal);
    Some(Status::unavailable(text))
}
