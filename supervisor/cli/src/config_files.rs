//! Search for the file of a config that a value is in: the one that was named, or one that it includes.

use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::edit::{EditableFile, ValuePath};
use mainstay_config::{ConfigFiles, RawFile};

/// File that holds a value, or should.
#[derive(Debug, PartialEq, Eq)]
pub struct ValueFile {
    /// The file that has it, or else the one in which its path leads furthest; the first of several.
    pub file: PathBuf,
    /// Number of files besides the one that was named that were looked at.
    pub others: usize,
}

/// Finds the file that has the value at `path`. A number that says which entry is meant counts in `file` alone. What cannot
/// be read is passed over: whoever reads the file that is found says what is wrong.
pub fn file_of(file: &Path, path: &ValuePath) -> ValueFile {
    let named = ValueFile {
        file: file.to_owned(),
        others: 0,
    };
    if path.counts_entries() {
        return named;
    }
    let Ok(bundle) = ConfigFiles::gather(file, &mut config::read_file) else {
        return named;
    };
    let depths = bundle.files.iter().map(|raw| depth(raw, path));
    // Of equals the last is the greatest, so they are gone through from behind.
    let deepest = depths
        .enumerate()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .max_by_key(|(_, depth)| *depth);
    let found = deepest.and_then(|(number, _)| bundle.files.get(number));
    ValueFile {
        file: found.map_or(named.file, |raw| raw.path.clone()),
        others: bundle.files.len().saturating_sub(1),
    }
}

/// Number of parts of the path that lead somewhere in this file.
fn depth(raw: &RawFile, path: &ValuePath) -> usize {
    let text = raw.text.strip_prefix(crate::config::MARK).unwrap_or(&raw.text);
    let text = String::from_utf8(text.to_owned()).ok();
    let document = text.and_then(|text| EditableFile::read(&raw.path, text).ok());
    document.map_or(0, |document| document.depth(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_value_is_looked_for_in_all_files_of_the_config() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (name, text) in [
            (
                "rover.yaml",
                "include: [arm.yaml, net.json]\ncomponents:\n- {name: left, model: fake}\n",
            ),
            (
                "arm.yaml",
                "components:\n- {name: elbow, model: fake, attributes: {rate: 5}}\n- {name: left, model: x}\n",
            ),
            ("net.json", "{\"network\": {\"fqdn\": \"a\"}}"),
        ] {
            fs::write(at(name), text).expect("written");
        }
        let check = |path: &str, expected: &str, others| {
            let place = file_of(&at("rover.yaml"), &path.parse().expect("a path"));
            let expected = ValueFile {
                file: at(expected),
                others,
            };
            assert_eq!(place, expected, "{path}");
        };
        check("components.left.model", "rover.yaml", 2);
        check("components.elbow.attributes.rate", "arm.yaml", 2);
        // A key that is new goes where its map is.
        check("components.elbow.attributes.new", "arm.yaml", 2);
        check("network.bind_address", "net.json", 2);
        check("debug", "rover.yaml", 2);
        check("components.nobody.model", "rover.yaml", 2);
        check("components[1].model", "rover.yaml", 0);
        fs::remove_file(at("net.json")).expect("removed");
        check("components.elbow.attributes.rate", "rover.yaml", 0);
    }
}
