//! Certificates that clients are shown: loaded before a config is applied, taken up again when their files change, and renewed
//! where they are the machine's own. Connections that are open keep what they began with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use mainstay_config::certificate::cure;
use mainstay_model::{Config, Tls, network_name};
use mainstay_parts::folder::PartFolder;
use mainstay_pki::authority::{self, Authority, AuthorityError};
use mainstay_pki::certificate::{CertificateInfo, Validity, date};
use mainstay_pki::pair::{CertificatePair, PairError};
use mainstay_pki::{part, server};
use mainstay_proxy::tls::{TlsServer, TlsSettings};
use rustls::pki_types::CertificateDer;
use tracing::{info, warn};

use crate::module::file_mark::FileMark;

/// Pause between two looks at the files. Rarely enough to let the processor sleep.
const LOOK: Duration = Duration::from_secs(3);
/// Looks between two that ask the host for its names and addresses.
const HOST_LOOKS: u32 = 20;
/// Rest of a certificate's life at which a person is told.
const END_IS_NEAR: Duration = Duration::from_secs(14 * 86_400);

/// Wish of a config for what clients are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    tls: Tls,
    /// Name of the machine, besides those of the host.
    fqdn: String,
    /// Config of the machine, of which it has a name where `fqdn` is none.
    config: PathBuf,
    /// Clients may show a certificate, too.
    asks_clients: bool,
    /// Files of a sub-part, whose main part comes by TLS whatever other clients do.
    part: Option<PathBuf>,
}

impl Wanted {
    /// Wish of `config`.
    pub fn of(config: &Config) -> Self {
        Self {
            tls: config.network.tls_in_force().clone(),
            fqdn: config.network.fqdn.clone(),
            config: config.path.clone(),
            asks_clients: !config.auth.tls_auth_entities.is_empty(),
            part: config
                .membership
                .as_ref()
                .filter(|membership| !membership.is_main())
                .map(|membership| membership.folder.clone()),
        }
    }
}

/// Certificate that was loaded, and can be shown.
#[derive(Debug, Clone)]
pub struct LoadedCertificate {
    server: Arc<TlsServer>,
    info: Arc<CertificateInfo>,
    marks: Vec<Option<FileMark>>,
}

/// Failure to load a certificate.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The machine's own keys cannot be used.
    #[error(transparent)]
    Own(#[from] AuthorityError),
    /// The files cannot be used.
    #[error(transparent)]
    Files(#[from] PairError),
    /// TLS refuses what they hold.
    #[error("TLS cannot be served with it: {0}")]
    Settings(#[from] rustls::Error),
}

/// Loads what is wanted; `None`: cleartext. Renews the machine's own certificate if it is time. Blocks.
///
/// # Errors
/// It cannot be shown.
pub fn load(wanted: &Wanted, own: &Authority, now: SystemTime) -> Result<Option<LoadedCertificate>, LoadError> {
    let client_ca = match own.exists() {
        true if wanted.asks_clients => Some(own.ca()?),
        false if wanted.asks_clients && wanted.tls != Tls::None => {
            warn!(
                "no client is asked for a certificate, because no CA could have signed one: make it with `mainstay keys init`"
            );
            None
        }
        _ => None,
    };
    // Before the files are read: what changes meanwhile is seen at the next look.
    let (marks_before, pair) = match &wanted.tls {
        Tls::None => (marks(wanted, own), None),
        Tls::Files { certificate, key } => (marks(wanted, own), Some(CertificatePair::read(certificate, key)?)),
        Tls::Own => {
            let told = network_name(&wanted.fqdn, &wanted.config, &authority::host_name());
            let pair = own.machine(&authority::hosts(&wanted.fqdn, &told), now)?;
            (marks(wanted, own), Some(pair))
        }
    };
    let part = wanted.part.as_deref().and_then(of_part);
    let (part, part_ca) = part.unzip();
    let cas: Vec<_> = client_ca.into_iter().chain(part_ca).collect();
    let cleartext = pair.is_none();
    let Some(pair) = pair.or_else(|| part.clone()) else {
        return Ok(None);
    };
    Ok(Some(LoadedCertificate {
        server: Arc::new(TlsServer {
            config: server::settings(&pair, part.as_ref(), &cas)?,
            cleartext,
        }),
        info: pair.info.into(),
        marks: marks_before,
    }))
}

/// Certificate of a sub-part, and the authority of its machine. Without them the main part does not come in, which costs nobody else
/// anything.
fn of_part(folder: &Path) -> Option<(CertificatePair, CertificateDer<'static>)> {
    let folder = PartFolder::at(folder.to_owned());
    let (certificate, authority) = (folder.certificate_file(), folder.authority_file());
    let read = || {
        Ok::<_, PairError>((
            CertificatePair::read(&certificate, &certificate)?,
            part::authority(&authority)?,
        ))
    };
    read()
        .inspect_err(|error| warn!("the main part cannot reach this one: {error}; join its machine anew"))
        .ok()
}

/// Files that the certificate is in.
fn files(wanted: &Wanted, own: &Authority) -> Vec<PathBuf> {
    let part = wanted
        .part
        .iter()
        .map(|folder| PartFolder::at(folder.clone()).certificate_file());
    let mut files: Vec<_> = part.collect();
    match &wanted.tls {
        Tls::None => {}
        Tls::Files { certificate, key } => files.extend([certificate.clone(), key.clone()]),
        Tls::Own => files.extend([own.machine_file(), own.ca_file()]),
    }
    files
}

fn marks(wanted: &Wanted, own: &Authority) -> Vec<Option<FileMark>> {
    files(wanted, own).iter().map(|file| FileMark::of(file).ok()).collect()
}

/// Certificate that is shown now, for the status.
#[derive(Clone, Debug, Default)]
pub struct ShownCertificate(Arc<ArcSwapOption<CertificateInfo>>);

impl ShownCertificate {
    /// Text for people: `TLS, certificate of rover.local until 2027-01-31`; empty for cleartext.
    pub fn text(&self) -> String {
        self.0.load().as_deref().map(described).unwrap_or_default()
    }
}

fn described(info: &CertificateInfo) -> String {
    let until = date(info.not_after);
    match info.validity(SystemTime::now()) {
        Validity::Valid => format!("TLS, certificate of {} until {until}", info.label()),
        Validity::NotYetValid => {
            let from = date(info.not_before);
            format!("TLS, certificate of {} NOT VALID BEFORE {from}", info.label())
        }
        Validity::Expired => format!("TLS, certificate of {} EXPIRED ON {until}", info.label()),
    }
}

/// Certificate of all ports.
#[derive(Debug)]
pub struct Certificates {
    /// The machine's own keys.
    own: Arc<Authority>,
    settings: TlsSettings,
    shown: ShownCertificate,
    /// What was loaded since the last commit, for the way back. The last one is shown.
    loaded: Vec<(Wanted, Option<LoadedCertificate>)>,
}

impl Certificates {
    /// Cleartext, until something else is shown.
    pub fn new(own: Authority, settings: TlsSettings, shown: ShownCertificate) -> Self {
        Self {
            own: Arc::new(own),
            settings,
            shown,
            loaded: Vec::new(),
        }
    }

    /// Loads what is wanted, on a thread that may block. `None`: it is shown already, or was since the last commit.
    pub fn load(
        &self,
        wanted: Wanted,
    ) -> impl Future<Output = Result<Option<Option<LoadedCertificate>>, LoadError>> + use<> {
        // Where the files of a part could not be used, they may have been replaced meanwhile.
        let usable = |loaded: &Option<LoadedCertificate>| loaded.is_some() || wanted.part.is_none();
        let known = self
            .loaded
            .iter()
            .any(|(known, loaded)| *known == wanted && usable(loaded));
        let own = self.own.clone();
        async move {
            if known {
                return Ok(None);
            }
            let loading = tokio::task::spawn_blocking(move || load(&wanted, &own, SystemTime::now()));
            let loaded = loading
                .await
                .map_err(|broken| rustls::Error::General(broken.to_string()))?;
            loaded.map(Some)
        }
    }

    /// Shows what is wanted to the clients that come now. `loaded`: as it was loaded, if it is new. Gives the task that keeps it
    /// up to date, if there is anything to keep; it ends when something else is shown.
    pub fn show(
        &mut self,
        wanted: Wanted,
        loaded: Option<Option<LoadedCertificate>>,
    ) -> Option<impl Future<Output = ()> + Send + use<>> {
        if loaded.is_none() && self.loaded.last().is_some_and(|(shown, _)| *shown == wanted) {
            return None;
        }
        let known = self.loaded.iter().position(|(known, _)| *known == wanted);
        let earlier = known.map(|at| self.loaded.remove(at).1);
        let certificate = loaded.or(earlier)?;
        let keeper = Keeper {
            wanted: wanted.clone(),
            own: self.own.clone(),
            settings: self.settings.clone(),
            shown: self.shown.clone(),
        };
        keeper.show(certificate.as_ref());
        self.loaded.push((wanted, certificate.clone()));
        let certificate = certificate?;
        Some(async move { keeper.run(certificate).await })
    }

    /// Forgets what is not shown.
    pub fn settle(&mut self) {
        let shown = self.loaded.pop();
        self.loaded = shown.into_iter().collect();
    }
}

/// Keeper of one certificate.
#[derive(Debug)]
struct Keeper {
    wanted: Wanted,
    own: Arc<Authority>,
    settings: TlsSettings,
    shown: ShownCertificate,
}

impl Keeper {
    fn show(&self, certificate: Option<&LoadedCertificate>) {
        self.settings
            .set(certificate.map(|certificate| certificate.server.clone()));
        let shown = certificate.filter(|certificate| !certificate.server.cleartext);
        self.shown.0.store(shown.map(|certificate| certificate.info.clone()));
    }

    /// Looks at the files for as long as this certificate is shown, and takes them up again.
    async fn run(self, mut certificate: LoadedCertificate) {
        let mut failed = Failed::default();
        let mut condition = Condition::Good;
        for look in 1_u32.. {
            let now = SystemTime::now();
            let before = std::mem::replace(&mut condition, Condition::of(&certificate.info, now));
            condition.tell(before, &certificate.info, now);
            tokio::time::sleep(LOOK).await;
            let is_ours = |server: Arc<TlsServer>| Arc::ptr_eq(&server, &certificate.server);
            if !self.settings.get().is_some_and(is_ours) {
                return;
            }
            let (wanted, own, asks_host) = (self.wanted.clone(), self.own.clone(), look % HOST_LOOKS == 0);
            let (info, seen) = (certificate.info.clone(), certificate.marks.clone());
            let looking = tokio::task::spawn_blocking(move || {
                let now = SystemTime::now();
                let marks = marks(&wanted, &own);
                // Asked for the time alone as often as for the files: a clock may be set.
                let due = wanted.tls == Tls::Own && (asks_host || authority::is_due(&info, None, now));
                (marks != seen || due).then(|| (marks, load(&wanted, &own, now)))
            });
            let before = certificate.info.clone();
            match looking.await {
                Ok(None) => failed = Failed::default(),
                Ok(Some((_, Ok(Some(loaded))))) => {
                    failed = Failed::default();
                    if *loaded.info != *before {
                        info!(
                            "new connections are shown another certificate: {}",
                            described(&loaded.info)
                        );
                    }
                    certificate = loaded;
                    self.show(Some(&certificate));
                }
                Ok(Some((marks, Err(error)))) => {
                    // Two files are hardly ever replaced at once.
                    if failed.is_lasting(&marks) {
                        warn!("the certificate that clients are shown stays the one from before: {error}");
                    }
                }
                Ok(Some((_, Ok(None)))) | Err(_) => {}
            }
        }
    }
}

/// Files that could not be used, and how often in a row.
#[derive(Default)]
struct Failed {
    marks: Vec<Option<FileMark>>,
    times: u32,
}

impl Failed {
    /// Counts; true once for each state of the files, when it was the same twice.
    fn is_lasting(&mut self, marks: &[Option<FileMark>]) -> bool {
        if self.marks != marks {
            self.marks = marks.to_vec();
            self.times = 0;
        }
        self.times = self.times.saturating_add(1);
        self.times == 2
    }
}

/// Condition of a certificate, as far as somebody has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    Good,
    NearItsEnd,
    DoesNotCount(Validity),
}

impl Condition {
    fn of(info: &CertificateInfo, now: SystemTime) -> Self {
        match info.validity(now) {
            Validity::Valid if now + END_IS_NEAR > info.not_after => Self::NearItsEnd,
            Validity::Valid => Self::Good,
            other => Self::DoesNotCount(other),
        }
    }

    /// Warns, unless the certificate is good or nothing has changed.
    fn tell(self, before: Self, info: &CertificateInfo, now: SystemTime) {
        match self {
            _ if self == before => {}
            Self::Good => {}
            Self::NearItsEnd => warn!("the certificate of {} ends on {}", info.label(), date(info.not_after)),
            Self::DoesNotCount(_) => {
                let complaint = info.complaint(now).unwrap_or_default();
                warn!("the certificate of {} {complaint}: {}", info.label(), cure(info, now));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_the_files_is_told_when_it_lasts_and_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = |content: &str| {
            let file = folder.path().join("file");
            std::fs::write(&file, content).expect("written");
            vec![FileMark::of(&file).ok()]
        };
        let mut failed = Failed::default();
        let first = mark("one");
        assert_eq!([(); 4].map(|()| failed.is_lasting(&first)), [false, true, false, false]);
        let second = mark("other");
        assert_eq!([(); 3].map(|()| failed.is_lasting(&second)), [false, true, false]);
    }

    #[test]
    fn what_was_shown_before_a_change_is_there_for_the_way_back_until_it_is_settled() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = Authority::at(folder.path().join("keys"));
        let now = SystemTime::now();
        let config = |tls| {
            let mut config = Config::empty(folder.path());
            config.network.tls = tls;
            Wanted::of(&config)
        };
        let (clear, with_tls) = (config(Tls::None), config(Tls::Own));
        let missing = load(&with_tls, &own, now).expect_err("nothing was made");
        assert!(missing.to_string().starts_with("there are no keys in"), "{missing}");
        own.init("rover", &["rover".to_owned()], now).expect("made");
        let settings = TlsSettings::default();
        let shown = ShownCertificate::default();
        let mut certificates = Certificates::new(own.clone(), settings.clone(), shown.clone());
        assert!(certificates.show(clear.clone(), Some(None)).is_none());
        assert!(settings.get().is_none() && shown.text().is_empty());
        let loaded = load(&with_tls, &own, now).expect("it is there");
        assert!(certificates.show(with_tls.clone(), Some(loaded)).is_some());
        assert!(settings.get().is_some() && shown.text().starts_with("TLS, certificate of "));
        // Back, and forward again.
        assert!(certificates.show(clear.clone(), None).is_none());
        assert!(settings.get().is_none());
        assert!(certificates.show(with_tls, None).is_some());
        assert!(settings.get().is_some());
        certificates.settle();
        assert!(certificates.show(clear, None).is_none());
        assert!(settings.get().is_some(), "what is not loaded is not shown");
    }
}
