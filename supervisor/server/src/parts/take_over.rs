//! `TakeOver` and `Follow`: a sub-part becomes the main part as the main part wants it, and the others follow the new one. What is
//! written in which order, and why, is said in [`mainstay_parts::handover`].

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay_auth::access::FollowedMain;
use mainstay_config::is_stdin;
use mainstay_model::Remote;
use mainstay_model::apply_state::ConfigState;
use mainstay_model::membership::{Membership, PartRole, SubPart};
use mainstay_parts::folder::FolderError;
use mainstay_parts::handover::{HandoverError, Insignia};
use mainstay_parts::take_over::Followed;
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
    /// Becomes the main part, as the main part wants it. Whatever went wrong, what is on the disk afterwards is the answer.
    pub(super) async fn take_role(
        &self,
        request: pb::TakeOverRequest,
        caller: Option<ClientIdentity>,
    ) -> Result<(), Status> {
        let _turn = self.0.following.lock().await;
        let membership = known_before(self.membership().await)?;
        let term = main_term(&membership, caller.as_ref())?;
        let insignia = insignia(request, caller.map(|caller| caller.remote));
        let wanted = insignia.term;
        let tried = self.try_to_take(&membership, term, insignia).await;
        let now = self.membership().await.ok().flatten();
        outcome(tried, now.as_ref(), wanted)?;
        self.0.changed.notify_one();
        info!("this computer is the main part of {} now", membership.machine);
        Ok(())
    }

    async fn try_to_take(&self, membership: &Membership, term: u64, insignia: Insignia) -> Result<(), Status> {
        check_speaks(membership, term)?;
        if term >= insignia.term {
            return Err(Status::invalid_argument(
                "the next main part is of a later term than the one that speaks",
            ));
        }
        self.check_takes_up(&membership.part).await?;
        let staged = insignia.clone();
        let is_new = self.on_disk(move |folder, _| folder.stage(&staged, SystemTime::now()));
        if !is_new.await? {
            return Ok(());
        }
        let reached = self.reach_former(membership, &insignia).await;
        let reached = reached.map_err(Status::failed_precondition);
        // Once more: it may have taken its time, and then the role is for good.
        let ready = match reached {
            Ok(()) => self.check_takes_up(&membership.part).await,
            Err(why) => Err(why),
        };
        if let Err(why) = ready {
            self.on_disk(|folder, _| folder.abandon()).await?;
            return Err(why);
        }
        self.on_disk(move |folder, _| folder.commit(&insignia)).await
    }

    /// Checks that the machine would take a role up. Its config's file is read for that: where another text runs, the state says
    /// nothing of it, and else what was seen of it last.
    async fn check_takes_up(&self, part: &str) -> Result<(), Status> {
        let config = self.0.configs.status();
        let mut why = takes_nothing_up(&config.path, config.state, &config.reasons);
        if why.is_none()
            && let Err(reasons) = self.0.configs.check_file().await
        {
            why = Some(format!(
                "cannot become it, because `{}` there cannot be used: {}",
                config.path.display(),
                reasons.join("; ")
            ));
        }
        match why {
            Some(why) => Err(Status::failed_precondition(format!("part {part} {why}"))),
            None => Ok(()),
        }
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
        let term = main_term(&membership, caller.as_ref())?;
        check_speaks(&membership, term)?;
        let followed = self.on_disk(move |folder, keys| folder.follow(term, keys)).await?;
        self.0.access.follow(FollowedMain {
            machine_id: membership.machine_id,
            term,
        });
        match followed {
            Followed::AsBefore => {}
            Followed::Untidy(error) => warn!("what does not belong to a sub-part cannot be cleared away here: {error}"),
            Followed::Changed => self.0.changed.notify_one(),
        }
        if term > membership.term || membership.role != PartRole::Sub {
            let from = shown(caller.map(|caller| caller.remote));
            warn!(
                "the main part of {} is another computer since its term {term}, or has taken its role back: the one at {from}",
                membership.machine
            );
        }
        Ok(())
    }
}

/// What this computer was before it is asked to become the main part. Where that cannot be read, nobody knows whether an earlier
/// try has come through.
fn known_before(read: Result<Option<Membership>, Status>) -> Result<Membership, Status> {
    let read = read.map_err(|status| Status::aborted(status.message()))?;
    read.ok_or_else(no_part)
}

/// Why the machine would not take a role up: it reads its config again for that. `None`: it would.
fn takes_nothing_up(config: &Path, state: ConfigState, reasons: &[String]) -> Option<String> {
    match state {
        _ if is_stdin(config) => {
            Some("has its config from standard input, which cannot be read again: run it from a file there".to_owned())
        }
        ConfigState::Refused | ConfigState::Away => Some(format!(
            "runs its last good config, because `{}` there cannot be used, and becomes nothing else until it can: {}",
            config.display(),
            reasons.join("; ")
        )),
        ConfigState::Current
        | ConfigState::Waiting
        | ConfigState::Applying
        | ConfigState::Watching
        | ConfigState::Reverted
        | ConfigState::Degraded
        | ConfigState::Overridden => None,
    }
}

/// Term of the main part that speaks, by its certificate.
fn main_term(membership: &Membership, caller: Option<&ClientIdentity>) -> Result<u64, Status> {
    let certificate = caller.and_then(|caller| caller.certificate.as_ref());
    let certificate = certificate.filter(|certificate| certificate.signed_by == membership.authority);
    let term = certificate.and_then(|certificate| membership.main_term(&certificate.names));
    term.ok_or_else(|| Status::permission_denied("only the main part of the machine says this, by its certificate"))
}

/// Checks the term once more: the policy by which it was let in may be of a moment before.
fn check_speaks(membership: &Membership, term: u64) -> Result<(), Status> {
    let known = membership.term;
    if term >= known {
        return Ok(());
    }
    let superseded = FolderError::from(HandoverError::Superseded { known, term });
    Err(Status::failed_precondition(superseded.to_string()))
}

/// Answer to the main part, by what this computer is afterwards (`None`: that cannot be read). Only a sub-part as before refuses for
/// certain, and only then the main part is what it was: an earlier try of the same may have come through.
fn outcome(tried: Result<(), Status>, now: Option<&Membership>, wanted: u64) -> Result<(), Status> {
    let text = match &tried {
        Ok(()) => "what it is now cannot be read",
        Err(status) => status.message(),
    };
    match now.map(|now| (&now.role, now.term)) {
        Some((PartRole::Main(_), term)) if term == wanted => Ok(()),
        Some((PartRole::Sub, term)) if term < wanted => Err(Status::failed_precondition(text)),
        _ => Err(Status::aborted(text)),
    }
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

    use mainstay_model::membership::{Handover, main_name, part_name};
    use mainstay_proxy::identity::PeerCertificate;
    use tonic::Code;

    use super::*;

    fn part(role: PartRole, term: u64) -> Membership {
        Membership {
            machine_id: "m".to_owned(),
            machine: "rover".to_owned(),
            part: "arm".to_owned(),
            role,
            term,
            shares_authority: false,
            authority: "0a".to_owned(),
            folder: "/none".into(),
        }
    }

    #[test]
    fn only_the_main_part_of_this_term_or_a_later_one_speaks() {
        let membership = part(PartRole::Sub, 2);
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
            let term = main_term(&membership, Some(&caller));
            let found = term.and_then(|term| check_speaks(&membership, term).map(|()| term));
            assert_eq!(found.map_err(|status| status.code()), expected, "{name} by {signed_by}");
        }
        // An owner by its API key, and the command line, are no main part.
        let owner = ClientIdentity::new(address, address);
        for caller in [Some(&owner), None] {
            assert!(main_term(&membership, caller).is_err());
        }
    }

    #[test]
    fn what_cannot_be_read_refuses_nothing_for_certain() {
        let unreadable = Status::failed_precondition("cannot read `machine.json`: Input/output error");
        for (read, expected) in [
            (Ok(Some(part(PartRole::Sub, 1))), Ok(1)),
            (Ok(None), Err(Code::FailedPrecondition)),
            (Err(unreadable), Err(Code::Aborted)),
        ] {
            let found = known_before(read).map(|membership| membership.term);
            assert_eq!(found.map_err(|status| status.code()), expected);
        }
    }

    #[test]
    fn a_machine_whose_config_is_not_read_again_takes_no_role() {
        for (path, state, takes) in [
            ("rover.yaml", ConfigState::Current, true),
            ("rover.yaml", ConfigState::Waiting, true),
            ("rover.yaml", ConfigState::Reverted, true),
            ("rover.yaml", ConfigState::Refused, false),
            ("rover.yaml", ConfigState::Away, false),
            ("-", ConfigState::Current, false),
        ] {
            let why = takes_nothing_up(Path::new(path), state, &["it is gone".to_owned()]);
            assert_eq!(why.is_none(), takes, "{path} {state:?}: {why:?}");
        }
    }

    #[test]
    fn what_a_computer_is_afterwards_is_its_answer() {
        let main = || PartRole::Main(Vec::new());
        let between = PartRole::HandingOver(Handover {
            to: "leg".to_owned(),
            parts: Vec::new(),
        });
        for (is_done, now, expected) in [
            (true, Some(part(main(), 2)), Ok(())),
            // An earlier try came through, and this one was refused for that.
            (false, Some(part(main(), 2)), Ok(())),
            (false, Some(part(PartRole::Sub, 1)), Err(Code::FailedPrecondition)),
            // It follows another one by now, or was that for a while: nobody here can say who is the main part.
            (false, Some(part(PartRole::Sub, 2)), Err(Code::Aborted)),
            (false, Some(part(PartRole::Sub, 3)), Err(Code::Aborted)),
            (false, Some(part(main(), 4)), Err(Code::Aborted)),
            (false, Some(part(between, 3)), Err(Code::Aborted)),
            (false, None, Err(Code::Aborted)),
            (true, None, Err(Code::Aborted)),
        ] {
            let tried = match is_done {
                true => Ok(()),
                false => Err(Status::failed_precondition("x")),
            };
            let found = outcome(tried, now.as_ref(), 2).map_err(|status| status.code());
            assert_eq!(found, expected, "{now:?}");
        }
    }
}
