//! Link of one connection to another machine: what the data path asks of it, answered from what the remote's task keeps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use mainstay_dial::{Encryption, Fallback, Found, TlsSettings, dial_found, lookup};
use mainstay_model::Remote;
use mainstay_model::membership::PartLink;
use mainstay_proxy::remote_link::{LinkFuture, LinkIo, LinkRefusal, RemoteLink};
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::part;

/// Receiver of our session, for a call that waits for it.
pub(super) type SessionReply = oneshot::Sender<Option<HeaderValue>>;

/// Ends of the remote's tasks at which the data path asks.
#[derive(Debug)]
pub(super) struct LinkRequests {
    /// Begin a session, or tell the one there is.
    pub(super) sessions: mpsc::UnboundedReceiver<SessionReply>,
    /// The other machine refuses this.
    pub(super) refusals: mpsc::UnboundedReceiver<LinkRefusal>,
}

/// Link of one connection.
#[derive(Debug)]
pub(super) struct Link {
    name: String,
    address: String,
    /// Where that is, for all streams of this connection: the next one looks it up anew.
    found: OnceCell<Found>,
    /// Cleartext, as the config says or as it turned out.
    insecure: bool,
    cleartext: AtomicBool,
    /// There are credentials to be shown.
    secret: bool,
    /// It is a sub-part of this machine.
    part: Option<PartLink>,
    pub(super) authorization: ArcSwapOption<HeaderValue>,
    pub(super) session: ArcSwapOption<HeaderValue>,
    sessions: mpsc::UnboundedSender<SessionReply>,
    refusals: mpsc::UnboundedSender<LinkRefusal>,
}

impl Link {
    /// A link, and where it asks.
    pub(super) fn new(remote: &Remote) -> (Self, LinkRequests) {
        let (session_sender, sessions) = mpsc::unbounded_channel();
        let (refusal_sender, refusals) = mpsc::unbounded_channel();
        let link = Self {
            name: remote.name.clone(),
            address: remote.address.clone(),
            found: OnceCell::new(),
            insecure: remote.insecure,
            cleartext: AtomicBool::new(remote.insecure),
            secret: remote.credentials.is_some(),
            part: remote.part.clone(),
            authorization: ArcSwapOption::empty(),
            session: ArcSwapOption::empty(),
            sessions: session_sender,
            refusals: refusal_sender,
        };
        (link, LinkRequests { sessions, refusals })
    }
}

impl RemoteLink for Link {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_encrypted(&self) -> bool {
        !self.cleartext.load(Ordering::Relaxed)
    }

    fn dial(&self) -> LinkFuture<'_, io::Result<Box<dyn LinkIo>>> {
        Box::pin(async {
            if let Some(link) = &self.part {
                let io: Box<dyn LinkIo> = Box::new(part::dial(&self.address, link).await.map_err(io::Error::other)?);
                return Ok(io);
            }
            let encryption = match (self.insecure, self.is_encrypted()) {
                (true, _) => Encryption::Off,
                (false, true) => Encryption::On,
                (false, false) => Encryption::Refused,
            };
            let fallback = if self.secret {
                Fallback::Never
            } else {
                Fallback::Anywhere
            };
            let found = self.found.get_or_try_init(|| lookup(&self.address)).await;
            let found = found.map_err(io::Error::other)?;
            let (io, encryption) = dial_found(found, encryption, fallback, &TlsSettings::default())
                .await
                .map_err(io::Error::other)?;
            self.cleartext.store(encryption != Encryption::On, Ordering::Relaxed);
            let io: Box<dyn LinkIo> = Box::new(io);
            Ok(io)
        })
    }

    fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.load().as_deref().cloned()
    }

    fn session(&self) -> LinkFuture<'_, Option<HeaderValue>> {
        if let Some(session) = self.session.load().as_deref().cloned() {
            return Box::pin(std::future::ready(Some(session)));
        }
        let (reply, answer) = oneshot::channel();
        let asked = self.sessions.send(reply);
        Box::pin(async move {
            match asked {
                Ok(()) => answer.await.unwrap_or_default(),
                Err(_) => None,
            }
        })
    }

    fn refused(&self, refusal: LinkRefusal) {
        let _over = self.refusals.send(refusal);
    }
}

/// A header value that no log shows.
pub(super) fn secret_header(text: &str) -> Option<Arc<HeaderValue>> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(Arc::new(value))
}
