//! Announcer: what the machine is to be called on the local network, as its config and its listener have it. How that is told
//! is `mainstay-mdns`.

use std::net::SocketAddr;
use std::sync::Arc;

use mainstay_auth::policy::Admission;
use mainstay_mdns::{Advert, AdvertState, Reach, Wanted, advertise};
use mainstay_model::{Config, Tls, network_name};
use mainstay_pki::authority::host_name;
use mainstay_runtime::rollout::Addresses;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// String that a main part tells while it invites.
const INVITING: &str = "inviting";

/// Announcer of a machine; follows the applied config and the address of the listener.
#[derive(Debug)]
pub struct Announcer {
    applied: watch::Receiver<Arc<Config>>,
    addresses: watch::Receiver<Vec<SocketAddr>>,
    inviting: watch::Receiver<Option<Instant>>,
    state: watch::Sender<AdvertState>,
}

impl Announcer {
    /// An announcer, and what it does as it changes. `inviting`: until when a computer is invited to be a part.
    pub fn new(
        applied: watch::Receiver<Arc<Config>>,
        addresses: &Addresses,
        inviting: watch::Receiver<Option<Instant>>,
    ) -> (Self, watch::Receiver<AdvertState>) {
        let (state, states) = watch::channel(AdvertState::default());
        let announcer = Self {
            applied,
            addresses: addresses.follow(),
            inviting,
            state,
        };
        (announcer, states)
    }

    /// Announces the machine until `stop`, and says goodbye.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            mut applied,
            mut addresses,
            mut inviting,
            state,
        } = self;
        let mut look = move || {
            let config = applied.borrow_and_update().clone();
            // The newest is the one that stays.
            let address = addresses.borrow_and_update().last().copied();
            let until = inviting.borrow_and_update().filter(|until| *until > Instant::now());
            let now = address
                .map(|address| {
                    with_parts(
                        wanted(&config, address, &host_name()),
                        &config,
                        address,
                        until.is_some(),
                    )
                })
                .unwrap_or_default();
            (now, until, (applied.clone(), addresses.clone(), inviting.clone()))
        };
        let (wanted, follower) = watch::channel(look().0);
        let follow = async {
            loop {
                let (now, until, (mut applied, mut addresses, mut inviting)) = look();
                wanted.send_replace(now);
                let changed = tokio::select! {
                    changed = applied.changed() => changed,
                    changed = addresses.changed() => changed,
                    changed = inviting.changed() => changed,
                    () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => Ok(()),
                };
                if changed.is_err() {
                    return;
                }
            }
        };
        let ended = stop.clone();
        tokio::join!(
            async { ended.run_until_cancelled(follow).await.unwrap_or_default() },
            advertise(follower, state, stop)
        );
    }
}

/// What is told about a machine with this config, served at `address`.
fn wanted(config: &Config, address: SocketAddr, host: &str) -> Wanted {
    if !config.network.mdns {
        return Wanted::default();
    }
    let silent = |problem: String| Wanted {
        adverts: Vec::new(),
        problem: Some(problem),
    };
    let admission = Admission::of(config);
    let reach = match (Reach::of(address), admission) {
        (None, _) => {
            return silent(format!(
                "it is served at {address}, and clients that look for a name take IPv4 addresses only"
            ));
        }
        // Who would be refused is not invited.
        (Some(Reach::All), Admission::LocalOnly) => Reach::Loopback,
        (Some(Reach::Address(_)), Admission::LocalOnly) => {
            return silent("only callers on this host are served, so no other host is told".to_owned());
        }
        (Some(reach), _) => reach,
    };
    let mut txt = vec!["grpc".to_owned(), "server=mainstay".to_owned()];
    txt.extend((*config.network.tls_in_force() != Tls::None).then(|| "tls".to_owned()));
    txt.extend((admission == Admission::Authenticated).then(|| "keys".to_owned()));
    let name = network_name(&config.network.fqdn, &config.path, host);
    match Advert::of_machine(&name, address.port(), &txt, reach) {
        Ok(adverts) => Wanted { adverts, problem: None },
        Err(why) => silent(format!("its name cannot be told: {why}")),
    }
}

/// What is told besides about a part of a machine: to its main part where it is, and while somebody is invited to whoever is to
/// join. Both come in by what they know, whomever else the machine serves.
fn with_parts(mut wanted: Wanted, config: &Config, address: SocketAddr, inviting: bool) -> Wanted {
    let (Some(membership), Some(reach)) = (&config.membership, Reach::of(address)) else {
        return wanted;
    };
    if config.network.mdns && (inviting || !membership.is_main()) {
        let mut txt = vec!["grpc".to_owned(), "server=mainstay".to_owned()];
        txt.extend(inviting.then(|| INVITING.to_owned()));
        wanted.adverts.push(Advert {
            instance: membership.instance(&membership.part),
            port: address.port(),
            txt,
            reach,
        });
    }
    wanted
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn told(change: impl FnOnce(&mut Config), address: &str) -> String {
        let mut config = Config::empty(Path::new("/etc/rover.yaml"));
        change(&mut config);
        let Wanted { adverts, problem } = wanted(&config, address.parse().expect("an address"), "pi");
        let shown = adverts.iter().map(|advert| {
            let Advert {
                instance,
                port,
                txt,
                reach,
            } = advert;
            format!("{instance}:{port} {reach:?} {}", txt.join(" "))
        });
        shown.chain(problem).collect::<Vec<_>>().join(", ")
    }

    fn open(config: &mut Config) {
        config.network.allow_unauthenticated = true;
    }

    fn with_keys(config: &mut Config) {
        config.auth.tls_auth_entities = vec!["a".to_owned()];
        config.network.tls = Tls::Own;
    }

    #[test]
    fn a_machine_is_told_to_those_whom_it_serves() {
        type Change = fn(&mut Config);
        let cases: [(Change, &str, &str); 8] = [
            (|_| {}, "127.0.0.1:8080", "rover-pi:8080 Loopback grpc server=mainstay"),
            (|_| {}, "0.0.0.0:80", "rover-pi:80 Loopback grpc server=mainstay"),
            (
                |_| {},
                "10.0.0.5:80",
                "only callers on this host are served, so no other host is told",
            ),
            (open, "[::]:80", "rover-pi:80 All grpc server=mainstay"),
            (with_keys, "0.0.0.0:80", "rover-pi:80 All grpc server=mainstay tls keys"),
            (
                open,
                "10.0.0.5:80",
                "rover-pi:80 Address(10.0.0.5) grpc server=mainstay",
            ),
            (
                open,
                "[::1]:80",
                "it is served at [::1]:80, and clients that look for a name take IPv4 addresses only",
            ),
            (|config| config.network.mdns = false, "127.0.0.1:8080", ""),
        ];
        for (change, address, expected) in cases {
            assert_eq!(told(change, address), expected, "{address}");
        }
        let named = |name: &'static str| told(move |config| config.network.fqdn = name.to_owned(), "127.0.0.1:1");
        assert_eq!(
            named("rover.lab"),
            "rover-lab:1 Loopback grpc server=mainstay, rover.lab:1 Loopback grpc server=mainstay"
        );
        assert!(named("a..b").starts_with("its name cannot be told: `a..b` has an empty part"));
    }
}
