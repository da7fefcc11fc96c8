//! The built-in modules: their program, and which models each of them offers.

use std::collections::HashMap;
use std::path::PathBuf;

use mainstay_ids::{Api, Model};

use crate::module_name::ModuleName;

/// The built-in modules: their binary, and what each of them offers.
#[derive(Debug, Default, Clone)]
pub struct Builtins {
    /// The multi-call binary.
    pub executable: PathBuf,
    /// Why there are none, if they could not be found.
    pub problem: Option<String>,
    /// Which of them offers a model.
    pub models: HashMap<(Api, Model), ModuleName>,
}

impl Builtins {
    /// No built-in modules, because of `problem`.
    pub fn missing(problem: String) -> Self {
        Self {
            problem: Some(problem),
            ..Self::default()
        }
    }

    /// The built-in module that offers `model` under `api`.
    pub fn module_of(&self, api: &Api, model: &Model) -> Option<&ModuleName> {
        self.models.get(&(api.clone(), model.clone()))
    }

    /// The built-in models of an API, sorted: what a message about a wrong one may offer.
    pub fn models_of(&self, api: &Api) -> Vec<String> {
        let mut models: Vec<_> = self
            .models
            .keys()
            .filter(|(offered, _)| offered == api)
            .map(|(_, model)| model.to_string())
            .collect();
        models.sort();
        models
    }
}
