//! `MakeMain`: the main part hands its role to a sub-part. What is written in which order, and why, is said in
//! [`mainstay_parts::handover`]; here is what it says to the sub-part, and what an answer tells.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use mainstay_model::membership::{Handover, Membership, PartRole, SubPart};
use mainstay_model::{Remote, Tls};
use mainstay_parts::handover::Insignia;
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::part_service_client::PartServiceClient;
use mainstay_proxy::upstream::Upstream;
use mainstay_runtime::remote::part_client;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Status};
use tracing::info;

use super::PartState;

/// Limit for this machine to be a sub-part once its files say so.
const TAKEN_UP: Duration = Duration::from_secs(10);
/// Limit for a sub-part to say that it is there.
const THERE: Duration = Duration::from_secs(10);
/// Pause between two looks.
const AGAIN: Duration = Duration::from_millis(200);
/// Limit for the new main part to answer: it reaches the former one before.
const ANSWERED: Duration = Duration::from_secs(40);
/// How long a former main part that got no answer waits for the new one to speak to it.
const SPOKEN_TO: Duration = Duration::from_secs(5);

/// Answer of the new main part.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is the main part.
    Confirmed,
    /// It is a sub-part as before, for certain; for this reason.
    Refused(String),
    /// Nobody here knows, for this reason.
    Unknown(String),
}

impl Answer {
    fn of(answered: Result<(), Status>) -> Self {
        match answered {
            Ok(()) => Self::Confirmed,
            Err(status) => {
                let text = status.message().to_owned();
                match status.code() {
                    // It alone says so, and of nothing else.
                    Code::FailedPrecondition => Self::Refused(text),
                    _ => Self::Unknown(text),
                }
            }
        }
    }
}

impl PartState {
    /// Hands the role of the main part to a sub-part, or goes on with that.
    pub(super) async fn hand_over(&self, request: pb::MakeMainRequest) -> Result<pb::MakeMainResponse, Status> {
        let Ok(_turn) = self.0.handing_over.try_lock() else {
            return Err(Status::failed_precondition(
                "the role of the main part is being handed over just now",
            ));
        };
        let pb::MakeMainRequest { part, former, address } = request;
        let config = self.0.published.load_full().config.clone();
        let before = self.membership().await?;
        // Whoever is not reached has got nothing, unless it was reached before.
        let begun = before
            .as_ref()
            .is_some_and(|before| matches!(before.role, PartRole::HandingOver(_)));
        let unreached = if begun { Answer::Unknown } else { Answer::Refused };
        if let Some(PartRole::Main(parts)) = before.as_ref().map(|before| &before.role)
            && let Some(before) = &before
            && let Some(sub) = parts.iter().find(|sub| sub.name == part)
        {
            self.ask_first(&Remote::of_part(before, sub, config.network.mdns))
                .await?;
        }
        let address = own_address(&self.0.addresses.get(), &address);
        let address = address.ok_or_else(|| {
            Status::failed_precondition(
                "this machine listens nowhere, so no other part reaches it: see `mainstay status`",
            )
        })?;
        let (to, own) = (part.clone(), (!former.is_empty()).then_some(former));
        let yielded = self.on_disk(move |folder, keys| folder.yield_to(&to, own.as_deref(), keys, SystemTime::now()));
        let membership = yielded.await?;
        self.0.changed.notify_one();
        let former = membership.part.clone();
        let insignia = self
            .on_disk(move |folder, keys| folder.insignia(keys, &address))
            .await?;
        if let Some(insignia) = insignia {
            self.say(&membership, &part, insignia, unreached).await?;
        }
        self.on_disk(|folder, keys| folder.confirm(keys)).await?;
        self.0.changed.notify_one();
        info!(
            "part {part} is the main part of {} now, and this computer is part {former}",
            membership.machine
        );
        let others = match &membership.role {
            PartRole::HandingOver(Handover { parts, .. }) => parts.iter().map(|sub| sub.name.clone()).collect(),
            PartRole::Main(_) | PartRole::Sub => Vec::new(),
        };
        let file = self.0.folder.as_ref().map(|folder| folder.handed_down());
        let included = |file: &std::path::PathBuf| config.source.paths().any(|path| path == file);
        let file = file.filter(|file| !included(file));
        Ok(pb::MakeMainResponse {
            machine: membership.machine,
            former,
            others: others.into_iter().filter(|name| *name != part).collect(),
            handed_down: config.parts.iter().map(|part| part.name.clone()).collect(),
            include: file.map(|file| file.display().to_string()).unwrap_or_default(),
            own_certificate: *config.network.tls_in_force() == Tls::Own && membership.shares_authority,
        })
    }

    /// Checks that the sub-part is there and understands what it will be told, while nothing has changed yet.
    async fn ask_first(&self, remote: &Remote) -> Result<(), Status> {
        let name = &remote.name;
        let cannot =
            |why: String| Status::failed_precondition(format!("part {name} cannot be made the main part now: {why}"));
        let mut client = part_client(remote).await.map_err(cannot)?;
        let answer = timeout(THERE, client.follow(pb::FollowRequest {})).await;
        let answer = answer.map_err(|_| cannot("it does not answer".to_owned()))?;
        answer.map(drop).map_err(|status| match status.code() {
            Code::Unimplemented => cannot("an earlier Mainstay runs there".to_owned()),
            _ => cannot(status.message().to_owned()),
        })
    }

    /// Gives the insignia to the new main part, and returns once it has confirmed. `unreached`: what it means if there is no
    /// connection.
    async fn say(
        &self,
        membership: &Membership,
        part: &str,
        insignia: Insignia,
        unreached: fn(String) -> Answer,
    ) -> Result<(), Status> {
        let answer = match self.is_sub_part().await {
            true => match self.client(membership, part).await {
                Ok(client) => give(client, insignia).await,
                Err(why) => unreached(why),
            },
            false => unreached(format!(
                "this computer does not become a sub-part within {TAKEN_UP:?}: its config is refused, or waits for its maintenance (`mainstay status`)"
            )),
        };
        match answer {
            Answer::Confirmed => Ok(()),
            Answer::Refused(why) => {
                let term = membership.term;
                let resumed = self.on_disk(move |folder, keys| folder.resume(term, keys, SystemTime::now()));
                let is_main = resumed.await?;
                self.0.changed.notify_one();
                Err(match is_main {
                    true => Status::failed_precondition(format!("this computer is the main part as before: {why}")),
                    false => Status::aborted(format!(
                        "{why}; meanwhile this computer has become another part: see `mainstay part list`"
                    )),
                })
            }
            Answer::Unknown(_) if self.is_confirmed().await => Ok(()),
            Answer::Unknown(why) => Err(Status::aborted(format!(
                "whether part {part} has become the main part is not known: {why}. Until it is, this computer is none: the same command \
                 again goes on, and if {part} is lost, `mainstay part make-main --main-is-lost` here takes the role back"
            ))),
        }
    }

    /// Client of the part that becomes the main part. The error is for people.
    async fn client(&self, membership: &Membership, part: &str) -> Result<PartServiceClient<Upstream>, String> {
        let PartRole::HandingOver(Handover { parts, .. }) = &membership.role else {
            return Err("no handover has begun".to_owned());
        };
        let sub = parts.iter().find(|sub| sub.name == part);
        let sub = sub.ok_or_else(|| format!("part {part} is not in its list"))?;
        let mdns = self.0.published.load().config.network.mdns;
        part_client(&Remote::of_part(membership, sub, mdns)).await
    }

    /// True once the machine runs as a sub-part, and reaches no other any more.
    async fn is_sub_part(&self) -> bool {
        let mut changes = self.0.published.changes.follow();
        let is_sub = || {
            let config = self.0.published.load().config.clone();
            config
                .membership
                .as_ref()
                .is_some_and(|membership| !membership.is_main())
        };
        let until = async { while !is_sub() && changes.changed().await.is_ok() {} };
        let _late = timeout(TAKEN_UP, until).await;
        is_sub()
    }

    /// True once the new main part has spoken to this computer, which is a confirmation.
    async fn is_confirmed(&self) -> bool {
        let end = Instant::now() + SPOKEN_TO;
        loop {
            if let Ok(Some(membership)) = self.membership().await
                && membership.role == PartRole::Sub
            {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(AGAIN).await;
        }
    }

    pub(super) async fn membership(&self) -> Result<Option<Membership>, Status> {
        self.on_disk(|folder, _| folder.read()).await
    }
}

async fn give(mut client: PartServiceClient<Upstream>, insignia: Insignia) -> Answer {
    let request = pb::TakeOverRequest {
        term: insignia.term,
        authority_key: insignia.authority_key,
        parts: insignia.parts.into_iter().map(message).collect(),
        former: insignia.former,
    };
    match timeout(ANSWERED, client.take_over(request)).await {
        Ok(answered) => Answer::of(answered.map(drop)),
        Err(_) => Answer::Unknown(format!("no answer within {ANSWERED:?}")),
    }
}

fn message(part: SubPart) -> pb::SubPart {
    let SubPart { name, address, key } = part;
    pb::SubPart { name, address, key }
}

/// Address at which others reach this computer: the one given, else where it listens, of which the port alone counts if that is
/// everywhere.
fn own_address(listening: &[SocketAddr], given: &str) -> Option<String> {
    if !given.is_empty() {
        return Some(given.to_owned());
    }
    let everywhere = listening.iter().find(|address| address.ip().is_unspecified());
    let elsewhere = || listening.iter().find(|address| !address.ip().is_loopback());
    match everywhere {
        Some(address) => Some(format!(":{}", address.port())),
        None => elsewhere().or(listening.first()).map(ToString::to_string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_tells() {
        for (code, known) in [
            (Code::FailedPrecondition, true),
            (Code::InvalidArgument, false),
            (Code::PermissionDenied, false),
            (Code::Unauthenticated, false),
            (Code::Unimplemented, false),
            (Code::Unavailable, false),
            (Code::DeadlineExceeded, false),
            (Code::Cancelled, false),
            (Code::Internal, false),
            (Code::Unknown, false),
            (Code::Aborted, false),
        ] {
            let expected = match known {
                true => Answer::Refused("x".to_owned()),
                false => Answer::Unknown("x".to_owned()),
            };
            assert_eq!(Answer::of(Err(Status::new(code, "x"))), expected, "{code:?}");
        }
        assert_eq!(Answer::of(Ok(())), Answer::Confirmed);
    }

    #[test]
    fn others_reach_a_computer_where_it_listens() {
        for (listening, given, expected) in [
            (&["0.0.0.0:8080"][..], "", Some(":8080")),
            (&["127.0.0.1:1", "[::]:80"], "", Some(":80")),
            (&["127.0.0.1:1", "10.0.0.5:80"], "", Some("10.0.0.5:80")),
            (&["127.0.0.1:1"], "", Some("127.0.0.1:1")),
            (&["0.0.0.0:8080"], "rover.lab:8080", Some("rover.lab:8080")),
            (&[], "", None),
        ] {
            let listening: Vec<_> = listening.iter().map(|text| text.parse().expect("an address")).collect();
            assert_eq!(
                own_address(&listening, given).as_deref(),
                expected,
                "{listening:?} {given}"
            );
        }
    }
}
