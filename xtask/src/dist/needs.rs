//! Tools of `dist`: found, or installed where that is possible, or named with the command that installs them.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::geteuid;

use super::{Form, Package, WITHOUT_MUSL};
use crate::steps::{Failed, Target, capture, cargo, run};

const CARGO_DEB: &str = "cargo-deb";

/// Makes sure that these packages can be built and tried, and returns them, or what takes the place of one.
pub fn ensure<'a>(target: &Target, packages: &[&'a Package]) -> Result<Vec<&'a Package>, Failed> {
    let mut debian: Vec<&str> = Vec::new();
    let mut usable = Vec::new();
    for package in packages {
        let mut package = *package;
        if let Err(Failed(why)) = standard_library(package) {
            if package.form != Form::Tarball {
                return Err(Failed(why));
            }
            println!("the tarball gets glibc instead of musl: {why}");
            package = &WITHOUT_MUSL;
            standard_library(package)?;
        }
        let linker = package.linker.filter(|(program, _)| find(program).is_none());
        debian.extend(linker.into_iter().flat_map(|(_, packages)| packages.split(' ')));
        let emulator = package.emulator.filter(|(program, _)| find(program).is_none());
        debian.extend(emulator.map(|_| "qemu-user"));
        usable.push(package);
    }
    debian.sort_unstable();
    debian.dedup();
    install(&debian)?;
    if usable.iter().any(|package| package.form == Form::Deb) {
        cargo_deb(target)?;
    }
    Ok(usable)
}

/// Finds a program as a shell does.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

fn standard_library(package: &Package) -> Result<(), Failed> {
    let triple = package.triple;
    if has_standard_library(triple) {
        return Ok(());
    }
    let added = find("rustup").is_some_and(|rustup| {
        let mut command = Command::new(rustup);
        run(command.args(["target", "add", triple])).is_ok()
    });
    if added && has_standard_library(triple) {
        return Ok(());
    }
    let name = package.name;
    Err(Failed(format!(
        "this Rust has no standard library for {triple}. With rustup: rustup target add {triple}; with Debian's own Rust: \
         dpkg --add-architecture {name} && apt-get update && apt-get install libstd-rust-web-dev:{name}"
    )))
}

fn has_standard_library(triple: &str) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let folder = capture(Command::new(rustc).args(["--print", "target-libdir", "--target", triple]));
    folder.is_ok_and(|output| {
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let mut files = folder.read_dir().into_iter().flatten().flatten();
        files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// Installs Debian packages, if we may.
fn install(packages: &[&str]) -> Result<(), Failed> {
    if packages.is_empty() {
        return Ok(());
    }
    let shown = packages.join(" ");
    if !geteuid().is_root() || find("apt-get").is_none() {
        return Err(Failed(format!(
            "tools are missing; on Debian and Ubuntu, as root: apt-get install --no-install-recommends {shown}"
        )));
    }
    println!("installing {shown}");
    let mut command = Command::new("apt-get");
    command.args(["install", "--quiet", "--yes", "--no-install-recommends"]);
    let installed = run(command.env("DEBIAN_FRONTEND", "noninteractive").args(packages));
    installed.map_err(|Failed(why)| Failed(format!("{why} (`apt-get update` first?)")))
}

/// Returns `cargo-deb` of the target folder or of this user, after it was built into the target folder if there is none.
pub fn cargo_deb(target: &Target) -> Result<PathBuf, Failed> {
    let root = target.join("tools");
    let ours = root.join("bin").join(CARGO_DEB);
    if ours.exists() {
        return Ok(ours);
    }
    if let Some(theirs) = find(CARGO_DEB) {
        return Ok(theirs);
    }
    println!("building {CARGO_DEB} into {}", root.display());
    run(cargo().args(["install", CARGO_DEB, "--locked", "--root"]).arg(&root))?;
    Ok(ours)
}
