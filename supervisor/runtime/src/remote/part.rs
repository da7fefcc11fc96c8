//! Connection of a main part to a sub-part: both sides prove that they are parts of one machine, and the key of the other is the
//! one that its certificate was issued for. On it the main part says what concerns the part itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use mainstay_dial::{
    DialError, Encryption, Fallback, Found, Stream, TlsSettings, dial_found, lookup, peer_certificate,
};
use mainstay_model::Remote;
use mainstay_model::membership::PartLink;
use mainstay_parts::folder::PartFolder;
use mainstay_pki::files;
use mainstay_pki::part::key_digest;
use mainstay_proto::frames::MAX_MESSAGE_LEN;
use mainstay_proto::mainstay::parts::v1::FollowRequest;
use mainstay_proto::mainstay::parts::v1::part_service_client::PartServiceClient;
use mainstay_proxy::upstream::Upstream;
use tonic::Status;

use super::link::Link;
use super::{CONNECT_TIMEOUT, within};

/// How much earlier the address that is known is tried.
const HEAD_START: Duration = Duration::from_millis(500);

/// Client of a sub-part, on a connection of its own. The error is for people.
///
/// # Errors
/// It is not reached, or the computer there is not this part.
pub async fn part_client(remote: &Remote) -> Result<PartServiceClient<Upstream>, String> {
    let authority = Authority::try_from(remote.address.as_str())
        .map_err(|_| format!("its address `{}` is none: write host:port", remote.address))?;
    let (link, _requests) = Link::new(remote);
    let connecting = Upstream::connect_link(Arc::new(link), authority);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
    let upstream = connected.map_err(|_| format!("no connection within {CONNECT_TIMEOUT:?}"))?;
    let upstream = upstream.map_err(|error| error.to_string())?;
    Ok(PartServiceClient::new(upstream).max_encoding_message_size(MAX_MESSAGE_LEN))
}

/// Checks that a part is reached as this computer's sub-part. The error is for people.
///
/// # Errors
/// It is not.
pub async fn reach(remote: &Remote) -> Result<(), String> {
    part_client(remote).await.map(drop)
}

/// Has a sub-part follow this main part, and no earlier one.
///
/// # Errors
/// Its status: it follows a later one, or cannot write it down.
pub async fn follow(upstream: Upstream) -> Result<(), Status> {
    within(PartServiceClient::new(upstream).follow(FollowRequest {}))
        .await
        .map(drop)
}

/// Opens a connection at the address where the part was last, or where the local network says that it is now. The error is for
/// people.
pub(super) async fn dial(address: &str, part: &PartLink) -> Result<Stream, String> {
    let tls = tls(part).await?;
    let known = async {
        match lookup(address).await {
            Ok(found) => open(&found, part, &tls).await,
            Err(error) => Err(error.to_string()),
        }
    };
    let Some(instance) = &part.instance else {
        return known.await;
    };
    let elsewhere = async {
        tokio::time::sleep(HEAD_START).await;
        let found = lookup(instance).await.map_err(|error| error.to_string())?;
        open(&found, part, &tls).await
    };
    tokio::pin!(known, elsewhere);
    // Of two that fail, what is wrong at the address that it had says more.
    tokio::select! {
        known = &mut known => match known {
            Ok(stream) => Ok(stream),
            Err(cause) => elsewhere.await.map_err(|_| cause),
        },
        elsewhere = &mut elsewhere => match elsewhere {
            Ok(stream) => Ok(stream),
            Err(_) => known.await,
        },
    }
}

async fn open(found: &Found, part: &PartLink, tls: &TlsSettings) -> Result<Stream, String> {
    let (stream, _) = match dial_found(found, Encryption::On, Fallback::Never, tls).await {
        Ok(dialled) => dialled,
        Err(DialError::Cleartext) => return Err("the computer there is no part of any machine".to_owned()),
        Err(DialError::Untrusted(cause)) => {
            return Err(format!("the computer there is not this part of this machine ({cause})"));
        }
        Err(error) => return Err(error.to_string()),
    };
    let shown = peer_certificate(&stream).and_then(key_digest);
    match shown.is_some_and(|key| key == part.key) {
        true => Ok(stream),
        false => Err("the computer there was replaced by another, or removed".to_owned()),
    }
}

/// TLS as this part speaks it, from its files.
async fn tls(part: &PartLink) -> Result<TlsSettings, String> {
    let folder = PartFolder::at(part.folder.clone());
    let read = move || {
        let read =
            |path: PathBuf| files::read(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()));
        let (authority, own) = (read(folder.authority_file())?, read(folder.main_certificate_file())?);
        TlsSettings::new(Some(&authority), Some((&own, &own))).map_err(|error| error.to_string())
    };
    let tls = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| error.to_string())??;
    Ok(tls.named(Some(part.server_name.clone())))
}
