//! What only a kernel of our own can show: limits that cgroups hold, and processes that no signal reaches.
//!
//! A virtual machine boots Debian's kernel with one file system in memory, `image`, and runs `vm-checks` of the tests'
//! crate in it; what it prints on its serial line is passed on. `packages` finds kernel and emulator, `cpio` packs.

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

/// The checks of each boot, by the name that `vm-checks` knows.
const BOOTS: [&str; 5] = ["limits", "ends", "user", "stuck", "core"];
/// How long one boot with its checks may take; on a host that is busy with other things `MAINSTAY_VM_SECONDS` allows more.
const BOOT: Duration = Duration::from_secs(60);
const PATIENCE: &str = "MAINSTAY_VM_SECONDS";
/// How long a boot without checks may take with the processor's own help. Some hosts offer it and cannot run the kernel.
const TRIAL: Duration = Duration::from_secs(10);
const EMULATED: &str = "tcg,thread=multi";
const HELPED: &str = "kvm";

/// What a boot printed at its end.
const PASS: &str = "VM PASS";

/// A virtual machine that can be booted.
#[derive(Debug)]
pub struct Machine {
    packages: Packages,
    image: PathBuf,
}

impl Machine {
    /// Fetches what is missing and packs the programs, which are built.
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

    /// Emulation, unless a trial shows that the processor's help is of use.
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

/// An emulator that runs; killed when dropped.
struct Boot(Child);

impl Boot {
    /// Passes on what the machine prints until it is off.
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

/// Without the control characters with which the firmware greets a terminal.
fn plain(line: &str) -> String {
    line.chars()
        .filter(|letter| !letter.is_control() || *letter == '\t')
        .collect()
}
