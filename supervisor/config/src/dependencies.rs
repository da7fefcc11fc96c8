//! Check of dependencies before anything runs: names that nothing has, and circles.
//!
//! The machine finds the same things at run time, with what modules add; so these diagnostics give no entry a fault.

use std::collections::BTreeMap;

use mainstay_core::graph::{Index, Unresolved, is_frame_system, walk};
use mainstay_ids::ResourceName;
use mainstay_model::suggest::nearest;
use mainstay_model::{Config, ResourceConfig, SourceSpan};

use crate::diagnostic::{Diagnostic, Severity};

/// Diagnostics about `depends_on`.
pub(super) fn check(config: &Config) -> Vec<Diagnostic> {
    let index = Index::new(config.resources.iter().map(|resource| &resource.name));
    let mut diagnostics = Vec::new();
    let mut edges: BTreeMap<&ResourceName, Vec<ResourceName>> = BTreeMap::new();
    for resource in &config.resources {
        let mut next = Vec::new();
        for (text, place) in resource.depends_on.iter().zip(&resource.depends_on_places) {
            if is_frame_system(text) {
                continue;
            }
            match index.resolve(text) {
                Ok(name) if name == resource.name => {
                    let diagnostic = Diagnostic::about(
                        config,
                        Severity::Local,
                        place,
                        format!("node cannot depend on itself: \"{name}\""),
                    );
                    diagnostics.push(diagnostic.with_help("remove it"));
                }
                Ok(name) => next.push(name),
                Err(problem) => diagnostics.extend(unresolved(config, resource, text, place, &problem)),
            }
        }
        edges.insert(&resource.name, next);
    }
    let nexts = |name: &ResourceName| edges.get(name).map_or(&[][..], Vec::as_slice);
    for circle in walk(config.resources.iter().map(|resource| &resource.name), nexts).circles {
        diagnostics.extend(circular(config, &index, &circle));
    }
    diagnostics
}

/// `None` where a remote may have it.
fn unresolved(
    config: &Config,
    resource: &ResourceConfig,
    text: &str,
    place: &SourceSpan,
    problem: &Unresolved,
) -> Option<Diagnostic> {
    let (who, shown) = (resource.name.name.escape_debug(), text.escape_debug());
    match problem {
        Unresolved::Missing | Unresolved::Removed(_) if config.imports => None,
        Unresolved::Missing | Unresolved::Removed(_) => {
            let simple = text.rsplit(['/', ':']).next().unwrap_or(text);
            let names = config.resources.iter().filter(|other| other.name != resource.name);
            let near = nearest(simple, names.map(|other| other.name.name.as_str()));
            let message = format!("`{who}` depends on `{shown}`, but nothing in this config has that name");
            let help = near.map_or_else(
                || "add it, or remove the dependency".to_owned(),
                |meant| format!("did you mean `{meant}`?"),
            );
            Some(Diagnostic::about(config, Severity::Local, place, message).with_help(help))
        }
        Unresolved::Ambiguous(several) => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!(
                "`{who}` depends on `{shown}`, which could mean {}",
                several.join(" or ")
            );
            let diagnostic = Diagnostic::about(config, Severity::Local, place, message);
            Some(diagnostic.with_help("give the full name"))
        }
    }
}

/// Diagnostic about a circle: at its first dependency, with the whole way and where each part of it is written.
fn circular(config: &Config, index: &Index, circle: &[ResourceName]) -> Option<Diagnostic> {
    let followed: Vec<&ResourceName> = circle.iter().skip(1).chain(circle.first()).collect();
    let places: Vec<&SourceSpan> = circle
        .iter()
        .zip(&followed)
        .filter_map(|(name, next)| {
            let resource = config.resources.iter().find(|resource| resource.name == *name)?;
            let texts = resource.depends_on.iter().zip(&resource.depends_on_places);
            let mut links = texts.filter(|(text, _)| index.resolve(text).is_ok_and(|name| name == **next));
            links.next().map(|(_, place)| place)
        })
        .collect();
    let (first, others) = places.split_first()?;
    let way: Vec<&str> = circle
        .iter()
        .chain(circle.first())
        .map(|name| name.name.as_str())
        .collect();
    let message = format!("circular dependency: {}", way.join(" → "));
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    let diagnostic = Diagnostic::about(config, Severity::Local, first, message);
    let diagnostic = diagnostic.with_help(format!("remove one of them; the others are at {}", others.join(", ")));
    Some(match places.get(1) {
        Some(second) => diagnostic.with_related((*second).clone(), "and this one leads on"),
        None => diagnostic,
    })
}
