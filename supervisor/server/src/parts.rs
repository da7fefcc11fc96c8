//! `mainstay.parts.v1`: a machine of several parts. Its main part invites computers and takes them in, and hands its role to one of
//! them ([`make_main`], [`take_over`]); a sub-part takes a config from it.

mod make_main;
mod take_over;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use mainstay_auth::access::Access;
use mainstay_parts::exchange::LONGEST;
use mainstay_parts::folder::{FolderError, PartFolder};
use mainstay_parts::invitations::{Invitations, JoinError, Joined, LIFE};
use mainstay_pki::authority::Authority;
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::join_service_server::JoinService;
use mainstay_proto::mainstay::parts::v1::part_service_server::PartService;
use mainstay_proto::mainstay::parts::v1::parts_service_server::PartsService;
use mainstay_proxy::identity::{Caller, ClientIdentity, Identity};
use mainstay_runtime::machine::view::ViewCell;
use mainstay_runtime::rollout::{Addresses, RolloutHandle};
use prost::Message as _;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};
use tracing::{debug, info, warn};
use uuid::Uuid;

/// Pause before somebody hears that there is no such invitation: whoever looks for one finds few within its life.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(200);
/// How many wait for that at a time.
const UNKNOWN_AT_A_TIME: usize = 4;
/// Longest config that is handed down, in bytes.
const LONGEST_CONFIG: usize = 4 << 20;

/// Files of this part, and what changes them.
#[derive(Debug, Clone)]
pub struct PartState(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None` where there is no place for them.
    folder: Option<PartFolder>,
    authority: Authority,
    addresses: Addresses,
    access: Arc<Access>,
    published: ViewCell,
    configs: RolloutHandle,
    invitations: Mutex<Invitations>,
    unknown: Semaphore,
    /// Told when the files have changed.
    changed: Arc<Notify>,
    /// Handover by this main part: one at a time.
    handing_over: tokio::sync::Mutex<()>,
    /// What the main part says about itself: one word after the other.
    following: tokio::sync::Mutex<()>,
    /// Steps of handovers under way. They outlive whoever asked for them.
    handovers: TaskTracker,
    /// Until when somebody is invited, for whoever tells the local network.
    inviting: watch::Sender<Option<tokio::time::Instant>>,
}

impl PartState {
    /// State over the files of a part. `changed` is told when they have changed.
    pub fn new(
        (folder, changed): (Option<PartFolder>, Arc<Notify>),
        authority: Authority,
        addresses: Addresses,
        access: Arc<Access>,
        (published, configs): (ViewCell, RolloutHandle),
    ) -> Self {
        Self(Arc::new(Inner {
            folder,
            authority,
            addresses,
            access,
            published,
            configs,
            invitations: Mutex::default(),
            unknown: Semaphore::new(UNKNOWN_AT_A_TIME),
            changed,
            handing_over: tokio::sync::Mutex::default(),
            following: tokio::sync::Mutex::default(),
            handovers: TaskTracker::new(),
            inviting: watch::Sender::default(),
        }))
    }

    /// Until when somebody is invited.
    pub fn inviting(&self) -> watch::Receiver<Option<tokio::time::Instant>> {
        self.0.inviting.subscribe()
    }

    /// True while somebody is invited.
    pub fn is_inviting(&self) -> bool {
        self.invitations().is_open(Instant::now())
    }

    fn invitations(&self) -> MutexGuard<'_, Invitations> {
        self.0.invitations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the files on a thread that may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PartFolder, &Authority) -> Result<T, FolderError> + Send + 'static,
    ) -> Result<T, Status> {
        let Some(folder) = self.0.folder.clone() else {
            return Err(Status::failed_precondition(
                "this machine has no folder for its state, so it cannot be a part: give it a home or XDG_STATE_HOME",
            ));
        };
        let authority = self.0.authority.clone();
        let worked = tokio::task::spawn_blocking(move || work(&folder, &authority)).await;
        let worked = worked.map_err(|error| Status::internal(error.to_string()))?;
        worked.map_err(|error| Status::failed_precondition(error.to_string()))
    }

    /// Does something that goes on when the caller no longer waits. The end of the machine breaks it off; its steps are made for
    /// that.
    async fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        let done = self.0.handovers.spawn(work).await;
        done.unwrap_or_else(|ended| Err(Status::internal(ended.to_string())))
    }

    /// Sends somebody away who does not join. Whoever knows no invitation waits, and is in no log: they may be many.
    async fn refuse<T>(&self, error: JoinError, who: String) -> Result<T, Status> {
        if !self.is_inviting() {
            self.0.inviting.send_replace(None);
        }
        match error {
            JoinError::NoInvitation | JoinError::Busy => {
                debug!("{who} tried to join as a part: {error}");
                let _turn = self.0.unknown.acquire().await;
                tokio::time::sleep(UNKNOWN_PAUSE).await;
            }
            // As many as an invitation has tries.
            JoinError::Exchange(_) => warn!("{who} tried to join as a part, and was refused: {error}"),
        }
        Err(refusal(&error))
    }

    async fn take_in(&self, joined: Joined, peer: Option<SocketAddr>) -> Result<Vec<u8>, Status> {
        let Joined {
            part,
            application,
            keys,
        } = joined;
        let application = pb::Application::decode(application.as_slice())
            .map_err(|_| Status::invalid_argument("what the joining computer says is no application"))?;
        let address = reached_at(&application.address, peer);
        let request = application.certificate_request;
        let (name, at) = (part.clone(), address.clone());
        let admitted = self
            .on_disk(move |folder, keys| folder.admit(&folder.signing(keys), &name, (&request, &at), SystemTime::now()))
            .await
            .inspect_err(|error| {
                warn!(
                    "part {part} knew its code and could not be taken in: {}",
                    error.message()
                )
            })?;
        info!("part {part} has joined from {address}");
        self.0.changed.notify_one();
        if !self.is_inviting() {
            self.0.inviting.send_replace(None);
        }
        let admission = pb::Admission {
            machine_id: admitted.machine_id,
            machine: admitted.machine,
            part: admitted.part,
            authority: admitted.authority,
            certificate: admitted.certificate,
            term: admitted.term,
        };
        Ok(keys.seal_admission(admission.encode_to_vec()))
    }
}

/// Address at which the main part reaches a computer that says `told`, and comes from `peer`.
fn reached_at(told: &str, peer: Option<SocketAddr>) -> String {
    match (told.strip_prefix(':').and_then(|port| port.parse().ok()), peer) {
        (Some(port), Some(peer)) => SocketAddr::new(peer.ip().to_canonical(), port).to_string(),
        _ => told.to_owned(),
    }
}

/// Client on the network that makes a call.
fn caller<T>(request: &Request<T>) -> Option<ClientIdentity> {
    match request.extensions().get::<Caller>().map(|caller| &*caller.identity) {
        Some(Identity::Client(client)) => Some(client.clone()),
        _ => None,
    }
}

fn peer<T>(request: &Request<T>) -> Option<SocketAddr> {
    caller(request).map(|client| client.remote)
}

fn shown(peer: Option<SocketAddr>) -> String {
    peer.map_or("this host".to_owned(), |peer| peer.ip().to_canonical().to_string())
}

fn refusal(error: &JoinError) -> Status {
    match error {
        JoinError::NoInvitation => Status::not_found(error.to_string()),
        JoinError::Busy => Status::resource_exhausted(error.to_string()),
        JoinError::Exchange(_) => Status::permission_denied(error.to_string()),
    }
}

#[tonic::async_trait]
impl JoinService for PartState {
    async fn begin(&self, request: Request<pb::BeginRequest>) -> Result<Response<pb::BeginResponse>, Status> {
        let peer = peer(&request);
        let pb::BeginRequest { invitation, message } = request.into_inner();
        if message.len() > LONGEST {
            return Err(Status::invalid_argument("the message is too long for an exchange"));
        }
        let begun = self.invitations().begin(&invitation, &message, Instant::now());
        match begun {
            Ok((exchange, message)) => Ok(Response::new(pb::BeginResponse {
                exchange: exchange.to_string(),
                message: message.into(),
            })),
            Err(error) => self.refuse(error, shown(peer)).await,
        }
    }

    async fn finish(&self, request: Request<pb::FinishRequest>) -> Result<Response<pb::FinishResponse>, Status> {
        let peer = peer(&request);
        let pb::FinishRequest { exchange, sealed } = request.into_inner();
        // An id that is none is that of no exchange.
        let exchange = Uuid::parse_str(&exchange).unwrap_or_default();
        let finished = self.invitations().finish(exchange, sealed.into(), Instant::now());
        let joined = match finished {
            Ok(joined) => joined,
            Err(error) => return self.refuse(error, shown(peer)).await,
        };
        let sealed = self.take_in(joined, peer).await?.into();
        Ok(Response::new(pb::FinishResponse { sealed }))
    }
}

#[tonic::async_trait]
impl PartsService for PartState {
    async fn invite(&self, request: Request<pb::InviteRequest>) -> Result<Response<pb::InviteResponse>, Status> {
        let pb::InviteRequest { part, replace } = request.into_inner();
        let name = part.clone();
        self.on_disk(move |folder, _| folder.check_invited(&name, replace))
            .await?;
        let code = self.invitations().invite(&part, Instant::now());
        let code = code.map_err(|error| Status::unavailable(error.to_string()))?;
        info!("a computer is invited to be part {part}");
        self.0.inviting.send_replace(Some(tokio::time::Instant::now() + LIFE));
        let addresses = self.0.addresses.get().into_iter().map(|address| address.to_string());
        Ok(Response::new(pb::InviteResponse {
            code: code.to_string(),
            until: Some((SystemTime::now() + LIFE).into()),
            addresses: addresses.collect(),
        }))
    }

    async fn refresh(&self, _: Request<pb::RefreshRequest>) -> Result<Response<pb::RefreshResponse>, Status> {
        self.0.changed.notify_one();
        Ok(Response::new(pb::RefreshResponse {}))
    }

    async fn make_main(&self, request: Request<pb::MakeMainRequest>) -> Result<Response<pb::MakeMainResponse>, Status> {
        let (state, request) = (self.clone(), request.into_inner());
        let part = request.part.clone();
        let done = self.to_its_end(async move {
            let done = state.hand_over(request).await;
            // Whoever asked may be gone.
            done.inspect_err(|status| info!("part {part} was not made the main part: {}", status.message()))
        });
        done.await.map(Response::new)
    }
}

#[tonic::async_trait]
impl PartService for PartState {
    async fn hand_down(&self, request: Request<pb::HandDownRequest>) -> Result<Response<pb::HandDownResponse>, Status> {
        let config = request.into_inner().config;
        if config.len() > LONGEST_CONFIG {
            return Err(Status::resource_exhausted(
                "a config that is handed down has at most 4 MiB",
            ));
        }
        let sources: Vec<PathBuf> = self
            .0
            .published
            .load()
            .config
            .source
            .paths()
            .map(PathBuf::from)
            .collect();
        let changed = self
            .on_disk(move |folder, _| folder.take_config(&config, &sources))
            .await?;
        if changed {
            info!("the main part has handed down a config");
        }
        Ok(Response::new(pb::HandDownResponse {}))
    }

    async fn follow(&self, request: Request<pb::FollowRequest>) -> Result<Response<pb::FollowResponse>, Status> {
        let caller = caller(&request);
        self.follow_main(caller).await?;
        Ok(Response::new(pb::FollowResponse {}))
    }

    async fn take_over(&self, request: Request<pb::TakeOverRequest>) -> Result<Response<pb::TakeOverResponse>, Status> {
        let (state, caller) = (self.clone(), caller(&request));
        let taken = self.to_its_end(async move { state.take_role(request.into_inner(), caller).await });
        taken.await?;
        Ok(Response::new(pb::TakeOverResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_at_the_address_that_it_comes_from() {
        let peer: SocketAddr = "[::ffff:10.0.0.7]:51234".parse().expect("an address");
        for (told, peer, expected) in [
            (":8080", Some(peer), "10.0.0.7:8080"),
            ("arm.local:8080", Some(peer), "arm.local:8080"),
            (":8080", None, ":8080"),
            ("", Some(peer), ""),
            (":x", Some(peer), ":x"),
        ] {
            assert_eq!(reached_at(told, peer), expected, "{told}");
        }
    }
}
