//! Trial of a package: it is unpacked into an empty folder, and its programs are run there. Those of this host's processor run a
//! machine of fakes; others, in an emulator, check its config.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Built, FOLDER, Form, GLIBC, PROGRAMS};
use crate::steps::{Failed, Target, capture, run};

/// Timeout for a machine of three fakes to come up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Config of that machine; any free port does.
const CONFIG: &str = r#"network: {bind_address: "127.0.0.1:0"}
components:
  - {name: left, api: rdk:component:motor, model: fake}
  - {name: right, api: rdk:component:motor, model: fake}
  - {name: eye, api: rdk:component:camera, model: fake}
"#;

/// Unpacked package.
struct Trial<'a> {
    built: &'a Built<'a>,
    /// Folder with the programs.
    programs: PathBuf,
    /// Empty folder of the machine.
    folder: PathBuf,
}

/// Tries a package.
pub fn of(target: &Target, built: &Built<'_>, package: &Path) -> Result<(), Failed> {
    // Socket paths are short, and this need not be.
    let folder = tempdir()?;
    let tried = Trial::unpack(built, package, &folder).and_then(|trial| trial.run(target));
    let _left = fs::remove_dir_all(&folder);
    tried
}

impl<'a> Trial<'a> {
    fn unpack(built: &'a Built<'a>, package: &Path, folder: &Path) -> Result<Self, Failed> {
        let below = match built.package.form {
            Form::Deb => {
                run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(folder))?;
                folder.join("usr/bin")
            }
            Form::Tarball => {
                run(Command::new("tar")
                    .args(["--extract", "--strip-components=1", "--file"])
                    .arg(package)
                    .arg("--directory")
                    .arg(folder))?;
                folder.to_owned()
            }
        };
        fs::write(folder.join("trial.yaml"), CONFIG).map_err(|error| Failed::at(folder, error))?;
        Ok(Self {
            built,
            programs: below,
            folder: folder.to_owned(),
        })
    }

    fn run(&self, target: &Target) -> Result<(), Failed> {
        for program in PROGRAMS {
            self.links_as_it_should(program)?;
        }
        let manifest = self.answer("mainstay-builtins", &["manifest"])?;
        if self.built.package.emulator.is_some() {
            // An emulated program cannot start others of its kind.
            let beside = self.programs.join("mainstay-builtins.json");
            fs::write(&beside, manifest).map_err(|error| Failed::at(&beside, error))?;
            self.answer("mainstay", &["check", "trial.yaml"])?;
            return Ok(());
        }
        let machine = self.command("mainstay", &["run", "trial.yaml"]).spawn();
        let mut machine = Machine(machine.map_err(|error| Failed::at(&self.programs, error))?);
        let outcome = self.drive();
        let stopped = machine.stop();
        outcome.and(stopped).map_err(|Failed(why)| {
            let place = target.join(FOLDER);
            Failed(format!(
                "{why} (package {} in {})",
                self.built.package.name,
                place.display()
            ))
        })
    }

    /// Fails unless the program is static, or needs no newer C library than its package asks for.
    fn links_as_it_should(&self, program: &str) -> Result<(), Failed> {
        let path = self.programs.join(program);
        if self.built.package.form == Form::Tarball {
            let output = capture(Command::new("ldd").arg(&path))?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            if said.contains("statically linked") || said.contains("not a dynamic executable") {
                return Ok(());
            }
            return Err(Failed::at(&path, format!("is not static: {}", said.trim())));
        }
        let bytes = fs::read(&path).map_err(|error| Failed::at(&path, error))?;
        match newest_glibc(&bytes) {
            Some(version) if version <= GLIBC => Ok(()),
            Some((major, minor)) => Err(Failed::at(
                &path,
                format!("needs glibc {major}.{minor}: say so in supervisor/Cargo.toml and in `GLIBC`"),
            )),
            None => Err(Failed::at(&path, "does not say which glibc it needs")),
        }
    }

    fn drive(&self) -> Result<(), Failed> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.answer("mainstay", &["status", "--json", "--machine", "trial.yaml"]);
            match status {
                Ok(status) if status.replace(' ', "").contains("\"state\":\"running\"") => break,
                _ if Instant::now() < end => sleep(Duration::from_millis(50)),
                Ok(status) => return Err(Failed(format!("the machine is not up: {status}"))),
                Err(failed) => return Err(failed),
            }
        }
        print!("{}", self.answer("mainstay", &["status", "--machine", "trial.yaml"])?);
        let answer = self.answer("mainstay", &["call", "left", "is_moving", "--machine", "trial.yaml"])?;
        if answer.contains("false") {
            Ok(())
        } else {
            Err(Failed(format!("`is_moving` answered {answer}")))
        }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = self.programs.join(program);
        let mut command = match self.built.package.emulator {
            Some((emulator, libraries)) => {
                let mut command = Command::new(emulator);
                command.args(["-L", libraries]).arg(path);
                command
            }
            None => Command::new(path),
        };
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("VIAM_HOME", self.folder.join("home"))
            .env("STATE_DIRECTORY", self.folder.join("state"))
            .env_remove("XDG_RUNTIME_DIR");
        command
    }

    fn answer(&self, program: &str, arguments: &[&str]) -> Result<String, Failed> {
        let output = capture(&mut self.command(program, arguments))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        Err(Failed(format!(
            "{program} {} of package {}: {}\n{said}",
            arguments.join(" "),
            self.built.package.name,
            output.status
        )))
    }
}

/// Running machine, stopped on drop.
struct Machine(Child);

impl Machine {
    fn stop(&mut self) -> Result<(), Failed> {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap_or_default());
        let _gone = kill(pid, Signal::SIGTERM);
        let status = self
            .0
            .wait()
            .map_err(|error| Failed(format!("lost the machine: {error}")))?;
        if status.success() {
            Ok(())
        } else {
            Err(Failed(format!("the machine ended with {status}")))
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ended = self.stop();
        }
    }
}

fn tempdir() -> Result<PathBuf, Failed> {
    let output = capture(Command::new("mktemp").arg("--directory"))?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Failed(format!("mktemp failed: {}", output.status)))
    }
}

/// Newest version of glibc among the symbol versions that a program names.
fn newest_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let marks = program
        .windows(MARK.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == MARK);
    let versions = marks.filter_map(|(at, _)| {
        let text = program[at + MARK.len()..].split(|byte| *byte == 0).next()?;
        let mut numbers = std::str::from_utf8(text).ok()?.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found_by_number_and_not_by_spelling() {
        let program = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.2.5\0";
        assert_eq!(newest_glibc(program), Some((2, 34)));
        assert_eq!(newest_glibc(b"\0musl\0"), None);
    }
}
