//! The built-in modules: their program, and which models each of them offers.

use std::collections::HashMap;
use std::path::PathBuf;

use mainstay_ids::{Api, Model};

use crate::module_name::ModuleName;
use crate::offers::{Offer, Offers};

/// The built-in modules: their binary, and what each of them offers.
#[derive(Debug, Default, Clone)]
pub struct Builtins {
    /// The multi-call binary.
    pub executable: PathBuf,
    /// Reason why there are none, if they could not be found.
    pub problem: Option<String>,
    /// Built-in module of each model.
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

    /// All built-in models.
    pub fn models(&self) -> impl Iterator<Item = &Offer> {
        self.models.keys()
    }

    /// Offers as far as nothing but these is known.
    pub fn offers(&self) -> Offers {
        Offers {
            builtin: self.models().cloned().collect(),
            builtin_problem: self.problem.clone(),
            modules: Vec::new(),
        }
    }
}
