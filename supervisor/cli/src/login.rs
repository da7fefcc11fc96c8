//! `mainstay login` and `mainstay logout`: machines on the network that are kept with their keys, as profiles.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_dial::{DialError, lookup_either, presented_chain};
use mainstay_model::text::plain;
use mainstay_pki::certificate::{CertificateInfo, date, fingerprint};
use mainstay_proto::mainstay::access::v1::WhoAmIResponse;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::Code;

use crate::connection::{ApiKey, DialFailure, MachineConnection, NetworkMachine};
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::profiles::{ProfileName, Profiles};
use crate::secret_prompt;
use crate::selector::dialled;
use crate::table::TextTable;
use crate::target::{refusal, roles_text};
use crate::terminal::Style;

/// Limit for the machine to answer, at each step.
const PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `mainstay login`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay login rover.local                 asks for the API key, and keeps both as the profile `rover.local`
  mainstay status --profile rover.local
  mainstay login 10.0.0.7 --name rover --ca rover-ca.pem
  mainstay login 10.0.0.7 --name rover --fingerprint 5F:0A:…    the CA that has this SHA-256 fingerprint
  vault read … | mainstay login rover.local --api-key -
  mainstay login                             the profiles that are kept

A profile is a file that its owner alone can read; it holds the key. MAINSTAY_MACHINE=NAME makes it the machine of every verb. A \
certificate whose authority this host does not trust is shown first, and trusted when you say so. On the machine, \
`mainstay keys ca` prints the fingerprint to compare it with.

JSON: {profile, address, entity, roles, unlimited, control}; of the list: [{profile, address, key_id, trusts, insecure, error}].")]
pub struct LoginArguments {
    /// Address of the machine, or its name on the local network; of a host, port 8080 if none is given. Leave it out to list the
    /// profiles
    #[arg(value_name = "HOST:PORT|NAME")]
    address: Option<String>,
    /// Name of the profile [default: the host]
    #[arg(long, value_name = "NAME", requires = "address")]
    name: Option<ProfileName>,
    /// The API key, or `-` to read it from standard input; a list of processes shows it, so better leave it out: then it is that of
    /// MAINSTAY_API_KEY, or asked for
    #[arg(long, value_name = "ID:KEY", requires = "address")]
    api_key: Option<GivenKey>,
    /// Trust the authority whose certificate is in this file (PEM), and no other
    #[arg(long, value_name = "FILE", requires = "address", conflicts_with_all = ["fingerprint", "insecure"])]
    ca: Option<PathBuf>,
    /// Trust the authority whose certificate the machine shows and that has this SHA-256 fingerprint
    #[arg(long, value_name = "SHA256", requires = "address", conflicts_with = "insecure")]
    fingerprint: Option<String>,
    /// Talk in cleartext, the key included: only in a network that is trusted
    #[arg(long, requires = "address")]
    insecure: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `mainstay logout`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
The key itself stays good: `mainstay keys revoke ID` on the machine ends it.")]
pub struct LogoutArguments {
    /// The profile to forget
    #[arg(value_name = "NAME")]
    name: ProfileName,
}

/// Key as it is given on the command line.
#[derive(Clone, Debug)]
enum GivenKey {
    StandardInput,
    Written(ApiKey),
}

impl std::str::FromStr for GivenKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "-" => Ok(Self::StandardInput),
            written => written.parse().map(Self::Written),
        }
    }
}

/// Runs `mainstay login`.
///
/// # Errors
/// No machine (3), one that is not trusted or does not take the key (1).
pub async fn login(arguments: LoginArguments) -> Result<Exit, CliError> {
    let profiles = Profiles::of_user()?;
    let Some(address) = &arguments.address else {
        return list(&profiles, arguments.json);
    };
    let address = dialled(address);
    let name = profile_name(&arguments, &address)?;
    if arguments.name.is_none()
        && let Ok(known) = profiles.read(&name)
        && known.address != address
    {
        return Err(CliError::usage(format!(
            "the profile `{name}` is that of {}; give this machine another: --name NAME",
            known.address
        )));
    }
    let mut machine = NetworkMachine {
        ca: trusted_authority(&arguments, &address).await?,
        address,
        key: None,
        insecure: arguments.insecure,
    };
    let mut caller = who_am_i(&mut machine).await?;
    if let Some(key) = key(&arguments, caller.is_none()).await? {
        machine.key = Some(key);
        caller = who_am_i(&mut machine).await?;
    }
    let caller = caller.unwrap_or_default();
    profiles.write(&name, &machine)?;
    if arguments.json {
        let shown = json!({
            "profile": name.to_string(),
            "address": machine.address,
            "entity": caller.entity,
            "roles": caller.roles,
            "unlimited": caller.unlimited,
            "control": caller.control,
        });
        print(&shown.to_string())?;
    } else {
        let kept = profiles.path(&name);
        print(&format!(
            "{}\nkept as the profile `{name}` ({}):  mainstay status --profile {name}",
            greeting(&machine, &caller),
            kept.display()
        ))?;
    }
    Ok(Exit::Done)
}

/// Runs `mainstay logout`.
///
/// # Errors
/// There is no such profile (2), or the disk refuses (1).
pub fn logout(arguments: &LogoutArguments) -> Result<Exit, CliError> {
    Profiles::of_user()?.remove(&arguments.name)?;
    print(&format!("the profile `{}` is forgotten", arguments.name))?;
    Ok(Exit::Done)
}

fn profile_name(arguments: &LoginArguments, address: &str) -> Result<ProfileName, CliError> {
    if let Some(name) = &arguments.name {
        return Ok(name.clone());
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_matches(['[', ']']).replace(':', "-");
    host.parse()
        .map_err(|_| CliError::usage(format!("`{host}` is no name for a profile: give one by --name NAME")))
}

fn greeting(machine: &NetworkMachine, caller: &WhoAmIResponse) -> String {
    let address = &machine.address;
    let rights = match (caller.unlimited, caller.roles.as_slice()) {
        (true, []) => "may do everything: the config has no roles".to_owned(),
        (true, roles) => format!("{}, may do everything", roles_text(roles)),
        (false, roles) => roles_text(roles),
    };
    match (&machine.key, caller.entity.as_str()) {
        (None, _) => format!("the machine at {address} asks nobody who they are"),
        // Another server, which knows keys and tells no rights.
        (Some(key), "") => format!("logged in to {address} as `{}`", key.id()),
        (Some(_), entity) => format!("logged in to {address} as `{}` ({rights})", plain(entity)),
    }
}

/// Who we are to the machine; `None` if it wants to know first. A certificate that is not trusted is shown, and trusted if somebody
/// says so.
async fn who_am_i(machine: &mut NetworkMachine) -> Result<Option<WhoAmIResponse>, CliError> {
    let connection = match connect(machine).await {
        Err(DialFailure::Untrusted(why)) if machine.ca.is_none() => {
            machine.ca = Some(ask_to_trust(&machine.address, &why).await?);
            connect(machine).await
        }
        connected => connected,
    };
    let connection = connection.map_err(|failure| refusal(&machine.address, failure))?;
    let told = timeout(PATIENCE, connection.who_am_i()).await;
    match told.map_err(|_| refusal(&machine.address, DialFailure::Unreachable("no answer".to_owned())))? {
        Ok(caller) => Ok(Some(caller)),
        Err(status) if status.code() == Code::Unauthenticated && machine.key.is_none() => match status.message() {
            // Those who are elsewhere and can prove nothing.
            text if text.contains("on its own host only") => Err(status.into()),
            _ => Ok(None),
        },
        Err(status) if status.code() == Code::Unimplemented => Ok(Some(WhoAmIResponse::default())),
        Err(status) => Err(status.into()),
    }
}

async fn connect(machine: &NetworkMachine) -> Result<MachineConnection, DialFailure> {
    let connecting = timeout(PATIENCE, MachineConnection::network(machine)).await;
    connecting.unwrap_or_else(|_| Err(DialFailure::Unreachable("no answer".to_owned())))
}

/// The key to show: the one that is given, else, if one is `needed`, that of the environment, or what somebody types.
async fn key(arguments: &LoginArguments, needed: bool) -> Result<Option<ApiKey>, CliError> {
    let read = |line: &str| line.trim().parse().map_err(|problem: &str| CliError::usage(problem));
    match &arguments.api_key {
        Some(GivenKey::Written(key)) => return Ok(Some(key.clone())),
        Some(GivenKey::StandardInput) => {
            let mut line = String::new();
            let typed = io::stdin().lock().read_line(&mut line);
            typed.map_err(|error| CliError::wrong(format!("standard input cannot be read: {error}")))?;
            return read(&line).map(Some);
        }
        None if !needed => return Ok(None),
        None => {}
    }
    if let Some(key) = ApiKey::from_environment()? {
        return Ok(Some(key));
    }
    let asked = tokio::task::spawn_blocking(|| secret_prompt::ask("API key (ID:KEY): ")).await;
    let asked = asked.map_err(|error| CliError::wrong(error.to_string()))??;
    let line = asked.ok_or_else(|| {
        CliError::usage(
            "the machine wants an API key, and there is no terminal to ask on: give it by the variable MAINSTAY_API_KEY, or by `--api-key -` on standard input",
        )
    })?;
    read(&line).map(Some)
}

/// The authority that the arguments say is to be trusted, in PEM.
async fn trusted_authority(arguments: &LoginArguments, address: &str) -> Result<Option<String>, CliError> {
    if let Some(file) = &arguments.ca {
        return authority_in(file).map(Some);
    }
    let Some(wanted) = &arguments.fingerprint else {
        return Ok(None);
    };
    let wanted = hex(wanted).ok_or_else(|| {
        CliError::usage("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons between them")
    })?;
    let shown = chain(address).await?;
    let found = shown
        .iter()
        .find(|certificate| hex(&fingerprint(certificate)).as_ref() == Some(&wanted));
    found.map(|certificate| Some(pem(certificate))).ok_or_else(|| {
        let known: Vec<_> = shown.iter().map(|certificate| format!("\n  {}", fingerprint(certificate))).collect();
        CliError::wrong(format!(
            "the machine at {address} shows no certificate of this fingerprint; somebody may be between you and it. What is shown has:{}",
            known.concat()
        ))
    })
}

fn authority_in(file: &Path) -> Result<String, CliError> {
    let bytes = std::fs::read(file)
        .map_err(|error| CliError::wrong(format!("`{}` cannot be read: {error}", file.display())))?;
    match CertificateDer::from_pem_slice(&bytes) {
        Ok(certificate) => Ok(pem(&certificate)),
        Err(_) => Err(CliError::wrong(format!(
            "`{}` holds no certificate in PEM; on the machine's host `mainstay keys ca` prints it",
            file.display()
        ))),
    }
}

/// Certificates that the machine shows.
async fn chain(address: &str) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let shown = timeout(PATIENCE, async {
        presented_chain(&lookup_either(address).await?).await
    })
    .await;
    let shown = shown.unwrap_or_else(|_| Err(DialError::Tls("no handshake in time".to_owned())));
    let shown = shown.map_err(|error| refusal(address, error.into()))?;
    shown.filter(|chain| !chain.is_empty()).ok_or_else(|| {
        CliError::wrong(format!(
            "the machine at {address} speaks no TLS, so it shows no certificate; in a network that is trusted: --insecure"
        ))
    })
}

/// Shows the authority of an untrusted certificate, and asks whether to trust it from now on. Never trusts by itself.
async fn ask_to_trust(address: &str, why: &str) -> Result<String, CliError> {
    let shown = chain(address).await?;
    let [own, .., last] = &shown[..] else {
        return Err(CliError::wrong(format!(
            "{why}\n  it shows its own certificate alone: give that of the authority by --ca FILE"
        )));
    };
    let (own, issuer) = (CertificateInfo::of(own), CertificateInfo::of(last));
    let (Some(own), Some(issuer)) = (own, issuer) else {
        return Err(CliError::wrong(why));
    };
    let print_of_it = fingerprint(last);
    let names = own
        .names
        .iter()
        .cloned()
        .chain(own.addresses.iter().map(ToString::to_string));
    let names: Vec<_> = names.collect();
    let complaint = own
        .complaint(SystemTime::now())
        .map(|text| format!(", which {text}"))
        .unwrap_or_default();
    note(&format!(
        "nobody here trusts the certificate of the machine at {address}\n  it is for       {}, until {}{complaint}\n  signed by       {}\n  fingerprint of  {print_of_it}\n  that authority",
        plain(&names.join(", ")),
        date(own.not_after),
        plain(&issuer.subject)
    ));
    let cure = format!(
        "compare the fingerprint with what `mainstay keys ca` says on the machine's host, then:\n  mainstay login {address} --fingerprint {print_of_it}\n  or give the authority's certificate: --ca FILE"
    );
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(CliError::wrong(format!("the certificate is not trusted; {cure}")));
    }
    let _gone = write!(
        io::stderr(),
        "Is it the one that `mainstay keys ca` shows on the machine's host? Trust it? [y/N] "
    );
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.map_err(|error| CliError::wrong(format!("no answer can be read: {error}")))?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(pem(last)),
        _ => Err(CliError::wrong("not trusted; nothing was kept")),
    }
}

/// The digits of a fingerprint alone, in one case. `None` if it is none of SHA-256.
fn hex(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.trim_start_matches("sha256").trim_start_matches([':', '=', ' ']);
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    (digits.len() == 64 && digits.chars().all(|c| c.is_ascii_hexdigit())).then_some(digits)
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let lines = encoded.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines: Vec<_> = lines.collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

/// Lists the profiles, those that must not be used with the reason.
fn list(profiles: &Profiles, as_json: bool) -> Result<Exit, CliError> {
    let all: Vec<_> = profiles
        .names()?
        .into_iter()
        .map(|name| (profiles.read(&name), name))
        .collect();
    let trusts = |machine: &NetworkMachine| match (machine.insecure, &machine.ca) {
        (true, _) => "nothing: cleartext",
        (false, Some(_)) => "its own authority",
        (false, None) => "the system's authorities",
    };
    if as_json {
        let listed = all.iter().map(|(machine, name)| match machine {
            Ok(machine) => json!({
                "profile": name.to_string(),
                "address": machine.address,
                "key_id": machine.key.as_ref().map(ApiKey::id),
                "trusts": trusts(machine),
                "insecure": machine.insecure,
                "error": null,
            }),
            Err(failure) => json!({ "profile": name.to_string(), "error": failure.message }),
        });
        print(&listed.collect::<Value>().to_string())?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        print("no profiles: `mainstay login ADDRESS` keeps one")?;
        return Ok(Exit::Done);
    }
    let mut table = TextTable::new(["PROFILE", "ADDRESS", "KEY", "TRUSTS"]);
    for (machine, name) in &all {
        match machine {
            Ok(machine) => table.row([
                name.to_string().into(),
                plain(&machine.address).into(),
                machine
                    .key
                    .as_ref()
                    .map_or("–".to_owned(), |key| plain(key.id()))
                    .into(),
                trusts(machine).into(),
            ]),
            Err(failure) => note(&format!("`{name}` is not used: {}", failure.message)),
        }
    }
    print(&table.lines(Style::stdout()).join("\n"))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_however_tools_write_it() {
        let digits = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        for text in [
            digits.clone(),
            colons.clone(),
            format!("SHA256:{digits}"),
            format!("sha256 Fingerprint={colons}").replace(" Fingerprint", ""),
        ] {
            assert_eq!(hex(&text), Some(digits.clone()), "{text}");
        }
        for bad in ["", "ab", &"zz".repeat(32), &"ab".repeat(20)] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn who_logged_in_is_told_with_their_rights() {
        let machine = |key: Option<&str>| NetworkMachine {
            address: "rover:8080".to_owned(),
            key: key.and_then(|key| key.parse().ok()),
            ..NetworkMachine::default()
        };
        let caller = |entity: &str, roles: &[&str], unlimited| WhoAmIResponse {
            entity: entity.to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            unlimited,
            ..WhoAmIResponse::default()
        };
        for (key, caller, expected) in [
            (
                None,
                caller("", &[], true),
                "the machine at rover:8080 asks nobody who they are",
            ),
            (Some("a:b"), caller("", &[], false), "logged in to rover:8080 as `a`"),
            (
                Some("a:b"),
                caller("a", &["viewer"], false),
                "logged in to rover:8080 as `a` (role viewer)",
            ),
            (
                Some("a:b"),
                caller("a", &["owner"], true),
                "logged in to rover:8080 as `a` (role owner, may do everything)",
            ),
            (
                Some("a:b"),
                caller("a", &[], true),
                "logged in to rover:8080 as `a` (may do everything: the config has no roles)",
            ),
            (
                Some("a:b"),
                caller("a", &[], false),
                "logged in to rover:8080 as `a` (in no role)",
            ),
        ] {
            assert_eq!(greeting(&machine(key), &caller), expected);
        }
    }

    #[test]
    fn a_certificate_is_written_as_others_read_it() {
        let der = CertificateDer::from((0..=255).collect::<Vec<u8>>());
        let read = CertificateDer::from_pem_slice(pem(&der).as_bytes()).expect("PEM");
        assert_eq!(read, der);
    }
}
