//! Membership: the place of this computer in one machine of several parts, the main part and its sub-parts.

use std::path::PathBuf;

/// Domain under which parts are named in their certificates. Nobody looks it up: addresses come from elsewhere.
const DOMAIN: &str = "mainstay.internal";

/// Place of this computer in a machine of several parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Id of the machine, the same in all parts.
    pub machine_id: String,
    /// Name of the machine, for people.
    pub machine: String,
    /// Name of this part.
    pub part: String,
    /// What it is to the others.
    pub role: PartRole,
    /// Term of the main part (a fencing token): counted up whenever another computer becomes it. Of two that say they are it, the
    /// later one counts.
    pub term: u64,
    /// The authority of the machine vouches for this computer's own clients, too: it was the main part, and made it.
    pub shares_authority: bool,
    /// Identifier of the key of the machine's authority (subjectKeyIdentifier), in hex.
    pub authority: String,
    /// Folder of this part's certificate, its key, and the authority of the machine.
    pub folder: PathBuf,
}

/// What a part is to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartRole {
    /// It uses the resources of its sub-parts, and knows them all.
    Main(Vec<SubPart>),
    /// The main part uses its resources; it reaches no other.
    Sub,
    /// It was the main part, and does not know yet that another computer is it. It serves that one as a sub-part.
    HandingOver(Handover),
}

/// Handover of the main part's role that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Part that becomes the main part.
    pub to: String,
    /// The sub-parts, as the former main part knew them.
    pub parts: Vec<SubPart>,
}

/// Sub-part, as the main part knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubPart {
    /// Name; the first part of the names of its resources.
    pub name: String,
    /// `host:port` at which it was last known.
    pub address: String,
    /// Digest of the public key of its certificate: SHA-256 in hex. One with another key is another computer.
    pub key: String,
}

/// Connection to a sub-part, as a remote of the main part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartLink {
    /// As in [`Membership::folder`].
    pub folder: PathBuf,
    /// Name that its certificate is for.
    pub server_name: String,
    /// As in [`SubPart::key`].
    pub key: String,
    /// Name by which it is looked up on the local network; `None`: nothing is looked up there.
    pub instance: Option<String>,
}

impl Membership {
    /// True for the main part.
    #[must_use]
    pub fn is_main(&self) -> bool {
        matches!(self.role, PartRole::Main(_))
    }

    /// Term of the main part of this machine that a certificate for these names is of; `None`: it is of no main part of it.
    #[must_use]
    pub fn main_term(&self, names: &[String]) -> Option<u64> {
        names.iter().find_map(|name| main_term(name, &self.machine_id))
    }

    /// Connection to a sub-part; with `mdns` it is looked up where it is not at its address.
    #[must_use]
    pub fn link(&self, part: &SubPart, mdns: bool) -> PartLink {
        PartLink {
            folder: self.folder.clone(),
            server_name: part_name(&part.name, &self.machine_id),
            key: part.key.clone(),
            instance: mdns.then(|| self.instance(&part.name)),
        }
    }

    /// Name by which a part is found on the local network; that of this one is `self.part`.
    #[must_use]
    pub fn instance(&self, part: &str) -> String {
        let short = self.machine_id.get(..8).unwrap_or(&self.machine_id);
        format!("{part}-{short}")
    }

    /// `part arm of rover`
    #[must_use]
    pub fn text(&self) -> String {
        match &self.role {
            PartRole::Main(parts) => format!("main part of {} ({} sub-parts)", self.machine, parts.len()),
            PartRole::Sub => format!("part {} of {}", self.part, self.machine),
            PartRole::HandingOver(Handover { to, .. }) => format!(
                "part {} of {}, which has not finished to hand the role of the main part to {to}: `mainstay part make-main {to}` here goes on",
                self.part, self.machine
            ),
        }
    }
}

/// Name in the certificate that the main part of a machine shows in a term.
#[must_use]
pub fn main_name(machine_id: &str, term: u64) -> String {
    format!("term-{term}.{machine_id}.main.{DOMAIN}")
}

/// Term of which a name of a main part of this machine is; `None`: it is none.
#[must_use]
pub fn main_term(name: &str, machine_id: &str) -> Option<u64> {
    let term = name.strip_suffix(&format!(".{machine_id}.main.{DOMAIN}"))?;
    let term = term.strip_prefix("term-")?.parse().ok()?;
    // Written in one way only.
    (main_name(machine_id, term) == name).then_some(term)
}

/// Name in the certificate that a sub-part shows.
#[must_use]
pub fn part_name(part: &str, machine_id: &str) -> String {
    format!("{part}.{machine_id}.part.{DOMAIN}")
}

/// True for a name that stands for a part of a machine, so nothing else is called so.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == DOMAIN || name.strip_suffix(DOMAIN).is_some_and(|front| front.ends_with('.'))
}

/// Complaint about a name that no part can have: it becomes a label of a DNS name, and a part of names of resources.
#[must_use]
pub fn name_complaint(name: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = !name.is_empty()
        && name.len() <= 60
        && name.bytes().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-');
    (!good).then_some("lower-case letters, digits and `-` inside, at most 60 of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_labels_and_nothing_else_has_theirs() {
        for good in ["arm", "arm-2", "a", &"x".repeat(60)] {
            assert_eq!(name_complaint(good), None, "{good}");
        }
        for bad in ["", "Arm", "a.b", "a:b", "-a", "a-", "ä", "a b", &"x".repeat(61)] {
            assert!(name_complaint(bad).is_some(), "{bad}");
        }
        for (name, reserved) in [
            (main_name("m", 1), true),
            (part_name("arm", "m"), true),
            ("X.Mainstay.Internal".to_owned(), true),
            ("mainstay.internal".to_owned(), true),
            ("notmainstay.internal".to_owned(), false),
            ("rover".to_owned(), false),
        ] {
            assert_eq!(is_reserved(&name), reserved, "{name}");
        }
    }

    #[test]
    fn a_name_of_a_main_part_tells_its_term() {
        for (name, term) in [
            (main_name("m", 1), Some(1)),
            (main_name("m", u64::MAX), Some(u64::MAX)),
            (main_name("other", 1), None),
            (part_name("term-1", "m"), None),
            ("term-01.m.main.mainstay.internal".to_owned(), None),
            ("term-+1.m.main.mainstay.internal".to_owned(), None),
            ("term-.m.main.mainstay.internal".to_owned(), None),
            ("m.main.mainstay.internal".to_owned(), None),
            ("x.term-1.m.main.mainstay.internal".to_owned(), None),
        ] {
            assert_eq!(main_term(&name, "m"), term, "{name}");
        }
    }
}
