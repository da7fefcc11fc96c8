//! Packages: what lies in a Debian package is listed in `supervisor/Cargo.toml`, and what in a tarball here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Built, FOLDER, PROFILE, PROGRAMS, needs};
use crate::steps::{Failed, Target, run};

/// What lies in the tarball besides the programs, in the repository.
const BESIDES: [&str; 4] = [
    "LICENSE",
    "packaging/mainstay.service",
    "packaging/rover.yaml",
    "docs/service.md",
];

/// Packs a Debian package, and returns its path.
pub fn deb(target: &Target, built: &Built<'_>) -> Result<PathBuf, Failed> {
    let folder = fresh(&target.join(FOLDER).join(built.package.name))?;
    let mut command = Command::new(needs::cargo_deb(target)?);
    command
        .args([
            "--no-build",
            "--no-strip",
            "--package",
            "mainstay",
            "--profile",
            PROFILE,
        ])
        .args(["--target", built.package.triple, "--output"])
        .arg(&folder)
        .env("CARGO_TARGET_DIR", &built.cargo_target)
        .current_dir(repository());
    run(&mut command)?;
    let mut files = fs::read_dir(&folder).map_err(|error| Failed::at(&folder, error))?;
    let package = files.find_map(|file| Some(file.ok()?.path()));
    package.ok_or_else(|| Failed::at(&folder, "cargo-deb left no package here"))
}

/// Packs a tarball of one folder, and returns its path.
pub fn tarball(target: &Target, built: &Built<'_>) -> Result<PathBuf, Failed> {
    let name = format!("mainstay-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
    let folder = fresh(&target.join(FOLDER).join(built.package.name))?;
    let content = fresh(&folder.join(&name))?;
    let programs = PROGRAMS.map(|program| built.programs.join(program));
    let besides = BESIDES.map(|path| repository().join(path));
    for file in programs.iter().chain(&besides) {
        let copy = content.join(file.file_name().unwrap_or_default());
        fs::copy(file, copy).map_err(|error| Failed::at(file, error))?;
    }
    let path = folder.join(format!("{name}.tar.gz"));
    let mut command = Command::new("tar");
    command
        .args([
            "--create",
            "--gzip",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--sort=name",
            "--file",
        ])
        .arg(&path)
        .arg("--directory")
        .arg(&folder)
        .arg(&name);
    run(&mut command)?;
    fs::remove_dir_all(&content).map_err(|error| Failed::at(&content, error))?;
    Ok(path)
}

/// Makes a folder anew.
pub fn fresh(folder: &Path) -> Result<PathBuf, Failed> {
    let _none = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).map_err(|error| Failed::at(folder, error))?;
    Ok(folder.to_owned())
}

/// Folder of the workspace.
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
