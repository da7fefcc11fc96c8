//! Asking the built-in modules about config entries, without a machine: each that is needed is started for the length of the
//! question, with its standard input as the one connection that it serves. No file is made, and it ends with that
//! connection, however this process ends.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mainstay_config::declared::DeclaredAnswer;
use mainstay_model::{Builtins, Config, ModuleName, ResourceConfig};
use mainstay_proto::viam::module::v1::ValidateConfigRequest;
use mainstay_proto::viam::module::v1::module_service_client::ModuleServiceClient;
use mainstay_proto::{ResourceName, validate_warnings};
use mainstay_wire::entry::{component_config, declared};
use tokio::time::timeout;

use crate::connection::MachineConnection;

/// Limit for one module to answer for all of its entries.
const PATIENCE: Duration = Duration::from_secs(2);
/// Limit for one to end once no question is left.
const ENDING: Duration = Duration::from_millis(500);
/// Questions that are under way at a time.
const AT_A_TIME: usize = 32;

/// Outcome of asking.
#[derive(Debug, Default)]
pub struct BuiltinAnswers {
    /// Answer about each entry.
    pub answers: BTreeMap<ResourceName, DeclaredAnswer>,
    /// Modules that could not be asked, and why.
    pub silent: Vec<(ModuleName, String)>,
}

/// Asks the built-in modules about those entries of `config` that are theirs and have no fault.
pub async fn ask(builtins: &Builtins, config: &Config) -> BuiltinAnswers {
    let mut of_modules: BTreeMap<&ModuleName, Vec<&ResourceConfig>> = BTreeMap::new();
    for entry in config.resources.iter().filter(|entry| entry.fault.is_none()) {
        if let Some(module) = builtins.module_of(&entry.name.api, &entry.model) {
            of_modules.entry(module).or_default().push(entry);
        }
    }
    let mut asked = BuiltinAnswers::default();
    for (module, entries) in of_modules {
        let which = module.as_str().trim_start_matches("builtin:");
        match ask_one(&builtins.executable, which, &entries).await {
            Ok(answers) => asked.answers.extend(answers),
            Err(problem) => asked.silent.push((module.clone(), problem)),
        }
    }
    asked
}

#[expect(
    clippy::disallowed_methods,
    reason = "it ends with its standard input, the one connection, and is killed when dropped"
)]
async fn ask_one(
    executable: &Path,
    module: &str,
    entries: &[&ResourceConfig],
) -> Result<Vec<(ResourceName, DeclaredAnswer)>, String> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(|error| error.to_string())?;
    let mut child = tokio::process::Command::new(executable)
        .arg("-")
        .arg(format!("--builtin={module}"))
        .env("VIAM_NO_MODULE_PARENT", "true")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot run `{}`: {error}", executable.display()))?;
    let answers = async {
        let connection = MachineConnection::connected(ours)
            .await
            .map_err(|error| error.to_string())?;
        validate_all(connection, entries).await
    };
    let answers = timeout(PATIENCE, answers)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
    // Its connection ended with the last handle on it. One that stays all the same is killed when it is dropped.
    let _ended = timeout(ENDING, child.wait()).await;
    answers
}

async fn validate_all(
    connection: MachineConnection,
    entries: &[&ResourceConfig],
) -> Result<Vec<(ResourceName, DeclaredAnswer)>, String> {
    let answers = entries.iter().map(async |entry| {
        let answer = validate(ModuleServiceClient::new(connection.clone()), entry).await?;
        Ok((entry.name.clone(), answer))
    });
    stream::iter(answers).buffer_unordered(AT_A_TIME).try_collect().await
}

/// The module's answer about one entry. An error if it answers nothing any more.
async fn validate(
    mut module: ModuleServiceClient<MachineConnection>,
    entry: &ResourceConfig,
) -> Result<DeclaredAnswer, String> {
    let config = match component_config(entry) {
        Ok(config) => config,
        Err(problem) => return Ok(Err(problem)),
    };
    let request = ValidateConfigRequest { config: Some(config) };
    match module.validate_config(request).await {
        Ok(answer) => {
            let nameless = || "its module says that it needs a resource with an empty name".to_owned();
            let warnings = validate_warnings(answer.metadata());
            Ok(declared(answer.into_inner(), warnings).ok_or_else(nameless))
        }
        // Not the module's word, but the connection's.
        Err(status) if status.source().is_some() => Err("it ended early".to_owned()),
        Err(status) => Ok(Err(status.message().to_owned())),
    }
}
