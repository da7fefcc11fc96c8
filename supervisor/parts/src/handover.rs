//! Handover: how another computer of the machine becomes its main part. The steps of both computers, on their files; whoever calls
//! them carries the words between the two.
//!
//! Each part is what its `machine.json` says, so each step ends with the one write of that file, which comes after all that it needs
//! is on the disk. The *term* in it is a fencing token: a main part shows it in its certificate, and a sub-part serves none of an
//! earlier term than it has heard of. The steps, and what is true if everything ends after one of them:
//!
//! | Step | Where | What it writes | From then on |
//! |---|---|---|---|
//! | [`yield_to`] | former main | a certificate as a sub-part; then: it is one, of the next term | nobody is main; `make-main` again goes on, as all is still here |
//! | [`stage`] | new main | a certificate as the main part, which a sub-part does not look at; with it the former one is reached | the same; the next [`follow`] or start clears it away |
//! | [`commit`] | new main | the CA and its key; then: it is the main part of the next term | it is main, the former one serves it, whether it has heard so or not |
//! | [`confirm`] | former main | removes the CA's key and its certificate as main part; then: it is an ordinary sub-part | it is over |
//!
//! The former main part confirms by the answer to [`commit`], or, should that be lost, by the first [`follow`] of the new one. Where
//! the new one refuses for certain, the former one takes the role back by [`resume`], in a term of its own; where nobody knows, it
//! stays between the two. So there are never two of one term, and of two of different terms (somebody restores the folder of the former one) each sub-part serves the
//! later alone from the moment on that it has heard of it. The other sub-parts hear of it when the new main part connects.
//!
//! If the main part is lost, [`start_anew`] takes the role back where its key still is, which is on a former main part between the
//! two alone; elsewhere it begins another machine, because no sub-part has what would make it the main part of the old one.
//!
//! [`yield_to`]: PartFolder::yield_to
//! [`stage`]: PartFolder::stage
//! [`commit`]: PartFolder::commit
//! [`confirm`]: PartFolder::confirm
//! [`follow`]: PartFolder::follow
//! [`resume`]: PartFolder::resume
//! [`start_anew`]: PartFolder::start_anew

use std::time::SystemTime;

use mainstay_model::membership::{Handover, Membership, PartRole, SubPart, name_complaint, part_name};
use mainstay_pki::authority::{Authority, AuthorityError};
use mainstay_pki::part;

use crate::folder::{CERTIFICATE, FIRST, FolderError, PartFolder};
use crate::members::unknown;

/// What makes a sub-part the main part.
#[derive(Clone, PartialEq, Eq)]
pub struct Insignia {
    /// Its term.
    pub term: u64,
    /// Private key of the machine's CA, in PEM.
    pub authority_key: String,
    /// Its sub-parts, the former main part among them.
    pub parts: Vec<SubPart>,
    /// Name of the former main part.
    pub former: String,
}

/// Step of a handover that does not come now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandoverError {
    /// Another one is not finished.
    #[error("the role of the main part is being handed to {0}: `mainstay part make-main {0}` goes on with that")]
    Other(String),
    /// The main part would be a sub-part without a name.
    #[error(
        "this computer needs a name as a sub-part: say it with `--as NAME`; its resources are `NAME:…` on the new main part"
    )]
    NoName,
    /// Another part has that name.
    #[error(
        "{machine} has a part `{name}` already, so this computer cannot be called so: choose another name with `--as`"
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Name of the machine.
        machine: String,
    },
    /// Nobody else can take the role.
    #[error("this computer is {0}; nobody makes it the main part from elsewhere")]
    NotSub(String),
    /// It is a part of nothing.
    #[error("this computer is a part of no machine: `mainstay part init` makes it the main part of a new one")]
    NoPart,
    /// It is the main part.
    #[error("this computer is the {0} already")]
    IsMain(String),
    /// The caller was the main part once.
    #[error(
        "this part follows the main part of term {known}, so none of term {term} any more: another computer is the main part now"
    )]
    Superseded {
        /// Term that is known here.
        known: u64,
        /// Term of the caller.
        term: u64,
    },
    /// What was staged is gone.
    #[error("what makes this part the main part is not here any more; hand it over again")]
    NotStaged,
    /// The list of parts is none that it could have.
    #[error("the list of parts is not one that part {0} could have as the main part")]
    BadList(String),
}

impl PartFolder {
    /// First step of the main part: it becomes a sub-part called `own`, of the next term, and keeps what it needs to go on or back.
    /// Where it has taken this step before, nothing changes.
    ///
    /// # Errors
    /// This is no main part, it has no such part, the name is none, or the disk refuses.
    pub fn yield_to(
        &self,
        to: &str,
        own: Option<&str>,
        keys: &Authority,
        now: SystemTime,
    ) -> Result<Membership, FolderError> {
        let _lock = self.lock()?;
        let (mut membership, parts) = match self.read()? {
            Some(membership) => match &membership.role {
                PartRole::HandingOver(begun) if begun.to == to => return Ok(membership),
                PartRole::HandingOver(begun) => return Err(HandoverError::Other(begun.to.clone()).into()),
                PartRole::Main(_) | PartRole::Sub => self.main()?,
            },
            None => self.main()?,
        };
        if !parts.iter().any(|part| part.name == to) {
            return Err(unknown(&membership, &parts, to));
        }
        let own = own_name(own, &membership, &parts)?;
        let signing = self.signing(keys);
        let request = part::request().map_err(AuthorityError::from)?;
        let certificate = signing.part(&request.request, &part_name(&own, &membership.machine_id), now)?;
        // What is wrong with the key is seen before anything has changed.
        signing.key_pem()?;
        self.offer_handed_down()?;
        self.write(CERTIFICATE, &format!("{certificate}{}", request.key))?;
        membership.shares_authority |= signing.folder() == keys.folder();
        membership.part = own;
        membership.term += 1;
        membership.role = PartRole::HandingOver(Handover {
            to: to.to_owned(),
            parts,
        });
        self.save(&membership)?;
        Ok(membership)
    }

    /// What the new main part gets of the former one, which is reached at `address`; `None`: it has confirmed before, and this
    /// computer has only to [`confirm`](Self::confirm).
    ///
    /// # Errors
    /// No handover has begun, or a file cannot be read.
    pub fn insignia(&self, keys: &Authority, address: &str) -> Result<Option<Insignia>, FolderError> {
        let membership = self.read()?.ok_or(HandoverError::NoPart)?;
        let PartRole::HandingOver(Handover { to, mut parts }) = membership.role else {
            return Ok(None);
        };
        let signing = self.signing(keys);
        if !signing.has_key() {
            return Ok(None);
        }
        let file = self.certificate_file();
        let own = part::authority(&file).ok().and_then(|der| part::key_digest(&der));
        let key = own.ok_or_else(|| FolderError::Damaged {
            path: file,
            why: "it holds no certificate".to_owned(),
        })?;
        parts.retain(|part| part.name != to);
        parts.push(SubPart {
            name: membership.part.clone(),
            address: address.to_owned(),
            key,
        });
        Ok(Some(Insignia {
            term: membership.term,
            authority_key: signing.key_pem()?,
            parts,
            former: membership.part,
        }))
    }

    /// The new main part has refused this term for certain: this computer is the main part again, of a later one. False if it is
    /// not, because more has come of the handover since.
    ///
    /// # Errors
    /// The disk refuses; then it is between the two still.
    pub fn resume(&self, refused: u64, keys: &Authority, now: SystemTime) -> Result<bool, FolderError> {
        let _lock = self.lock()?;
        let mut membership = self.read()?.ok_or(HandoverError::NoPart)?;
        match membership.role.clone() {
            PartRole::Main(_) => Ok(true),
            PartRole::HandingOver(Handover { parts, .. }) if membership.term == refused => {
                let signing = self.signing(keys);
                self.take_back(&mut membership, parts, &signing, now)?;
                Ok(true)
            }
            PartRole::HandingOver(_) | PartRole::Sub => Ok(false),
        }
    }

    /// The new main part has confirmed: this computer is an ordinary sub-part, and keeps nothing that makes a main part.
    ///
    /// # Errors
    /// The disk refuses; then it has to be told again.
    pub fn confirm(&self, keys: &Authority) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        match self.read()? {
            Some(membership) if matches!(membership.role, PartRole::HandingOver(_)) => self.retire(membership, keys),
            _ => Ok(()),
        }
    }

    pub(crate) fn retire(&self, mut membership: Membership, keys: &Authority) -> Result<(), FolderError> {
        // First of all, and alone a sign of what is known.
        self.signing(keys).forget_key()?;
        self.clear_staged()?;
        membership.role = PartRole::Sub;
        self.save(&membership)
    }
}

impl std::fmt::Debug for Insignia {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Insignia")
            .field("term", &self.term)
            .field("parts", &self.parts)
            .finish_non_exhaustive()
    }
}

/// Name that the main part has as a sub-part.
fn own_name(given: Option<&str>, membership: &Membership, parts: &[SubPart]) -> Result<String, FolderError> {
    let name = match given {
        Some(given) => given,
        None if membership.part == FIRST => return Err(HandoverError::NoName.into()),
        None => &membership.part,
    };
    if let Some(rule) = name_complaint(name) {
        let name = name.to_owned();
        return Err(FolderError::BadName { name, rule });
    }
    match parts.iter().any(|part| part.name == name) {
        true => Err(HandoverError::NameTaken {
            name: name.to_owned(),
            machine: membership.machine.clone(),
        }
        .into()),
        false => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests;
