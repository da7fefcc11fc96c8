//! `packages`: files that a cloud delivers, what makes an entry of them usable, and where they lie.

use std::path::Path;

use mainstay_model::suggest::nearest;
use mainstay_model::{Config, Package};

use crate::diagnostic::{Diagnostic, Severity};
use crate::read::{Keys, Reader};
use crate::sections::SeenKeys;
use crate::{keys, names};

/// A model for machine learning; also what a placeholder without a type means.
pub(super) const ML_MODEL: &str = Package::ML_MODEL;
/// Types of packages.
pub(super) const PACKAGE_TYPES: [&str; 4] = [ML_MODEL, "module", "slam_map", "archive"];

fn is_package_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('/').collect();
    let good = |part: &&str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part.chars().all(letters) && !part.chars().all(|c| c == '.')
    };
    parts.len() == 2 && parts.iter().all(good)
}

/// Complains about each package that is not there: nothing downloads it.
pub(super) fn absent(config: &Config, exists: impl Fn(&Path) -> bool) -> Vec<Diagnostic> {
    let usable = config.packages.iter().filter(|package| package.fault.is_none());
    let absent = usable.filter_map(|package| {
        let folder = package.folder.as_deref().filter(|folder| !exists(folder))?;
        let message = format!(
            "package `{}` ({}) is not here, and nothing is downloaded: whatever uses it finds nothing",
            package.name.escape_debug(),
            package.package.escape_debug()
        );
        let help = format!("put its content into `{}`", folder.display());
        let (source, place) = (&config.source, &package.place);
        let diagnostic = Diagnostic::about(config, Severity::Warning, place, source.scrub(message, place));
        Some(diagnostic.with_help(source.scrub(help, place)))
    });
    absent.collect()
}

/// Reads all packages, with the faults of those that cannot be used.
/// `home` is `VIAM_HOME`.
pub(super) fn packages(reader: &mut Reader, files: &[Keys<'_>], home: Option<&Path>) -> Vec<Package> {
    let mut seen = SeenKeys::default();
    reader.entries(files, "packages", |reader, node| {
        let keys = reader.keys(&keys::PACKAGE, node)?;
        let [name, package, version, kind] =
            ["name", "package", "version", "type"].map(|key| reader.text_or_empty(&keys, key));
        if let Err(message) = names::check_package(&name) {
            reader.error_with(keys.span_of("name"), message, None);
        }
        seen.check(reader, "package", &name, keys.span_of("name"));
        if package.is_empty() {
            reader.error_with(keys.span_of("package"), "empty package id", Some("write <org>/<name>"));
        } else if !is_package_id(&package) {
            let message = format!("`{}` is no package id", package.escape_debug());
            reader.error_with(keys.span_of("package"), message, Some("write <org>/<name>"));
        }
        if !PACKAGE_TYPES.contains(&kind.as_str()) {
            let message = format!(
                "unsupported package type \"{}\". Must be one of: [{}]",
                kind.escape_debug(),
                PACKAGE_TYPES.join(", ")
            );
            let help = nearest(&kind, PACKAGE_TYPES).map(|meant| format!("did you mean `{meant}`?"));
            reader.error_with(keys.span_of("type"), message, help.as_deref());
        }
        let status = reader.map(&keys, "status");
        let error = status.and_then(|status| reader.text(&status, "error"));
        if let Some(error) = error.filter(|error| !error.is_empty()) {
            let message = format!("the cloud refuses this package: {}", error.escape_debug());
            reader.error_with(keys.span_of("status"), message, None);
        }
        let mut package = Package {
            name,
            package,
            version,
            kind,
            place: reader.source.place(keys.span_of("name")),
            folder: None,
            fault: reader.take_fault(),
        };
        package.folder = home.map(|home| package.folder_in(home));
        Some(package)
    })
}
