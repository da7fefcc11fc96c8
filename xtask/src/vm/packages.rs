//! Kernel and shell of the virtual machine: Debian packages, downloaded once and unpacked into the target folder. Nothing
//! is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Failed, Target, capture};

/// Metapackage of the newest kernel.
const KERNEL: &str = "linux-image-cloud-amd64";
const SHELL: &str = "busybox-static";
/// Program of the emulator.
const EMULATOR: &str = "qemu-system-x86_64";

/// Third-party parts of a virtual machine.
#[derive(Debug)]
pub struct Packages {
    /// Path of the emulator.
    pub emulator: PathBuf,
    /// Kernel image.
    pub kernel: PathBuf,
    /// Kernel modules that the tests need, in load order.
    pub modules: Vec<PathBuf>,
    /// Statically linked shell with the usual commands.
    pub busybox: PathBuf,
}

impl Packages {
    /// Finds the parts, after downloading those that are not in `target/vm` yet.
    pub fn find(target: &Target) -> Result<Self, Failed> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(Failed(
                "the virtual machine runs this host's programs on a kernel for x86-64".into(),
            ));
        }
        let emulator = emulator()?;
        let root = target.join("vm/root");
        if kernel(&root).is_none() || !root.join("bin/busybox").exists() {
            fetch(&target.join("vm/packages"), &root)?;
        }
        let missing = || Failed::at(&root, "holds no kernel; remove it to fetch the package anew");
        let kernel = kernel(&root).ok_or_else(missing)?;
        // In a package that was made for virtual machines everything else is built in.
        let modules = find_below(&root.join("lib/modules"), "loop.ko").into_iter().collect();
        Ok(Self {
            emulator,
            kernel,
            modules,
            busybox: root.join("bin/busybox"),
        })
    }
}

fn emulator() -> Result<PathBuf, Failed> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(EMULATOR))
        .find(|program| program.exists())
        .ok_or_else(|| {
            Failed(format!(
                "there is no {EMULATOR}; on Debian and Ubuntu: apt-get install --no-install-recommends qemu-system-x86"
            ))
        })
}

fn fetch(folder: &Path, root: &Path) -> Result<(), Failed> {
    for made in [folder, root] {
        fs::create_dir_all(made).map_err(|error| Failed::at(made, error))?;
    }
    let kernel = newest_kernel()?;
    println!("fetching {kernel} and {SHELL} into {}", folder.display());
    let mut download = Command::new("apt-get");
    download
        .args(["download", "--quiet", &kernel, SHELL])
        .current_dir(folder);
    let output = capture(&mut download)?;
    if !output.status.success() {
        return Err(Failed(format!(
            "apt-get cannot fetch {kernel} and {SHELL} (`apt-get update` first?): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    for package in [kernel.as_str(), SHELL] {
        let file = newest(folder, &format!("{package}_"))
            .ok_or_else(|| Failed::at(folder, format!("apt-get left no package {package} here")))?;
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(&file).arg(root);
        let output = capture(&mut unpack)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Failed::at(&file, format!("cannot be unpacked: {said}")));
        }
    }
    Ok(())
}

/// Finds the package with the kernel itself, a dependency of the metapackage.
fn newest_kernel() -> Result<String, Failed> {
    let output = capture(Command::new("apt-cache").args(["depends", KERNEL]))?;
    real_package(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        Failed(format!(
            "apt knows no {KERNEL}; is this Debian, and was `apt-get update` run?"
        ))
    })
}

fn real_package(depends: &str) -> Option<String> {
    let mut names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn kernel(root: &Path) -> Option<PathBuf> {
    newest(&root.join("boot"), "vmlinuz-")
}

/// Finds the file whose name has this prefix; the last by name if there are several.
fn newest(folder: &Path, start: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(start))
    };
    entries.flatten().map(|entry| entry.path()).filter(named).max()
}

fn find_below(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut below = Vec::new();
    for entry in entries.flatten() {
        if entry.file_name() == name {
            return Some(entry.path());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            below.push(entry.path());
        }
    }
    below.iter().find_map(|folder| find_below(folder, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_in_the_package_that_the_named_one_depends_on() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            real_package(depends).as_deref(),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(real_package("N: Unable to locate package\n"), None);
    }
}
