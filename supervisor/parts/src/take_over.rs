//! Taking over: the steps of a sub-part that becomes the main part, and how the others follow it. In which order they come, and why,
//! is said in [`handover`](crate::handover).

use std::time::SystemTime;

use mainstay_model::membership::{Handover, Membership, PartRole, SubPart, main_name, name_complaint};
use mainstay_pki::authority::{Authority, AuthorityError};
use mainstay_pki::certificate::CertificateInfo;
use mainstay_pki::{files, part};

use crate::folder::{FolderError, MAIN_CERTIFICATE, PartFolder};
use crate::handover::{HandoverError, Insignia};

/// What following the main part has changed.
#[derive(Debug)]
pub enum Followed {
    /// Nothing.
    AsBefore,
    /// The files.
    Changed,
    /// Nothing, and what does not belong to a sub-part cannot be cleared away.
    Untidy(FolderError),
}

/// What became of the role of a main part that is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anew {
    /// This computer had begun to hand it over, and has it back: the other parts follow it.
    TakenBack(Membership),
    /// It is the main part of a new machine, without other parts.
    NewMachine(Membership),
}

impl PartFolder {
    /// The new main part takes the certificate with which it reaches others as that, and is a sub-part still. The CA's key is not
    /// written yet: who does not reach the former main part has no right to it. False: it is the main part of this term already.
    ///
    /// # Errors
    /// This is no sub-part, what it is given does not belong together, or the disk refuses; then it has nothing of it.
    pub fn stage(&self, insignia: &Insignia, now: SystemTime) -> Result<bool, FolderError> {
        let _lock = self.lock()?;
        let membership = self.read()?.ok_or(HandoverError::NoPart)?;
        match &membership.role {
            PartRole::Main(_) if membership.term == insignia.term => return Ok(false),
            PartRole::Sub if membership.term < insignia.term => {}
            PartRole::Sub => {
                return Err(HandoverError::Superseded {
                    known: membership.term,
                    term: insignia.term,
                }
                .into());
            }
            PartRole::Main(_) | PartRole::HandingOver(_) => {
                return Err(HandoverError::NotSub(membership.text()).into());
            }
        }
        check_list(insignia, &membership)?;
        let staged = self.write_staged(insignia, &membership, now);
        if staged.is_err() {
            self.clear_staged()?;
        }
        staged.map(|()| true)
    }

    fn write_staged(&self, insignia: &Insignia, membership: &Membership, now: SystemTime) -> Result<(), FolderError> {
        let (ca, name) = (
            self.known_authority()?,
            main_name(&membership.machine_id, insignia.term),
        );
        let request = part::request().map_err(AuthorityError::from)?;
        let ca = (ca.as_str(), insignia.authority_key.as_str());
        let certificate = self.handed_ca().part_before(ca, &request.request, &name, now)?;
        self.write(MAIN_CERTIFICATE, &format!("{certificate}{}", request.key))
    }

    /// The machine's authority, in PEM.
    fn known_authority(&self) -> Result<String, FolderError> {
        let path = self.authority_file();
        let read = files::read(&path).map_err(|error| error.to_string());
        let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
        text.map_err(|why| FolderError::Damaged { path, why })
    }

    pub(crate) fn clear_staged(&self) -> Result<(), FolderError> {
        self.drop_ca()?;
        self.drop_file(MAIN_CERTIFICATE)?;
        self.drop_drafts()
    }

    fn is_staged(&self) -> bool {
        self.handed_ca().folder().exists() || self.main_certificate_file().exists()
    }

    /// The new main part is the main part from now on, with what was staged and the key of the CA.
    ///
    /// # Errors
    /// It was not staged, or the disk refuses; then it is a sub-part, and has nothing of it.
    pub fn commit(&self, insignia: &Insignia) -> Result<(), FolderError> {
        let _lock = self.lock()?;
        let mut membership = self.read()?.ok_or(HandoverError::NoPart)?;
        match &membership.role {
            PartRole::Main(_) if membership.term == insignia.term => return Ok(()),
            PartRole::Sub if membership.term < insignia.term => {}
            _ => return Err(HandoverError::NotSub(membership.text()).into()),
        }
        let shown = part::authority(&self.main_certificate_file()).ok();
        let shown = shown.and_then(|der| CertificateInfo::of(&der));
        let is_ours = shown.is_some_and(|info| membership.main_term(&info.names) == Some(insignia.term));
        if !is_ours {
            self.clear_staged()?;
            return Err(HandoverError::NotStaged.into());
        }
        let known = self.known_authority();
        let kept = known.and_then(|ca| Ok(self.handed_ca().adopt(&ca, &insignia.authority_key)?));
        if let Err(error) = kept {
            return self.clear_staged().and(Err(error));
        }
        membership.term = insignia.term;
        membership.role = PartRole::Main(insignia.parts.clone());
        let saved = self.save(&membership);
        // A write that failed may have come to the disk: what counts is what is there.
        match (saved, self.read()?) {
            (_, Some(now)) if now == membership => Ok(()),
            (Ok(()), _) => Err(HandoverError::NotStaged.into()),
            (Err(error), _) => self.clear_staged().and(Err(error)),
        }
    }

    /// The role is not taken after all: nothing of what was staged stays.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn abandon(&self) -> Result<(), FolderError> {
        if !self.machine_file().exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        match self.read()? {
            Some(membership) if membership.role == PartRole::Sub => self.clear_staged(),
            _ => self.drop_drafts(),
        }
    }

    /// A sub-part is spoken to by the main part of a term: it follows that one, and no earlier one from then on. For a former main part
    /// that was not sure it is the confirmation.
    ///
    /// # Errors
    /// A later one is known, this is no sub-part, or the disk refuses.
    pub fn follow(&self, term: u64, keys: &Authority) -> Result<Followed, FolderError> {
        let known = self.read()?.ok_or(HandoverError::NoPart)?;
        match known.role == PartRole::Sub && known.term == term {
            // Each connection of the main part begins so, and a disk that takes no writes any more does not keep it away.
            true => Ok(self.tidy(keys).unwrap_or_else(Followed::Untidy)),
            false => self.follow_another(term, keys),
        }
    }

    fn follow_another(&self, term: u64, keys: &Authority) -> Result<Followed, FolderError> {
        let _lock = self.lock()?;
        let mut membership = self.read()?.ok_or(HandoverError::NoPart)?;
        if term < membership.term {
            let known = membership.term;
            return Err(HandoverError::Superseded { known, term }.into());
        }
        let is_new = term > membership.term;
        membership.term = term;
        match &membership.role {
            PartRole::Main(_) => return Err(HandoverError::NotSub(membership.text()).into()),
            PartRole::HandingOver(_) => {
                self.retire(membership, keys)?;
                return Ok(Followed::Changed);
            }
            PartRole::Sub if is_new => self.save(&membership)?,
            PartRole::Sub => {}
        }
        self.clear_staged()?;
        self.give_up_key(membership, keys)?;
        Ok(Followed::Changed)
    }

    /// Clears away what a sub-part does not have. Writes nothing where there is nothing of it.
    fn tidy(&self, keys: &Authority) -> Result<Followed, FolderError> {
        if !(self.is_staged() || self.is_authority(keys) && keys.has_key()) {
            return Ok(Followed::AsBefore);
        }
        let _lock = self.lock()?;
        match self.read()? {
            Some(membership) if membership.role == PartRole::Sub => {
                self.clear_staged()?;
                self.give_up_key(membership, keys)
            }
            _ => Ok(Followed::AsBefore),
        }
    }

    /// Removes the key of the machine's CA from `keys` of a sub-part: a former main part that was restored has it still.
    fn give_up_key(&self, mut membership: Membership, keys: &Authority) -> Result<Followed, FolderError> {
        if !(self.is_authority(keys) && keys.has_key()) {
            return Ok(Followed::AsBefore);
        }
        membership.shares_authority = true;
        self.save(&membership)?;
        keys.forget_key()?;
        Ok(Followed::Changed)
    }

    /// The main part is lost, so this computer becomes one.
    ///
    /// # Errors
    /// It is the main part, or a part of nothing; or the disk refuses, and the same once more goes on.
    pub fn start_anew(&self, keys: &Authority, now: SystemTime) -> Result<Anew, FolderError> {
        let _lock = self.lock()?;
        let mut membership = self.read()?.ok_or(HandoverError::NoPart)?;
        let signing = self.signing(keys);
        match membership.role.clone() {
            PartRole::Main(_) => Err(HandoverError::IsMain(membership.text()).into()),
            PartRole::HandingOver(Handover { parts, .. }) if signing.has_key() => {
                self.take_back(&mut membership, parts, &signing, now)?;
                Ok(Anew::TakenBack(membership))
            }
            PartRole::HandingOver(_) | PartRole::Sub => {
                let ca = self.handed_ca();
                self.drop_ca()?;
                ca.make(&membership.machine, now)?;
                let made = self.found(&membership.machine, &membership.part, &ca, now)?;
                Ok(Anew::NewMachine(made))
            }
        }
    }

    /// Makes a former main part between the two the main part again. Its term is a new one: nobody can say what has become of the
    /// certificate of the one that it offered.
    pub(crate) fn take_back(
        &self,
        membership: &mut Membership,
        parts: Vec<SubPart>,
        signing: &Authority,
        now: SystemTime,
    ) -> Result<(), FolderError> {
        membership.term += 1;
        membership.role = PartRole::Main(parts);
        self.certify_main(signing, &main_name(&membership.machine_id, membership.term), now)?;
        self.save(membership)
    }
}

fn check_list(insignia: &Insignia, membership: &Membership) -> Result<(), HandoverError> {
    let named = |name: &str| insignia.parts.iter().filter(|part| part.name == name).count();
    let good = named(&insignia.former) == 1
        && named(&membership.part) == 0
        && insignia
            .parts
            .iter()
            .all(|part| name_complaint(&part.name).is_none() && named(&part.name) == 1);
    match good {
        true => Ok(()),
        false => Err(HandoverError::BadList(membership.part.clone())),
    }
}
