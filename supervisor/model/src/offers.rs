//! Models on offer on one machine, and the words for an entry whose model nobody offers. Does no IO: the offers come
//! in.

use std::collections::BTreeSet;
use std::fmt;

use mainstay_ids::{Api, Model};

use crate::suggest::nearest;

/// A model under the API that it implements.
pub type Offer = (Api, Model);

/// Most names that a message lists before it only counts.
const LISTED: usize = 8;

/// Models on offer, by who offers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// Offers of the built-in modules.
    pub builtin: BTreeSet<Offer>,
    /// Reason why the built-in modules cannot be had. Nothing is known of their models then.
    pub builtin_problem: Option<String>,
    /// Offers of the configured modules of which they are known, in the order of the config. Of any other module they
    /// are known after its start.
    pub modules: Vec<(String, BTreeSet<Offer>)>,
}

/// A model that is missing, and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Missing thing.
    pub what: String,
    /// Cure.
    pub cure: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, cure } = self;
        write!(f, "{what}; {cure}")
    }
}

impl Offers {
    /// True if somebody offers this model under this API.
    #[must_use]
    pub fn has(&self, api: &Api, model: &Model) -> bool {
        let offer = (api.clone(), model.clone());
        self.builtin.contains(&offer) || self.modules.iter().any(|(_, offers)| offers.contains(&offer))
    }

    /// True if the offers of the module of this name are known.
    #[must_use]
    pub fn knows(&self, module: &str) -> bool {
        self.modules.iter().any(|(name, _)| name == module)
    }

    /// The words for a model that nobody offers under this API.
    #[must_use]
    pub fn missing(&self, api: &Api, model: &Model) -> Missing {
        Missing {
            what: format!("no such model: `{}` for {api}", short(model)),
            cure: self.cure(api, model),
        }
    }

    fn cure(&self, api: &Api, model: &Model) -> String {
        if let (true, Some(problem)) = (model.is_builtin(), &self.builtin_problem) {
            return problem.clone();
        }
        let of_api = self.listed(|offer| (offer.0 == *api).then(|| short(&offer.1)));
        if !of_api.is_empty() {
            let names = of_api.iter().flat_map(|(_, names)| names).map(String::as_str);
            let near = nearest(&short(model), names);
            let near = near.map(|name| format!("did you mean `{name}`? "));
            let all: Vec<_> = of_api
                .iter()
                .map(|(who, names)| format!("{who} {}", list(names)))
                .collect();
            return format!("{}{}", near.unwrap_or_default(), all.join(", "));
        }
        let elsewhere = self.listed(|offer| (offer.1 == *model).then(|| offer.0.to_string()));
        if !elsewhere.is_empty() {
            let all: Vec<_> = elsewhere
                .iter()
                .map(|(who, apis)| format!("{who} it for {}", list(apis)))
                .collect();
            return format!("{}, not for this API", all.join(", "));
        }
        if model.is_builtin() {
            "nothing built in has this API: add a module that does to `modules`, and write its model as `namespace:family:name`"
                .to_owned()
        } else {
            "add the module that offers it to `modules`".to_owned()
        }
    }

    /// Names from each module that offers something fitting, after the beginning of a sentence.
    fn listed(&self, name: impl Fn(&Offer) -> Option<String>) -> Vec<(String, BTreeSet<String>)> {
        let modules = self.modules.iter().map(|(module, offers)| {
            let who = format!("module `{}` offers", module.escape_debug());
            (who, offers)
        });
        let all = std::iter::once(("the built-in modules offer".to_owned(), &self.builtin)).chain(modules);
        all.map(|(who, offers)| (who, offers.iter().filter_map(&name).collect()))
            .filter(|(_, names): &(_, BTreeSet<String>)| !names.is_empty())
            .collect()
    }
}

/// A model as people write it.
fn short(model: &Model) -> String {
    let text = model.to_string();
    text.strip_prefix("rdk:builtin:").map_or(text.clone(), str::to_owned)
}

/// `a`, `a and b`, `a, b and c`, `a, b, … and 7 more`.
fn list(names: &BTreeSet<String>) -> String {
    let mut shown: Vec<String> = names.iter().take(LISTED).cloned().collect();
    let last = match names.len() - shown.len() {
        0 => shown.pop().unwrap_or_default(),
        more => format!("{more} more"),
    };
    match shown.as_slice() {
        [] => last,
        shown => format!("{} and {last}", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(list: &[&str]) -> BTreeSet<Offer> {
        let offer = |text: &&str| {
            let (api, model) = text.split_once(' ').expect("an API and a model");
            (api.parse().expect("an API"), model.parse().expect("a model"))
        };
        list.iter().map(offer).collect()
    }

    #[test]
    fn a_missing_model_is_told_with_the_nearest_names_and_who_offers_them() {
        let known = Offers {
            builtin: offers(&["rdk:component:motor fake", "rdk:component:sensor fake"]),
            builtin_problem: None,
            modules: vec![
                (
                    "acme-lidar".to_owned(),
                    offers(&[
                        "rdk:component:camera acme:lidar:x2",
                        "rdk:component:camera acme:lidar:x4",
                    ]),
                ),
                ("grip".to_owned(), offers(&["rdk:component:gripper acme:hand:two"])),
            ],
        };
        for (api, model, what, cure) in [
            (
                "rdk:component:base",
                "wheeled",
                "no such model: `wheeled` for rdk:component:base",
                "nothing built in has this API: add a module that does to `modules`, and write its model as `namespace:family:name`",
            ),
            (
                "rdk:component:motor",
                "faek",
                "no such model: `faek` for rdk:component:motor",
                "did you mean `fake`? the built-in modules offer fake",
            ),
            (
                "rdk:component:motor",
                "gpio",
                "no such model: `gpio` for rdk:component:motor",
                "the built-in modules offer fake",
            ),
            (
                "rdk:component:camera",
                "acme:lidar:x3",
                "no such model: `acme:lidar:x3` for rdk:component:camera",
                "did you mean `acme:lidar:x2`? module `acme-lidar` offers acme:lidar:x2 and acme:lidar:x4",
            ),
            (
                "rdk:component:arm",
                "fake",
                "no such model: `fake` for rdk:component:arm",
                "the built-in modules offer it for rdk:component:motor and rdk:component:sensor, not for this API",
            ),
            (
                "rdk:component:arm",
                "acme:hand:two",
                "no such model: `acme:hand:two` for rdk:component:arm",
                "module `grip` offers it for rdk:component:gripper, not for this API",
            ),
            (
                "rdk:component:arm",
                "acme:arm:long",
                "no such model: `acme:arm:long` for rdk:component:arm",
                "add the module that offers it to `modules`",
            ),
        ] {
            let missing = known.missing(&api.parse().expect("an API"), &model.parse().expect("a model"));
            assert_eq!((&*missing.what, &*missing.cure), (what, cure));
        }
    }

    #[test]
    fn where_no_built_in_modules_are_found_that_is_said() {
        let known = Offers {
            builtin_problem: Some("cannot find them".to_owned()),
            ..Offers::default()
        };
        let missing = known.missing(&Api::component("motor"), &Model::builtin("fake"));
        assert_eq!(
            missing.to_string(),
            "no such model: `fake` for rdk:component:motor; cannot find them"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names = |count: usize| (0..count).map(|number| format!("{number:02}")).collect();
        assert_eq!(list(&names(1)), "00");
        assert_eq!(list(&names(2)), "00 and 01");
        assert_eq!(list(&names(8)), "00, 01, 02, 03, 04, 05, 06 and 07");
        assert_eq!(list(&names(11)), "00, 01, 02, 03, 04, 05, 06, 07 and 3 more");
    }
}
