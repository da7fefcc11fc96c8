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

    /// Name in the certificate that the main part shows.
    #[must_use]
    pub fn main_name(&self) -> String {
        main_name(&self.machine_id)
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
        }
    }
}

/// Name in the certificate that the main part of a machine shows.
#[must_use]
pub fn main_name(machine_id: &str) -> String {
    format!("{machine_id}.main.{DOMAIN}")
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
            (main_name("m"), true),
            (part_name("arm", "m"), true),
            ("X.Mainstay.Internal".to_owned(), true),
            ("mainstay.internal".to_owned(), true),
            ("notmainstay.internal".to_owned(), false),
            ("rover".to_owned(), false),
        ] {
            assert_eq!(is_reserved(&name), reserved, "{name}");
        }
    }
}
