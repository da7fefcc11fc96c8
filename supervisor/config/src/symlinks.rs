//! Directory entries that decide where a path leads: a change of any of them may lead it elsewhere.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Links that are followed before a chain of them counts as a circle.
const MAX_HOPS: u32 = 40;

/// Each link on the way of `path` and the file at its end, or, if the way breaks off, the first entry that is missing. `path`
/// must be absolute.
pub fn entries(path: &Path) -> BTreeSet<PathBuf> {
    let mut entries = BTreeSet::new();
    let mut at = PathBuf::from("/");
    let mut left: Vec<_> = path
        .components()
        .rev()
        .map(|part| part.as_os_str().to_owned())
        .collect();
    let mut hops = 0;
    while let Some(part) = left.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => at = PathBuf::from("/"),
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                match std::fs::symlink_metadata(&next) {
                    Err(_) => {
                        entries.insert(next);
                        return entries;
                    }
                    Ok(metadata) if metadata.is_symlink() && hops < MAX_HOPS => {
                        hops += 1;
                        let target = std::fs::read_link(&next).unwrap_or_default();
                        left.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                        entries.insert(next);
                    }
                    Ok(_) => at = next,
                }
            }
            Some(Component::CurDir | Component::Prefix(_)) | None => {}
        }
    }
    entries.insert(at);
    entries
}

/// The folders in which these entries lie.
pub fn folders(entries: &BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    entries
        .iter()
        .filter_map(|entry| entry.parent())
        .map(Path::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_counts_and_a_broken_way_ends_at_what_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().canonicalize().expect("it is there");
        fs::create_dir_all(at.join("v1")).expect("made");
        fs::write(at.join("v1/a.yaml"), "").expect("written");
        symlink("v1", at.join("..data")).expect("linked");
        symlink("..data/a.yaml", at.join("a.yaml")).expect("linked");
        symlink("loop", at.join("loop")).expect("linked");
        for (path, expected) in [
            ("v1/a.yaml", vec!["v1/a.yaml"]),
            ("a.yaml", vec!["a.yaml", "..data", "v1/a.yaml"]),
            ("v1/../a.yaml", vec!["a.yaml", "..data", "v1/a.yaml"]),
            ("gone/b/c.yaml", vec!["gone"]),
            ("..data/c.yaml", vec!["..data", "v1/c.yaml"]),
        ] {
            let expected: BTreeSet<_> = expected.into_iter().map(|entry| at.join(entry)).collect();
            assert_eq!(entries(&at.join(path)), expected, "{path}");
        }
        assert!(entries(&at.join("loop")).contains(&at.join("loop")), "a circle ends");
    }
}
