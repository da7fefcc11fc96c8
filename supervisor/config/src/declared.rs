//! Check of entries by the answers of modules before anything runs: attributes that they refuse, and names in attributes
//! that nothing has.

use std::collections::BTreeMap;

use mainstay_core::graph::{Index, Unresolved};
use mainstay_ids::ResourceName;
use mainstay_model::dependencies::Declared;
use mainstay_model::suggest::nearest;
use mainstay_model::{Config, ResourceConfig, SourceSpan, Span};

use crate::diagnostic::{Diagnostic, Severity};
use crate::document;
use crate::load_context::LoadContext;
use crate::node::{NodeValue, TreeNode};

/// Answer of a module about one entry, or the fault of the entry.
pub type DeclaredAnswer = Result<Declared, String>;

/// Diagnostics that follow from the answers of modules.
#[must_use]
pub fn check(
    config: &Config,
    answers: &BTreeMap<ResourceName, DeclaredAnswer>,
    context: &LoadContext,
) -> Vec<Diagnostic> {
    let index = Index::new(config.resources.iter().map(|resource| &resource.name));
    let mut trees = Trees::default();
    let mut diagnostics = Vec::new();
    for entry in &config.resources {
        match answers.get(&entry.name) {
            None => {}
            Some(Err(problem)) => {
                let message = problem.strip_prefix(&format!("{}: ", entry.name)).unwrap_or(problem);
                let span = named(trees.attributes_of(config, entry, context), message);
                let place = span.map_or_else(|| entry.place.clone(), |span| config.source.place(span));
                let who = entry.name.name.escape_debug();
                let message = match span.filter(|span| config.source.is_hidden_at(*span)) {
                    // What a module says about a value mostly quotes it.
                    Some(_) => format!("`{who}`: its module refuses this attribute, whose value is not shown"),
                    None => format!("`{who}`: {message}"),
                };
                diagnostics.push(Diagnostic::about(config, Severity::Local, &place, message));
            }
            Some(Ok(Declared { required, warnings, .. })) => {
                for text in warnings {
                    let mut diagnostic = warning(config, entry, text);
                    if let Some(span) = named(trees.attributes_of(config, entry, context), text) {
                        diagnostic.place = config.source.place(span);
                    }
                    diagnostics.push(diagnostic);
                }
                // What the entry lists itself is looked at with the entries.
                for text in required.iter().filter(|text| !entry.depends_on.contains(text)) {
                    let Err(problem) = index.resolve(text) else { continue };
                    if config.imports && !matches!(problem, Unresolved::Ambiguous(_)) {
                        continue;
                    }
                    let attributes = trees.attributes_of(config, entry, context);
                    let span = attributes.and_then(|attributes| text_at(attributes, text));
                    let place = span.map_or_else(|| entry.place.clone(), |span| config.source.place(span));
                    diagnostics.push(unresolved(config, entry, text, &place, &problem));
                }
            }
        }
    }
    for diagnostic in &mut diagnostics {
        diagnostic.scrub(&config.source);
    }
    diagnostics
}

/// What a module warns about in an entry, at the place of the entry.
#[must_use]
pub fn warning(config: &Config, entry: &ResourceConfig, text: &str) -> Diagnostic {
    let (message, help) = text.split_once("; ").unwrap_or((text, ""));
    let message = format!("`{}`: {message}", entry.name.name.escape_debug());
    let mut diagnostic = Diagnostic::about(config, Severity::Warning, &entry.place, message);
    diagnostic.help = Some(help.to_owned()).filter(|help| !help.is_empty());
    diagnostic.scrub(&config.source);
    diagnostic
}

/// Place of the attribute that a module's text begins with.
fn named(attributes: Option<&TreeNode>, text: &str) -> Option<Span> {
    let path = text.strip_prefix("attribute ").unwrap_or(text).strip_prefix('`')?;
    at_path(attributes?, path.split('`').next()?)
}

fn unresolved(
    config: &Config,
    entry: &ResourceConfig,
    text: &str,
    place: &SourceSpan,
    problem: &Unresolved,
) -> Diagnostic {
    let (who, shown) = (entry.name.name.escape_debug(), text.escape_debug());
    if let Unresolved::Ambiguous(several) = problem {
        let several: Vec<_> = several.iter().map(ToString::to_string).collect();
        let message = format!("`{who}` needs `{shown}`, which could mean {}", several.join(" or "));
        return Diagnostic::about(config, Severity::Local, place, message).with_help("give the full name");
    }
    let message = format!("`{who}` needs `{shown}`, but nothing in this config has that name");
    let (api, simple) = text.rsplit_once('/').unwrap_or(("", text));
    let others = || config.resources.iter().filter(|other| other.name != entry.name);
    // Of another kind is likelier than misspelt.
    let other_kind = others().find(|other| !api.is_empty() && other.name.name == simple);
    let near = || nearest(simple, others().map(|other| other.name.name.as_str()));
    let help = match other_kind {
        Some(other) => format!("`{simple}` is a {}", other.name.api),
        None => near().map_or_else(
            || format!("add it to the config, or take it out of the attributes of `{who}`"),
            |meant| format!("did you mean `{meant}`?"),
        ),
    };
    Diagnostic::about(config, Severity::Local, place, message).with_help(help)
}

/// The trees of the files of a config, read once more when something is to be found in them.
#[derive(Default)]
struct Trees(Option<Vec<TreeNode>>);

impl Trees {
    /// The attributes of an entry as they are written.
    fn attributes_of(&mut self, config: &Config, entry: &ResourceConfig, context: &LoadContext) -> Option<&TreeNode> {
        let source = &config.source;
        let trees = self.0.get_or_insert_with(|| {
            let variables = context.variables();
            let files = 0..source.paths().count();
            files
                .map(|number| document::read(source, number, &variables).root)
                .collect()
        });
        let sections = trees
            .iter()
            .flat_map(|root| ["components", "services"].map(|key| value(root, key)));
        let mut entries = sections.flatten().flat_map(|section| match &section.value {
            NodeValue::List(items) => items.as_slice(),
            _ => &[],
        });
        let is_it =
            |item: &&TreeNode| source.place(value(item, "name").map_or(item.span, |name| name.span)) == entry.place;
        value(entries.find(is_it)?, "attributes")
    }
}

fn value<'n>(node: &'n TreeNode, key: &str) -> Option<&'n TreeNode> {
    let NodeValue::Map(entries) = &node.value else {
        return None;
    };
    let find = |matches: &dyn Fn(&str) -> bool| entries.iter().rfind(|entry| matches(&entry.key));
    let found = find(&|known| known == key).or_else(|| find(&|known| known.eq_ignore_ascii_case(key)))?;
    Some(&found.value)
}

/// Place of the value `a.b[2].c`; of its nearest parent if the path leads nowhere.
fn at_path(attributes: &TreeNode, path: &str) -> Option<Span> {
    let mut node = attributes;
    let parts = path.split(['.', '[', ']']).filter(|part| !part.is_empty());
    for (depth, part) in parts.enumerate() {
        let next = match &node.value {
            NodeValue::List(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => value(node, part),
        };
        match next {
            Some(next) => node = next,
            None if depth == 0 => return None,
            None => break,
        }
    }
    Some(node.span)
}

/// The first text that is this name, or the simple part of it.
fn text_at(node: &TreeNode, name: &str) -> Option<Span> {
    let simple = name.rsplit_once('/').map_or(name, |(_, simple)| simple);
    match &node.value {
        NodeValue::Text(text) if text == name || text == simple => Some(node.span),
        NodeValue::List(items) => items.iter().find_map(|item| text_at(item, name)),
        NodeValue::Map(entries) => entries.iter().find_map(|entry| text_at(&entry.value, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigFiles, parse};

    #[test]
    fn what_modules_say_is_a_complaint_at_the_attribute_that_it_is_about() {
        let text = "components:\n\
                    - {name: base, type: base, model: 'a:b:c', attributes: {left: motr, width: wide, more: [{x: 1}, {x: no}], password: hush}}\n\
                    - {name: motor, type: motor, model: fake}\n\
                    - {name: twin, type: motor, model: fake}\n\
                    - {name: twin, type: servo, model: fake}\n";
        let remote = "remotes: [{name: r, address: 'r:1'}]\n";
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let needs = |names: &[&str]| {
            Ok(Declared {
                required: texts(names),
                ..Declared::default()
            })
        };
        let warns = |warnings: &[&str]| {
            Ok(Declared {
                warnings: texts(warnings),
                ..Declared::default()
            })
        };
        let refuses = |text: &str| Err(text.to_owned());
        for (more, answer, expected) in [
            (
                "",
                needs(&["rdk:component:motor/motor", "twin-1"]),
                &[
                    "r.yaml:2:10: `base` needs `twin-1`, but nothing in this config has that name (did you mean `twin`?)",
                ][..],
            ),
            (
                "",
                needs(&["rdk:component:motor/motr"]),
                &[
                    "r.yaml:2:63: `base` needs `rdk:component:motor/motr`, but nothing in this config has that name (did you mean `motor`?)",
                ],
            ),
            (
                "",
                needs(&["rdk:component:encoder/motor"]),
                &[
                    "r.yaml:2:10: `base` needs `rdk:component:encoder/motor`, but nothing in this config has that name (`motor` is a rdk:component:motor)",
                ],
            ),
            (
                "",
                needs(&["twin"]),
                &[
                    "r.yaml:2:10: `base` needs `twin`, which could mean rdk:component:motor/twin or rdk:component:servo/twin (give the full name)",
                ],
            ),
            (
                "",
                needs(&["zzzzzz"]),
                &[
                    "r.yaml:2:10: `base` needs `zzzzzz`, but nothing in this config has that name (add it to the config, or take it out of the attributes of `base`)",
                ],
            ),
            (remote, needs(&["zzzzzz"]), &[]),
            (
                "",
                refuses("rdk:component:base/base: attribute `width`: must be a number"),
                &["r.yaml:2:76: `base`: attribute `width`: must be a number"],
            ),
            (
                "",
                refuses("attribute `more[1].x`: must be a number"),
                &["r.yaml:2:101: `base`: attribute `more[1].x`: must be a number"],
            ),
            (
                "",
                refuses("attribute `gone`: is missing"),
                &["r.yaml:2:10: `base`: attribute `gone`: is missing"],
            ),
            (
                "",
                refuses("`width` is wide"),
                &["r.yaml:2:76: `base`: `width` is wide"],
            ),
            (
                "",
                refuses("attribute `password`: invalid type: string \"hush\", expected u8"),
                &["r.yaml:2:117: `base`: its module refuses this attribute, whose value is not shown"],
            ),
            ("", refuses("no power"), &["r.yaml:2:10: `base`: no power"]),
            (
                "",
                warns(&["attribute `more[0].x` is not known; did you mean `y`?", "warm"]),
                &[
                    "r.yaml:2:93: `base`: attribute `more[0].x` is not known (did you mean `y`?)",
                    "r.yaml:2:10: `base`: warm",
                ],
            ),
        ] {
            let context = LoadContext::default();
            let text = format!("{text}{more}");
            let loaded = parse(&ConfigFiles::single("r.yaml", &text), &context).expect("usable");
            let name = loaded.config.resources[0].name.clone();
            let diagnostics = check(&loaded.config, &BTreeMap::from([(name, answer)]), &context);
            let lines: Vec<_> = diagnostics.iter().map(Diagnostic::line).collect();
            assert_eq!(lines, expected, "{text}");
        }
    }
}
