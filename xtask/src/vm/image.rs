//! Initramfs of the virtual machine, its only file system: our programs with their libraries, a shell, and an init script.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpio::Archive;
use super::packages::Packages;
use crate::steps::{Failed, Target, capture};

/// Programs from `target/debug`.
const PROGRAMS: [&str; 4] = ["mainstay", "mainstay-builtins", "misbehave", "vm-checks"];

/// Init script: mounts file systems, runs the checks named on the kernel's command line, and prints whether they passed.
const INIT: &str = r"#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=1777 tmpfs /tmp
for module in /lib/modules/*.ko; do insmod $module; done
ip link set lo up
echo VM UP
/app/vm-checks $CHECKS && echo VM PASS || echo VM FAIL
poweroff -f
";

/// Packs the initramfs into a file and returns its path.
pub fn pack(target: &Target, packages: &Packages) -> Result<PathBuf, Failed> {
    let mut archive = Archive::default();
    for folder in ["proc", "sys", "dev", "tmp", "root", "run", "mnt"] {
        archive.directory(folder);
    }
    archive.program("/init", INIT.as_bytes());
    archive.file(
        "/etc/passwd",
        b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    );
    archive.file("/etc/group", b"root:x:0:\nnogroup:x:65534:\n");
    archive.program("/bin/busybox", &read(&packages.busybox)?);
    for module in &packages.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("/lib/modules/{name}"), &read(module)?);
    }
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let program = target.join("debug").join(name);
        libraries.extend(needed(&program)?);
        archive.program(
            &format!("/app/{name}"),
            &stripped(&program, &target.join("vm/stripped"))?,
        );
    }
    for library in libraries {
        archive.program(&library, &read(Path::new(&library))?);
    }
    let path = target.join("vm/image.cpio");
    fs::write(&path, archive.finish()).map_err(|error| Failed::at(&path, error))?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    fs::read(path).map_err(|error| Failed::at(path, error))
}

/// Returns a program without debug information, or unchanged if there is no `strip`.
fn stripped(program: &Path, copy: &Path) -> Result<Vec<u8>, Failed> {
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(copy).arg(program);
    match capture(&mut strip) {
        Ok(output) if output.status.success() => read(copy),
        _ => read(program),
    }
}

/// Returns the absolute paths of a program's loader and shared libraries.
fn needed(program: &Path) -> Result<Vec<String>, Failed> {
    let output = capture(Command::new("ldd").arg(program))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Failed::at(program, format!("ldd: {said}")));
    }
    Ok(libraries(&String::from_utf8_lossy(&output.stdout)))
}

/// Parses `ldd` lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(ldd: &str) -> Vec<String> {
    let paths = ldd.lines().filter_map(|line| {
        let line = line.split_once(" => ").map_or(line, |(_, path)| path).trim();
        line.split(' ').next().filter(|path| path.starts_with('/'))
    });
    paths.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_is_a_library_too_and_what_the_kernel_maps_is_none() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(
            libraries(ldd),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
