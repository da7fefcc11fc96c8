//! `jobs`: calls that the machine makes by itself. What they call is looked for among the entries of the config.

use std::collections::BTreeSet;

use mainstay_ids::{Api, ResourceName};
use mainstay_model::suggest::nearest;
use mainstay_model::{Job, ResourceConfig, Span};
use mainstay_proto::methods::{self, Kind};

use crate::diagnostic::Severity;
use crate::entries::log_level;
use crate::read::{Keys, Reader};
use crate::schedule::Schedule;
use crate::sections::SeenKeys;
use crate::{keys, names};

/// The method that every API has, in its own service or in the generic one.
const DO_COMMAND: &str = "DoCommand";

/// Reads all jobs. `elsewhere`: a resource may also come from a remote, which says what it has once it is reached.
pub(super) fn jobs(reader: &mut Reader, files: &[Keys<'_>], resources: &[ResourceConfig], elsewhere: bool) -> Vec<Job> {
    let mut seen = SeenKeys::default();
    reader.entries(files, "jobs", |reader, node| {
        let keys = reader.keys(&keys::JOB, node)?;
        let required = ["name", "schedule", "resource", "method"];
        let texts = required.map(|key| reader.text_or_empty(&keys, key));
        for (key, text) in required.iter().zip(&texts) {
            if text.is_empty() {
                reader.error_with(keys.span, names::missing(key), None);
            }
        }
        let [name, schedule, resource, method] = texts;
        seen.check(reader, "job", &name, keys.span_of("name"));
        if !schedule.is_empty()
            && let Err(bad) = schedule.parse::<Schedule>()
        {
            let help = "write `continuous`, a duration like 30s, or five cron fields like `0 3 * * *`";
            reader.error_with(keys.span_of("schedule"), bad.to_string(), Some(help));
        }
        let command = reader.structure(&keys, "command");
        if let Some(node) = keys.get("command").filter(|_| method != DO_COMMAND) {
            reader.warn(
                node.span,
                "`command` has no effect: only the method `DoCommand` takes one",
            );
        }
        if let Some(node) = keys.get("resource").filter(|_| !resource.is_empty()) {
            let found = target(reader, &resource, node.span, resources, elsewhere);
            if let (Some(api), Some(node)) = (found, keys.get("method").filter(|_| !method.is_empty())) {
                known_method(reader, api, &method, node.span);
            }
        }
        Some(Job {
            name,
            schedule,
            resource,
            method,
            command,
            log_level: log_level(reader, &keys),
            fault: reader.take_fault(),
        })
    })
}

/// The API of the one resource that a job calls. That there is none, or more than one, is no fault of the job: when it
/// runs, it is looked for again.
fn target<'r>(
    reader: &mut Reader,
    name: &str,
    span: Span,
    resources: &'r [ResourceConfig],
    elsewhere: bool,
) -> Option<&'r Api> {
    let of_that_name = resources.iter().map(|resource| &resource.name);
    let found: BTreeSet<&ResourceName> = of_that_name.filter(|known| *known.name == *name).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(one), None) => return Some(&one.api),
        (Some(one), Some(other)) => {
            let message = format!(
                "found duplicate entries for name {}: {one} and {other}",
                name.escape_debug()
            );
            reader.complain(Severity::Local, span, message).help =
                Some("a job takes a simple name: rename one of them".to_owned());
        }
        (None, _) if elsewhere => {}
        (None, _) => {
            let simple = name.rsplit(['/', ':']).next().unwrap_or(name);
            let near = nearest(simple, resources.iter().map(|resource| resource.name.name.as_str()));
            let help = near.map(|meant| format!("did you mean `{meant}`?"));
            let message = format!("could not find the resource for name {}", name.escape_debug());
            let cure = "nothing in this config has that name: add it, or remove the job";
            reader.complain(Severity::Local, span, message).help = Some(help.unwrap_or_else(|| cure.to_owned()));
        }
    }
    None
}

/// Complains about a method that the API does not have. A module may bring a newer one, so this is no error.
fn known_method(reader: &mut Reader, api: &Api, method: &str, span: Span) {
    let Some(service) = methods::service_of_api(api) else {
        return;
    };
    match service.method(method) {
        _ if method == DO_COMMAND => {}
        Some(known) if matches!(known.kind, Kind::ClientStream | Kind::Bidi) => {
            let message = format!("{method} takes a stream of requests, and a job sends one");
            reader.complain(Severity::Local, span, message);
        }
        Some(_) => {}
        None => {
            let near = nearest(method, service.methods.iter().map(|known| known.name));
            let message = format!(
                "`{}` is no method of {api} as it is known here; it works only if its module has it",
                method.escape_debug()
            );
            reader.warn(span, message).help = Some(near.map_or_else(
                || "write it as gRPC has it, like `GetReadings`".to_owned(),
                |meant| format!("did you mean `{meant}`?"),
            ));
        }
    }
}
