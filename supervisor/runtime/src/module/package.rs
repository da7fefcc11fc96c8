//! Package of a module: the `meta.json` of its folder, with the program to run and the script for its first run (spec:
//! module protocol §1.2, §1.6). Looks at files; unpacks and runs nothing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use mainstay_model::ModuleSpec;
use serde::Deserialize;
use tracing::debug;

use super::first_run::FirstRun;
use super::unpack::inside;

/// Longest `meta.json`, in bytes.
const MAX_META_LEN: u64 = 1 << 20;

/// Program of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program.
    pub executable: PathBuf,
    /// The module's own folder: VIAM_MODULE_ROOT.
    pub root: PathBuf,
    /// Script for the first run, whether that was run already or not.
    pub first_run: Option<FirstRun>,
}

/// The part of a `meta.json` that a host reads.
#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    entrypoint: String,
    #[serde(default)]
    first_run: String,
}

/// Fault of a module's folder.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A tarball that names no program.
    #[error(
        "local tarballs must contain a meta.json with the 'entrypoint' field; {why} (pack the content of the module's \
         folder, not the folder: `tar czf module.tgz -C FOLDER .`)"
    )]
    NoEntrypoint { why: String },
    /// The entry point lies elsewhere.
    #[error(
        "the entrypoint `{entrypoint}` in `{}` leads out of the module's folder; name a program in it", .meta.display()
    )]
    Escapes { entrypoint: String, meta: PathBuf },
}

/// The program of a module whose config names a file to run. `meta.json` counts unless the config says `type: local`.
///
/// # Errors
/// If `meta.json` names an entry point elsewhere.
pub fn beside(spec: &ModuleSpec) -> Result<Program, PackageError> {
    let folder = spec.executable.parent().unwrap_or(Path::new("/"));
    let mut program = Program {
        executable: spec.executable.clone(),
        root: folder.to_owned(),
        first_run: None,
    };
    if spec.local || spec.name.is_builtin() {
        return Ok(program);
    }
    let beside = read(folder);
    if let Ok(meta) = &beside
        && !meta.entrypoint.is_empty()
    {
        program.executable = within(folder, &meta.entrypoint)?;
        // A relative path of several parts moves the folder with it, as for a path in the config.
        program.root = program.executable.parent().unwrap_or(folder).to_owned();
    }
    let own_root = spec
        .env
        .get("VIAM_MODULE_ROOT")
        .filter(|_| spec.registry)
        .map(Path::new);
    program.first_run = own_root
        .and_then(|root| first_run(spec, root, &read(root)))
        .or_else(|| first_run(spec, folder, &beside));
    Ok(program)
}

/// The program of a module whose tarball was unpacked to `folder`.
///
/// # Errors
/// If no `meta.json` names one, or it lies elsewhere.
pub fn unpacked(spec: &ModuleSpec, folder: &Path) -> Result<Program, PackageError> {
    let meta = read(folder);
    let entrypoint = match &meta {
        Err(problem) => Err(problem.clone()),
        Ok(meta) if meta.entrypoint.is_empty() => Err("its meta.json has none".to_owned()),
        Ok(meta) => Ok(&meta.entrypoint),
    };
    let entrypoint = entrypoint.map_err(|why| PackageError::NoEntrypoint { why })?;
    Ok(Program {
        executable: within(folder, entrypoint)?,
        root: folder.to_owned(),
        first_run: first_run(spec, folder, &meta),
    })
}

fn within(folder: &Path, entrypoint: &str) -> Result<PathBuf, PackageError> {
    match inside(Path::new(entrypoint)) {
        Some(relative) if !relative.as_os_str().is_empty() => Ok(folder.join(relative)),
        _ => Err(PackageError::Escapes {
            entrypoint: entrypoint.to_owned(),
            meta: folder.join("meta.json"),
        }),
    }
}

/// The script that `meta.json` names. Without one, or with one that cannot be used, a module just runs.
fn first_run(spec: &ModuleSpec, folder: &Path, meta: &Result<Meta, String>) -> Option<FirstRun> {
    let script = match meta {
        Ok(meta) => &meta.first_run,
        Err(problem) => {
            debug!(module = %spec.name, "no first run: {problem}");
            return None;
        }
    };
    if script.is_empty() {
        return None;
    }
    let Some(relative) = inside(Path::new(script)) else {
        tracing::warn!(
            module = %spec.name,
            "no first run: the script `{script}` in `{}` leads out of that folder", folder.join("meta.json").display()
        );
        return None;
    };
    let path = folder.join(relative);
    if !path.is_file() {
        tracing::warn!(module = %spec.name, "no first run: there is no script `{}`", path.display());
        return None;
    }
    Some(FirstRun {
        script: path,
        marker: marker(folder),
    })
}

/// The file beside `folder` that says that its script succeeded.
pub(super) fn marker(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".first_run_succeeded");
    name.into()
}

fn read(folder: &Path) -> Result<Meta, String> {
    let path = folder.join("meta.json");
    let text = (|| {
        let mut text = Vec::new();
        let file = std::fs::File::open(&path)?;
        file.take(MAX_META_LEN + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_META_LEN {
            return Err(io::Error::other("it is too large"));
        }
        Ok(text)
    })();
    match text {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("there is no meta.json in it".to_owned()),
        Err(error) => Err(format!("cannot read `{}`: {error}", path.display())),
        Ok(text) => serde_json::from_slice(&text).map_err(|error| format!("`{}` is damaged: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::module::environment::tests::spec;

    /// A folder `m` with a program `run`, a script `first.sh`, and this `meta.json`.
    fn folder(meta: &str) -> (tempfile::TempDir, PathBuf) {
        let top = tempfile::tempdir().expect("a folder");
        let folder = top.path().join("m");
        fs::create_dir_all(folder.join("bin")).expect("made");
        for name in ["run", "bin/other", "first.sh"] {
            fs::write(folder.join(name), "#!/bin/sh\n").expect("written");
        }
        if !meta.is_empty() {
            fs::write(folder.join("meta.json"), meta).expect("written");
        }
        (top, folder)
    }

    /// Text of a result: the program below the folder, and whether there is a script; or the error.
    fn shown(folder: &Path, found: Result<Program, PackageError>) -> String {
        match found {
            Ok(program) => format!(
                "{} in {:?}{}",
                program.executable.strip_prefix(folder).expect("inside").display(),
                program.root.strip_prefix(folder).expect("inside"),
                if program.first_run.is_some() { ", first run" } else { "" }
            ),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_meta_json_says_counts_for_all_but_a_plain_local_program() {
        let full = r#"{"entrypoint": "./bin/other", "first_run": "./first.sh", "models": []}"#;
        for (meta, local, registry, expected) in [
            (full, true, false, "run in \"\""),
            (full, false, false, "bin/other in \"bin\", first run"),
            (full, false, true, "bin/other in \"bin\", first run"),
            (r#"{"first_run": "first.sh"}"#, false, true, "run in \"\", first run"),
            (r#"{"first_run": "../m/first.sh"}"#, false, true, "run in \"\""),
            (r#"{"first_run": "none.sh"}"#, false, true, "run in \"\""),
            (
                r#"{"entrypoint": "../run"}"#,
                false,
                true,
                "leads out of the module's folder",
            ),
            (
                r#"{"entrypoint": "/bin/sh"}"#,
                false,
                true,
                "leads out of the module's folder",
            ),
            ("broken", false, true, "run in \"\""),
            ("", false, false, "run in \"\""),
        ] {
            let (_top, folder) = folder(meta);
            let spec = ModuleSpec {
                executable: folder.join("run"),
                local,
                registry,
                ..spec()
            };
            let shown = shown(&folder, beside(&spec));
            if expected.starts_with("leads") {
                assert!(shown.contains(expected), "{shown}");
            } else {
                assert_eq!(shown, expected, "{meta} {local} {registry}");
            }
        }
    }

    #[test]
    fn a_tarball_needs_an_entry_point_in_itself_and_is_its_own_root() {
        for (meta, expected) in [
            (r#"{"entrypoint": "bin/other"}"#, "bin/other in \"\""),
            (
                r#"{"entrypoint": "run", "first_run": "first.sh"}"#,
                "run in \"\", first run",
            ),
            (r#"{"entrypoint": "../../run"}"#, "leads out"),
            (r#"{"entrypoint": "."}"#, "leads out"),
            (
                "{}",
                "local tarballs must contain a meta.json with the 'entrypoint' field; its meta.json has none",
            ),
            (
                "broken",
                "local tarballs must contain a meta.json with the 'entrypoint' field",
            ),
            ("", "there is no meta.json in it"),
        ] {
            let (_top, folder) = folder(meta);
            let shown = shown(&folder, unpacked(&spec(), &folder));
            assert!(shown.contains(expected), "{meta}: {shown}");
        }
    }

    #[test]
    fn the_root_of_a_registry_module_is_where_its_script_is_looked_for_first() {
        let (_top, root) = folder(r#"{"first_run": "bin/other"}"#);
        let (_other, program) = folder(r#"{"first_run": "first.sh"}"#);
        let spec = ModuleSpec {
            executable: program.join("run"),
            local: false,
            registry: true,
            env: BTreeMap::from([("VIAM_MODULE_ROOT".into(), root.display().to_string())]),
            ..spec()
        };
        let script = beside(&spec).expect("fine").first_run.expect("a script");
        assert_eq!(script.script, root.join("bin/other"));
        assert_eq!(script.marker, root.with_file_name("m.first_run_succeeded"));
    }
}
