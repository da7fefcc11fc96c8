//! The config that a verb is about, on its way to a machine: its files are gathered here, and read there.
//!
//! Relative paths in a config start at its folder. On its way to another host it goes into the folder of that machine's own config, so
//! they mean there what they mean for that.

use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::ConfigFiles;
use mainstay_proto::mainstay::control::v1::control_service_client::ControlServiceClient;
use mainstay_proto::mainstay::control::v1::{ConfigDiagnostic, ConfigFile, ConfigPlace, ConfigText, GetStatusRequest};

use crate::connection::MachineConnection;
use crate::failure::{CliError, Exit};
use crate::selector::MachineSelector;
use crate::target::{Socket, Target};
use crate::{diagnostics, target};

/// Machine that is asked about configs.
pub struct ConfigTarget {
    /// Client of its control service.
    pub control: ControlServiceClient<MachineConnection>,
    /// Address of a machine on the network, and its own config file there.
    elsewhere: Option<(String, PathBuf)>,
}

/// Config on its way to a machine.
#[derive(Debug)]
pub struct SentConfig {
    /// The config as it is sent.
    pub config: ConfigText,
    /// Its folder there, and here; `None` on one host.
    folders: Option<(PathBuf, PathBuf)>,
}

impl ConfigTarget {
    /// The machine `target`, for the verb.
    ///
    /// # Errors
    /// Those of [`Target::control`].
    pub async fn new(target: &Target, verb: &str) -> Result<Self, CliError> {
        let mut control = target.control(verb).await?;
        let elsewhere = match &target.socket {
            Socket::Control => None,
            Socket::Network { address } => {
                let status = control.get_status(GetStatusRequest {}).await?.into_inner();
                Some((address.clone(), PathBuf::from(status.config_path)))
            }
        };
        Ok(Self { control, elsewhere })
    }

    /// Path of the machine's own config file, if it is on this host.
    ///
    /// # Errors
    /// It is on another one (exit 2).
    pub async fn own_file(&mut self) -> Result<PathBuf, CliError> {
        match &self.elsewhere {
            Some((address, file)) => Err(CliError::usage(format!(
                "the machine's own file, {}, is on the host of {address}, and this verb reads it: run it there, or name a FILE of this host",
                file.display()
            ))),
            None => {
                let status = self.control.get_status(GetStatusRequest {}).await?.into_inner();
                Ok(PathBuf::from(status.config_path))
            }
        }
    }

    /// The texts of the file (`-` is standard input) and of what it includes, for this machine.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn gather(&self, file: &Path) -> Result<SentConfig, CliError> {
        let own = self.elsewhere.as_ref().and_then(|(_, own)| own.parent());
        gather(file, own)
    }
}

fn gather(file: &Path, there: Option<&Path>) -> Result<SentConfig, CliError> {
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
    let folders = there.zip(absolute.parent());
    let folders = folders.map(|(there, here)| (there.to_owned(), here.to_owned()));
    let sent = |path: &Path| match &folders {
        // An included file that is named by its whole path keeps it: that is how it is looked for.
        Some((there, here)) => path.strip_prefix(here).map_or(path.to_owned(), |rest| there.join(rest)),
        None => path.to_owned(),
    };
    let files = bundle.files.iter().map(|file| ConfigFile {
        path: sent(&file.path).display().to_string(),
        text: file.text.to_vec().into(),
    });
    Ok(SentConfig {
        config: ConfigText {
            path: sent(&absolute).display().to_string(),
            files: files.collect(),
        },
        folders,
    })
}

impl SentConfig {
    /// What the machine says of the config, about the files as they are called here.
    pub fn told(&self, mut diagnostics: Vec<ConfigDiagnostic>) -> Vec<ConfigDiagnostic> {
        let Some((there, here)) = &self.folders else {
            return diagnostics;
        };
        let (there, here) = (format!("{}/", there.display()), format!("{}/", here.display()));
        // A message may speak of a file of the machine's folder, so only the config's own files get their names back.
        let names: Vec<_> = self.config.files.iter().map(|file| file.path.as_str()).collect();
        let rename = |text: &mut String| {
            for name in &names {
                if let Some(rest) = name.strip_prefix(&there) {
                    *text = text.replace(name, &format!("{here}{rest}"));
                }
            }
        };
        let place = |place: &mut Option<ConfigPlace>| {
            if let Some(place) = place {
                rename(&mut place.file);
            }
        };
        for one in &mut diagnostics {
            place(&mut one.place);
            place(&mut one.also);
            rename(&mut one.rendered);
        }
        diagnostics
    }
}

/// The machine that a config file is meant for: the one that is named, else the one that runs this file, else the only
/// one here.
///
/// # Errors
/// There is none (3), or several and none of them runs this file (2).
pub async fn machine_for(selector: &MachineSelector, file: &Path, verb: &str) -> Result<ConfigTarget, CliError> {
    let found = if selector.is_named() {
        target::find(selector).await?
    } else {
        match target::find(&MachineSelector::local(Some(file.to_owned()))).await {
            Err(failure) if failure.exit == Exit::NoMachine => target::find(selector).await?,
            found => found?,
        }
    };
    if verb == "apply" {
        found.tell_if_elsewhere();
    }
    ConfigTarget::new(&found, verb).await
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_config_goes_into_the_folder_of_the_other_machines_own_and_complaints_come_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("here")).expect("made");
        let outside = at("shared.yaml");
        fs::write(&outside, "debug: false\n").expect("written");
        fs::write(at("here/arm.yaml"), "debug: false\n").expect("written");
        let text = format!("include: [arm.yaml, ../shared.yaml, \"{}\"]\n", outside.display());
        fs::write(at("here/trial.yaml"), text).expect("written");
        let sent = gather(&at("here/trial.yaml"), Some(Path::new("/etc/mainstay"))).expect("readable");
        let paths: Vec<_> = sent.config.files.iter().map(|file| file.path.clone()).collect();
        let expected = [
            "/etc/mainstay/trial.yaml".to_owned(),
            "/etc/mainstay/arm.yaml".to_owned(),
            "/etc/mainstay/../shared.yaml".to_owned(),
            outside.display().to_string(),
        ];
        assert_eq!(paths, expected);
        assert_eq!(sent.config.path, expected[0]);
        let told = sent.told(vec![ConfigDiagnostic {
            place: Some(ConfigPlace {
                file: expected[1].clone(),
                ..ConfigPlace::default()
            }),
            rendered: format!("error: no `/etc/mainstay/bin/x` here  {}:1:1", expected[1]),
            ..ConfigDiagnostic::default()
        }]);
        let here = at("here/arm.yaml").display().to_string();
        assert_eq!(told[0].place.as_ref().expect("a place").file, here);
        assert_eq!(
            told[0].rendered,
            format!("error: no `/etc/mainstay/bin/x` here  {here}:1:1")
        );
        // On one host nothing has another name.
        let sent = gather(&at("here/trial.yaml"), None).expect("readable");
        assert_eq!(sent.config.path, at("here/trial.yaml").display().to_string());
    }
}
