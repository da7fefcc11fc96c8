//! `mainstay part`: one machine of several computers. The main part uses the resources of its sub-parts as `part:name`; a computer
//! joins with a short code. All but `invite` works on the files of this host, whether the machine runs or not.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use mainstay_config as config;
use mainstay_config::store::LastGood;
use mainstay_dial::with_port;
use mainstay_mdns::browse;
use mainstay_model::membership::{Membership, PartRole, SubPart};
use mainstay_parts::code::JoinCode;
use mainstay_parts::exchange::Joining;
use mainstay_parts::folder::{Admitted, FolderError, PartFolder};
use mainstay_pki::authority::{Authority, hosts};
use mainstay_pki::part;
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Remote};
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::join_service_client::JoinServiceClient;
use mainstay_proto::mainstay::parts::v1::parts_service_client::PartsServiceClient;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Code;

use crate::connection::{DialFailure, MachineConnection};
use crate::failure::{CliError, Exit};
use crate::human;
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::status_text::file_name;
use crate::table::{Cell, TextTable};
use crate::target;
use crate::terminal::{Colour, Style};
use crate::times::until;

/// Limit for the main part to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Port of a config that names none.
const USUAL_PORT: u16 = 8080;
/// How long machines on the local network may take to answer.
const BROWSE: Duration = Duration::from_secs(2);

/// Arguments of `mainstay part`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay part init rover.yaml                        on the main part: its CA and its identity
  mainstay part invite arm                             prints a code; once, within ten minutes
  mainstay part join k7q-4m2x-9trb                     on the other computer of this network
  mainstay part join k7q-4m2x-9trb --main 10.0.0.5     the same, where the main part is not found by itself
  mainstay part list                                   the sub-parts, and whether they are connected

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
struct InviteArguments {
    /// Name of the part: lower-case letters, digits and `-`
    #[arg(value_name = "PART")]
    part: String,
    /// The computer takes the place of the one that has this name
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    selector: MachineSelector,
}

#[derive(Clone, Debug, clap::Args)]
struct JoinArguments {
    /// The code that `mainstay part invite` printed on the main part
    #[arg(value_name = "CODE")]
    code: JoinCode,
    /// The config file of this computer's machine; made if it is not there
    #[arg(value_name = "FILE", default_value = "mainstay.yaml")]
    file: PathBuf,
    /// Address of the main part; port 8080 if none is given [default: the one that invites on the local network]
    #[arg(long, value_name = "HOST:PORT")]
    main: Option<String>,
    /// Address at which the main part reaches this computer [default: where it comes from, with the port of FILE]
    #[arg(long, value_name = "HOST:PORT")]
    reached_at: Option<String>,
    /// Leave the machine that this computer is a part of
    #[arg(long)]
    replace: bool,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
JSON: {machine, machine_id, part, main, parts: [{name, address, key, connected, cause}]}; `connected` is null while the machine does \
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
    match arguments.action {
        Action::Init(arguments) => {
            let file = arguments.config.find().await?;
            init(&file, arguments.name)?;
            refresh(&file).await;
        }
        Action::Invite(arguments) => invite(&arguments).await?,
        Action::Join(arguments) => {
            join(&arguments).await?;
            refresh(&arguments.file).await;
        }
        Action::List(arguments) => list(&arguments.config.find().await?, arguments.json).await?,
        Action::Remove(arguments) => {
            let file = arguments.config.find().await?;
            folder(&file)?.remove(&arguments.part).map_err(failed)?;
            refresh(&file).await;
            print(&format!(
                "{} is no part any more; `mainstay part leave` on that computer makes it a machine of its own",
                arguments.part
            ))?;
        }
        Action::Address(arguments) => {
            let file = arguments.config.find().await?;
            let address = with_port(&arguments.address);
            folder(&file)?.set_address(&arguments.part, &address).map_err(failed)?;
            refresh(&file).await;
            print(&format!("{} is reached at {address}", arguments.part))?;
        }
        Action::Leave(config) => {
            let file = config.find().await?;
            let text = match folder(&file)?.leave().map_err(failed)? {
                true => "this computer is a machine of its own again",
                false => "this computer is a part of no machine",
            };
            refresh(&file).await;
            print(text)?;
        }
    }
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

fn init(file: &Path, name: Option<String>) -> Result<(), CliError> {
    let store = LastGood::open(file);
    let (own, part) = (store.keys_folder(), folder(file)?);
    let own = Authority::at(own.ok_or_else(no_place)?);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.unwrap_or(stem);
    if !own.exists() {
        own.init(&name, &hosts("", ""), SystemTime::now())
            .map_err(|error| CliError::wrong(error.to_string()))?;
    }
    part.init(&name, &own, SystemTime::now()).map_err(failed)?;
    print(&format!(
        "{name} is a machine of several parts now, and {} its main part\n  the keys are kept in {} and {}\n\n\
         To take in another computer, while this machine runs:\n  mainstay part invite PART",
        file_name(&file.display().to_string()),
        own.folder().display(),
        part.machine_file().parent().unwrap_or(Path::new("/")).display(),
    ))
}

async fn invite(arguments: &InviteArguments) -> Result<(), CliError> {
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

async fn join(arguments: &JoinArguments) -> Result<(), CliError> {
    let folder = folder(&arguments.file)?;
    if let (Some(known), false) = (folder.read().map_err(failed)?, arguments.replace) {
        return Err(CliError::wrong(format!(
            "this is the {} already; with `--replace` it leaves that",
            known.text()
        )));
    }
    let own = OwnConfig::of(&arguments.file);
    let address = match &arguments.reached_at {
        Some(address) => with_port(address),
        None => format!(":{}", own.port),
    };
    let request = part::request().map_err(|error| CliError::wrong(error.to_string()))?;
    let admitted = match &arguments.main {
        Some(main) => exchange(main, &arguments.code, &request.request, &address).await?,
        None => exchange_with_whoever_invites(&arguments.code, &request.request, &address).await?,
    };
    let membership = folder.join(admitted, &request.key, arguments.replace).map_err(failed)?;
    let handed_down = folder.handed_down();
    if !own.exists {
        fs::write(&arguments.file, starter(&membership, &handed_down))
            .map_err(|error| CliError::wrong(format!("cannot write `{}`: {error}", arguments.file.display())))?;
    }
    print(&joined(&membership, &own, &arguments.file, &handed_down))
}

/// What is known of the config of the computer that joins.
struct OwnConfig {
    exists: bool,
    port: u16,
    /// It serves its own host alone.
    loopback: bool,
    /// Files that it is made of.
    files: Vec<PathBuf>,
}

impl OwnConfig {
    fn of(file: &Path) -> Self {
        let config = match config::load(file) {
            Ok(loaded) => Some(loaded.config),
            Err(refused) => refused.config.map(|config| *config),
        };
        let bind = config.as_ref().map(|config| config.network.bind_address.clone());
        let bind = bind.unwrap_or_else(|| format!("0.0.0.0:{USUAL_PORT}"));
        let (host, port) = bind.rsplit_once(':').unwrap_or(("", &bind));
        Self {
            exists: file.exists(),
            port: port.parse().unwrap_or(USUAL_PORT),
            loopback: matches!(host, "127.0.0.1" | "localhost" | "[::1]"),
            files: config.map_or_else(Vec::new, |config| config.source.paths().map(PathBuf::from).collect()),
        }
    }
}

fn starter(membership: &Membership, handed_down: &Path) -> String {
    format!(
        "# The {}. What its main part hands down is in the included file; entries of its own may stand here.\n\
         network: {{bind_address: \"0.0.0.0:{USUAL_PORT}\"}}\n\
         include: [{}]\n",
        membership.text(),
        json!(handed_down.display().to_string())
    )
}

fn joined(membership: &Membership, own: &OwnConfig, file: &Path, handed_down: &Path) -> String {
    let mut text = format!(
        "this computer is {} now; its resources are `{}:NAME` on the main part",
        membership.text(),
        membership.part
    );
    if !own.exists {
        text.push_str(&format!(
            "\nwrote {}; run it:\n  mainstay run {}",
            file.display(),
            file.display()
        ));
        return text;
    }
    if own.loopback {
        text.push_str(&format!(
            "\n{} lets in callers of this host alone, so the main part does not reach it: set `network.bind_address`",
            file.display()
        ));
    }
    if !own.files.iter().any(|known| known == handed_down) {
        text.push_str(&format!(
            "\nto have it take what the main part hands down, write in {}:\n  include: [{}]",
            file.display(),
            json!(handed_down.display().to_string())
        ));
    }
    text
}

/// The exchange with the main part that is found on the local network. Of several only one knows the invitation.
async fn exchange_with_whoever_invites(code: &JoinCode, request: &str, address: &str) -> Result<Admitted, CliError> {
    let found = browse(BROWSE, &["server=mainstay", "inviting"]).await;
    let found = found.map_err(|error| CliError::wrong(format!("nobody can be asked on the local network: {error}")))?;
    let mut last = CliError::no_machine(
        "no main part on this network says that it invites\n  name it:  --main HOST:PORT, as `mainstay part invite` printed it"
            .to_owned(),
    );
    for main in found.iter().flat_map(|found| &found.addresses) {
        match exchange(&main.to_string(), code, request, address).await {
            Ok(admitted) => return Ok(admitted),
            Err(refused) => last = refused,
        }
    }
    Err(last)
}

/// The exchange with the main part, over a connection that proves nothing by itself.
async fn exchange(main: &str, code: &JoinCode, request: &str, address: &str) -> Result<Admitted, CliError> {
    let main = with_port(main);
    let nobody = |why: &str| CliError::no_machine(format!("no machine answers at {main}: {why}"));
    let connection = match timeout(PATIENCE, MachineConnection::unproved(&main)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(DialFailure::Unreachable(why) | DialFailure::Untrusted(why))) => return Err(nobody(&why)),
        Ok(Err(DialFailure::Refused(status))) => return Err(nobody(status.message())),
        Err(_) => return Err(nobody("no answer")),
    };
    let mut client = JoinServiceClient::new(connection);
    let refused = |status: tonic::Status| match status.code() {
        Code::Unimplemented => CliError::wrong(format!(
            "the machine at {main} has invited nobody: `mainstay part invite` there prints a code"
        )),
        _ => CliError::wrong(format!(
            "the machine at {main} does not take this computer in: {}",
            status.message()
        )),
    };
    let (joining, message) = Joining::begin(code);
    let begun = client.begin(pb::BeginRequest {
        invitation: code.invitation(),
        message: message.into(),
    });
    let begun = timeout(PATIENCE, begun).await.map_err(|_| nobody("no answer"))?;
    let begun = begun.map_err(refused)?.into_inner();
    let changed = |error: mainstay_parts::exchange::ExchangeError| CliError::wrong(format!("did not join: {error}"));
    let keys = joining.finish(&begun.message).map_err(changed)?;
    let application = pb::Application {
        certificate_request: request.to_owned(),
        address: address.to_owned(),
    };
    let finished = client.finish(pb::FinishRequest {
        exchange: begun.exchange,
        sealed: keys.seal_application(application.encode_to_vec()).into(),
    });
    let finished = timeout(PATIENCE, finished).await.map_err(|_| nobody("no answer"))?;
    let sealed = finished.map_err(refused)?.into_inner().sealed;
    let admission = keys.open_admission(sealed.into()).map_err(changed)?;
    let admission = pb::Admission::decode(admission.as_slice()).map_err(|_| {
        CliError::wrong("did not join: the main part says what this program does not understand".to_owned())
    })?;
    Ok(Admitted {
        machine_id: admission.machine_id,
        machine: admission.machine,
        part: admission.part,
        authority: admission.authority,
        certificate: admission.certificate,
    })
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

async fn list(file: &Path, as_json: bool) -> Result<(), CliError> {
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
            let state = match connection(part, remotes) {
                None => "the machine does not run".into(),
                Some(None) => Cell::from("connected"),
                Some(Some(cause)) => Cell::from(cause).colour(Colour::Red),
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
    let parts = match &membership.role {
        PartRole::Main(parts) => parts.as_slice(),
        PartRole::Sub => &[],
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
        "main": membership.is_main(),
        "parts": parts.collect::<Vec<_>>(),
    })
}
