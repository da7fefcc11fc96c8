//! Dependencies of a resource, as texts that are not looked up yet.

/// Dependencies that a module answered to ValidateConfig, as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeclaredDependencies {
    /// Without these it cannot be built.
    pub required: Vec<String>,
    /// Dependencies that the resource takes if they are there.
    pub optional: Vec<String>,
}

impl DeclaredDependencies {
    /// Declared dependencies with those that the resource's own entry names.
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
