//! The sections about connections: `network`, `auth`, `cloud`, `remotes`. Errors of the first two refuse the config: who may
//! come in, and where, must never be a guess.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay_model::{Auth, AuthHandler, Cloud, Network, Remote, Secret, SourceSpan, Span, Tunnel};

use crate::diagnostic::{Diagnostic, Severity};
use crate::entries::service_configs;
use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};
use crate::sections::SeenKeys;
use crate::values::duration_range;
use crate::{frame, keys, names};

/// Reads `network`; `whole` is the place to name for a key that is missing.
pub(super) fn network(reader: &mut Reader, keys: &Keys<'_>, whole: SourceSpan) -> Network {
    let mut network = Network::standard(whole);
    let Some(keys) = reader.map(keys, "network") else {
        return network;
    };
    if let Some(address) = reader.text(&keys, "bind_address").filter(|address| !address.is_empty()) {
        let span = keys.span_of("bind_address");
        network.bind_place = reader.source.place(span);
        address.clone_into(&mut network.bind_address);
        if let Err(cause) = check_address(address) {
            reader
                .error(span, format!("error validating bind_address: {cause}"))
                .help = Some("write host:port, like localhost:8080, or :8080 for all addresses".to_owned());
        }
    }
    network.fqdn = reader.text_or_empty(&keys, "fqdn");
    network.no_tls = reader.flag(&keys, "no_tls");
    let files = ["tls_cert_file", "tls_key_file"].map(|key| reader.text(&keys, key).filter(|path| !path.is_empty()));
    match files {
        [Some(certificate), Some(key)] => network.tls_files = Some((certificate.into(), key.into())),
        [None, None] => {}
        _ => {
            reader.error(keys.span, "must provide both tls_cert_file and tls_key_file");
        }
    }
    if let Some(window) = sessions(reader, &keys) {
        network.heartbeat_window = window;
    }
    network.tunnels = tunnels(reader, &keys);
    network
}

fn sessions(reader: &mut Reader, keys: &Keys<'_>) -> Option<Duration> {
    let keys = reader.map(keys, "sessions")?;
    let nanos = reader.nanoseconds(&keys, "heartbeat_window")?;
    // Zero is how peers say that nothing is set.
    if nanos == 0 {
        return None;
    }
    let window = u64::try_from(nanos).ok().map(Duration::from_nanos);
    if !window.is_some_and(|window| duration_range(&keys, "heartbeat_window").contains(&window)) {
        let [least, most] = keys.takes("heartbeat_window").range()?;
        let message = format!("heartbeat_window must be between [{least}, {most}]");
        reader.error(keys.span_of("heartbeat_window"), message);
    }
    window
}

fn tunnels(reader: &mut Reader, keys: &Keys<'_>) -> Vec<Tunnel> {
    let mut tunnels = Vec::new();
    for node in reader.list(keys, "traffic_tunnel_endpoints") {
        let Some(keys) = reader.keys(&keys::TUNNEL, node) else {
            continue;
        };
        // Zero is how peers say that nothing is set.
        let connection_timeout = match keys.get("connection_timeout") {
            Some(_) => reader.interval(&keys, "connection_timeout"),
            None => Duration::ZERO,
        };
        if keys.get("port").is_none() {
            reader.error(keys.span, "a tunnel needs a `port` between 1 and 65535");
        }
        tunnels.extend(reader.whole(&keys, "port").map(|port| Tunnel {
            port,
            connection_timeout,
        }));
    }
    tunnels
}

/// Checks `host:port`, in the words that peers know.
fn check_address(address: &str) -> Result<(), String> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .ok_or_else(|| format!("address {address}: missing port in address"))?,
        None => address
            .rsplit_once(':')
            .ok_or_else(|| format!("address {address}: missing port in address"))?,
    };
    if host.contains(':') && !address.starts_with('[') {
        return Err(format!("address {address}: too many colons in address"));
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') {
        return Err(format!("address {}: invalid host", address.escape_debug()));
    }
    match port.parse::<u16>() {
        Ok(_) if port.bytes().all(|byte| byte.is_ascii_digit()) => Ok(()),
        _ => Err(format!("address {}: invalid port", address.escape_debug())),
    }
}

/// Reads `auth`. Every error in it is refused, and nothing runs that asks for less.
pub(super) fn auth(reader: &mut Reader, keys: &Keys<'_>) -> Auth {
    let before = reader.diagnostics.len();
    let auth = handlers(reader, keys);
    let refused = |diagnostic: &&mut Diagnostic| diagnostic.severity == Severity::Refused;
    for diagnostic in reader.diagnostics[before..].iter_mut().filter(refused) {
        diagnostic.open = true;
    }
    auth
}

fn handlers(reader: &mut Reader, keys: &Keys<'_>) -> Auth {
    let mut auth = Auth::default();
    let Some(keys) = reader.map(keys, "auth") else {
        return auth;
    };
    let mut types: Vec<&str> = Vec::new();
    for node in reader.list(&keys, "handlers") {
        let Some(keys) = reader.keys(&keys::HANDLER, node) else {
            continue;
        };
        let kind = reader.text(&keys, "type").unwrap_or_default();
        let span = keys.span_of("type");
        if types.contains(&kind) {
            reader.error(span, format!("duplicate handler type \"{kind}\"")).help =
                Some("merge them into one".to_owned());
            continue;
        }
        types.push(kind);
        match kind {
            "" => {
                reader.error(span, "handler must have type").help = Some("for example `type: api-key`".to_owned());
            }
            "api-key" => auth.handlers.push(AuthHandler::ApiKeys(api_keys(reader, &keys))),
            "external" => {
                reader.error(span, "robot cannot issue external auth tokens");
            }
            _ => {
                reader
                    .error(
                        span,
                        format!("do not know how to handle auth for \"{}\"", kind.escape_debug()),
                    )
                    .help = Some("the type of a handler is `api-key`".to_owned());
            }
        }
    }
    auth.tls_auth_entities = reader
        .texts(&keys, "tls_auth_entities")
        .into_iter()
        .map(|(text, _)| text)
        .collect();
    if let Some(keys) = reader.map(&keys, "external_auth_config") {
        if let Some(node) = keys.get("jwks") {
            auth.external_jwks = reader.structure(&keys, "jwks");
            check_jwks(reader, node);
        } else {
            reader.error(keys.span, "must contain at least 1 key").help = Some("write jwks: {keys: [...]}".to_owned());
        }
    }
    auth
}

fn api_keys(reader: &mut Reader, keys: &Keys<'_>) -> BTreeMap<String, Secret> {
    let mut by_id = BTreeMap::new();
    let Some(node) = keys.get("config") else {
        reader.error(keys.span, "keys is required").help =
            Some("write config: {keys: [my-id], my-id: <key>}".to_owned());
        return by_id;
    };
    let mut ids: Vec<(&str, Span)> = Vec::new();
    for (key, span, value) in reader.any_keys("`config`", node) {
        match (key, &value.value) {
            ("keys", NodeValue::List(items)) => {
                ids = items
                    .iter()
                    .filter_map(|item| Some((reader.as_text("a key id", item)?, item.span)))
                    .collect();
            }
            ("keys", _) => {
                reader.wrong_type("`keys`", value, "a list");
            }
            ("key", _) => {}
            (id, NodeValue::Text(secret)) if !secret.is_empty() => {
                by_id.insert(id.to_owned(), Secret(secret.clone()));
            }
            // No quote and no type here: whatever it is, it stands where a key should.
            (id, _) => {
                reader.error(
                    span,
                    format!("the key of `{}` must be a text that is not empty", id.escape_debug()),
                );
            }
        }
    }
    if ids.is_empty() {
        reader.error(node.span, "keys is required").help = Some("list the ids, like `keys: [my-id]`".to_owned());
    } else if by_id.is_empty() {
        reader.error(node.span, "\"api-key\" handler requires non-empty API keys");
    }
    for (id, span) in ids {
        if !by_id.contains_key(id) {
            reader.warn(span, format!("there is no key for the id `{}`", id.escape_debug()));
        }
    }
    by_id
}

fn check_jwks(reader: &mut Reader, node: &TreeNode) {
    let entries = reader.any_keys("`jwks`", node);
    let Some((.., list)) = entries.iter().find(|(key, ..)| *key == "keys") else {
        reader.error(node.span, "must contain at least 1 key");
        return;
    };
    let NodeValue::List(items) = &list.value else {
        reader.wrong_type("`keys`", list, "a list");
        return;
    };
    if items.is_empty() {
        reader.error(list.span, "must contain at least 1 key");
    }
    for item in items {
        let text = |entries: &[(&str, Span, &TreeNode)], wanted: &str| {
            entries
                .iter()
                .find(|(key, ..)| *key == wanted)
                .and_then(|(.., node)| match &node.value {
                    NodeValue::Text(text) => Some(text.clone()),
                    _ => None,
                })
        };
        let entries = reader.any_keys("a key", item);
        if text(&entries, "kty").as_deref() != Some("RSA") {
            reader.error(item.span, "the keys of `jwks` must be RSA keys");
        } else if !matches!(text(&entries, "alg").as_deref(), Some("RS256" | "RS384" | "RS512")) {
            reader.error(item.span, "the `alg` of a key must be RS256, RS384 or RS512");
        }
    }
}

/// Reads `cloud`.
pub(super) fn cloud(reader: &mut Reader, keys: &Keys<'_>) -> Option<Cloud> {
    let keys = reader.map(keys, "cloud")?;
    let id = reader.text_or_empty(&keys, "id");
    if id.is_empty() {
        reader.error(keys.span, names::missing("id"));
    }
    let api_key = reader.map(&keys, "api_key").and_then(|keys| {
        let (id, key) = (reader.text_or_empty(&keys, "id"), reader.text_or_empty(&keys, "key"));
        (!id.is_empty() && !key.is_empty()).then_some((id, Secret(key)))
    });
    let secret = reader.text(&keys, "secret").filter(|secret| !secret.is_empty());
    let secret = secret.map(|secret| Secret(secret.to_owned()));
    if api_key.is_none() && keys.get("secret").is_none() {
        reader.error(keys.span, names::missing("api_key")).help = Some("it holds `id` and `key`".to_owned());
    }
    Some(Cloud {
        id,
        api_key,
        secret,
        app_address: reader.text_or_empty(&keys, "app_address"),
        refresh_interval: reader.interval(&keys, "refresh_interval"),
    })
}

/// Reads `remotes`.
pub(super) fn remotes(reader: &mut Reader, files: &[Keys<'_>]) -> Vec<Remote> {
    let mut seen = SeenKeys::default();
    reader.entries(files, "remotes", |reader, node| {
        let keys = reader.keys(&keys::REMOTE, node)?;
        let (name, address) = (
            reader.text_or_empty(&keys, "name"),
            reader.text_or_empty(&keys, "address"),
        );
        if let Err(message) = names::check_resource(&name) {
            reader.error_with(keys.span_of("name"), message, None);
        } else {
            seen.check(reader, "remote", &name, keys.span_of("name"));
        }
        if address.is_empty() {
            reader.error_with(keys.span, names::missing("address"), Some("write host:port"));
        }
        let frame = keys.get("frame").and_then(|node| {
            let frame = frame::frame(reader, node, &name);
            if frame == Ok(None) {
                reader.error_with(node.span, names::missing("frame.parent"), None);
            }
            frame.ok().flatten()
        });
        let (auth_entity, credentials) = remote_auth(reader, &keys);
        Some(Remote {
            name,
            address,
            frame,
            auth_entity,
            credentials,
            prefix: reader.text_or_empty(&keys, "prefix"),
            insecure: reader.flag(&keys, "insecure"),
            connection_check_interval: reader.interval(&keys, "connection_check_interval"),
            reconnect_interval: reader.interval(&keys, "reconnect_interval"),
            service_configs: service_configs(reader, &keys),
            fault: reader.take_fault(),
        })
    })
}

fn remote_auth(reader: &mut Reader, keys: &Keys<'_>) -> (String, Option<(String, Secret)>) {
    let auth = reader.map(keys, "auth");
    let entity = auth
        .as_ref()
        .map(|keys| reader.text_or_empty(keys, "entity"))
        .unwrap_or_default();
    let credentials = auth.and_then(|keys| reader.map(&keys, "credentials"));
    let credentials = credentials.map(|keys| {
        let [kind, payload] = ["type", "payload"].map(|key| reader.text_or_empty(&keys, key));
        (kind, Secret(payload))
    });
    let short = reader.text(keys, "secret").filter(|secret| !secret.is_empty());
    let short = short.map(|secret| ("robot-location-secret".to_owned(), Secret(secret.to_owned())));
    (entity, credentials.or(short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_host_and_port() {
        for good in [
            "localhost:8080",
            ":8080",
            "127.0.0.1:0",
            "[::1]:65535",
            "robot.local:1",
            "[::]:80",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("localhost", "missing port in address"),
            ("8080", "missing port in address"),
            ("::1:80", "too many colons in address"),
            ("[::1]", "missing port in address"),
            ("localhost:http", "invalid port"),
            ("localhost:65536", "invalid port"),
            ("localhost:", "invalid port"),
            ("localhost:+1", "invalid port"),
            ("http://localhost:80", "too many colons"),
            ("a b:80", "invalid host"),
        ] {
            let error = check_address(bad).expect_err(bad);
            assert!(error.contains(text), "{bad}: {error}");
        }
    }
}
