//! The config that a verb is about, on its way to a machine: its files are gathered here, and read there.

use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::ConfigFiles;
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::{ConfigFile, ConfigText};

use crate::connection::MachineConnection;
use crate::failure::{CliError, Exit};
use crate::target::MachineSelector;
use crate::{diagnostics, target};

/// The texts of the file (`-` is standard input) and of what it includes.
///
/// # Errors
/// One of them cannot be read.
pub fn gather(file: &Path) -> Result<ConfigText, CliError> {
    let absolute = std::path::absolute(file)
        .map_err(|error| CliError::wrong(format!("`{}` cannot be used: {error}", file.display())))?;
    let mut read = |path: &Path| {
        if path == absolute {
            config::read_given(file, file)
        } else {
            config::read_file(path)
        }
    };
    let bundle = ConfigFiles::gather(&absolute, &mut read).map_err(|refused| {
        CliError::wrong(format!(
            "this config cannot be read:\n\n{}",
            diagnostics::render(&refused.diagnostics, config::colour_wanted())
        ))
    })?;
    let files = bundle.files.iter().map(|file| ConfigFile {
        path: file.path.display().to_string(),
        text: file.text.to_vec().into(),
    });
    Ok(ConfigText {
        path: absolute.display().to_string(),
        files: files.collect(),
    })
}

/// The machine that a config file is meant for: the one that is named, else the one that runs this file, else the only
/// one here.
///
/// # Errors
/// There is none (3), or several and none of them runs this file (2).
pub async fn machine_for(
    named: Option<PathBuf>,
    file: &Path,
    verb: &str,
) -> Result<ControlServiceClient<MachineConnection>, CliError> {
    let by_environment = named.is_none() && target::is_named_by_environment();
    let is_named = named.is_some() || by_environment;
    let selector = if by_environment {
        MachineSelector::default()
    } else {
        MachineSelector::local(named.or_else(|| Some(file.to_owned())))
    };
    match target::control(&selector, verb).await {
        Err(failure) if failure.exit == Exit::NoMachine && !is_named => {
            target::control(&MachineSelector::default(), verb).await
        }
        found => found,
    }
}
