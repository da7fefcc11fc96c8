//! `cargo xtask vm`: tests that need their own kernel, for limits held by cgroups and for processes in uninterruptible
//! sleep.
//!
//! A virtual machine boots Debian's kernel with an initramfs (`image`) and runs `vm-checks` of the tests' crate in it; its
//! serial output is passed on. `packages` finds kernel and emulator, `cpio` packs the initramfs.

mod cpio;
mod image;
mod packages;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::steps::{Failed, Target};
use packages::Packages;

/// Groups of checks, one boot each, by their names in `vm-checks`.
const BOOTS: [&str; 5] = ["limits", "ends", "user", "stuck", "core"];
/// Timeout of one boot with its checks, for one that hangs: emulated on a busy host a minute is not enough. `MAINSTAY_VM_SECONDS`
/// overrides it.
const BOOT: Duration = Duration::from_secs(240);
const PATIENCE: &str = "MAINSTAY_VM_SECONDS";
/// Timeout of a trial boot with hardware virtualization. Some hosts offer it and cannot run the kernel.
const TRIAL: Duration = Duration::from_secs(10);
const EMULATED: &str = "tcg,thread=multi";
const HELPED: &str = "kvm";

/// Result of a boot.
const PASS: &str = "VM PASS";

/// Virtual machine, ready to boot.
#[derive(Debug)]
pub struct VirtualMachine {
    packages: Packages,
    image: PathBuf,
}

impl VirtualMachine {
    /// Fetches missing packages and packs the programs, which must be built.
    pub fn prepare(target: &Target) -> Result<Self, Failed> {
        let packages = Packages::find(target)?;
        let image = image::pack(target, &packages)?;
        Ok(Self { packages, image })
    }

    /// Boots once for each group of checks, or only for `group`.
    pub fn run(&self, group: Option<&str>) -> Result<(), Failed> {
        let accelerator = self.accelerator();
        let groups: Vec<&str> = match group {
            Some(group) => vec![group],
            None => BOOTS.to_vec(),
        };
        let patience = std::env::var(PATIENCE).ok().and_then(|text| text.parse().ok());
        let limit = patience.map_or(BOOT, Duration::from_secs);
        for group in groups {
            let begun = Instant::now();
            self.boot(accelerator, group, limit, true)?;
            println!(
                "vm: {group}: passed in {:.1} s ({accelerator})",
                begun.elapsed().as_secs_f64()
            );
        }
        Ok(())
    }

    /// Chooses the accelerator: emulation, unless a trial boot with hardware virtualization succeeds.
    fn accelerator(&self) -> &'static str {
        let usable = Path::new("/dev/kvm").exists() && self.boot(HELPED, "none", TRIAL, false).is_ok();
        if usable { HELPED } else { EMULATED }
    }

    fn boot(&self, accelerator: &str, checks: &str, limit: Duration, shown: bool) -> Result<(), Failed> {
        let mut command = Command::new(&self.packages.emulator);
        command
            .args([
                "-accel",
                accelerator,
                "-cpu",
                "max",
                "-M",
                "q35",
                "-m",
                "1024",
                "-smp",
                "2",
            ])
            .args(["-nographic", "-no-reboot", "-nic", "none", "-kernel"])
            .arg(&self.packages.kernel)
            .arg("-initrd")
            .arg(&self.image)
            // What the kernel does not know it puts into the environment of the first process.
            .args(["-append", &format!("console=ttyS0 loglevel=2 panic=-1 CHECKS={checks}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|error| Failed::at(&self.packages.emulator, error))?;
        Boot(child).watch(checks, limit, shown)
    }
}

/// Running emulator, killed on drop.
struct Boot(Child);

impl Boot {
    /// Passes on the machine's output until it is off.
    fn watch(mut self, checks: &str, limit: Duration, shown: bool) -> Result<(), Failed> {
        let end = Instant::now() + limit;
        let (lines, printed) = mpsc::channel();
        let outputs = [
            self.0
                .stdout
                .take()
                .map(|output| Box::new(output) as Box<dyn std::io::Read + Send>),
            self.0
                .stderr
                .take()
                .map(|output| Box::new(output) as Box<dyn std::io::Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let lines = lines.clone();
            std::thread::spawn(move || {
                let mut output = BufReader::new(output);
                let mut bytes = Vec::new();
                while output.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
                    let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                    bytes.clear();
                    if lines.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        drop(lines);
        let mut passed = false;
        loop {
            match printed.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    passed |= line == PASS;
                    if shown && !line.is_empty() {
                        println!("vm: {}", plain(&line));
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(Failed(format!(
                        "the virtual machine ({checks}) was not done within {limit:?}"
                    )));
                }
                // It is off.
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self
            .0
            .wait()
            .map_err(|error| Failed(format!("lost the emulator: {error}")))?;
        if passed && status.success() {
            Ok(())
        } else {
            Err(Failed(format!(
                "the virtual machine ({checks}) did not print `{PASS}`; the emulator: {status}"
            )))
        }
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        let _over = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Strips the control characters that the firmware prints for a terminal.
fn plain(line: &str) -> String {
    line.chars()
        .filter(|letter| !letter.is_control() || *letter == '\t')
        .collect()
}
