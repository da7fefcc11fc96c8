//! The sections about connections: `network`, `cloud`, `remotes`. Errors of the first refuse the config: where one may come in
//! must never be a guess.

use std::time::Duration;

use mainstay_model::{Cloud, Network, Remote, Secret, SourceSpan, Tls, Tunnel};

use crate::diagnostic::{Diagnostic, Severity};
use crate::entries::service_configs;
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
    network.mdns = reader.flag(&keys, "mdns");
    network.no_tls = reader.flag(&keys, "no_tls");
    let before = reader.diagnostics.len();
    network.tls = tls(reader, &keys, &mut network.tls_places);
    mark_open(&mut reader.diagnostics[before..]);
    if let Some(window) = sessions(reader, &keys) {
        network.heartbeat_window = window;
    }
    network.tunnels = tunnels(reader, &keys);
    network.allow_unauthenticated = reader.flag(&keys, "allow_unauthenticated");
    network
}

fn tls(reader: &mut Reader, keys: &Keys<'_>, places: &mut [SourceSpan; 2]) -> Tls {
    let own = reader.word(keys, "tls", &[("own", ())]).is_some();
    let names = ["tls_cert_file", "tls_key_file"];
    let written = names.map(|key| reader.text(keys, key).filter(|path| !path.is_empty()));
    if own {
        let span = keys.span_of("tls");
        *places = [reader.source.place(span), reader.source.place(span)];
        if written.iter().any(Option::is_some) {
            reader
                .error(
                    span,
                    "`tls: own` and a certificate in files are two answers to one question",
                )
                .help = Some("remove one of them".to_owned());
        }
        return Tls::Own;
    }
    let [Some(certificate), Some(key)] = written else {
        if written.iter().any(Option::is_some) {
            reader.error(keys.span, "must provide both tls_cert_file and tls_key_file");
        }
        return Tls::None;
    };
    *places = names.map(|key| reader.source.place(keys.span_of(key)));
    let located = [(certificate, names[0]), (key, names[1])].map(|(written, key)| {
        let span = keys.span_of(key);
        reader.located(written, span).unwrap_or_else(|(message, help)| {
            reader.error_with(span, message, Some(help));
            written.into()
        })
    });
    let [certificate, key] = located;
    Tls::Files { certificate, key }
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

/// Errors about who may come in, and how: no other config runs in the stead of this one.
pub(super) fn mark_open(diagnostics: &mut [Diagnostic]) {
    for diagnostic in diagnostics {
        diagnostic.open |= diagnostic.severity == Severity::Refused;
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
        machine_id: reader.text_or_empty(&keys, "machine_id"),
        location_id: reader.text_or_empty(&keys, "location_id"),
        primary_org_id: reader.text_or_empty(&keys, "primary_org_id"),
        fqdn: reader.text_or_empty(&keys, "fqdn"),
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
            reader.error_with(
                keys.span,
                names::missing("address"),
                Some("write host:port, or the name by which mDNS finds the machine"),
            );
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
            part: None,
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
