//! `mainstay keys`: the API keys of a machine, its private CA, its certificate, and those of its clients. Works on the files of this
//! host, whether the machine runs or not.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use mainstay_config as config;
use mainstay_config::store::LastGood;
use mainstay_model::membership::is_reserved;
use mainstay_model::network_name;
use mainstay_pki::authority::{self, Authority, AuthorityError, CertificateKind, IssuedCertificate};
use mainstay_pki::certificate::{Validity, date, fingerprint};
use serde_json::{Value, json};

use crate::api_keys::ListedKey;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::status_text::file_name;
use crate::table::{Cell, TextTable};
use crate::terminal::{Colour, Style};
use crate::{api_keys, target};

/// Arguments of `mainstay keys`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay keys new --role operator --name laptop    an API key for a client on the network
  mainstay keys list                    the API keys and the certificates of the machine
  mainstay keys revoke ID
  mainstay keys init rover.yaml         make a CA for the machine, and its certificate
  mainstay keys ca > rover-ca.pem       what clients are to trust
  SSL_CERT_FILE=rover-ca.pem python drive.py
  mainstay keys client laptop           a certificate by which the client `laptop` proves who it is

With `tls: own` below `network:` the machine serves TLS with its certificate, and renews it by itself.")]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Make a private CA for a machine, and the machine's certificate
    Init(Machine),
    /// List the API keys of a machine, and its certificates: its CA's, its own, and those of clients
    List(ListArguments),
    /// Make an API key for a client, and write its hash into the machine's config
    New(api_keys::NewArguments),
    /// Take an API key out of the machine's config
    Revoke(api_keys::RevokeArguments),
    /// Print the certificate of the CA, for clients to trust
    Ca(Machine),
    /// Issue a certificate for a client
    Client(ClientArguments),
}

#[derive(Clone, Debug, clap::Args)]
struct Machine {
    /// The config file of the machine [default: that of the running machine]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
JSON: {api_keys: [{id, name, roles: [text], hashed, file, line}], folder, certificates: [{kind, name, names: [text], subject, issuer, serial, not_before, not_after, file}]}; kinds are \
`ca`, `machine` and `client`, times RFC 3339.")]
struct ListArguments {
    #[command(flatten)]
    machine: Machine,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct ClientArguments {
    /// Name of the client, by which `auth.tls_auth_entities` lets it in
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    machine: Machine,
    /// Folder for NAME.pem and NAME.key
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
}

impl Arguments {
    /// True if JSON is asked for.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::List(arguments) => arguments.json,
            Action::New(arguments) => arguments.json,
            Action::Revoke(arguments) => arguments.json,
            Action::Init(_) | Action::Ca(_) | Action::Client(_) => false,
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// The files are not there or cannot be written (1); no machine (3); several, and none was named (2).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    match arguments.action {
        Action::Init(machine) => init(&target::config_of(machine.file, "keys").await?)?,
        Action::List(arguments) => {
            let file = target::config_of(arguments.machine.file, "keys").await?;
            let (own, keys) = (own(&file)?, api_keys::list(&file));
            let listed = match own.list() {
                Err(AuthorityError::Missing(_)) if !keys.is_empty() => Vec::new(),
                listed => listed.map_err(|error| failed(&file, &error))?,
            };
            let now = SystemTime::now();
            print(&match arguments.json {
                true => listed_json(own.folder(), &keys, &listed),
                false => listed_text(&keys, &listed, now, Style::stdout()),
            })?;
        }
        Action::New(arguments) if arguments.print => return api_keys::print_new(&arguments),
        Action::New(arguments) => {
            return api_keys::new(&arguments, &target::config_of(arguments.file(), "keys").await?);
        }
        Action::Revoke(arguments) => {
            return api_keys::revoke(&arguments, &target::config_of(arguments.file(), "keys").await?);
        }
        Action::Ca(machine) => {
            let file = target::config_of(machine.file, "keys").await?;
            let own = own(&file)?;
            let pem = own.ca_pem().map_err(|error| failed(&file, &error))?;
            print(pem.trim_end())?;
            let certificate = own.ca().map_err(|error| failed(&file, &error))?;
            note(&format!("its SHA-256 fingerprint: {}", fingerprint(&certificate)));
        }
        Action::Client(arguments) => {
            let file = target::config_of(arguments.machine.file, "keys").await?;
            if is_reserved(&arguments.name) {
                let text = format!("`{}` is a name that only parts of a machine have", arguments.name);
                return Err(CliError::usage(text));
            }
            let issued = own(&file)?.client(&arguments.name, SystemTime::now());
            let issued = issued.map_err(|error| failed(&file, &error))?;
            let written = authority::write_client(&arguments.out, &arguments.name, &issued);
            let [certificate, key] = written.map_err(|error| failed(&file, &error))?;
            print(&format!(
                "wrote {} and its key, {}, which is kept nowhere else",
                certificate.display(),
                key.display()
            ))?;
        }
    }
    Ok(Exit::Done)
}

/// Keys of the machine that runs a config.
fn own(file: &Path) -> Result<Authority, CliError> {
    let folder = LastGood::open(file).keys_folder();
    let folder = folder.ok_or_else(|| CliError::wrong(config::store::StoreError::NoPlace.to_string()))?;
    Ok(Authority::at(folder))
}

fn failed(file: &Path, error: &AuthorityError) -> CliError {
    CliError::wrong(match error {
        AuthorityError::Missing(_) => format!("{error}\n  make them: mainstay keys init {}", file.display()),
        _ => error.to_string(),
    })
}

/// Makes the CA of the machine that runs a config, called `name`, and the machine's certificate. Returns whom that is for.
pub fn make_ca(own: &Authority, file: &Path, name: &str) -> Result<Vec<String>, AuthorityError> {
    // A config with errors has a name all the same, and one that is not there yet has none.
    let fqdn = match config::load(file) {
        Ok(loaded) => loaded.config.network.fqdn,
        Err(refused) => refused.config.map(|config| config.network.fqdn).unwrap_or_default(),
    };
    let told = network_name(&fqdn, file, &authority::host_name());
    let hosts = authority::hosts(&fqdn, &told);
    own.init(name, &hosts, SystemTime::now())?;
    Ok(hosts)
}

fn init(file: &Path) -> Result<(), CliError> {
    let own = own(file)?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let hosts = make_ca(&own, file, &stem).map_err(|error| failed(file, &error))?;
    let name = file_name(&file.display().to_string()).to_owned();
    print(&format!(
        "made a CA for the machine of {name}, and a certificate for {}\n  kept in {}\n\n\
         To serve TLS with it, write in {name}:\n  network:\n    tls: own\n\n\
         Clients trust it by the certificate of the CA:\n  mainstay keys ca {} > ca.pem",
        hosts.join(", "),
        own.folder().display(),
        file.display()
    ))
}

fn kind_text(kind: CertificateKind) -> &'static str {
    match kind {
        CertificateKind::Ca => "ca",
        CertificateKind::Machine => "machine",
        CertificateKind::Client => "client",
    }
}

fn listed_text(keys: &[ListedKey], listed: &[IssuedCertificate], now: SystemTime, style: Style) -> String {
    let mut parts = Vec::new();
    if !keys.is_empty() {
        let mut table = TextTable::new(["API KEY", "NAME", "ROLES", "STORED", "WHERE"]);
        for key in keys {
            table.row(key.cells().map(Cell::from));
        }
        parts.push(table.lines(style).join("\n"));
    }
    if !listed.is_empty() {
        parts.push(certificates_text(listed, now, style));
    }
    parts.join("\n\n")
}

fn certificates_text(listed: &[IssuedCertificate], now: SystemTime, style: Style) -> String {
    let mut table = TextTable::new(["KIND", "NAME", "UNTIL", "FILE"]);
    for one in listed {
        let until = Cell::from(date(one.info.not_after));
        let until = match one.info.validity(now) {
            Validity::Valid => until,
            Validity::NotYetValid | Validity::Expired => until.colour(Colour::Red),
        };
        table.row([
            kind_text(one.kind).into(),
            one.info.label().into(),
            until,
            one.path.display().to_string().into(),
        ]);
    }
    table.lines(style).join("\n")
}

fn listed_json(folder: &Path, keys: &[ListedKey], listed: &[IssuedCertificate]) -> String {
    let time = |at: SystemTime| crate::times::rfc3339(Some(&at.into()));
    let certificates = listed.iter().map(|one| {
        let info = &one.info;
        let addresses = info.addresses.iter().map(ToString::to_string);
        json!({
            "kind": kind_text(one.kind),
            "name": info.label(),
            "names": info.names.iter().cloned().chain(addresses).collect::<Vec<_>>(),
            "subject": info.subject,
            "issuer": info.issuer,
            "serial": info.serial,
            "not_before": time(info.not_before),
            "not_after": time(info.not_after),
            "file": one.path.display().to_string(),
        })
    });
    json!({
        "api_keys": keys.iter().map(ListedKey::json).collect::<Value>(),
        "folder": folder.display().to_string(),
        "certificates": certificates.collect::<Value>(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_listed_with_their_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = Authority::at(folder.path().join("keys"));
        let now = SystemTime::now();
        own.init("rover", &["rover".to_owned()], now).expect("made");
        own.client("laptop", now).expect("issued");
        let listed = own.list().expect("a list");
        let text = listed_text(&[], &listed, now, Style::PLAIN);
        assert!(text.starts_with("KIND     NAME"), "{text}");
        for (line, start) in text.lines().skip(1).zip([
            "ca       CN=Mainstay CA of rover  20",
            "machine  rover                    20",
            "client   laptop                   20",
        ]) {
            assert!(line.starts_with(start), "{text}");
        }
        let json: Value = serde_json::from_str(&listed_json(own.folder(), &[], &listed)).expect("JSON");
        assert_eq!(
            (&json["certificates"][1]["kind"], &json["certificates"][1]["names"][0]),
            (&"machine".into(), &"rover".into())
        );
        assert!(
            json["certificates"][2]["not_after"]
                .as_str()
                .is_some_and(|text| text.ends_with('Z'))
        );
    }
}
