//! Selection of a machine: the options that every verb with a machine has, and the variable that stands in for them.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mainstay_dial::with_port;
use mainstay_mdns::is_bare_name;

use crate::connection::{ApiKey, NetworkMachine};
use crate::failure::CliError;
use crate::profiles::{ProfileName, Profiles};

/// Environment variable that names the machine of every verb: its config file, its profile, or its address.
pub const VARIABLE: &str = "MAINSTAY_MACHINE";
/// Heading of these options in a verb's help.
const HEADING: &str = "Which machine";

/// Selection of a machine. Without any of these options, the one that `MAINSTAY_MACHINE` names, else the only one that runs on
/// this host for this user.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MachineSelector {
    /// The machine on this host that runs this config file
    #[arg(long, value_name = "CONFIG", help_heading = HEADING, conflicts_with_all = ["address", "profile"])]
    pub machine: Option<PathBuf>,
    /// A machine on the network that `mainstay login` has stored
    #[arg(long, value_name = "NAME", help_heading = HEADING, conflicts_with_all = ["address", "api_key", "insecure"])]
    pub profile: Option<ProfileName>,
    /// A machine by its network address, or by its name on the local network (mDNS); of a host, port 8080 if none is given
    #[arg(long, value_name = "HOST:PORT|NAME", help_heading = HEADING)]
    pub address: Option<String>,
    /// With an address: the API key; without it, that of the variable MAINSTAY_API_KEY, which no list of processes shows
    #[arg(long, value_name = "ID:KEY", help_heading = HEADING)]
    pub api_key: Option<ApiKey>,
    /// With an address: talk in cleartext, API key included
    #[arg(long, help_heading = HEADING)]
    pub insecure: bool,
}

/// A machine that is asked for.
#[derive(Debug)]
pub enum Selected {
    /// On this host, by its config file.
    Config(PathBuf),
    /// On the network.
    Network(NetworkMachine),
    /// The only one on this host.
    Only,
}

impl MachineSelector {
    /// The machine on this host that runs a config file, if one is given.
    pub fn local(config: Option<PathBuf>) -> Self {
        Self {
            machine: config,
            ..Self::default()
        }
    }

    /// True if an option or the environment names a machine.
    pub fn is_named(&self) -> bool {
        self.is_given() || from_environment().is_some()
    }

    /// True if an option names a machine.
    pub fn is_given(&self) -> bool {
        self.machine.is_some() || self.address.is_some() || self.profile.is_some()
    }

    /// Checks that no option names a machine, for what asks none.
    ///
    /// # Errors
    /// One does (exit 2); `why` says what the verb does instead.
    pub fn check_unused(&self, why: &str) -> Result<(), CliError> {
        match self.is_given() || self.api_key.is_some() || self.insecure {
            true => Err(CliError::usage(why)),
            false => Ok(()),
        }
    }

    /// True if the environment names the machine, and no option does.
    pub fn is_from_environment(&self) -> bool {
        !self.is_given() && from_environment().is_some()
    }

    /// The config of the machine that is asked for, if it is named by that.
    pub fn named_config(&self) -> Option<PathBuf> {
        match self.is_given() {
            true => self.machine.clone(),
            false => match from_environment()? {
                NamedMachine::Config(config) => Some(config),
                NamedMachine::Address(_) | NamedMachine::Profile(_) => None,
            },
        }
    }

    /// The machine that is meant.
    ///
    /// # Errors
    /// A profile that is not there or must not be used, or a key in the environment that is none.
    pub fn selected(&self) -> Result<Selected, CliError> {
        if let Some(config) = &self.machine {
            return Ok(Selected::Config(config.clone()));
        }
        if let Some(address) = &self.address {
            return self.at(address);
        }
        if let Some(profile) = &self.profile {
            return Ok(Selected::Network(Profiles::of_user()?.read(profile)?));
        }
        match from_environment() {
            Some(NamedMachine::Config(config)) => Ok(Selected::Config(config)),
            Some(NamedMachine::Address(address)) => self.at(&address),
            Some(NamedMachine::Profile(profile)) => Ok(Selected::Network(Profiles::of_user()?.read(&profile)?)),
            None => Ok(Selected::Only),
        }
    }

    fn at(&self, address: &str) -> Result<Selected, CliError> {
        let key = match &self.api_key {
            Some(key) => Some(key.clone()),
            None => ApiKey::from_environment()?,
        };
        Ok(Selected::Network(NetworkMachine {
            address: dialled(address),
            key,
            ca: None,
            insecure: self.insecure,
        }))
    }
}

/// Address as it is dialled: a name alone may be that of a machine on the local network, anything else gets the usual port.
pub fn dialled(address: &str) -> String {
    match is_bare_name(address) {
        true => address.to_owned(),
        false => with_port(address),
    }
}

/// A machine that the environment names.
#[derive(Debug, PartialEq, Eq)]
enum NamedMachine {
    Config(PathBuf),
    Address(String),
    Profile(ProfileName),
}

fn from_environment() -> Option<NamedMachine> {
    let text = std::env::var_os(VARIABLE).filter(|text| !text.is_empty())?;
    let is_profile = |name: &ProfileName| Profiles::of_user().is_ok_and(|profiles| profiles.has(name));
    Some(named(&text, |path| path.exists(), is_profile))
}

/// A file if there is one, then a profile if there is one, then an address, or else a file that is not there.
fn named(text: &OsStr, exists: impl Fn(&Path) -> bool, is_profile: impl Fn(&ProfileName) -> bool) -> NamedMachine {
    let is_address = |text: &str| {
        let port = text.rsplit_once(':').map(|(_, port)| port);
        let has_port = port.is_some_and(|port| port.parse::<u16>().is_ok());
        !text.contains('/') && (has_port || text.parse::<IpAddr>().is_ok())
    };
    let config = || NamedMachine::Config(text.into());
    let Some(text) = text.to_str().filter(|text| !exists(Path::new(text))) else {
        return config();
    };
    match text.parse().ok().filter(is_profile) {
        Some(profile) => NamedMachine::Profile(profile),
        None if is_address(text) => NamedMachine::Address(text.to_owned()),
        None => config(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_a_file_a_profile_or_an_address() {
        let address = |text: &str| NamedMachine::Address(text.to_owned());
        let config = |text: &str| NamedMachine::Config(text.into());
        let profile = |text: &str| NamedMachine::Profile(text.parse().expect("a name"));
        for (text, exists, stored, expected) in [
            ("rover.yaml", false, false, config("rover.yaml")),
            ("/etc/a:8080", false, false, config("/etc/a:8080")),
            ("a:8080", true, false, config("a:8080")),
            ("a:8080", false, true, address("a:8080")),
            ("10.0.0.5", false, false, address("10.0.0.5")),
            ("10.0.0.5", false, true, profile("10.0.0.5")),
            ("::1", false, false, address("::1")),
            ("rover", false, false, config("rover")),
            ("rover", false, true, profile("rover")),
            ("rover", true, true, config("rover")),
            ("../rover", false, true, config("../rover")),
        ] {
            assert_eq!(named(OsStr::new(text), |_| exists, |_| stored), expected, "{text}");
        }
    }
}
