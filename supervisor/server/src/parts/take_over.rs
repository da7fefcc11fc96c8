//! `TakeOver` and `Follow`: a sub-part becomes the main part as the main part wants it, and the others follow the new one. What is
//! written in which order, and why, is said in [`mainstay_parts::handover`].

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mainstay_model::Remote;
use mainstay_model::membership::{Membership, SubPart};
use mainstay_parts::folder::FolderError;
use mainstay_parts::handover::{HandoverError, Insignia};
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proxy::identity::ClientIdentity;
use mainstay_runtime::remote::reach;
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tracing::{info, warn};

use super::{PartState, reached_at, shown};

/// Limit for the new main part to reach the former one, which has just become a sub-part.
const REACHED: Duration = Duration::from_secs(10);
/// Pause between two tries of that.
const AGAIN: Duration = Duration::from_millis(200);

impl PartState {
    /// Becomes the main part, as the main part wants it.
    pub(super) async fn take_role(
        &self,
        request: pb::TakeOverRequest,
        caller: Option<ClientIdentity>,
    ) -> Result<(), Status> {
        let _turn = self.0.following.lock().await;
        let membership = self.membership().await?.ok_or_else(no_part)?;
        let (term, peer) = main_term(&membership, caller.as_ref())?;
        if term >= request.term {
            return Err(Status::invalid_argument(
                "the next main part is of a later term than the one that speaks",
            ));
        }
        let insignia = insignia(request, peer);
        let staged = insignia.clone();
        let is_new = self
            .on_disk(move |folder, _| folder.stage(&staged, SystemTime::now()))
            .await?;
        if !is_new {
            return Ok(());
        }
        if let Err(why) = self.reach_former(&membership, &insignia).await {
            self.on_disk(|folder, _| folder.abandon()).await?;
            return Err(Status::failed_precondition(why));
        }
        if let Err(refused) = self.on_disk(move |folder, _| folder.commit(&insignia)).await {
            // What is on the disk decides, and whether that can be read.
            return match self.membership().await {
                Ok(Some(now)) if !now.is_main() => Err(refused),
                _ => Err(Status::internal(refused.message())),
            };
        }
        info!("this computer is the main part of {} now", membership.machine);
        self.0.changed.notify_one();
        Ok(())
    }

    /// Whether the former main part is reached as a sub-part: what it does not hear of now would be lost for it.
    async fn reach_former(&self, membership: &Membership, insignia: &Insignia) -> Result<(), String> {
        let former = insignia.parts.iter().find(|part| part.name == insignia.former);
        let former = former.ok_or_else(|| "the former main part is not in the list".to_owned())?;
        let remote = Remote::of_part(membership, former, self.0.published.load().config.network.mdns);
        let end = Instant::now() + REACHED;
        loop {
            let reached = timeout(REACHED, reach(&remote)).await;
            match reached.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok(()) => return Ok(()),
                Err(_) if Instant::now() < end => sleep(AGAIN).await,
                Err(why) => {
                    return Err(format!(
                        "part {} does not reach it at {}: {why}. Others reach it where `network.bind_address` of its config says, or where \
                         `--reached-at` does",
                        membership.part, former.address
                    ));
                }
            }
        }
    }

    /// Follows the main part that speaks.
    pub(super) async fn follow_main(&self, caller: Option<ClientIdentity>) -> Result<(), Status> {
        let _turn = self.0.following.lock().await;
        let membership = self.membership().await?.ok_or_else(no_part)?;
        let (term, peer) = main_term(&membership, caller.as_ref())?;
        if self.on_disk(move |folder, keys| folder.follow(term, keys)).await? {
            let from = shown(peer);
            warn!(
                "the main part of {} is another computer since its term {term}: the one at {from}",
                membership.machine
            );
            self.0.changed.notify_one();
        }
        Ok(())
    }
}

/// Term of the main part that speaks, by its certificate, and where it is.
fn main_term(membership: &Membership, caller: Option<&ClientIdentity>) -> Result<(u64, Option<SocketAddr>), Status> {
    let certificate = caller.and_then(|caller| caller.certificate.as_ref());
    let certificate = certificate.filter(|certificate| certificate.signed_by == membership.authority);
    let term = certificate.and_then(|certificate| membership.main_term(&certificate.names));
    let term = term
        .ok_or_else(|| Status::permission_denied("only the main part of the machine says this, by its certificate"))?;
    let known = membership.term;
    if term < known {
        // The policy may be of a moment before.
        let superseded = FolderError::from(HandoverError::Superseded { known, term });
        return Err(Status::failed_precondition(superseded.to_string()));
    }
    Ok((term, caller.map(|caller| caller.remote)))
}

fn no_part() -> Status {
    Status::failed_precondition(FolderError::from(HandoverError::NoPart).to_string())
}

fn insignia(request: pb::TakeOverRequest, peer: Option<SocketAddr>) -> Insignia {
    let parts = request.parts.into_iter().map(|part| SubPart {
        address: reached_at(&part.address, peer),
        name: part.name,
        key: part.key,
    });
    Insignia {
        term: request.term,
        authority_key: request.authority_key,
        parts: parts.collect(),
        former: request.former,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_model::membership::{PartRole, main_name, part_name};
    use mainstay_proxy::identity::PeerCertificate;
    use tonic::Code;

    use super::*;

    #[test]
    fn only_the_main_part_of_this_term_or_a_later_one_speaks() {
        let membership = Membership {
            machine_id: "m".to_owned(),
            machine: "rover".to_owned(),
            part: "arm".to_owned(),
            role: PartRole::Sub,
            term: 2,
            shares_authority: false,
            authority: "0a".to_owned(),
            folder: "/none".into(),
        };
        let address = "10.0.0.1:1".parse().expect("an address");
        for (name, signed_by, expected) in [
            (main_name("m", 2), "0a", Ok(2)),
            (main_name("m", 3), "0a", Ok(3)),
            (main_name("m", 1), "0a", Err(Code::FailedPrecondition)),
            (main_name("m", 2), "0b", Err(Code::PermissionDenied)),
            (main_name("n", 2), "0a", Err(Code::PermissionDenied)),
            (part_name("leg", "m"), "0a", Err(Code::PermissionDenied)),
        ] {
            let mut caller = ClientIdentity::new(address, address);
            caller.certificate = Some(Arc::new(PeerCertificate {
                names: vec![name.clone()],
                signed_by: signed_by.to_owned(),
                issuer: "CN=ca".to_owned(),
                serial: "01".to_owned(),
            }));
            let found = main_term(&membership, Some(&caller)).map(|(term, _)| term);
            assert_eq!(found.map_err(|status| status.code()), expected, "{name} by {signed_by}");
        }
        // An owner by its API key, and the command line, are no main part.
        let owner = ClientIdentity::new(address, address);
        for caller in [Some(&owner), None] {
            assert!(main_term(&membership, caller).is_err());
        }
    }
}
