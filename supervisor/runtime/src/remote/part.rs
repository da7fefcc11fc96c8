//! Connection of a main part to a sub-part: both sides prove that they are parts of one machine, and the key of the other is the
//! one that its certificate was issued for.

use std::path::PathBuf;
use std::time::Duration;

use mainstay_dial::{
    DialError, Encryption, Fallback, Found, Stream, TlsSettings, dial_found, lookup, peer_certificate,
};
use mainstay_model::membership::PartLink;
use mainstay_parts::folder::PartFolder;
use mainstay_pki::files;
use mainstay_pki::part::key_digest;

/// How much earlier the address that is known is tried.
const HEAD_START: Duration = Duration::from_millis(500);

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
        let (authority, own) = (read(folder.authority_file())?, read(folder.certificate_file())?);
        TlsSettings::new(Some(&authority), Some((&own, &own))).map_err(|error| error.to_string())
    };
    let tls = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| error.to_string())??;
    Ok(tls.named(Some(part.server_name.clone())))
}
