//! Warning about a machine that other hosts can reach and that asks nobody who they are.

use std::sync::{Mutex, PoisonError};

use mainstay_model::Config;
use tracing::warn;

use crate::policy::Admission;

/// The warning, said once as long as it stays the same.
#[derive(Debug, Default)]
pub(crate) struct Exposure(Mutex<Option<String>>);

impl Exposure {
    /// Takes up another config.
    pub(crate) fn take_up(&self, config: &Config) {
        let now = warning(config);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != now {
            if let Some(text) = &now {
                warn!("{text}");
            }
            *said = now;
        }
    }
}

fn warning(config: &Config) -> Option<String> {
    if config.network.is_loopback() {
        return None;
    }
    let address = &config.network.bind_address;
    let exposed = format!("`{address}` can be reached by other hosts and nobody is asked who they are");
    let cure = "`auth.handlers` in the config asks for API keys";
    match Admission::of(config) {
        Admission::Authenticated => None,
        Admission::LocalOnly => Some(format!(
            "{exposed}, so only callers on this host are served: {cure}, `network.allow_unauthenticated: true` serves everybody"
        )),
        Admission::Open => Some(format!("{exposed}: WHOEVER REACHES THE PORT MAY DO EVERYTHING; {cure}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_machine_that_others_reach_and_that_asks_nobody_says_so() {
        let mut config = Config::empty(Path::new("r.yaml"));
        assert_eq!(warning(&config), None);
        ":8080".clone_into(&mut config.network.bind_address);
        let text = warning(&config).unwrap_or_default();
        assert!(text.contains("only callers on this host are served"), "{text}");
        config.network.allow_unauthenticated = true;
        let text = warning(&config).unwrap_or_default();
        assert!(text.contains("WHOEVER REACHES THE PORT"), "{text}");
        config.auth.tls_auth_entities = vec!["x".to_owned()];
        assert_eq!(warning(&config), None);
    }
}
