//! Failure of one step with one resource, in two wordings: ours for people, and for callers the one that peers know.

use std::fmt;
use std::sync::Arc;

/// Failure of ValidateConfig or AddResource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Text for people.
    pub message: Arc<str>,
    /// Text for callers, in the words that peers know.
    pub wire: Arc<str>,
}

impl From<String> for Failure {
    /// Failure for which peers have no words of their own.
    fn from(text: String) -> Self {
        let message: Arc<str> = text.into();
        Self {
            wire: message.clone(),
            message,
        }
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl fmt::Display for Failure {
    /// Text for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
