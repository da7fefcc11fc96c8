//! Models that entries name, against those on offer: a model that nobody offers is a diagnostic, one that only a module which
//! has not started can offer is known after start.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_ids::{Api, Model, ResourceName};
use mainstay_model::{Config, Offer, Offers, ResourceConfig};
use serde::Deserialize;

use crate::diagnostic::{Diagnostic, Severity};
use crate::registry;

/// Result of checking the entries of a config against the offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCheck {
    /// Models that nobody offers.
    pub diagnostics: Vec<Diagnostic>,
    /// Models that are known only after a start.
    pub after_start: Vec<AfterStart>,
}

/// A model that one of some modules may offer, which is known once they have started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AfterStart {
    /// The model.
    pub model: Model,
    /// The entries that name it.
    pub resources: Vec<ResourceName>,
    /// The modules, by name.
    pub modules: Vec<String>,
}

/// Looks for the model of every entry without a fault. A `rdk:builtin` model is looked for among the built-in ones whatever
/// modules there are: no other module may call its models so.
#[must_use]
pub fn check(config: &Config, offers: &Offers) -> ModelCheck {
    let unknown = |name: &&str| !offers.knows(name);
    let runnable = config.modules.iter().filter(|module| module.fault.is_none());
    let unknown: Vec<&str> = runnable.map(|module| module.name.as_str()).filter(unknown).collect();
    let mut checked = ModelCheck::default();
    let mut after_start: BTreeMap<Model, Vec<ResourceName>> = BTreeMap::new();
    // One cause, one diagnostic: without the built-in modules every entry that needs them says the same.
    let mut without_builtin = Vec::new();
    for entry in config.resources.iter().filter(|entry| entry.fault.is_none()) {
        let (api, model) = (&entry.name.api, &entry.model);
        if offers.has(api, model) || registry::is_awaited(config, entry) {
            continue;
        }
        if model.is_builtin() && offers.builtin_problem.is_some() {
            without_builtin.push(entry);
        } else if model.is_builtin() || unknown.is_empty() {
            checked.diagnostics.push(missing(config, entry, offers));
        } else {
            after_start.entry(model.clone()).or_default().push(entry.name.clone());
        }
    }
    if let (Some(first), Some(problem)) = (without_builtin.first(), &offers.builtin_problem) {
        let message = match without_builtin.len() {
            1 => format!(
                "no built-in model can be had, which `{}` needs",
                first.name.name.escape_debug()
            ),
            several => format!("no built-in model can be had, which {several} entries need, this one first"),
        };
        let diagnostic = Diagnostic::about(config, Severity::Local, &first.model_place, message);
        checked.diagnostics.push(diagnostic.with_help(problem.as_str()));
    }
    checked.diagnostics.extend(offered_twice(config, offers));
    let modules: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
    checked.after_start = after_start
        .into_iter()
        .map(|(model, resources)| AfterStart {
            model,
            resources,
            modules: modules.clone(),
        })
        .collect();
    checked
}

/// Warnings about modules that offer what an earlier one offers.
#[must_use]
pub fn offered_twice(config: &Config, offers: &Offers) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (number, (later, models)) in offers.modules.iter().enumerate() {
        let Some(module) = config.modules.iter().find(|module| module.name == *later) else {
            continue;
        };
        for (earlier, others) in &offers.modules[..number] {
            let mut both = models.intersection(others).map(|(_, model)| format!("`{model}`"));
            let Some(first) = both.next() else { continue };
            let more = match both.count() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (earlier, later) = (earlier.escape_debug(), later.escape_debug());
            let message = format!("module `{later}` offers {first}{more}, which `{earlier}` offers too");
            let diagnostic = Diagnostic::about(config, Severity::Warning, &module.place, message);
            diagnostics.push(diagnostic.with_help(format!("`{earlier}` builds it: it stands first in the config")));
        }
    }
    diagnostics
}

fn missing(config: &Config, entry: &ResourceConfig, offers: &Offers) -> Diagnostic {
    let missing = offers.missing(&entry.name.api, &entry.model);
    // A module with an error of its own may be the one that is meant.
    let broken = config.modules.iter().filter(|module| module.fault.is_some());
    let broken: Vec<_> = broken
        .map(|module| format!("`{}`", module.name.escape_debug()))
        .collect();
    let cure = match broken.as_slice() {
        [] => missing.cure,
        _ if entry.model.is_builtin() => missing.cure,
        broken => format!("{}; what is wrong with {} comes first", missing.cure, broken.join(", ")),
    };
    let mut diagnostic = Diagnostic::about(config, Severity::Local, &entry.model_place, missing.what).with_help(cure);
    diagnostic.scrub(&config.source);
    diagnostic
}

/// Models in a module's `meta.json`. They may be old: only a start shows for certain.
#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    models: Vec<MetaModel>,
}

#[derive(Debug, Deserialize)]
struct MetaModel {
    api: Api,
    model: Model,
}

/// The models that a `meta.json` names. `None` where it names none, or cannot be read: then nothing is known.
#[must_use]
pub fn of_meta(text: &[u8]) -> Option<BTreeSet<Offer>> {
    let meta: Meta = serde_json::from_slice(text).ok()?;
    let offers: BTreeSet<Offer> = meta.models.into_iter().map(|named| (named.api, named.model)).collect();
    (!offers.is_empty()).then_some(offers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigFiles, LoadContext, parse};

    fn offers(modules: &[(&str, &str)]) -> Offers {
        let fake = |api: &'static str| (Api::component(api), Model::builtin("fake"));
        let modules = modules
            .iter()
            .map(|(name, meta)| ((*name).to_owned(), of_meta(meta.as_bytes()).expect("models")));
        Offers {
            builtin: BTreeSet::from([fake("motor"), fake("sensor")]),
            builtin_problem: None,
            modules: modules.collect(),
        }
    }

    const LIDAR: &str =
        r#"{"models": [{"api": "rdk:component:camera", "model": "acme:lidar:x2", "description": "…"}]}"#;

    #[test]
    fn what_nobody_offers_is_an_error_at_its_model_and_what_a_start_tells_is_not() {
        let lidar = "modules: [{name: lidar, executable_path: /bin/true}]\n";
        let two = "modules: [{name: lidar, executable_path: /bin/true}, {name: other, executable_path: /bin/true}]\n";
        let broken = "modules: [{name: lidar}]\n";
        let camera = "components: [{name: c, type: camera, model: 'acme:lidar:x3'}]\n";
        for (text, known, diagnostics, after_start) in [
            (
                "components: [{name: m, type: motor, model: fake}]".to_owned(),
                offers(&[]),
                &[][..],
                &[][..],
            ),
            (
                "components: [{name: b, type: base, model: wheeled}]".to_owned(),
                offers(&[]),
                &[
                    "r.yaml:1:43: no such model: `wheeled` for rdk:component:base (nothing built in has this API: add a module that does to `modules`, and write its model as `namespace:family:name`)",
                ],
                &[],
            ),
            (
                "services: [{type: motion}]".to_owned(),
                offers(&[]),
                &[
                    "r.yaml:1:12: no such model: `builtin` for rdk:service:motion (nothing built in has this API: add a module that does to `modules`, and write its model as `namespace:family:name`)",
                ],
                &[],
            ),
            // No module that may start later has a model of that namespace.
            (
                format!("{lidar}components: [{{name: m, type: motor, model: faek}}]"),
                offers(&[]),
                &[
                    "r.yaml:2:44: no such model: `faek` for rdk:component:motor (did you mean `fake`? the built-in modules offer fake)",
                ],
                &[],
            ),
            (
                camera.to_owned(),
                offers(&[]),
                &[
                    "r.yaml:1:45: no such model: `acme:lidar:x3` for rdk:component:camera (add the module that offers it to `modules`)",
                ],
                &[],
            ),
            (
                format!("{lidar}{camera}"),
                offers(&[]),
                &[],
                &["acme:lidar:x3 rdk:component:camera/c lidar"],
            ),
            (
                format!("{lidar}{camera}"),
                offers(&[("lidar", LIDAR)]),
                &[
                    "r.yaml:2:45: no such model: `acme:lidar:x3` for rdk:component:camera (did you mean `acme:lidar:x2`? module `lidar` offers acme:lidar:x2)",
                ],
                &[],
            ),
            (
                format!("{two}{camera}"),
                offers(&[("lidar", LIDAR)]),
                &[],
                &["acme:lidar:x3 rdk:component:camera/c other"],
            ),
            (
                format!("{broken}{camera}"),
                offers(&[]),
                &[
                    "r.yaml:2:45: no such model: `acme:lidar:x3` for rdk:component:camera (add the module that offers it to `modules`; what is wrong with `lidar` comes first)",
                ],
                &[],
            ),
            // A broken entry has its own diagnostic.
            (
                "components: [{name: '', type: base, model: wheeled}]".to_owned(),
                offers(&[]),
                &[],
                &[],
            ),
        ] {
            let loaded = parse(&ConfigFiles::single("r.yaml", &text), &LoadContext::default()).expect("usable");
            let checked = check(&loaded.config, &known);
            let lines: Vec<_> = checked.diagnostics.iter().map(Diagnostic::line).collect();
            assert_eq!(lines, diagnostics, "{text}");
            let told: Vec<_> = checked
                .after_start
                .iter()
                .map(|one| {
                    let resources: Vec<_> = one.resources.iter().map(ToString::to_string).collect();
                    format!("{} {} {}", one.model, resources.join(" "), one.modules.join(" "))
                })
                .collect();
            assert_eq!(told, after_start, "{text}");
        }
    }

    #[test]
    fn without_built_in_modules_there_is_one_complaint_for_all_who_need_them() {
        let text = "components: [{name: a, type: motor, model: fake}, {name: b, type: motor, model: fake}]";
        let loaded = parse(&ConfigFiles::single("r.yaml", text), &LoadContext::default()).expect("usable");
        let none = Offers {
            builtin_problem: Some("they are away".to_owned()),
            ..Offers::default()
        };
        let lines: Vec<_> = check(&loaded.config, &none)
            .diagnostics
            .iter()
            .map(Diagnostic::line)
            .collect();
        assert_eq!(
            lines,
            ["r.yaml:1:44: no built-in model can be had, which 2 entries need, this one first (they are away)"]
        );
    }

    #[test]
    fn a_model_from_the_environment_is_not_shown() {
        let context = LoadContext {
            environment: [("M".to_owned(), "hush:hush:hush".to_owned())].into(),
            ..LoadContext::default()
        };
        let text = "components: [{name: a, type: motor, model: \"$M\"}]";
        let loaded = parse(&ConfigFiles::single("r.yaml", text), &context).expect("usable");
        let checked = check(&loaded.config, &offers(&[]));
        assert_eq!(checked.diagnostics.len(), 1);
        assert!(
            !checked.diagnostics[0].line().contains("hush"),
            "{:?}",
            checked.diagnostics
        );
    }

    #[test]
    fn a_meta_json_that_names_no_model_says_nothing() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"models": []}"#,
            r#"{"models": null}"#,
            r#"{"models": [{"api": "x"}]}"#,
        ] {
            assert_eq!(of_meta(text.as_bytes()), None, "{text}");
        }
        assert_eq!(of_meta(LIDAR.as_bytes()).map(|offers| offers.len()), Some(1));
    }
}
