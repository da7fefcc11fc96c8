//! Links to the folders of machine-learning models by the names that the config gives them, `$VIAM_HOME/packages/NAME`,
//! where programs look for them.
//!
//! Nothing here fetches a package, and nothing removes one or its link: a change must be able to go back, and another
//! machine of the same user may use them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use mainstay_model::Package;
use tracing::warn;

/// Links every usable model that is there. Obstacles are logged and left in place. Takes a moment of the disk.
pub fn link_models(packages: &[Package], home: &Path) {
    let models = packages
        .iter()
        .filter(|package| package.fault.is_none() && package.is_ml_model());
    for package in models {
        let folder = package.folder_in(home);
        let link = home.join("packages").join(&package.name);
        if !folder.is_dir() {
            continue;
        }
        if let Err(error) = point(&link, &folder) {
            warn!(
                package = package.name,
                "`{}` cannot be made a link to `{}`: {error}; who looks for the model there does not find it",
                link.display(),
                folder.display()
            );
        }
    }
}

/// Makes `link` lead to `folder`. At no moment is there nothing, or half of it.
fn point(link: &Path, folder: &Path) -> io::Result<()> {
    match fs::read_link(link) {
        Ok(there) if there == folder => return Ok(()),
        Ok(_another_version) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Err(io::Error::other("something that is no link stands there; move it away"));
        }
        Err(error) => return Err(error),
    }
    // No name of a package begins like this.
    let mut beside = std::ffi::OsString::from(format!(".{}-", std::process::id()));
    beside.push(link.file_name().unwrap_or_default());
    let beside = link.with_file_name(beside);
    symlink(folder, &beside)?;
    fs::rename(&beside, link).inspect_err(|_| {
        let _left = fs::remove_file(&beside);
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn package(name: &str, kind: &str, version: &str, fault: Option<&str>) -> Package {
        Package {
            name: name.to_owned(),
            package: format!("org9/{name}"),
            version: version.to_owned(),
            kind: kind.to_owned(),
            fault: fault.map(str::to_owned),
            folder: None,
            place: mainstay_model::SourceSpan::file("r.json".as_ref()),
        }
    }

    #[test]
    fn models_that_are_there_are_found_by_name_and_nothing_is_ever_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path();
        let old = package("faces", "ml_model", "0.3.0", None);
        let new = package("faces", "ml_model", "0.4.0", None);
        let program = package("sorter", "module", "1.0", None);
        let broken = package("broken", "ml_model", "1.0", Some("empty package id"));
        let absent = package("absent", "ml_model", "1.0", None);
        let hidden = package("data", "ml_model", "1.0", None);
        for there in [&old, &new, &program, &broken, &hidden] {
            fs::create_dir_all(there.folder_in(home)).expect("writable");
        }
        let leads = |name: &str| -> Option<PathBuf> { fs::read_link(home.join("packages").join(name)).ok() };
        for (packages, faces) in [
            (&[&old, &program, &broken, &absent][..], &old),
            (&[&old], &old),
            (&[&new, &hidden], &new),
            (&[], &new),
            (&[&old], &old),
        ] {
            let packages: Vec<_> = packages.iter().map(|package| (*package).clone()).collect();
            link_models(&packages, home);
            assert_eq!(leads("faces"), Some(faces.folder_in(home)), "{packages:?}");
            for other in ["sorter", "broken", "absent", "data"] {
                assert_eq!(leads(other), None, "{other}");
            }
        }
        for there in [&old, &new, &program, &broken, &hidden] {
            assert!(there.folder_in(home).is_dir(), "{there:?}");
        }
        let mut left: Vec<_> = fs::read_dir(home.join("packages"))
            .expect("readable")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["data", "faces"]);
    }
}
