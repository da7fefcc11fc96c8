//! The own optional key `apply`: how a changed config is applied. What is wrong in it is refused, because whether a change
//! goes back is never a guess.

use std::time::Duration;

use mainstay_model::suggest::nearest;
use mainstay_model::{ApplyPolicy, OnFailure, Preflight};

use crate::keys::APPLY;
use crate::node::Node;
use crate::read::{Keys, Reader};

const ON_FAILURE: [(&str, OnFailure); 2] = [("keep", OnFailure::Keep), ("revert", OnFailure::Revert)];
const PREFLIGHT: [(&str, Preflight); 2] = [("running", Preflight::Running), ("spare", Preflight::Spare)];
/// A module that dies later is a matter of supervision, not of the change.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads it.
pub(super) fn apply(reader: &mut Reader, node: &Node) -> ApplyPolicy {
    let usual = ApplyPolicy::default();
    let Some(keys) = reader.keys(&APPLY, node) else {
        return usual;
    };
    ApplyPolicy {
        on_failure: word(reader, &keys, "on_failure", &ON_FAILURE).unwrap_or(usual.on_failure),
        window: window(reader, &keys).unwrap_or(usual.window),
        preflight: word(reader, &keys, "preflight", &PREFLIGHT).unwrap_or(usual.preflight),
    }
}

fn word<T: Copy>(reader: &mut Reader, keys: &Keys<'_>, key: &str, words: &[(&'static str, T)]) -> Option<T> {
    let written = reader.text(keys, key)?;
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == written) {
        return Some(*meant);
    }
    let known = || words.iter().map(|(word, _)| *word);
    let help = nearest(written, known()).map_or_else(
        || format!("it is `{}`", known().collect::<Vec<_>>().join("` or `")),
        |meant| format!("did you mean `{meant}`?"),
    );
    let message = format!("`apply.{key}` cannot be `{}`", written.escape_debug());
    reader.refuse(keys.span_of(key), message).help = Some(help);
    None
}

fn window(reader: &mut Reader, keys: &Keys<'_>) -> Option<Duration> {
    let nanos = reader.nanoseconds(keys, "window")?;
    let window = u64::try_from(nanos).ok().map(Duration::from_nanos);
    let good = window.filter(|window| *window <= LONGEST);
    if good.is_none() {
        reader.refuse(keys.span_of("window"), "`apply.window` must be between 0s and 1h");
    }
    good
}
