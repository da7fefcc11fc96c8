//! Record of a part: the content of `machine.json`, the one file that says what this computer is.

use std::path::PathBuf;

use mainstay_model::membership::{Handover, Membership, PartRole, SubPart, name_complaint};
use serde::{Deserialize, Serialize};

/// `machine.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    pub machine_id: String,
    pub machine: String,
    pub part: String,
    pub term: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_authority: bool,
    /// Part that the role of the main part is being handed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handing_over_to: Option<String>,
    /// Of the main part alone, and of one that has not finished to hand its role over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_parts: Option<Vec<SubPartRecord>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SubPartRecord {
    name: String,
    address: String,
    key: String,
}

impl Record {
    /// The record of a file. The error says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let names = record.sub_parts.iter().flatten().map(|part| &part.name);
        let mut names = names.chain([&record.part]).chain(&record.handing_over_to);
        if let Some(name) = names.find(|name| name_complaint(name).is_some()) {
            return Err(format!("`{}` is no name for a part", name.escape_debug()));
        }
        drop(names);
        Ok(record)
    }

    /// What it says, with the rest that is known of the part.
    pub fn membership(self, authority: String, folder: PathBuf) -> Membership {
        let parts = |records: Vec<SubPartRecord>| records.into_iter().map(SubPartRecord::part).collect();
        let role = match (self.sub_parts, self.handing_over_to) {
            (Some(records), Some(to)) => PartRole::HandingOver(Handover {
                to,
                parts: parts(records),
            }),
            (Some(records), None) => PartRole::Main(parts(records)),
            (None, _) => PartRole::Sub,
        };
        Membership {
            machine_id: self.machine_id,
            machine: self.machine,
            part: self.part,
            role,
            term: self.term,
            shares_authority: self.shares_authority,
            authority,
            folder,
        }
    }

    /// The record of what is known.
    pub fn of(membership: &Membership) -> Self {
        let records = |parts: &[SubPart]| Some(parts.iter().map(SubPartRecord::of).collect());
        let (sub_parts, handing_over_to) = match &membership.role {
            PartRole::Main(parts) => (records(parts), None),
            PartRole::Sub => (None, None),
            PartRole::HandingOver(Handover { to, parts }) => (records(parts), Some(to.clone())),
        };
        Self {
            machine_id: membership.machine_id.clone(),
            machine: membership.machine.clone(),
            part: membership.part.clone(),
            term: membership.term,
            shares_authority: membership.shares_authority,
            handing_over_to,
            sub_parts,
        }
    }
}

impl SubPartRecord {
    fn of(part: &SubPart) -> Self {
        let SubPart { name, address, key } = part.clone();
        Self { name, address, key }
    }

    fn part(self) -> SubPart {
        let Self { name, address, key } = self;
        SubPart { name, address, key }
    }
}
