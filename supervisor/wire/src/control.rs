//! Plans, complaints and differences as they travel over the control socket, and the texts of a config back from there.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mainstay_config::{ConfigFiles, Diagnostic, RawFile, Severity};
use mainstay_core::graph::{Index, Unresolved, is_frame_system};
use mainstay_core::machine::change::Known;
use mainstay_model::SourceSpan;
use mainstay_model::apply_state::{ApplyState, Progress};
use mainstay_model::difference::{Difference, DifferenceKind};
use mainstay_model::plan::{Part, Plan};
use mainstay_proto::ResourceName;
use mainstay_proto::mainstay::control::v1 as pb;

/// The files that a tool has gathered.
pub fn bundle(text: pb::ConfigText) -> ConfigFiles {
    let files = text.files.into_iter().map(|file| RawFile {
        path: PathBuf::from(file.path),
        text: Arc::from(&*file.text),
    });
    ConfigFiles {
        path: PathBuf::from(text.path),
        files: files.collect(),
    }
}

/// A plan.
pub fn plan(plan: &Plan) -> pb::ConfigPlan {
    let changes = plan.changes.iter().map(|change| {
        let (through_part, through_name) = change.through.as_ref().map(part).unwrap_or_default();
        let (part, name) = part(&change.part);
        pb::PlannedChange {
            through_part: through_part.to_owned(),
            through_name,
            part: part.to_owned(),
            name,
            how: change.how.to_string(),
            because: change.because.clone(),
            known_after_start: change.known_after_start,
        }
    });
    let stays = |wanted: &'static str| {
        let parts = plan.stays.iter().map(part);
        parts
            .filter(move |(part, _)| *part == wanted)
            .map(|(_, name)| name)
            .collect()
    };
    pb::ConfigPlan {
        changes: changes.collect(),
        modules_stay: stays("module"),
        resources_stay: stays("resource"),
    }
}

/// Kind of a part, and its name if it has one.
fn part(part: &Part) -> (&'static str, String) {
    match part {
        Part::Resource(name) => ("resource", name.to_string()),
        Part::Module(name) => ("module", name.to_string()),
        Part::Remote(name) => ("remote", name.clone()),
        Part::Package(name) => ("package", name.clone()),
        Part::Job(name) => ("job", name.clone()),
        Part::Network => ("network", String::new()),
        Part::Auth => ("auth", String::new()),
        Part::Cloud => ("cloud", String::new()),
        Part::Log => ("log", String::new()),
        Part::Tracing => ("tracing", String::new()),
        Part::Maintenance => ("maintenance", String::new()),
    }
}

/// A complaint, with its excerpt.
pub fn diagnostic(diagnostic: &Diagnostic) -> pb::ConfigDiagnostic {
    let severity = match diagnostic.severity {
        Severity::Refused => "refused",
        Severity::Local => "local",
        Severity::Warning => "warning",
    };
    let also = diagnostic.also.as_ref();
    pb::ConfigDiagnostic {
        severity: severity.to_owned(),
        place: Some(place(&diagnostic.place)),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone().unwrap_or_default(),
        also: also.map(|(other, _)| place(other)),
        also_message: also.map(|(_, message)| message.clone()).unwrap_or_default(),
        rendered: diagnostic.render(false),
    }
}

fn place(place: &SourceSpan) -> pb::ConfigPlace {
    pb::ConfigPlace {
        file: place.file.display().to_string(),
        line: place.line,
        column: place.column,
        length: place.len,
    }
}

/// A difference.
pub fn difference(difference: Difference) -> pb::ConfigDifference {
    let kind = match difference.kind {
        DifferenceKind::Added => "added",
        DifferenceKind::Removed => "removed",
        DifferenceKind::Changed => "changed",
    };
    pb::ConfigDifference {
        path: difference.path,
        kind: kind.to_owned(),
        before: difference.before,
        after: difference.after,
    }
}

/// Progress of a change, as a message.
pub fn progress(progress: &Progress) -> pb::ApplyConfigProgress {
    use pb::ApplyConfigState as State;
    use pb::apply_config_progress::Step;
    let news = match progress {
        Progress::Plan(made) => {
            return pb::ApplyConfigProgress {
                step: Some(Step::Plan(plan(made))),
                ..pb::ApplyConfigProgress::default()
            };
        }
        Progress::State(news) => news,
    };
    let none: (Vec<String>, Option<Duration>) = (Vec::new(), None);
    let (state, (reasons, length)) = match news {
        ApplyState::Waiting(why, pause) => (State::Waiting, (vec![why.clone()], Some(*pause))),
        ApplyState::Applying => (State::Applying, none),
        ApplyState::Watching(window) => (State::Watching, (Vec::new(), Some(*window))),
        ApplyState::Committed => (State::Committed, none),
        ApplyState::Refused(reasons) => (State::Refused, (reasons.clone(), None)),
        ApplyState::Reverting(reasons) => (State::Reverting, (reasons.clone(), None)),
        ApplyState::Reverted(reasons) => (State::Reverted, (reasons.clone(), None)),
        ApplyState::Degraded(reasons) => (State::Degraded, (reasons.clone(), None)),
        ApplyState::Superseded => (State::Superseded, none),
    };
    pb::ApplyConfigProgress {
        step: Some(Step::State(state.into())),
        reasons,
        length: length.and_then(|length| length.try_into().ok()),
    }
}

/// Edges between `resources`, as far as their modules told. `explicit` is what the config says of a resource of which
/// nobody told anything yet.
pub fn edges<'a>(
    resources: &[ResourceName],
    known: &Known,
    explicit: impl Fn(&ResourceName) -> &'a [String],
) -> Vec<pb::GraphEdge> {
    let index = Index::new(resources);
    let mut edges = Vec::new();
    for name in resources {
        let facts = known.resources.get(name);
        let held = facts.map_or(&[][..], |facts| &facts.held);
        let declared = facts.and_then(|facts| facts.declared.as_deref());
        let required = declared.map_or_else(|| explicit(name), |declared| &declared.required);
        let optional = declared.map_or(&[][..], |declared| &declared.optional);
        let texts = required
            .iter()
            .map(|text| (text, false))
            .chain(optional.iter().map(|text| (text, true)));
        let mut seen = HashMap::new();
        for (text, optional) in texts.filter(|(text, _)| !is_frame_system(text)) {
            let (to, problem) = match index.resolve(text) {
                Ok(found) => (found.to_string(), String::new()),
                Err(Unresolved::Ambiguous(several)) => {
                    let several: Vec<_> = several.iter().map(ToString::to_string).collect();
                    let problem = format!("could mean {}: give the full name", several.join(" or "));
                    (text.clone(), problem)
                }
                Err(_) => (text.clone(), "no resource has this name".to_owned()),
            };
            // One text may be declared twice, or two that mean the same.
            if seen.insert(to.clone(), ()).is_some() {
                continue;
            }
            let held = held.iter().any(|held| held.to_string() == to);
            let dropped_optional = facts.map_or(&[][..], |facts| &facts.dropped_optional);
            let dropped_optional = dropped_optional
                .iter()
                .find(|dropped_optional| optional && dropped_optional.what.to_string() == to);
            let circle = dropped_optional
                .into_iter()
                .flat_map(|dropped_optional| &dropped_optional.circle);
            edges.push(pb::GraphEdge {
                from: name.to_string(),
                to,
                optional,
                held,
                problem,
                circle: circle.map(|name| name.name.clone()).collect(),
            });
        }
    }
    edges
}
