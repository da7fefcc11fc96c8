//! `mainstay part invite`: has the main part that runs print a code for another computer.

use std::net::SocketAddr;
use std::time::SystemTime;

use mainstay_pki::authority::hosts;
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::parts_service_client::PartsServiceClient;
use tonic::Code;

use crate::failure::CliError;
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::times::until;
use crate::{human, target};

/// Arguments of `mainstay part invite`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct InviteArguments {
    /// Name of the part: lower-case letters, digits and `-`
    #[arg(value_name = "PART")]
    part: String,
    /// The computer takes the place of the one that has this name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    selector: MachineSelector,
}

/// Prints a code.
pub(super) async fn invite(arguments: &InviteArguments) -> Result<(), CliError> {
    let target = target::find(&arguments.selector).await?;
    let mut parts = PartsServiceClient::new(target.connection.clone());
    let request = pb::InviteRequest {
        part: arguments.part.clone(),
        replace: arguments.replace,
    };
    let invited = parts.invite(request).await.map_err(|status| match status.code() {
        Code::FailedPrecondition => CliError::wrong(status.message().to_owned()),
        Code::Unimplemented => CliError::wrong(
            "this machine invites nobody over the network for you: that takes the role owner, or its own host"
                .to_owned(),
        ),
        _ => status.into(),
    })?;
    let invited = invited.into_inner();
    let left = until(invited.until.as_ref(), SystemTime::now()).unwrap_or_default();
    let here = reachable(&invited.addresses);
    let main = here.first().map_or("ADDRESS", String::as_str);
    print(&format!(
        "code: {}\n\non the computer that becomes {}, within {}:\n  mainstay part join {} --main {main}",
        invited.code,
        arguments.part,
        human::duration(left),
        invited.code,
    ))?;
    if here.is_empty() {
        note(&format!(
            "this machine listens on {} alone, so no other computer reaches it to join: set `network.bind_address` in its config",
            invited.addresses.join(", ")
        ));
    }
    Ok(())
}

/// Addresses at which other computers reach this one: what listens everywhere is at each of the host's own.
fn reachable(listening: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for address in listening.iter().filter_map(|text| text.parse::<SocketAddr>().ok()) {
        if address.ip().is_unspecified() {
            let own = hosts("", "")
                .into_iter()
                .filter_map(|host| host.parse::<std::net::IpAddr>().ok());
            let own = own.filter(|ip| !ip.is_loopback());
            found.extend(own.map(|ip| SocketAddr::new(ip, address.port()).to_string()));
        } else if !address.ip().is_loopback() {
            found.push(address.to_string());
        }
    }
    found
}
