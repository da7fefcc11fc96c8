//! Task of one remote: connects, for as long as it is in the config, and serves the connection while it lasts.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use mainstay_core::remote::{Imports, Listed, imports, pause};
use mainstay_dial::Credentials;
use mainstay_model::Remote;
use mainstay_proxy::remote_link::LinkRefusal;
use mainstay_proxy::upstream::Upstream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::{Code, Status};
use tracing::{debug, info, warn};

use super::link::Link;
use super::listing::{Listing, apis};
use super::{CONNECT_TIMEOUT, RemoteApi, RemoteEvent, RemoteEvents, part, session, within};

/// Connection that lasted this long counts as good: the pauses begin anew after it.
const GOOD: Duration = Duration::from_secs(10);

/// Reason for which most connections end.
const CLOSED: &str = "the connection was closed";

/// Task of one remote.
pub(super) struct RemoteTask {
    remote: Remote,
    /// Id of this machine.
    machine: Arc<str>,
    events: RemoteEvents,
}

/// Connection that is served.
struct Connection {
    upstream: Upstream,
    link: Arc<Link>,
    refusals: mpsc::UnboundedReceiver<LinkRefusal>,
    listed: Vec<Listed>,
    apis: Arc<[RemoteApi]>,
    /// Keeper of our session; ended with the connection.
    _keeper: JoinSet<()>,
}

impl RemoteTask {
    pub(super) fn new(remote: Remote, machine: Arc<str>, events: RemoteEvents) -> Self {
        Self {
            remote,
            machine,
            events,
        }
    }

    /// Runs for ever.
    pub(super) async fn run(self) {
        let chance = RandomState::new();
        let (mut failures, mut told) = (0_u32, None);
        loop {
            let cause = match timeout(CONNECT_TIMEOUT, self.connect()).await {
                Ok(Ok((connection, listing))) => {
                    info!(
                        remote = self.remote.name,
                        address = self.remote.address,
                        "remote connected"
                    );
                    told = None;
                    let begun = Instant::now();
                    let cause = self.serve(connection, listing).await;
                    failures = if begun.elapsed() < GOOD { failures + 1 } else { 0 };
                    cause
                }
                Ok(Err(cause)) => {
                    failures += 1;
                    cause
                }
                Err(_) => {
                    failures += 1;
                    format!("no connection within {CONNECT_TIMEOUT:?}")
                }
            };
            #[expect(clippy::cast_precision_loss, reason = "some number between 0 and 1")]
            let chance = chance.hash_one(failures) as f64 / u64::MAX as f64;
            let pause = pause(failures, self.remote.reconnect_interval, chance);
            // Once for each trouble, not for each try.
            if told.as_ref() != Some(&cause) {
                warn!(
                    remote = self.remote.name,
                    address = self.remote.address,
                    "remote is not connected: {cause}"
                );
                told = Some(cause.clone());
            }
            let cause = format!("not connected to remote robot at {}; {cause}", self.remote.address).into();
            self.events.send(RemoteEvent::Down { cause });
            tokio::time::sleep(pause).await;
        }
    }

    /// Connects, shows the credentials and reads what there is. The error is for people.
    async fn connect(&self) -> Result<(Connection, Listing), String> {
        let remote = &self.remote;
        let (link, requests) = Link::new(remote);
        let link = Arc::new(link);
        let authority = Authority::try_from(remote.address.as_str())
            .map_err(|_| format!("its address `{}` is none: write host:port", remote.address))?;
        let upstream = Upstream::connect_link(link.clone(), authority)
            .await
            .map_err(|error| error.to_string())?;
        self.authenticate(&upstream, &link)
            .await
            .map_err(|status| self.refusal(&upstream, &status))?;
        if remote.part.is_some() {
            let followed = part::follow(upstream.clone()).await;
            followed.map_err(|status| self.refusal(&upstream, &status))?;
        }
        let opened = Listing::open(&upstream).await;
        let (listing, listed) = opened.map_err(|status| self.refusal(&upstream, &status))?;
        let apis = apis(&upstream, &listed, &[]).await.into();
        let mut keeper = JoinSet::new();
        keeper.spawn(session::keep(upstream.clone(), link.clone(), requests.sessions));
        let connection = Connection {
            upstream,
            link,
            refusals: requests.refusals,
            listed,
            apis,
            _keeper: keeper,
        };
        Ok((connection, listing))
    }

    /// Text about what the other machine answered before it could be used.
    fn refusal(&self, upstream: &Upstream, status: &Status) -> String {
        let text = status.message();
        match status.code() {
            // In one text, however it was closed.
            Code::Unavailable if upstream.is_closed() => CLOSED.to_owned(),
            // It has no credentials but its certificate.
            _ if self.remote.part.is_some() && !text.is_empty() => text.to_owned(),
            Code::Unauthenticated if self.remote.credentials.is_none() => {
                format!("it wants credentials, and `remotes[].auth` has none: {text}")
            }
            Code::Unauthenticated => format!("it does not take the credentials of `remotes[].auth`: {text}"),
            Code::Unimplemented if self.remote.credentials.is_some() => {
                format!("it takes no credentials, and `remotes[].auth` has some: {text}")
            }
            _ if text.is_empty() => format!("{:?}", status.code()),
            _ => text.to_owned(),
        }
    }

    /// Exchanges the credentials for a token, if there are some.
    async fn authenticate(&self, upstream: &Upstream, link: &Link) -> Result<(), Status> {
        let Some((kind, payload)) = &self.remote.credentials else {
            return Ok(());
        };
        let entity = match self.remote.auth_entity.as_str() {
            "" => &self.remote.address,
            entity => entity,
        };
        // This one call carries none.
        link.authorization.store(None);
        let credentials = Credentials {
            entity: entity.to_owned(),
            kind: kind.clone(),
            payload: payload.0.clone(),
        };
        let authorization = within(credentials.exchange(upstream.clone())).await?;
        link.authorization.store(Some(Arc::new(authorization)));
        Ok(())
    }

    /// Serves a connection to its end, whose reason it returns.
    async fn serve(&self, mut connection: Connection, listing: Listing) -> String {
        let upstream = connection.upstream.clone();
        let Imports { taken, left_out } = self.imports(&connection.listed);
        self.events.send(RemoteEvent::Connected {
            upstream: upstream.clone(),
            imports: taken,
            apis: connection.apis.clone(),
            left_out,
        });
        let cause = self.follow(&mut connection, listing).await;
        // Calls in flight end in these words, too.
        let whole = format!("not connected to remote robot at {}; {cause}", self.remote.address);
        upstream.mark_down(whole.into());
        cause
    }

    fn imports(&self, listed: &[Listed]) -> Imports {
        imports(&self.remote.name, &self.remote.prefix, &self.machine, listed)
    }

    async fn follow(&self, connection: &mut Connection, listing: Listing) -> String {
        let upstream = connection.upstream.clone();
        let checks = self.remote.connection_check_interval.max(Duration::from_millis(20));
        // A question and its answer fit in one interval, so a machine that fell silent is noticed within it.
        let mut ticks = interval(checks / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let wait = |listing: Listing| Box::pin(listing.next(upstream.clone(), checks));
        let mut next = wait(listing);
        loop {
            let renewed = tokio::select! {
                () = upstream.closed() => return CLOSED.to_owned(),
                (listing, list) = &mut next => {
                    next = wait(listing);
                    match list {
                        Ok(listed) => {
                            self.listed(connection, listed).await;
                            Ok(None)
                        }
                        Err(status) if status.code() == Code::Unauthenticated => self.renew(connection).await,
                        Err(_) if upstream.is_closed() => return CLOSED.to_owned(),
                        Err(status) => return format!("it does not tell what it has: {}", status.message()),
                    }
                }
                Some(refusal) = connection.refusals.recv() => match refusal {
                    LinkRefusal::Session => {
                        connection.link.session.store(None);
                        Ok(None)
                    }
                    LinkRefusal::Credentials => self.renew(connection).await,
                },
                _ = ticks.tick() => {
                    if timeout(checks / 2, upstream.ping()).await.is_err() {
                        return format!("it was silent for {checks:?}");
                    }
                    Ok(None)
                }
            };
            match renewed {
                Ok(None) => {}
                Ok(Some(listing)) => next = wait(listing),
                Err(cause) => return cause,
            }
        }
    }

    /// Passes on what the other machine lists now, if it is something else.
    async fn listed(&self, connection: &mut Connection, listed: Vec<Listed>) {
        let names = |list: &[Listed]| list.iter().map(|listed| listed.name.clone()).collect::<HashSet<_>>();
        if names(&listed) == names(&connection.listed) {
            return;
        }
        connection.apis = apis(&connection.upstream, &listed, &connection.apis).await.into();
        connection.listed = listed;
        let Imports { taken, left_out } = self.imports(&connection.listed);
        self.events.send(RemoteEvent::Listed {
            imports: taken,
            apis: connection.apis.clone(),
            left_out,
        });
    }

    /// Shows the credentials once more, and asks for the list with them.
    async fn renew(&self, connection: &mut Connection) -> Result<Option<Listing>, String> {
        debug!(remote = self.remote.name, "showing the credentials once more");
        let renewed = self.authenticate(&connection.upstream, &connection.link).await;
        renewed.map_err(|status| self.refusal(&connection.upstream, &status))?;
        let opened = Listing::open(&connection.upstream).await;
        let (listing, listed) = opened.map_err(|status| self.refusal(&connection.upstream, &status))?;
        self.listed(connection, listed).await;
        Ok(Some(listing))
    }
}
