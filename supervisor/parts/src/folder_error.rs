//! Failures of the files of a part, in words for the person at the command line.

use std::io;
use std::path::PathBuf;

use mainstay_pki::authority::AuthorityError;

use crate::handover::HandoverError;

/// Failure of a folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// This computer is a part already.
    #[error("this is the {0} already")]
    Member(String),
    /// This computer is no main part.
    #[error("this is no main part: {0}")]
    NotMain(String),
    /// This computer is no sub-part.
    #[error("this is no sub-part, so nobody hands a config down to it")]
    NotSub,
    /// Nobody would read what is handed down.
    #[error("the config of this part does not include what is handed down; write in it: include: [\"{}\"]", .0.display())]
    NotIncluded(PathBuf),
    /// No name for a part.
    #[error("`{}` is no name for a part: {rule}", name.escape_debug())]
    BadName {
        /// The name.
        name: String,
        /// What would be one.
        rule: &'static str,
    },
    /// There is no such part.
    #[error("{machine} has no part `{}`; it has {known}", name.escape_debug())]
    Unknown {
        /// The name.
        name: String,
        /// Name of the machine.
        machine: String,
        /// Its parts, in words.
        known: String,
    },
    /// There is such a part.
    #[error("{machine} has a part `{name}` already; with `--replace` another computer takes its place")]
    Taken {
        /// The name.
        name: String,
        /// Name of the machine.
        machine: String,
    },
    /// This computer itself has the name.
    #[error("`{0}` is the name of this computer itself; choose another one")]
    OwnName(String),
    /// A step of a handover that does not come now.
    #[error(transparent)]
    Handover(#[from] HandoverError),
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Disk {
        /// Action that failed.
        action: &'static str,
        /// File of the action.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// What is there is no such file.
    #[error("`{}` is damaged: {why}; this computer has to join its machine anew, with `--replace`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Fault of its content.
        why: String,
    },
    /// What is there is no such file, and this computer may be the main part.
    #[error("`{}` is damaged: {why}; this computer may be the main part of its machine, so restore the file from a copy of that folder", path.display())]
    MainDamaged {
        /// The file.
        path: PathBuf,
        /// Fault of its content.
        why: String,
    },
    /// The machine's CA is here, and nothing says of which machine.
    #[error("the private key of a machine's CA is in `{}`, and `{}`, which says whose main part this computer is, is damaged or not there: restore that from a copy of the folder; where there is none and the machine is given up, remove the folder of the CA", ca.display(), record.display())]
    LostRecord {
        /// Folder of the CA.
        ca: PathBuf,
        /// The file that says it.
        record: PathBuf,
    },
    /// No certificate can be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}
