//! `cargo xtask dist`: the programs as they are shipped, stripped, in Debian packages and in a tarball, each tried once.
//!
//! `needs` has the tools, `pack` the packages, `trial` the checks of what was packed. All is in `target/packages`.

mod needs;
mod pack;
mod trial;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::steps::{Failed, Target, cargo, run};

/// Programs that are shipped; both names are also those of their crates.
const PROGRAMS: [&str; 2] = ["mainstay", "mainstay-builtins"];
/// Folder of the packages in the target folder. Cargo has one of the profile's name there.
const FOLDER: &str = "packages";
/// Cargo profile.
const PROFILE: &str = "dist";
/// Newest C library that the programs may need. The Debian packages ask for it (`supervisor/Cargo.toml`).
const GLIBC: (u32, u32) = (2, 35);

/// Package to build.
struct Package {
    /// Name on the command line: of a Debian package its architecture.
    name: &'static str,
    form: Form,
    /// Target of the compiler.
    triple: &'static str,
    /// C compiler and linker, with the Debian package that has it.
    linker: Option<(&'static str, &'static str)>,
    /// Program that runs this target's programs, and the folder with their libraries.
    emulator: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Deb,
    Tarball,
}

const PACKAGES: [Package; 4] = [
    Package {
        name: "amd64",
        form: Form::Deb,
        triple: "x86_64-unknown-linux-gnu",
        linker: None,
        emulator: None,
    },
    Package {
        name: "arm64",
        form: Form::Deb,
        triple: "aarch64-unknown-linux-gnu",
        linker: Some(("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")),
        emulator: Some(("qemu-aarch64", "/usr/aarch64-linux-gnu")),
    },
    Package {
        name: "armhf",
        form: Form::Deb,
        triple: "armv7-unknown-linux-gnueabihf",
        linker: Some((
            "arm-linux-gnueabihf-gcc",
            "gcc-arm-linux-gnueabihf libc6-dev-armhf-cross",
        )),
        emulator: Some(("qemu-arm", "/usr/arm-linux-gnueabihf")),
    },
    Package {
        name: "static",
        form: Form::Tarball,
        triple: "x86_64-unknown-linux-musl",
        // Some crates bring C.
        linker: Some(("musl-gcc", "musl-tools")),
        emulator: None,
    },
];

/// Where the tarball's target cannot be had: the usual one, with its C library inside.
const WITHOUT_MUSL: Package = Package {
    name: "static",
    form: Form::Tarball,
    triple: "x86_64-unknown-linux-gnu",
    linker: None,
    emulator: None,
};

/// Package whose programs are built.
struct Built<'a> {
    package: &'a Package,
    /// Target folder of cargo.
    cargo_target: PathBuf,
    /// Folder with the programs.
    programs: PathBuf,
}

/// Builds, packs and tries the packages of these names, or all.
pub fn dist(names: &[&str]) -> Result<(), Failed> {
    let known = PACKAGES.map(|package| package.name);
    if let Some(wrong) = names.iter().find(|name| !known.contains(name)) {
        return Err(Failed(format!(
            "there is no package `{wrong}`; there are {}",
            known.join(", ")
        )));
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Failed("packages are built on Linux on x86-64".into()));
    }
    let wanted = |package: &&Package| names.is_empty() || names.contains(&package.name);
    let wanted: Vec<&Package> = PACKAGES.iter().filter(wanted).collect();
    let target = Target::find()?;
    let output = target.join(FOLDER);
    fs::create_dir_all(&output).map_err(|error| Failed::at(&output, error))?;
    // All that can be missing is missed before the first program is compiled.
    let wanted = needs::ensure(&target, &wanted)?;
    let mut report = Vec::new();
    for package in wanted {
        let begun = Instant::now();
        let built = build(&target, package)?;
        let file = match package.form {
            Form::Deb => pack::deb(&target, &built)?,
            Form::Tarball => pack::tarball(&target, &built)?,
        };
        trial::of(&target, &built, &file)?;
        report.push(line(&built, &file, begun)?);
    }
    println!("{}", report.join("\n"));
    Ok(())
}

fn build<'a>(target: &Target, package: &'a Package) -> Result<Built<'a>, Failed> {
    let mut command = cargo();
    command.args(["build", "--locked", "--profile", PROFILE, "--target", package.triple]);
    command.args(PROGRAMS.map(|program| ["--package", program]).concat());
    let variable = |end: &str| {
        let triple = package.triple.to_uppercase().replace('-', "_");
        format!("CARGO_TARGET_{triple}_{end}")
    };
    if let Some((linker, _)) = package.linker {
        // The standard library for musl brings what linking takes.
        if package.form == Form::Deb {
            command.env(variable("LINKER"), linker);
        }
        command.env(format!("CC_{}", package.triple.replace('-', "_")), linker);
    }
    let mut folder = target.join("");
    if package.form == Form::Tarball && package.triple == WITHOUT_MUSL.triple {
        command.env(variable("RUSTFLAGS"), "-C target-feature=+crt-static");
        // The programs of the Debian package have the same names.
        folder = target.join("static");
    }
    println!("building {} ({})", package.name, package.triple);
    run(command.arg("--target-dir").arg(&folder))?;
    Ok(Built {
        package,
        programs: folder.join(package.triple).join(PROFILE),
        cargo_target: folder,
    })
}

/// Line of the report: file, size, sizes of the programs, duration.
fn line(built: &Built<'_>, file: &PathBuf, begun: Instant) -> Result<String, Failed> {
    let size = |path: &PathBuf| {
        let bytes = fs::metadata(path).map_err(|error| Failed::at(path, error))?.len();
        Ok(format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000))
    };
    let mut programs = Vec::new();
    for program in PROGRAMS {
        programs.push(format!("{program} {}", size(&built.programs.join(program))?));
    }
    Ok(format!(
        "{}  {} ({})  {} s",
        file.display(),
        size(file)?,
        programs.join(", "),
        begun.elapsed().as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debian_package_asks_for_the_c_library_that_the_programs_may_need() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../supervisor/Cargo.toml");
        let manifest = fs::read_to_string(manifest).expect("the crate of the server");
        let (major, minor) = GLIBC;
        assert!(manifest.contains(&format!("libc6 (>= {major}.{minor})")), "{manifest}");
    }
}
