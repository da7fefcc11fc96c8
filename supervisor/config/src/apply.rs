//! The own optional key `apply`: how a changed config is applied. What is wrong in it is refused, because whether a change
//! goes back is never a guess.

use mainstay_model::{ApplyPolicy, OnFailure, Preflight};

use crate::read::{Keys, Reader};

/// Reads it.
pub(super) fn apply(reader: &mut Reader, keys: &Keys<'_>) -> ApplyPolicy {
    let usual = ApplyPolicy::DEFAULT;
    let Some(keys) = reader.map(keys, "apply") else {
        return usual;
    };
    ApplyPolicy {
        on_failure: reader.word(&keys, "on_failure", &OnFailure::WORDS).unwrap_or_default(),
        window: reader.duration(&keys, "window").unwrap_or(usual.window),
        preflight: reader.word(&keys, "preflight", &Preflight::WORDS).unwrap_or_default(),
    }
}
