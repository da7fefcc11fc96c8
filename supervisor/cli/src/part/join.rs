//! `mainstay part join`: the exchange with the main part by which this computer becomes a sub-part, and what it says afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_config as config;
use mainstay_dial::with_port;
use mainstay_mdns::browse;
use mainstay_model::membership::Membership;
use mainstay_parts::code::JoinCode;
use mainstay_parts::exchange::{ExchangeError, Joining};
use mainstay_parts::folder::{Admitted, FolderError};
use mainstay_pki::part;
use mainstay_proto::mainstay::parts::v1 as pb;
use mainstay_proto::mainstay::parts::v1::join_service_client::JoinServiceClient;
use prost::Message as _;
use serde_json::json;
use tokio::time::timeout;
use tonic::Code;

use super::{failed, folder, keys};
use crate::connection::{DialFailure, MachineConnection};
use crate::failure::CliError;

/// Limit for the main part to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Port of a config that names none.
const USUAL_PORT: u16 = 8080;
/// How long machines on the local network may take to answer.
const BROWSE: Duration = Duration::from_secs(2);

/// Arguments of `mainstay part join`.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct JoinArguments {
    /// The code that `mainstay part invite` printed on the main part
    #[arg(value_name = "CODE")]
    code: JoinCode,
    /// The config file of this computer's machine; made if it is not there
    #[arg(value_name = "FILE", default_value = "mainstay.yaml")]
    pub(super) file: PathBuf,
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

/// Joins. Says what comes of it.
pub(super) async fn join(arguments: &JoinArguments) -> Result<String, CliError> {
    let (folder, own_keys) = (folder(&arguments.file)?, keys(&arguments.file)?);
    folder.check_joins(arguments.replace).map_err(|error| match error {
        FolderError::Member(_) => CliError::wrong(format!("{error}; with `--replace` it leaves that")),
        _ => failed(error),
    })?;
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
    let membership = folder.join(admitted, &request.key, arguments.replace, &own_keys);
    let membership = membership.map_err(failed)?;
    let handed_down = folder.handed_down();
    if !own.exists {
        fs::write(&arguments.file, starter(&membership, &handed_down))
            .map_err(|error| CliError::wrong(format!("cannot write `{}`: {error}", arguments.file.display())))?;
    }
    Ok(joined(&membership, &own, &arguments.file, &handed_down))
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
    let changed = |error: ExchangeError| CliError::wrong(format!("did not join: {error}"));
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
        term: admission.term,
    })
}
