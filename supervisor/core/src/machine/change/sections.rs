//! The parts of a config that are no modules and no resources: which of them differ.

use mainstay_model::plan::{Change, ChangeKind, Part};
use mainstay_model::{Config, Network};

/// Changes that are made before those of modules and resources.
pub(super) fn before(from: &Config, to: &Config) -> Vec<Change> {
    let listening = |config: &Config| {
        let network = Network {
            bind_place: to.network.bind_place.clone(),
            tls_places: to.network.tls_places.clone(),
            ..config.network.clone()
        };
        (network, config.enable_web_profile)
    };
    let logging = |config: &Config| (config.log.clone(), config.debug, config.disable_log_deduplication);
    let sections = [
        (Part::Network, listening(from) != listening(to)),
        (Part::Auth, from.auth != to.auth),
        (Part::Cloud, from.cloud != to.cloud),
        (Part::Log, logging(from) != logging(to)),
        (Part::Tracing, from.tracing != to.tracing),
        (Part::Maintenance, from.maintenance != to.maintenance),
    ];
    let changed = sections.into_iter().filter(|(_, changed)| *changed);
    let mut changes: Vec<_> = changed
        .map(|(part, _)| Change::new(part, ChangeKind::Update, "its section changed"))
        .collect();
    let part = |name: &str| Part::Package(name.to_owned());
    entries(&mut changes, &from.packages, &to.packages, |entry| &entry.name, part);
    let part = |name: &str| Part::Remote(name.to_owned());
    entries(&mut changes, &from.remotes, &to.remotes, |entry| &entry.name, part);
    changes
}

/// Changes that are made after those of modules and resources.
pub(super) fn after(from: &Config, to: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    let part = |name: &str| Part::Job(name.to_owned());
    entries(&mut changes, &from.jobs, &to.jobs, |entry| &entry.name, part);
    changes
}

/// Compares a section whose entries have names. Of two with one name the first counts.
fn entries<T: PartialEq>(
    changes: &mut Vec<Change>,
    from: &[T],
    to: &[T],
    name: impl Fn(&T) -> &String,
    part: impl Fn(&str) -> Part,
) {
    let find = |list: &[T], wanted: &str| list.iter().position(|entry| name(entry) == wanted);
    for (place, old) in from.iter().enumerate() {
        let first = find(from, name(old)) == Some(place);
        if first && find(to, name(old)).is_none() {
            changes.push(Change::new(
                part(name(old)),
                ChangeKind::Stop,
                "no longer in the config",
            ));
        }
    }
    for (place, new) in to.iter().enumerate() {
        if find(to, name(new)) != Some(place) {
            continue;
        }
        match find(from, name(new)) {
            None => changes.push(Change::new(part(name(new)), ChangeKind::Start, "new in the config")),
            Some(old) if from[old] != *new => {
                changes.push(Change::new(part(name(new)), ChangeKind::Restart, "its entry changed"));
            }
            Some(_) => {}
        }
    }
}
