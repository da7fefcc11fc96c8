//! Lookup of what somebody calls a machine: `host:port` by the resolver of this host, a bare name by mDNS.

use std::net::{IpAddr, SocketAddr};

use tokio::net::lookup_host;

use crate::DialError;

/// Machine whose addresses are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Name or address that somebody wrote, without the port: the one that its certificate must be for.
    pub(crate) host: String,
    /// The likeliest first.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Looks up `host:port`, or the name of a machine on the local network.
///
/// # Errors
/// The address is none, or means no machine.
pub async fn lookup(address: &str) -> Result<Found, DialError> {
    #[cfg(feature = "mdns")]
    if mainstay_mdns::is_bare_name(address) {
        let addresses = mainstay_mdns::resolve(address).await?;
        return Ok(Found {
            host: address.to_owned(),
            addresses: addresses.into_iter().map(SocketAddr::V4).collect(),
        });
    }
    let (host, _) = address
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok())
        .filter(|_| address.parse::<IpAddr>().is_err())
        .ok_or_else(|| no_port(address))?;
    let addresses = lookup_host(address)
        .await
        .map_err(|error| DialError::Lookup(address.to_owned(), error))?;
    Ok(Found {
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        addresses: addresses.collect(),
    })
}

/// Looks up an address as [`lookup`] does, and a name that has no port in both ways at once: as that of a machine on the local
/// network, and as that of a host, with the port of machines. Who answers first counts.
///
/// # Errors
/// Neither is there.
#[cfg(feature = "mdns")]
pub async fn lookup_either(name: &str) -> Result<Found, DialError> {
    use std::io;
    use std::time::Duration;

    /// Longest wait for the host's own resolver once no machine has answered: without a network it takes its time.
    const RESOLVER_TIMEOUT: Duration = Duration::from_secs(2);

    if !mainstay_mdns::is_bare_name(name) {
        return lookup(name).await;
    }
    let with_port = crate::with_port(name);
    let (machine, host) = (lookup(name), lookup(&with_port));
    tokio::pin!(machine, host);
    let (machine, host) = tokio::select! {
        machine = &mut machine => match machine {
            Ok(found) => return Ok(found),
            Err(error) => match tokio::time::timeout(RESOLVER_TIMEOUT, host).await {
                Ok(host) => (error, host),
                Err(_) => {
                    let silent = io::Error::new(io::ErrorKind::TimedOut, "the resolver of this host is silent");
                    (error, Err(DialError::Lookup(with_port.clone(), silent)))
                }
            },
        },
        host = &mut host => match host {
            Ok(found) => return Ok(found),
            Err(error) => match machine.await {
                Ok(found) => return Ok(found),
                Err(machine) => (machine, Err(error)),
            },
        },
    };
    match (machine, host) {
        (_, Ok(found)) => Ok(found),
        (DialError::Name(machine), Err(DialError::Lookup(_, host))) => Err(DialError::Nobody(machine, host)),
        (machine, Err(_)) => Err(machine),
    }
}

fn no_port(address: &str) -> DialError {
    let host = match address.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => address.to_owned(),
    };
    DialError::NoPort(address.to_owned(), host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_read_with_its_port_and_certificates_are_for_its_host() {
        for (address, host, first) in [
            ("127.0.0.1:80", "127.0.0.1", "127.0.0.1:80"),
            ("[::1]:80", "::1", "[::1]:80"),
        ] {
            let found = lookup(address).await.expect("an address");
            assert_eq!(
                (found.host.as_str(), found.addresses[0].to_string().as_str()),
                (host, first)
            );
        }
        for (address, cure) in [
            ("10.0.0.5", "like 10.0.0.5:8080"),
            ("::1", "like [::1]:8080"),
            ("rover:http", "like rover:http:8080"),
            ("", "has no port"),
        ] {
            let refused = lookup(address).await.expect_err(address).to_string();
            assert!(refused.contains(cure), "{refused}");
        }
    }
}
