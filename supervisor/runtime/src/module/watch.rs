//! Waits until a module's program, or its tarball, is another one, whole and at rest. The system's news of changes are
//! hints; what counts is a look at the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mainstay_config::executable;
use mainstay_config::store::notifier::{Notifier, of_this_system};
use tokio::sync::Notify;

use super::file_mark::FileMark;
use super::source::{ProgramSource, run_blocking};

/// Time a changed file must stay as it is before it counts as whole.
const SETTLE: Duration = Duration::from_millis(200);
/// Period of looks at the file without a hint: network file systems give none.
const LOOK: Duration = Duration::from_secs(10);
/// Period of looks where the system does not report changes.
const LOOK_BLIND: Duration = Duration::from_secs(1);

/// A watch over one module's program.
#[derive(Debug)]
pub struct ProgramWatch {
    source: Arc<ProgramSource>,
    hint: Arc<Notify>,
    notifier: Notifier,
    /// Last change that was reported; a program that fails to start is not tried again before it changes.
    reported: Option<FileMark>,
    /// True if any file that can be run is to be reported, even the one that was looked at before.
    first: bool,
}

/// Result of a look at the file.
#[derive(Debug)]
enum ProgramChange {
    /// The file is the one that was started, or nothing was started from it yet.
    Same,
    /// The file is another one.
    Other(FileMark),
    /// The file is gone, still being written, or not executable yet.
    Unfit,
}

impl ProgramWatch {
    /// Watches what `source` names, which is missing, or not executable, until it can be run.
    pub fn for_its_coming(source: Arc<ProgramSource>) -> Self {
        Self {
            first: true,
            ..Self::new(source)
        }
    }

    /// Watches what `source` names for another one than that which was started.
    pub fn new(source: Arc<ProgramSource>) -> Self {
        let hint = Arc::new(Notify::new());
        let wake = hint.clone();
        Self {
            notifier: Notifier::new("the program", &source.watched(), of_this_system, move || {
                wake.notify_one()
            }),
            source,
            hint,
            reported: None,
            first: false,
        }
    }

    /// Waits for the next change, and gives the file. May be dropped and called again.
    pub async fn changed(&mut self) -> PathBuf {
        loop {
            let program = self.source.watched();
            // What lies beside it may name another program.
            let meta = program.with_file_name("meta.json");
            // Before the look: what changes after it is then sure to be heard of.
            self.notifier.follow(&[program, meta], true);
            if let Some(mark) = self.look().await {
                let path = mark.path.clone();
                self.reported = Some(mark);
                return path;
            }
            let patience = if self.notifier.is_blind() { LOOK_BLIND } else { LOOK };
            let _time_is_up = tokio::time::timeout(patience, self.hint.notified()).await;
        }
    }

    /// Looks until the file is the same twice in a row.
    async fn look(&mut self) -> Option<FileMark> {
        let mut before = None;
        loop {
            let (source, reported, first) = (self.source.clone(), self.reported.clone(), self.first);
            let found = run_blocking(move |_| look(&source, reported.as_ref(), first))
                .await
                .ok()?;
            match found {
                ProgramChange::Same | ProgramChange::Unfit => return None,
                ProgramChange::Other(mark) if before.as_ref() == Some(&mark) => return Some(mark),
                ProgramChange::Other(mark) => before = Some(mark),
            }
            tokio::time::sleep(SETTLE).await;
        }
    }
}

fn look(source: &ProgramSource, reported: Option<&FileMark>, first: bool) -> ProgramChange {
    let path = source.watched();
    let Ok(mark) = FileMark::of(&path) else {
        return ProgramChange::Unfit;
    };
    match source.started() {
        _ if first => {}
        None => return ProgramChange::Same,
        Some(started) if started == mark || reported == Some(&mark) => return ProgramChange::Same,
        Some(_) => {}
    }
    let fit = executable::on_disk(&mark.path).serves(source.is_tarball());
    if fit && !is_being_written(&mark.path) {
        ProgramChange::Other(mark)
    } else {
        ProgramChange::Unfit
    }
}

/// True if a process has the file open for writing, as far as this user may see.
#[cfg(target_os = "linux")]
fn is_being_written(path: &Path) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .any(|entry| {
            let open = std::fs::read_dir(entry.path().join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            open.into_iter().any(|descriptor| {
                std::fs::read_link(descriptor.path()).is_ok_and(|file| file == path)
                    && std::fs::read_to_string(entry.path().join("fdinfo").join(descriptor.file_name()))
                        .is_ok_and(|info| writes(&info))
            })
        })
}

/// Always false: elsewhere only time shows that the file is written no more.
#[cfg(not(target_os = "linux"))]
fn is_being_written(_: &Path) -> bool {
    false
}

/// Reads `flags:` of a descriptor, which are octal: the last two bits say whether it reads (0), writes (1) or both (2).
#[cfg(target_os = "linux")]
fn writes(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u64::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & 0o3 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::AtomicBool;

    use super::*;
    use mainstay_model::ModuleSpec;

    use crate::module::environment::tests::spec;

    const PATIENCE: Duration = Duration::from_secs(30);

    struct Bench {
        folder: tempfile::TempDir,
        source: Arc<ProgramSource>,
        watch: ProgramWatch,
    }

    /// A program at `name`, made by `make` in a folder, that was started from.
    fn bench(name: &str, make: impl FnOnce(&Path)) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path());
        let spec = ModuleSpec {
            executable: folder.path().join(name),
            ..spec()
        };
        let source = Arc::new(ProgramSource::new(&spec, folder.path()));
        source.program(&AtomicBool::new(false)).expect("a program");
        let watch = ProgramWatch::new(source.clone());
        Bench { folder, source, watch }
    }

    fn program(path: &Path, content: &str) {
        fs::write(path, content).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
    }

    impl Bench {
        async fn changes(&mut self) {
            let changed = tokio::time::timeout(PATIENCE, self.watch.changed()).await;
            changed.expect("it tells of the change");
            self.source.program(&AtomicBool::new(false)).expect("a program");
        }

        async fn stays(&mut self) {
            let changed = tokio::time::timeout(SETTLE * 4, self.watch.changed()).await;
            assert!(changed.is_err(), "told of {changed:?}");
        }
    }

    #[tokio::test]
    async fn a_new_program_is_told_once_however_it_came() {
        let mut bench = bench("run", |folder| program(&folder.join("run"), "one"));
        let run = bench.folder.path().join("run");
        bench.stays().await;
        program(&run, "rewritten");
        bench.changes().await;
        bench.stays().await;
        program(&bench.folder.path().join("new"), "renamed");
        fs::rename(bench.folder.path().join("new"), &run).expect("renamed");
        bench.changes().await;
        fs::remove_file(&run).expect("removed");
        bench.stays().await;
        program(&run, "back");
        bench.changes().await;
        bench.stays().await;
    }

    #[tokio::test]
    async fn a_half_written_or_not_yet_executable_file_is_never_told() {
        let mut bench = bench("run", |folder| program(&folder.join("run"), "one"));
        let run = bench.folder.path().join("run");
        fs::remove_file(&run).expect("removed");
        let mut file = fs::File::create(&run).expect("made");
        file.write_all(b"#!/bin").expect("written");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("chmod");
        if cfg!(target_os = "linux") {
            bench.stays().await;
        }
        file.write_all(b"/sh").expect("written");
        fs::set_permissions(&run, fs::Permissions::from_mode(0o644)).expect("chmod");
        drop(file);
        bench.stays().await;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("chmod");
        bench.changes().await;
    }

    #[tokio::test]
    async fn links_on_the_way_are_followed() {
        let mut bench = bench("current/run", |folder| {
            for version in ["v1", "v2"] {
                fs::create_dir(folder.join(version)).expect("made");
                program(&folder.join(version).join("run"), version);
            }
            symlink("v1", folder.join("current")).expect("linked");
        });
        let folder = bench.folder.path().to_owned();
        bench.stays().await;
        symlink("v2", folder.join("next")).expect("linked");
        fs::rename(folder.join("next"), folder.join("current")).expect("renamed");
        bench.changes().await;
        program(&folder.join("v2/run"), "rebuilt");
        bench.changes().await;
        fs::remove_dir_all(folder.join("v2")).expect("removed");
        bench.stays().await;
        fs::create_dir(folder.join("v2")).expect("made");
        program(&folder.join("v2/run"), "made anew");
        bench.changes().await;
    }

    #[tokio::test]
    async fn what_was_missing_is_told_once_it_can_be_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("later/bin/run");
        let spec = ModuleSpec {
            executable: run.clone(),
            ..spec()
        };
        let source = Arc::new(ProgramSource::new(&spec, folder.path()));
        let mut bench = Bench {
            watch: ProgramWatch::for_its_coming(source.clone()),
            source,
            folder,
        };
        bench.stays().await;
        fs::create_dir_all(&run).expect("made");
        bench.stays().await;
        fs::remove_dir(&run).expect("removed");
        fs::write(&run, "#!/bin/sh").expect("written");
        // A start was tried from it, in vain.
        bench.source.program(&AtomicBool::new(false)).expect("a program");
        bench.stays().await;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).expect("chmod");
        bench.changes().await;
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn flags_of_a_descriptor_are_read() {
        for (info, expected) in [
            ("pos:\t0\nflags:\t0100000\n", false),
            ("pos:\t0\nflags:\t0100001\n", true),
            ("pos:\t0\nflags:\t0100002\n", true),
            ("pos:\t0\n", false),
        ] {
            assert_eq!(writes(info), expected, "{info}");
        }
    }
}
