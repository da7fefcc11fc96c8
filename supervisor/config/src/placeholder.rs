//! Placeholders in the decoded texts of a config: `${packages.TYPE.NAME}` for the folder of a package,
//! `${environment.NAME}` for a variable of the environment.
//!
//! What cannot be replaced stays as it is, with a warning in the words that peers know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mainstay_model::Package;
use mainstay_model::suggest::nearest;

use crate::load_context::LoadContext;
use crate::packages::{ML_MODEL, PACKAGE_TYPES};

/// Values of placeholders.
#[derive(Debug, Default)]
pub(super) struct Placeholders {
    /// Type and folder of each package, by its name. No folder: this user has no home.
    packages: BTreeMap<String, (String, Option<PathBuf>)>,
    environment: BTreeMap<String, String>,
}

/// A text whose placeholders have been replaced.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ReplacedText {
    pub(super) text: String,
    /// Problems, each with the placeholder that it is about and the cure.
    pub(super) problems: Vec<PlaceholderProblem>,
    /// Values of the environment in it, and the placeholder of each.
    pub(super) borrowed: Vec<(String, String)>,
}

/// A placeholder that stays.
#[derive(Debug, PartialEq)]
pub(super) struct PlaceholderProblem {
    pub(super) placeholder: String,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Placeholders {
    /// Placeholders of a config with these packages.
    pub(super) fn new(packages: &[Package], context: &LoadContext) -> Self {
        let usable = packages.iter().rev().filter(|package| package.fault.is_none());
        let entry = |package: &Package| {
            let folder = package.folder.clone();
            (package.name.clone(), (package.kind.clone(), folder))
        };
        Self {
            packages: usable.map(entry).collect(),
            environment: context.variables(),
        }
    }

    /// Replaces all of them in a text.
    pub(super) fn fill(&self, text: &str) -> ReplacedText {
        let mut filled = ReplacedText::default();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            filled.text.push_str(before);
            let Some(end) = from.find('}') else {
                rest = from;
                break;
            };
            let (placeholder, after) = from.split_at(end + 1);
            match self.value(placeholder, &mut filled.borrowed) {
                Ok(value) => filled.text.push_str(&value),
                Err((message, help)) => {
                    filled.text.push_str(placeholder);
                    filled.problems.push(PlaceholderProblem {
                        placeholder: placeholder.to_owned(),
                        message,
                        help,
                    });
                }
            }
            rest = after;
        }
        filled.text.push_str(rest);
        filled
    }

    fn value(
        &self,
        placeholder: &str,
        borrowed: &mut Vec<(String, String)>,
    ) -> Result<String, (String, Option<String>)> {
        let shown = placeholder.escape_debug();
        let parts: Vec<&str> = placeholder[2..placeholder.len() - 1].split('.').collect();
        match parts[..] {
            ["environment", name] if is_word(name, false) => {
                let Some(value) = self.environment.get(name) else {
                    let message = format!("no environment variable named \"{name}\" for placeholder \"{shown}\"");
                    let near = nearest(name, self.environment.keys().map(String::as_str));
                    return Err((message, near.map(|meant| format!("did you mean `{meant}`?"))));
                };
                borrowed.push((value.clone(), placeholder.to_owned()));
                Ok(value.clone())
            }
            ["packages", name] if is_word(name, true) => self.package(&shown.to_string(), ML_MODEL, name),
            ["packages", kind, name] if PACKAGE_TYPES.contains(&kind) && is_word(name, true) => {
                self.package(&shown.to_string(), kind, name)
            }
            ["packages", kind, _] if !PACKAGE_TYPES.contains(&kind) => {
                let help = nearest(kind, PACKAGE_TYPES).map_or_else(
                    || format!("the type of a package is one of {}", PACKAGE_TYPES.join(", ")),
                    |meant| format!("did you mean `{meant}`?"),
                );
                Err((format!("invalid placeholder \"{shown}\""), Some(help)))
            }
            _ => {
                let help = "it is `${packages.TYPE.NAME}` or `${environment.NAME}`";
                Err((format!("invalid placeholder \"{shown}\""), Some(help.to_owned())))
            }
        }
    }

    fn package(&self, shown: &str, kind: &str, name: &str) -> Result<String, (String, Option<String>)> {
        let Some((found, folder)) = self.packages.get(name) else {
            let message = format!("failed to find a package named \"{name}\" for placeholder \"{shown}\"");
            let near = nearest(name, self.packages.keys().map(String::as_str));
            return Err((message, near.map(|meant| format!("did you mean `{meant}`?"))));
        };
        if found != kind {
            let message = format!(
                "placeholder \"{shown}\" is looking for a package of type \"{kind}\" but a package of type \"{found}\" was \
                 found. Try \"${{packages.{found}.{name}}}\""
            );
            return Err((message, None));
        }
        match folder {
            Some(folder) => Ok(folder.to_string_lossy().into_owned()),
            None => {
                let message = format!("there is no folder for packages, for placeholder \"{shown}\"");
                Err((message, Some("set VIAM_HOME or HOME".to_owned())))
            }
        }
    }
}

/// Letters, digits and underscores; in names of packages dashes too.
fn is_word(text: &str, dashes: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (dashes && c == '-');
    !text.is_empty() && text.chars().all(good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders() -> Placeholders {
        let package = |name: &str, kind: &str, fault: Option<&str>| Package {
            name: name.to_owned(),
            package: format!("org9/{name}"),
            version: "1.4.2".to_owned(),
            kind: kind.to_owned(),
            fault: fault.map(str::to_owned),
            folder: Some(format!("/v/packages/data/{kind}/org9-{name}-1_4_2").into()),
            place: mainstay_model::SourceSpan::file("r.json".as_ref()),
        };
        let packages = [
            package("sorter", "module", None),
            package("faces", "ml_model", None),
            package("broken", "module", Some("bad")),
        ];
        let context = LoadContext {
            viam_home: Some("/v".into()),
            environment: [("PORT", "/dev/x"), ("DISPLAY", ":0"), ("EMPTY", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..LoadContext::default()
        };
        Placeholders::new(&packages, &context)
    }

    #[test]
    fn placeholders_become_folders_and_variables() {
        for (text, filled) in [
            ("", ""),
            ("no $placeholder {in} here", "no $placeholder {in} here"),
            (
                "${packages.module.sorter}/bin/run",
                "/v/packages/data/module/org9-sorter-1_4_2/bin/run",
            ),
            ("${packages.faces}", "/v/packages/data/ml_model/org9-faces-1_4_2"),
            (
                "${packages.ml_model.faces}/a",
                "/v/packages/data/ml_model/org9-faces-1_4_2/a",
            ),
            ("${environment.PORT}:${environment.DISPLAY}!", "/dev/x::0!"),
            ("a${environment.EMPTY}b", "ab"),
            ("${environment.VIAM_HOME}", "/v"),
            ("$${environment.PORT}", "$/dev/x"),
            ("${environment.PORT", "${environment.PORT"),
        ] {
            let done = placeholders().fill(text);
            assert_eq!((done.text.as_str(), &done.problems[..]), (filled, &[][..]), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_says_why() {
        for (text, message, help) in [
            (
                "${x}",
                "invalid placeholder \"${x}\"",
                Some("it is `${packages.TYPE.NAME}` or `${environment.NAME}`"),
            ),
            (
                "${}",
                "invalid placeholder \"${}\"",
                Some("it is `${packages.TYPE.NAME}` or `${environment.NAME}`"),
            ),
            (
                "${packages.a.b.c}",
                "invalid placeholder \"${packages.a.b.c}\"",
                Some("it is `${packages.TYPE.NAME}` or `${environment.NAME}`"),
            ),
            (
                "${packages.modul.sorter}",
                "invalid placeholder \"${packages.modul.sorter}\"",
                Some("did you mean `module`?"),
            ),
            (
                "${packages.module.sortr}",
                "failed to find a package named \"sortr\" for placeholder \"${packages.module.sortr}\"",
                Some("did you mean `sorter`?"),
            ),
            (
                "${packages.module.broken}",
                "failed to find a package named \"broken\" for placeholder \"${packages.module.broken}\"",
                None,
            ),
            (
                "${packages.sorter}",
                "placeholder \"${packages.sorter}\" is looking for a package of type \"ml_model\" but a package of type \
                 \"module\" was found. Try \"${packages.module.sorter}\"",
                None,
            ),
            (
                "${environment.PROT}",
                "no environment variable named \"PROT\" for placeholder \"${environment.PROT}\"",
                Some("did you mean `PORT`?"),
            ),
        ] {
            let done = placeholders().fill(&format!("<{text}>"));
            assert_eq!(done.text, format!("<{text}>"));
            let [problem] = &done.problems[..] else {
                panic!("{text}")
            };
            assert_eq!(
                (problem.message.as_str(), problem.help.as_deref()),
                (message, help),
                "{text}"
            );
        }
    }
}
