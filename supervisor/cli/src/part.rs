//! `mainstay part`: one machine of several computers. The main part uses the resources of its sub-parts as `part:name`; a computer
//! joins with a short code. All but `invite` and `make-main` works on the files of this host, whether the machine runs or not.

mod invite;
mod join;
mod list;
mod make_main;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use mainstay_config as config;
use mainstay_config::store::LastGood;
use mainstay_dial::with_port;
use mainstay_parts::folder::{FolderError, PartFolder};
use mainstay_pki::authority::Authority;
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::parts_service_client::PartsServiceClient;

use self::invite::InviteArguments;
use self::join::JoinArguments;
use self::make_main::MakeMainArguments;
use crate::failure::{CliError, Exit};
use crate::keys::make_ca;
use crate::output::print;
use crate::selector::MachineSelector;
use crate::status_text::file_name;
use crate::target;

/// Arguments of `mainstay part`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay part init rover.yaml                        on the main part: its CA and its identity
  mainstay part invite arm                             prints a code; once, within ten minutes
  mainstay part join k7q-4m2x-9trb                     on the other computer of this network
  mainstay part join k7q-4m2x-9trb --main 10.0.0.5     the same, where the main part is not found by itself
  mainstay part list                                   the sub-parts, and whether they are connected
  mainstay part make-main arm --as base                on the main part: arm becomes it, and this computer its part base

What `arm` has is `arm:NAME` on the main part. The sub-part cannot reach the main part.")]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Make the machine of a config file the main part of a machine of several parts
    Init(InitArguments),
    /// Invite a computer to be a part, with a code that works once and ends after ten minutes
    Invite(InviteArguments),
    /// Make this computer a part of the machine whose main part printed a code
    Join(JoinArguments),
    /// List the parts of the machine
    List(ListArguments),
    /// Take a part out of the machine: it is not spoken to any more
    Remove(NamedPart),
    /// Say at which address the main part reaches a part
    Address(AddressArguments),
    /// Make another part the main part, and this computer a sub-part of it
    MakeMain(MakeMainArguments),
    /// Make this computer a machine of its own again
    Leave(ConfigFile),
}

#[derive(Clone, Debug, clap::Args)]
struct ConfigFile {
    /// The config file of the machine [default: that of the running machine]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
struct InitArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Name of the machine [default: that of the config file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
JSON: {machine, machine_id, part, term, main, parts: [{name, address, key, connected, cause}]}; `connected` is null while the machine does \
not run, `key` is the SHA-256 of the part's public key.")]
struct ListArguments {
    #[command(flatten)]
    config: ConfigFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct NamedPart {
    /// Name of the part
    #[arg(value_name = "PART")]
    part: String,
    #[command(flatten)]
    config: ConfigFile,
}

#[derive(Clone, Debug, clap::Args)]
struct AddressArguments {
    /// Name of the part
    #[arg(value_name = "PART")]
    part: String,
    /// Address of the part; port 8080 if none is given
    #[arg(value_name = "HOST:PORT")]
    address: String,
    #[command(flatten)]
    config: ConfigFile,
}

impl Arguments {
    /// True if JSON is asked for.
    pub fn json(&self) -> bool {
        matches!(&self.action, Action::List(arguments) if arguments.json)
    }
}

/// Runs the verb.
///
/// # Errors
/// It cannot be done (1); no machine, or no main part (3); bad names (2).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    // What changes the files, and what is said of it.
    let (file, said) = match arguments.action {
        Action::Invite(arguments) => {
            invite::invite(&arguments).await?;
            return Ok(Exit::Done);
        }
        Action::List(arguments) => {
            list::list(&arguments.config.find().await?, arguments.json).await?;
            return Ok(Exit::Done);
        }
        Action::MakeMain(arguments) if !arguments.main_is_lost => {
            make_main::hand_over(&arguments).await?;
            return Ok(Exit::Done);
        }
        Action::MakeMain(arguments) => {
            let file = arguments.own_file()?.find().await?;
            let said = make_main::start_anew(&file)?;
            (file, said)
        }
        Action::Init(arguments) => {
            let file = arguments.config.find().await?;
            let said = init(&file, arguments.name)?;
            (file, said)
        }
        Action::Join(arguments) => {
            let said = join::join(&arguments).await?;
            (arguments.file, said)
        }
        Action::Remove(arguments) => {
            let file = arguments.config.find().await?;
            folder(&file)?.remove(&arguments.part).map_err(failed)?;
            let part = arguments.part;
            let said = format!(
                "{part} is no part any more; `mainstay part leave` on that computer makes it a machine of its own"
            );
            (file, said)
        }
        Action::Address(arguments) => {
            let file = arguments.config.find().await?;
            let address = with_port(&arguments.address);
            folder(&file)?.set_address(&arguments.part, &address).map_err(failed)?;
            (file, format!("{} is reached at {address}", arguments.part))
        }
        Action::Leave(config) => {
            let file = config.find().await?;
            let said = match folder(&file)?.leave().map_err(failed)? {
                true => "this computer is a machine of its own again",
                false => "this computer is a part of no machine",
            };
            (file, said.to_owned())
        }
    };
    refresh(&file).await;
    print(&said)?;
    Ok(Exit::Done)
}

impl ConfigFile {
    /// The one given, the one that the environment names, or that of the running machine.
    async fn find(self) -> Result<PathBuf, CliError> {
        target::config_of(self.file, "part").await
    }
}

fn folder(file: &Path) -> Result<PartFolder, CliError> {
    let folder = LastGood::open(file).part_folder();
    folder.map(PartFolder::at).ok_or_else(no_place)
}

fn no_place() -> CliError {
    CliError::wrong(config::store::StoreError::NoPlace.to_string())
}

fn failed(error: FolderError) -> CliError {
    match error {
        FolderError::BadName { .. } => CliError::usage(error.to_string()),
        _ => CliError::wrong(error.to_string()),
    }
}

/// The CA of the machine that runs a config, as `mainstay keys` has it.
fn keys(file: &Path) -> Result<Authority, CliError> {
    let folder = LastGood::open(file).keys_folder();
    folder.map(Authority::at).ok_or_else(no_place)
}

fn init(file: &Path, name: Option<String>) -> Result<String, CliError> {
    let (own, part) = (keys(file)?, folder(file)?);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.unwrap_or(stem);
    if !(own.exists() && own.has_key()) {
        make_ca(&own, file, &name).map_err(|error| CliError::wrong(error.to_string()))?;
    }
    part.init(&name, &own, SystemTime::now()).map_err(failed)?;
    Ok(format!(
        "{name} is a machine of several parts now, and {} its main part\n  the keys are kept in {} and {}\n\n\
         To take in another computer, while this machine runs:\n  mainstay part invite PART",
        file_name(&file.display().to_string()),
        own.folder().display(),
        part.machine_file().parent().unwrap_or(Path::new("/")).display(),
    ))
}

/// Tells the machine that runs a config that the files of its part have changed. Without one there is nobody to tell.
async fn refresh(file: &Path) {
    let selector = MachineSelector::local(Some(file.to_owned()));
    if let Ok(target) = target::find(&selector).await {
        let mut parts = PartsServiceClient::new(target.connection);
        // One that ends meanwhile reads them when it starts.
        let _told = parts.refresh(pb::RefreshRequest {}).await;
    }
}
