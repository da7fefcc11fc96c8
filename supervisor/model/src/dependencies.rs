//! Dependencies of a resource, as its module declares them: texts that are not looked up yet.

/// Answer of a module to ValidateConfig about an entry that is good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Declared {
    /// Dependencies without which it cannot be built.
    pub required: Vec<String>,
    /// Dependencies that the resource takes if they are there.
    pub optional: Vec<String>,
    /// Warnings about the entry, each with its cure behind a semicolon. Modules made with our SDK give them.
    pub warnings: Vec<String>,
}

impl Declared {
    /// The answer with the dependencies that the resource's own entry names.
    #[must_use]
    pub fn with(mut self, explicit: &[String]) -> Self {
        let more: Vec<_> = explicit
            .iter()
            .filter(|text| !self.required.contains(text))
            .cloned()
            .collect();
        self.required.extend(more);
        self
    }
}
