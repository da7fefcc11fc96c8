//! Texts from the network as they may stand in an answer or in the log.

/// Longest text that is quoted.
const MAX: usize = 100;

/// A text from the network: control characters escaped, no longer than people read.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown = text.chars().take(MAX).collect::<String>().escape_debug().to_string();
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    shown
}
