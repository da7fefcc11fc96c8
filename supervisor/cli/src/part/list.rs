//! `mainstay part list`: the parts as the files say, and whether they are connected as the running machine says.

use std::path::Path;

use mainstay_model::membership::{Membership, PartRole, SubPart};
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Remote};
use serde_json::{Value, json};

use super::{failed, folder};
use crate::failure::CliError;
use crate::output::print;
use crate::selector::MachineSelector;
use crate::table::{Cell, TextTable};
use crate::target;
use crate::terminal::{Colour, Style};

/// Prints the list.
pub(super) async fn list(file: &Path, as_json: bool) -> Result<(), CliError> {
    let membership = folder(file)?.read().map_err(failed)?;
    let remotes = running_remotes(file).await;
    print(&match (&membership, as_json) {
        (membership, true) => listed_json(membership.as_ref(), remotes.as_deref()).to_string(),
        (None, false) => {
            "a machine of one: `mainstay part init` makes it the main part of several, `mainstay part join` a part of another".to_owned()
        }
        (Some(membership), false) => listed_text(membership, remotes.as_deref(), Style::stdout()),
    })
}

/// The remotes of the machine that runs a config; `None` if none runs it.
async fn running_remotes(file: &Path) -> Option<Vec<Remote>> {
    let selector = MachineSelector::local(Some(file.to_owned()));
    let target = target::find(&selector).await.ok()?;
    let status = target.connection.control().get_status(GetStatusRequest {}).await.ok()?;
    Some(status.into_inner().remotes)
}

fn listed_text(membership: &Membership, remotes: Option<&[Remote]>, style: Style) -> String {
    let PartRole::Main(parts) = &membership.role else {
        return format!("this computer is {}", membership.text());
    };
    let mut lines = vec![format!("this computer is the {}", membership.text())];
    if !parts.is_empty() {
        let mut table = TextTable::new(["PART", "ADDRESS", "STATE"]);
        for part in parts {
            let state = match (connection(part, remotes), remotes) {
                (None, None) => "the machine does not run".into(),
                // Its files say more than it has read.
                (None, Some(_)) => Cell::from("not taken up yet: see `mainstay status`").colour(Colour::Red),
                (Some(None), _) => Cell::from("connected"),
                (Some(Some(cause)), _) => Cell::from(cause).colour(Colour::Red),
            };
            table.row([part.name.as_str().into(), part.address.as_str().into(), state]);
        }
        lines.push(String::new());
        lines.extend(table.lines(style));
    }
    lines.join("\n")
}

/// Why a part is not connected; `None` outside: nobody knows, inside: it is.
fn connection(part: &SubPart, remotes: Option<&[Remote]>) -> Option<Option<String>> {
    let remote = remotes?.iter().find(|remote| remote.name == part.name)?;
    Some(Some(remote.cause.clone()).filter(|cause| !cause.is_empty()))
}

fn listed_json(membership: Option<&Membership>, remotes: Option<&[Remote]>) -> Value {
    let Some(membership) = membership else {
        return json!({"machine": null, "parts": []});
    };
    let (parts, handing_over_to) = match &membership.role {
        PartRole::Main(parts) => (parts.as_slice(), None),
        PartRole::Sub => (&[][..], None),
        PartRole::HandingOver(handover) => (&[][..], Some(&handover.to)),
    };
    let parts = parts.iter().map(|part| {
        let state = connection(part, remotes);
        json!({
            "name": part.name,
            "address": part.address,
            "key": part.key,
            "connected": state.as_ref().map(Option::is_none),
            "cause": state.flatten(),
        })
    });
    json!({
        "machine": membership.machine,
        "machine_id": membership.machine_id,
        "part": membership.part,
        "term": membership.term,
        "main": membership.is_main(),
        "handing_over_to": handing_over_to,
        "parts": parts.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use mainstay_model::membership::Handover;

    use super::*;

    const STYLE: Style = Style {
        colour: false,
        width: None,
    };

    fn sub(name: &str) -> SubPart {
        SubPart {
            name: name.to_owned(),
            address: "10.0.0.2:8080".to_owned(),
            key: "0a".to_owned(),
        }
    }

    fn member(role: PartRole) -> Membership {
        Membership {
            machine_id: "m".to_owned(),
            machine: "rover".to_owned(),
            part: "base".to_owned(),
            role,
            term: 2,
            shares_authority: false,
            authority: "0a".to_owned(),
            folder: "/none".into(),
        }
    }

    #[test]
    fn a_part_that_the_machine_has_not_taken_up_is_said_so() {
        let membership = member(PartRole::Main(vec![sub("arm")]));
        let running = Remote {
            name: "arm".to_owned(),
            ..Remote::default()
        };
        for (remotes, words) in [
            (None, "the machine does not run"),
            (Some(&[][..]), "not taken up yet"),
            (Some(&[running][..]), "connected"),
        ] {
            let text = listed_text(&membership, remotes, STYLE);
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_computer_between_the_two_is_no_ordinary_sub_part() {
        let between = PartRole::HandingOver(Handover {
            to: "arm".to_owned(),
            parts: vec![sub("arm")],
        });
        for (role, expected) in [(between, json!("arm")), (PartRole::Sub, Value::Null)] {
            let listed = listed_json(Some(&member(role)), None);
            assert_eq!(
                (&listed["handing_over_to"], &listed["main"]),
                (&expected, &json!(false))
            );
        }
    }
}
