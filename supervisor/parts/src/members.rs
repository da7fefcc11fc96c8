//! Members of a machine: the main part's list of its sub-parts, which alone says who is one.

use std::time::SystemTime;

use mainstay_model::membership::{Membership, PartRole, SubPart, name_complaint, part_name};
use mainstay_pki::authority::Authority;
use mainstay_pki::part;

use crate::folder::{Admitted, PartFolder};
use crate::folder_error::FolderError;

impl PartFolder {
    /// Certifies a computer as a part, in place of one of its name, and writes it into the list.
    ///
    /// # Errors
    /// This is no main part, its request is none, or the disk refuses.
    pub fn admit(
        &self,
        ca: &Authority,
        name: &str,
        (request, address): (&str, &str),
        now: SystemTime,
    ) -> Result<Admitted, FolderError> {
        let _lock = self.lock()?;
        let (mut membership, mut parts) = self.main()?;
        let certificate = ca.part(request, &part_name(name, &membership.machine_id), now)?;
        let key = part::key_digest_of_pem(&certificate).ok_or_else(|| FolderError::Damaged {
            path: ca.ca_file(),
            why: "it signs what is no certificate".to_owned(),
        })?;
        let new = SubPart {
            name: name.to_owned(),
            address: address.to_owned(),
            key,
        };
        match parts.iter_mut().find(|part| part.name == name) {
            Some(known) => *known = new,
            None => parts.push(new),
        }
        membership.role = PartRole::Main(parts);
        self.save(&membership)?;
        Ok(Admitted {
            machine_id: membership.machine_id,
            machine: membership.machine,
            part: name.to_owned(),
            term: membership.term,
            authority: ca.ca_pem()?,
            certificate,
        })
    }

    /// Takes a part out of the list: it is not spoken to any more.
    ///
    /// # Errors
    /// This is no main part, it has no such part, or the disk refuses.
    pub fn remove(&self, name: &str) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        let (mut membership, mut parts) = self.main()?;
        let before = parts.len();
        parts.retain(|part| part.name != name);
        if parts.len() == before {
            return Err(unknown(&membership, &parts, name));
        }
        membership.role = PartRole::Main(parts);
        self.save(&membership)
    }

    /// Changes the address at which a part is dialled.
    ///
    /// # Errors
    /// This is no main part, it has no such part, or the disk refuses.
    pub fn set_address(&self, name: &str, address: &str) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        let (mut membership, mut parts) = self.main()?;
        match parts.iter_mut().find(|part| part.name == name) {
            Some(known) => address.clone_into(&mut known.address),
            None => return Err(unknown(&membership, &parts, name)),
        }
        membership.role = PartRole::Main(parts);
        self.save(&membership)
    }

    /// Checks that a computer may be invited to be this part.
    ///
    /// # Errors
    /// This is no main part, it is no name for one, or there is such a part and it is not to be replaced.
    pub fn check_invited(&self, name: &str, replace: bool) -> Result<Membership, FolderError> {
        if let Some(rule) = name_complaint(name) {
            return Err(FolderError::BadName {
                name: name.to_owned(),
                rule,
            });
        }
        let (membership, parts) = self.main()?;
        if membership.part == name {
            return Err(FolderError::OwnName(name.to_owned()));
        }
        if parts.iter().any(|part| part.name == name) && !replace {
            return Err(FolderError::Taken {
                name: name.to_owned(),
                machine: membership.machine,
            });
        }
        Ok(membership)
    }

    pub(crate) fn main(&self) -> Result<(Membership, Vec<SubPart>), FolderError> {
        match self.read()? {
            Some(membership) => match membership.role.clone() {
                PartRole::Main(parts) => Ok((membership, parts)),
                PartRole::Sub | PartRole::HandingOver(_) => {
                    Err(FolderError::NotMain(format!("it is {}", membership.text())))
                }
            },
            None => Err(FolderError::NotMain("make it one with `mainstay part init`".to_owned())),
        }
    }
}

pub(crate) fn unknown(membership: &Membership, parts: &[SubPart], name: &str) -> FolderError {
    let names: Vec<_> = parts.iter().map(|part| part.name.as_str()).collect();
    FolderError::Unknown {
        name: name.to_owned(),
        machine: membership.machine.clone(),
        known: match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        },
    }
}
