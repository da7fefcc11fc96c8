//! Builder of a connection to a machine: address, encryption, proof of who the program is, patience.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use mainstay_dial::{Credentials, Encryption, Fallback, TlsSettings, bearer, with_port};

use super::{
    Robot,
    connection::Connection,
    managed::{Managed, Proof},
    reconnect,
    transport::Endpoint,
};
use crate::{Error, Result, address::Address};

/// Connection to a machine that is to be made. `.await` makes it.
///
/// ```no_run
/// # use mainstay_module::prelude::*;
/// # async fn connect() -> Result<()> {
/// let robot = Robot::connect("10.0.0.7:8080").api_key("3f0b6d9e-8a57-4a41-9a5e-0f6f3c1d7a10", "its secret").await?;
/// # Ok(())
/// # }
/// ```
///
/// **Encryption.** To a machine on the network TLS is spoken (feature `tls`), and its certificate must be signed by who is
/// trusted: the system's authorities, or those given here. A machine on this host may speak cleartext instead, unless an
/// authority or a certificate is given; beyond it [`insecure`](Self::insecure) is the only way to cleartext, with keys
/// and without. A UNIX socket needs no encryption.
///
/// **Sessions.** The first call that sets something moving begins a session, which is kept alive while the connection or a
/// client that was handed out lives. When the program ends, is killed or blocks its runtime for longer than the machine's
/// `heartbeat_window` (mostly two seconds), the machine stops what it moved.
///
/// **Losses.** A lost connection is made again by itself, with growing pauses of up to 5 s, for all clients that were handed
/// out. Calls meanwhile fail at once with UNAVAILABLE and the reason, or wait as long as [`wait`](Self::wait) says. Calls in
/// flight fail: nobody knows how far they came.
#[must_use = "it connects when it is awaited"]
pub struct Connect {
    address: String,
    proof: Proof,
    /// Entity of a location secret, if it is not the address.
    entity: Option<String>,
    insecure: bool,
    sessions: bool,
    patience: Duration,
    tls: TlsGiven,
    /// First thing that is wrong with what was given.
    problem: Option<Error>,
}

/// What was given for TLS, as PEM.
#[derive(Default)]
struct TlsGiven {
    authorities: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl Connect {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            proof: Proof::None,
            entity: None,
            insecure: false,
            sessions: true,
            patience: Duration::ZERO,
            tls: TlsGiven::default(),
            problem: None,
        }
    }

    /// Shows an API key: its id and its secret.
    pub fn api_key(mut self, id: &str, key: &str) -> Self {
        self.proof = Proof::Credentials(Credentials::api_key(id, key));
        self
    }

    /// Shows a location secret (`robot-location-secret`), for the name that is dialled or that [`entity`](Self::entity)
    /// gives.
    pub fn location_secret(mut self, secret: &str) -> Self {
        self.proof = Proof::Credentials(Credentials {
            entity: String::new(),
            kind: "robot-location-secret".to_owned(),
            payload: secret.to_owned(),
        });
        self
    }

    /// Sets the name of the machine that a location secret is for, if it is not the address.
    pub fn entity(mut self, name: &str) -> Self {
        self.entity = Some(name.to_owned());
        self
    }

    /// Shows a token that somebody else has issued. It cannot be renewed here.
    pub fn bearer_token(mut self, token: &str) -> Self {
        match bearer(token) {
            Ok(header) => self.proof = Proof::Token(header),
            Err(_) => self.fail(Error::invalid_argument(
                "the token has characters that no header can carry",
            )),
        }
        self
    }

    /// Trusts the certificate authorities in this PEM text, and no others.
    #[cfg(feature = "tls")]
    pub fn ca_pem(mut self, pem: &str) -> Self {
        self.tls.authorities = Some(pem.as_bytes().to_vec());
        self
    }

    /// Trusts the certificate authorities in this PEM file, and no others. `mainstay keys ca CONFIG` prints that of a
    /// machine.
    #[cfg(feature = "tls")]
    pub fn ca_file(mut self, path: impl AsRef<std::path::Path>) -> Self {
        self.tls.authorities = self.read(path.as_ref());
        self
    }

    /// Shows a client certificate: PEM texts of its chain and of its key.
    #[cfg(feature = "tls")]
    pub fn client_certificate_pem(mut self, chain: &str, key: &str) -> Self {
        self.tls.identity = Some((chain.as_bytes().to_vec(), key.as_bytes().to_vec()));
        self
    }

    /// Shows a client certificate: PEM files of its chain and of its key, as `mainstay keys client` writes them.
    #[cfg(feature = "tls")]
    pub fn client_certificate(mut self, chain: impl AsRef<std::path::Path>, key: impl AsRef<std::path::Path>) -> Self {
        self.tls.identity = self.read(chain.as_ref()).zip(self.read(key.as_ref()));
        self
    }

    /// Sets the name that the machine's certificate must be for, if it is not the one that is dialled.
    #[cfg(feature = "tls")]
    pub fn server_name(mut self, name: &str) -> Self {
        self.tls.server_name = Some(name.to_owned());
        self
    }

    /// Speaks cleartext, API key included: for networks that are trusted.
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Moves things without a session: they go on when this program ends.
    pub fn without_sessions(mut self) -> Self {
        self.sessions = false;
        self
    }

    /// Lets each call wait this long for a connection that is down, and the first connection for a machine that is not there
    /// yet.
    pub fn wait(mut self, limit: Duration) -> Self {
        self.patience = limit;
        self
    }

    fn fail(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }

    #[cfg(feature = "tls")]
    fn read(&mut self, path: &std::path::Path) -> Option<Vec<u8>> {
        match std::fs::read(path) {
            Ok(text) => Some(text),
            Err(error) => {
                self.fail(Error::invalid_argument(format_args!(
                    "cannot read {}: {error}",
                    path.display()
                )));
                None
            }
        }
    }

    async fn open(self) -> Result<Robot> {
        let Self {
            address,
            mut proof,
            entity,
            insecure,
            sessions,
            patience,
            tls,
            problem,
        } = self;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let endpoint = endpoint(&address, insecure, tls).await?;
        if let Proof::Credentials(credentials) = &mut proof
            && let Some(name) = entity.or_else(|| credentials.entity.is_empty().then(|| endpoint.text()))
        {
            credentials.entity = name;
        }
        let connection = Connection::new(endpoint, Some(Managed::new(proof, sessions, patience)));
        reconnect::start(&connection).await?;
        Ok(Robot { connection })
    }
}

/// The way to an address: a socket by its path, anything else on the network.
async fn endpoint(address: &str, insecure: bool, given: TlsGiven) -> Result<Endpoint> {
    if address.is_empty() {
        return Err(Error::invalid_argument("the address of the machine is empty"));
    }
    if address.contains('/') && !address.starts_with("http://") || address.starts_with("unix:") {
        return Ok(Endpoint::Plain(Address::parse(address)));
    }
    let is_given = given.authorities.is_some() || given.identity.is_some() || given.server_name.is_some();
    if insecure && is_given {
        let text = "`.insecure()` speaks cleartext, so an authority, a client certificate and a server name are of no use: leave one of both out";
        return Err(Error::invalid_argument(text));
    }
    Ok(Endpoint::Network {
        address: with_port(address),
        encryption: if insecure { Encryption::Off } else { Encryption::On },
        fallback: if is_given { Fallback::Never } else { Fallback::Loopback },
        tls: settings(given).await?,
    })
}

#[cfg(feature = "tls")]
async fn settings(given: TlsGiven) -> Result<TlsSettings> {
    let TlsGiven {
        authorities,
        identity,
        server_name,
    } = given;
    // It may read the system's files.
    let read = crate::spawn_blocking(move || {
        let identity = identity.as_ref().map(|(chain, key)| (&**chain, &**key));
        TlsSettings::new(authorities.as_deref(), identity)
    });
    Ok(read.await?.map_err(Error::invalid_argument)?.named(server_name))
}

#[cfg(not(feature = "tls"))]
async fn settings(_: TlsGiven) -> Result<TlsSettings> {
    Ok(TlsSettings::default())
}

impl IntoFuture for Connect {
    type Output = Result<Robot>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Robot>> + Send>>;

    /// Connects.
    ///
    /// # Errors
    /// UNAVAILABLE if nobody answers there; UNAUTHENTICATED if the machine does not take the key, or wants one;
    /// FAILED_PRECONDITION if its certificate is not trusted, or it speaks cleartext alone; INVALID_ARGUMENT if what was given
    /// cannot be used.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for Connect {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("address", &self.address)
            .field("insecure", &self.insecure)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[tokio::test]
    async fn an_address_is_a_path_or_a_host() {
        for (text, network) in [
            ("/tmp/m.sock", None),
            ("./m.sock", None),
            ("unix:m.sock", None),
            ("10.0.0.7", Some("10.0.0.7:8080")),
            ("rover:9000", Some("rover:9000")),
            ("http://rover", Some("rover:8080")),
            ("::1", Some("[::1]:8080")),
        ] {
            let found = match endpoint(text, false, TlsGiven::default()).await.unwrap() {
                Endpoint::Plain(_) => None,
                Endpoint::Network { address, .. } => Some(address),
            };
            assert_eq!(found.as_deref(), network, "{text}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_refused_before_anybody_is_asked() {
        for connect in [
            Robot::connect(""),
            Robot::connect("127.0.0.1:1").bearer_token("a\nb"),
            Robot::connect("not a host:8080").insecure(),
        ] {
            let text = format!("{connect:?}");
            let error = connect.await.err().unwrap();
            assert!(
                matches!(error.code(), Code::InvalidArgument | Code::Unavailable),
                "{text}: {error:?}"
            );
        }
    }
}
