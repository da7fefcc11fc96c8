//! `mainstay part make-main`: another part becomes the main part, planned on the one that is it, or without it on a sub-part.

use std::path::Path;
use std::time::SystemTime;

use mainstay_dial::with_port;
use mainstay_model::membership::{Membership, PartRole};
use mainstay_parts::take_over::Anew;
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::parts_service_client::PartsServiceClient;
use serde_json::json;
use tonic::Code;

use super::{ConfigFile, failed, folder, keys};
use crate::failure::CliError;
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::target;

/// Arguments of `mainstay part make-main`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay part make-main arm --as base     on the main part: arm becomes it, and this computer is its part base
  mainstay part make-main arm               the same once more, where it broke off in the middle
  mainstay part make-main --main-is-lost    on a sub-part: this computer begins the machine anew

The other parts follow the new main part by themselves. Without the old one they join anew: no sub-part has the machine's CA.")]
pub(super) struct MakeMainArguments {
    /// The sub-part that becomes the main part
    #[arg(
        value_name = "PART",
        required_unless_present = "main_is_lost",
        conflicts_with = "main_is_lost"
    )]
    part: Option<String>,
    /// Name of this computer as a sub-part: what it has is `NAME:…` on the new main part [default: the one that it had before]
    #[arg(long = "as", value_name = "NAME", conflicts_with = "main_is_lost")]
    former: Option<String>,
    /// Address at which the new main part reaches this computer [default: where it listens]
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "main_is_lost")]
    reached_at: Option<String>,
    /// The main part is lost for good: make this computer, a sub-part, the main part without it
    #[arg(long)]
    pub(super) main_is_lost: bool,
    #[command(flatten)]
    selector: MachineSelector,
}

impl MakeMainArguments {
    /// The config whose files are changed where nobody else is asked.
    ///
    /// # Errors
    /// A machine on the network is named: its files are there.
    pub(super) fn own_file(&self) -> Result<ConfigFile, CliError> {
        match self.selector.address.is_some() || self.selector.profile.is_some() {
            true => Err(CliError::usage(
                "`--main-is-lost` works on the files of the computer that becomes the main part: type it there",
            )),
            false => Ok(ConfigFile {
                file: self.selector.machine.clone(),
            }),
        }
    }
}

/// Has the main part that runs hand its role over.
pub(super) async fn hand_over(arguments: &MakeMainArguments) -> Result<(), CliError> {
    let part = arguments.part.clone().unwrap_or_default();
    let target = target::find(&arguments.selector).await?;
    let request = pb::MakeMainRequest {
        part: part.clone(),
        former: arguments.former.clone().unwrap_or_default(),
        address: arguments.reached_at.as_deref().map(with_port).unwrap_or_default(),
    };
    let mut parts = PartsServiceClient::new(target.connection);
    let done = parts.make_main(request).await.map_err(|status| match status.code() {
        Code::FailedPrecondition | Code::Aborted => CliError::wrong(status.message().to_owned()),
        Code::Unimplemented => CliError::wrong(
            "this machine hands its role over to nobody at your word: that takes the role owner, or its own host"
                .to_owned(),
        ),
        _ => status.into(),
    })?;
    let done = done.into_inner();
    print(&handed_over(&part, &done))?;
    if done.own_certificate {
        note(
            "`tls: own` shows the certificate of the machine's CA here, which only the new main part could renew now: before it \
             ends, `mainstay keys init` makes this computer a CA of its own, of which its clients have to be told",
        );
    }
    Ok(())
}

fn handed_over(part: &str, done: &pb::MakeMainResponse) -> String {
    let pb::MakeMainResponse {
        machine,
        former,
        others,
        handed_down,
        include,
        ..
    } = done;
    let mut text = format!(
        "{part} is the main part of {machine} now; this computer is its part {former}, and its resources are `{former}:NAME` there"
    );
    if !others.is_empty() {
        text.push_str(&format!("\nby themselves follow it: {}", others.join(", ")));
    }
    text.push_str(&format!(
        "\nthe private key of the machine's CA is on {part} alone; copies of this computer's state folder that were made before have it, \
         too\nsee on {part}:\n  mainstay part list"
    ));
    let others: Vec<_> = handed_down.iter().filter(|name| *name != part).cloned().collect();
    if !others.is_empty() {
        text.push_str(&format!(
            "\nthe configs of {} stood under `parts` here and are handed down no more (each part keeps its last one): move these \
             entries, and the files that they name, to the config of {part}",
            others.join(", ")
        ));
    }
    if others.len() < handed_down.len() {
        text.push_str(&format!(
            "\nthe config of {part} stood under `parts` here, too: {part} keeps the last one in a file that its own config includes; move \
             what is in it there"
        ));
    }
    if !include.is_empty() {
        text.push_str(&format!(
            "\nto have this computer take what {part} hands down, write in its config:\n  include: [{}]",
            json!(include)
        ));
    }
    text
}

/// Makes this computer the main part without the one that is lost. Says what comes of it.
pub(super) fn start_anew(file: &Path) -> Result<String, CliError> {
    let (folder, keys) = (folder(file)?, keys(file)?);
    let anew = folder.start_anew(&keys, SystemTime::now()).map_err(failed)?;
    Ok(match anew {
        Anew::TakenBack(membership) => taken_back(&membership),
        Anew::NewMachine(membership) => new_machine(&membership),
    })
}

fn taken_back(membership: &Membership) -> String {
    let names: Vec<_> = match &membership.role {
        PartRole::Main(parts) => parts.iter().map(|part| part.name.as_str()).collect(),
        PartRole::Sub | PartRole::HandingOver(_) => Vec::new(),
    };
    format!(
        "this computer is the main part of {} again, and its parts follow it: {}\none that is lost:\n  mainstay part remove PART",
        membership.machine,
        names.join(", ")
    )
}

fn new_machine(membership: &Membership) -> String {
    format!(
        "this computer is the main part of a new machine {} now, to which no other part belongs yet: what would let it speak for the old \
         one was on the lost main part alone\n\nFor each other part, on this computer, while its machine runs:\n  mainstay part invite PART\nand \
         on the other one, with the code and the address that this prints:\n  mainstay part join CODE --main HOST:PORT --replace\n\n\
         The lost main part, should it come back, is a stranger here. It joins in the same way, or is a machine of its own by:\n  \
         mainstay part leave",
        membership.machine
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_left_to_do_is_said() {
        let done = |handed_down: &[&str], include: &str| pb::MakeMainResponse {
            machine: "rover".to_owned(),
            former: "base".to_owned(),
            others: vec!["leg".to_owned()],
            handed_down: handed_down.iter().map(|name| (*name).to_owned()).collect(),
            include: include.to_owned(),
            own_certificate: false,
        };
        let text = handed_over("arm", &done(&["arm", "leg"], "/state/from-main.yaml"));
        for words in [
            "arm is the main part of rover now; this computer is its part base",
            "by themselves follow it: leg",
            "the configs of leg stood under `parts` here",
            "the config of arm stood under `parts` here, too",
            "include: [\"/state/from-main.yaml\"]",
        ] {
            assert!(text.contains(words), "{text}");
        }
        let text = handed_over("arm", &done(&[], ""));
        assert!(!text.contains("`parts`") && !text.contains("include"), "{text}");
    }
}
