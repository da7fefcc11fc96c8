//! Packages with the TypeScript SDK, whose programs the tests use as clients, and a browser for its pages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Failed, Target, capture, install, run};

/// Creates `target/node` unless it exists with the current packages, and returns it.
pub fn ensure(target: &Target) -> Result<PathBuf, Failed> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tests/node");
    let folder = target.join("node");
    let stamp = folder.join("package-lock.stamp");
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| Failed::at(path, error));
    let wanted = read(&source.join("package-lock.json"))?;
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(folder);
    }
    if !has_node() {
        println!("installing Debian's nodejs and npm");
        install(&["nodejs", "npm"]);
        if !has_node() {
            return Err(Failed(
                "the tests need Node 18 or newer with npm; on Debian and Ubuntu: apt-get install nodejs npm".to_owned(),
            ));
        }
    }
    println!("making {} with the packages of {}", folder.display(), source.display());
    fs::create_dir_all(&folder).map_err(|error| Failed::at(&folder, error))?;
    for name in ["package.json", "package-lock.json"] {
        let copy = folder.join(name);
        fs::copy(source.join(name), &copy).map_err(|error| Failed::at(&copy, error))?;
    }
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder))?;
    fs::write(&stamp, wanted).map_err(|error| Failed::at(&stamp, error))?;
    Ok(folder)
}

/// Installs a browser for the pages of the tests, unless there is one.
pub fn ensure_browser() -> Result<(), Failed> {
    let there = || capture(Command::new("chromium").arg("--version")).is_ok_and(|output| output.status.success());
    if there() {
        return Ok(());
    }
    println!("installing Debian's chromium");
    install(&["chromium"]);
    if there() {
        return Ok(());
    }
    Err(Failed(
        "the tests need Chromium; on Debian: apt-get install chromium".to_owned(),
    ))
}

fn has_node() -> bool {
    let old = "process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)";
    let succeeds = |command: &mut Command| capture(command).is_ok_and(|output| output.status.success());
    succeeds(Command::new("node").args(["-e", old])) && succeeds(Command::new("npm").arg("--version"))
}
