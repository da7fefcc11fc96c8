//! Source of a module's program, with detection of changes: a file, or a local tarball that is unpacked into a folder of its
//! own for every version (spec: module protocol §1.2).
//!
//! A version's folder is whole or not there. It is used again after a restart of the core as long as the tarball is the
//! same, so that a first run that took an hour is not repeated. The newest two versions are kept.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mainstay_model::ModuleSpec;
use mainstay_process::sandbox;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::file_mark::FileMark;
use super::package;
use super::package::{PackageError, Program};
use super::unpack::{UnpackError, UnpackLimits, unpack};

/// Versions of one tarball that are kept: the present one, and the one before.
const KEPT: usize = 2;

/// Failure to provide a program to run.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The tarball, or the program, is not there.
    #[error("cannot look at `{}`: {}", .0.display(), .1)]
    Missing(PathBuf, #[source] io::Error),
    /// The tarball cannot be used.
    #[error("cannot unpack `{}`: {}", .0.display(), .1)]
    Unpack(PathBuf, #[source] UnpackError),
    /// The file is being written at this moment.
    #[error("`{}` changed while it was unpacked; it is taken when it is whole", .0.display())]
    Changing(PathBuf),
    /// The meta.json is no good.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The system leaves no room for the unpacked folder.
    #[error("cannot make the folder `{}`: {}", .0.display(), .1)]
    Store(PathBuf, #[source] io::Error),
}

/// Source of one module's program.
#[derive(Debug)]
pub struct ProgramSource {
    spec: ModuleSpec,
    store: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The unpacked version that is to be run.
    present: Option<Version>,
    /// The file from which the last process was started.
    started: Option<FileMark>,
}

#[derive(Debug)]
struct Version {
    folder: PathBuf,
    mark: FileMark,
    /// Keeps another machine of this user from sweeping it away.
    _used: Flock<File>,
}

impl ProgramSource {
    /// Source of `spec`'s program. `home` is VIAM_HOME.
    pub fn new(spec: &ModuleSpec, home: &Path) -> Self {
        Self {
            spec: spec.clone(),
            store: home.join("packages-local/data/module"),
            state: Mutex::default(),
        }
    }

    /// True if [`program`](Self::program) takes no longer than a look at some files.
    pub fn is_at_hand(&self) -> bool {
        // While it is being unpacked its state is locked, and nobody may wait for that here.
        !self.spec.tarball || self.state.try_lock().is_ok_and(|state| state.present.is_some())
    }

    /// Program to run now. Unpacks a tarball that was not unpacked yet, which may take minutes and ends early once `give_up`
    /// is set.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub fn program(&self, give_up: &AtomicBool) -> Result<Program, SourceError> {
        let mut state = self.state();
        if !self.spec.tarball {
            let program = package::beside(&self.spec)?;
            // One that is not there fails when it is run, with the cure.
            state.started = FileMark::of(&program.executable).ok();
            return Ok(program);
        }
        let version = match state.present.take() {
            Some(present) => present,
            None => self.first(give_up)?,
        };
        let program = package::unpacked(&self.spec, &version.folder);
        state.started = Some(version.mark.clone());
        state.present = Some(version);
        Ok(program?)
    }

    /// Unpacks a tarball once more, into the next version's folder, for the next start. Does nothing for a program.
    ///
    /// # Errors
    /// See [`SourceError`]. The present version stays the one to run then.
    pub fn renew(&self, give_up: &AtomicBool) -> Result<(), SourceError> {
        if self.spec.tarball {
            let mut state = self.state();
            state.present = Some(self.next(give_up)?);
        }
        Ok(())
    }

    /// True if it is unpacked before it is run.
    pub fn is_tarball(&self) -> bool {
        self.spec.tarball
    }

    /// True if the file is another one than that from which the last process was started. Waits for an unpacking that
    /// is under way.
    ///
    /// # Errors
    /// If there is no such file now.
    pub fn is_changed(&self) -> Result<bool, SourceError> {
        let path = self.watched();
        let now = FileMark::of(&path).map_err(|error| SourceError::Missing(path, error))?;
        Ok(self.started().as_ref() != Some(&now))
    }

    /// The file from which the last process was started.
    pub fn started(&self) -> Option<FileMark> {
        self.state().started.clone()
    }

    /// The file whose change means a new version: the tarball, or the program.
    pub fn watched(&self) -> PathBuf {
        match package::beside(&self.spec) {
            Ok(program) if !self.spec.tarball => program.executable,
            _ => self.spec.executable.clone(),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest folder that was made of the present tarball, or else a new one.
    fn first(&self, give_up: &AtomicBool) -> Result<Version, SourceError> {
        let mark = self.mark()?;
        for (_, folder) in self.folders() {
            if let Some((stamp, file)) = read_stamp(&folder)
                && stamp == mark
                && self.is_trusted(&folder)
                && let Ok(used) = Flock::lock(file, FlockArg::LockSharedNonblock)
            {
                debug!(module = %self.spec.name, folder = %folder.display(), "unpacked already");
                return Ok(Version {
                    folder,
                    mark,
                    _used: used,
                });
            }
        }
        self.next(give_up)
    }

    /// True if a folder belongs to the core's user, or to the one that the module runs as. Another one, to whom it was given
    /// before, could have changed what is in it.
    fn is_trusted(&self, folder: &Path) -> bool {
        let user = sandbox::identity(&self.spec.policy.sandbox).ok().flatten();
        let owner = fs::metadata(folder).map(|metadata| metadata.uid());
        owner.is_ok_and(|owner| owner == geteuid().as_raw() || user.is_some_and(|user| user.uid == owner))
    }

    fn next(&self, give_up: &AtomicBool) -> Result<Version, SourceError> {
        let mark = self.mark()?;
        let store = |path: &Path| {
            let path = path.to_owned();
            move |error| SourceError::Store(path, error)
        };
        fs::create_dir_all(&self.store).map_err(store(&self.store))?;
        self.remove_parts();
        let part = self
            .store
            .join(format!(".{}{}.part", self.prefix(), std::process::id()));
        fs::create_dir(&part).map_err(store(&part))?;
        let whole = unpack(&self.spec.executable, &part, UnpackLimits::default(), give_up)
            .map_err(|error| SourceError::Unpack(self.spec.executable.clone(), error))
            .and_then(|()| package::unpacked(&self.spec, &part).map(drop).map_err(Into::into))
            .and_then(|()| match self.mark()? == mark {
                true => Ok(()),
                false => Err(SourceError::Changing(self.spec.executable.clone())),
            })
            .and_then(|()| flush(&part).map_err(store(&part)))
            .and_then(|()| self.settle(&part, mark));
        if whole.is_err() {
            let _left_for_the_next_time = fs::remove_dir_all(&part);
        }
        let version = whole?;
        self.sweep(&version);
        Ok(version)
    }

    /// Gives an unpacked folder the next free name, and notes what it was made of.
    fn settle(&self, part: &Path, mark: FileMark) -> Result<Version, SourceError> {
        let highest = self.folders().first().map(|(number, _)| *number);
        let mut number = highest.map_or(0, |number| number + 1);
        let folder = loop {
            let folder = self.store.join(format!("{}0_0_{number}", self.prefix()));
            match fs::rename(part, &folder) {
                Ok(()) => break folder,
                // Another machine of this user was faster.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                    ) =>
                {
                    number += 1;
                }
                Err(error) => return Err(SourceError::Store(folder, error)),
            }
        };
        let stamped = serde_json::to_vec(&mark)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(stamp_of(&folder), text))
            .and_then(|()| File::open(stamp_of(&folder)))
            .and_then(|file| Flock::lock(file, FlockArg::LockSharedNonblock).map_err(|(_, errno)| errno.into()));
        match stamped {
            Ok(used) => Ok(Version {
                folder,
                mark,
                _used: used,
            }),
            Err(error) => Err(SourceError::Store(stamp_of(&folder), error)),
        }
    }

    fn mark(&self) -> Result<FileMark, SourceError> {
        let path = &self.spec.executable;
        FileMark::of(path).map_err(|error| SourceError::Missing(path.clone(), error))
    }

    fn prefix(&self) -> String {
        format!("synthetic-{}-", self.spec.name)
    }

    /// Version folders of this module, the newest first.
    fn folders(&self) -> Vec<(u64, PathBuf)> {
        let prefix = self.prefix();
        let entries = fs::read_dir(&self.store).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name();
                let number = version(name.to_str()?.strip_prefix(&prefix)?)?;
                entry.file_type().ok()?.is_dir().then(|| (number, entry.path()))
            })
            .collect();
        folders.sort_unstable_by(|one, other| other.cmp(one));
        folders
    }

    /// Removes older versions of the same tarball that nobody uses. What was not made of it is not ours to remove.
    fn sweep(&self, newest: &Version) {
        for (_, folder) in self.folders().into_iter().skip(KEPT) {
            let Some((stamp, file)) = read_stamp(&folder) else {
                continue;
            };
            let unused = Flock::lock(file, FlockArg::LockExclusiveNonblock);
            if stamp.path != newest.mark.path || folder == newest.folder || unused.is_err() {
                continue;
            }
            self.remove(&folder);
        }
    }

    fn remove(&self, folder: &Path) {
        debug!(module = %self.spec.name, folder = %folder.display(), "removing an old version");
        // The stamp goes last: without it nobody would ever remove the rest.
        let removed = fs::remove_dir_all(folder).and_then(|()| {
            let _never_ran = fs::remove_file(package::marker(folder));
            fs::remove_file(stamp_of(folder))
        });
        if let Err(error) = removed {
            warn!(module = %self.spec.name, folder = %folder.display(), "cannot remove an old version: {error}");
        }
    }

    /// Removes all that was unpacked for a module that does not come back, unless somebody else uses it.
    pub(crate) fn remove_all(&self) {
        match self.state.try_lock() {
            Ok(mut state) => state.present = None,
            // It is still being unpacked, and that is cleared up by the next one.
            Err(_busy) => return,
        }
        for (_, folder) in self.folders() {
            let Some((_, file)) = read_stamp(&folder) else {
                continue;
            };
            if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
                self.remove(&folder);
            }
        }
        self.remove_parts();
    }

    /// Removes what an earlier core was unpacking when it was killed.
    fn remove_parts(&self) {
        let prefix = format!(".{}", self.prefix());
        for entry in fs::read_dir(&self.store).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let of = name
                .to_str()
                .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".part")?.parse().ok());
            if let Some(pid) = of
                && (pid == std::process::id().cast_signed()
                    || nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_err())
            {
                let _tried_again_next_time = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// `0_0_7` is version 7.
fn version(text: &str) -> Option<u64> {
    let number = text.strip_prefix("0_0_")?;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| number.parse().ok())?
}

fn stamp_of(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".source.json");
    name.into()
}

fn read_stamp(folder: &Path) -> Option<(FileMark, File)> {
    let path = stamp_of(folder);
    let stamp = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
    Some((stamp, File::open(path).ok()?))
}

/// Flushes what was written to the disk, before anything says that it is whole.
fn flush(folder: &Path) -> io::Result<()> {
    let folder = File::open(folder)?;
    #[cfg(target_os = "linux")]
    nix::unistd::syncfs(&folder)?;
    #[cfg(not(target_os = "linux"))]
    folder.sync_all()?;
    Ok(())
}

/// Runs something that may take long, or hang with its disk, on a thread of its own. Dropping the future sets the flag
/// that the work is given.
///
/// # Errors
/// If the system refuses a thread, or the work panicked.
pub async fn run_blocking<T: Send + 'static>(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> io::Result<T> {
    struct GiveUp(Arc<AtomicBool>);
    impl Drop for GiveUp {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let guard = GiveUp(Arc::default());
    let flag = guard.0.clone();
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("unpack".into())
        .stack_size(512 * 1024)
        .spawn(move || {
            let _nobody_waits = done.send(work(&flag));
        })?;
    outcome.await.map_err(|_| io::Error::other("it panicked"))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::module::environment::tests::spec;

    fn write_tarball(path: &Path, meta: &str, program: &str) {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in [("meta.json", meta), ("run", program)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o755);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .expect("appended");
        }
        let bytes = builder.into_inner().expect("written").finish().expect("compressed");
        // As tools do that write whole files: beside it, then over it.
        fs::write(path.with_extension("new"), bytes).expect("written");
        fs::rename(path.with_extension("new"), path).expect("renamed");
    }

    const META: &str = r#"{"entrypoint": "run"}"#;

    struct Bench {
        folder: tempfile::TempDir,
        spec: ModuleSpec,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let tarball = folder.path().join("m.tgz");
            write_tarball(&tarball, META, "one");
            let spec = ModuleSpec {
                executable: tarball,
                tarball: true,
                ..spec()
            };
            Self { folder, spec }
        }

        fn source(&self) -> ProgramSource {
            ProgramSource::new(&self.spec, self.folder.path())
        }

        /// Names of all that lies in the store.
        fn stored(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path().join("packages-local/data/module")).expect("there");
            let mut names: Vec<_> = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        }
    }

    fn run(source: &ProgramSource) -> (String, String) {
        let program = source.program(&AtomicBool::new(false)).expect("a program");
        let folder = program.root.file_name().expect("a name").to_string_lossy().into_owned();
        (folder, fs::read_to_string(program.executable).expect("there"))
    }

    #[test]
    fn a_tarball_is_unpacked_once_and_again_into_a_new_folder_when_asked() {
        let bench = Bench::new();
        let source = bench.source();
        assert!(!source.is_at_hand());
        let first = ("synthetic-gear-0_0_0".to_owned(), "one".to_owned());
        assert_eq!(run(&source), first);
        assert!(source.is_at_hand() && !source.is_changed().expect("there"));
        // A crash, and a new core, run the same folder again.
        assert_eq!(run(&source), first);
        assert_eq!(run(&bench.source()), first);
        write_tarball(&bench.spec.executable, META, "two");
        assert!(source.is_changed().expect("there"));
        assert_eq!(run(&source), first, "a crash is no reload");
        source.renew(&AtomicBool::new(false)).expect("unpacked");
        assert_eq!(run(&source), ("synthetic-gear-0_0_1".to_owned(), "two".to_owned()));
        assert!(!source.is_changed().expect("there"));
    }

    #[test]
    fn a_changed_tarball_is_taken_by_the_next_core_and_old_folders_go() {
        let bench = Bench::new();
        for number in 0..4 {
            write_tarball(&bench.spec.executable, META, &format!("content {number}"));
            assert_eq!(
                run(&bench.source()),
                (format!("synthetic-gear-0_0_{number}"), format!("content {number}"))
            );
        }
        assert_eq!(
            bench.stored(),
            [
                "synthetic-gear-0_0_2",
                "synthetic-gear-0_0_2.source.json",
                "synthetic-gear-0_0_3",
                "synthetic-gear-0_0_3.source.json"
            ]
        );
    }

    #[test]
    fn what_others_use_or_made_is_left_alone() {
        let bench = Bench::new();
        let user = bench.source();
        assert_eq!(run(&user).0, "synthetic-gear-0_0_0");
        let store = bench.folder.path().join("packages-local/data/module");
        fs::create_dir(store.join("synthetic-gear-0_0_1")).expect("made");
        fs::create_dir(store.join("synthetic-gear-0_0_9-0_0_0")).expect("made");
        for number in 2..5 {
            write_tarball(&bench.spec.executable, META, &format!("content {number}"));
            assert_eq!(run(&bench.source()).0, format!("synthetic-gear-0_0_{number}"));
        }
        let folders: Vec<_> = bench
            .stored()
            .into_iter()
            .filter(|name| !name.ends_with(".json"))
            .collect();
        assert_eq!(
            folders,
            [
                "synthetic-gear-0_0_0",
                "synthetic-gear-0_0_1",
                "synthetic-gear-0_0_3",
                "synthetic-gear-0_0_4",
                "synthetic-gear-0_0_9-0_0_0"
            ]
        );
    }

    #[test]
    fn a_bad_tarball_leaves_nothing_and_the_present_version_runs_on() {
        let bench = Bench::new();
        let source = bench.source();
        run(&source);
        fs::write(&bench.spec.executable, "half a tarb").expect("written");
        let error = source.renew(&AtomicBool::new(false)).expect_err("refused").to_string();
        assert!(error.contains("m.tgz"), "{error}");
        write_tarball(&bench.spec.executable, "{}", "x");
        let error = source.renew(&AtomicBool::new(false)).expect_err("refused").to_string();
        assert!(
            error.starts_with("local tarballs must contain a meta.json with the 'entrypoint' field"),
            "{error}"
        );
        assert_eq!(run(&source).1, "one");
        assert_eq!(
            bench.stored(),
            ["synthetic-gear-0_0_0", "synthetic-gear-0_0_0.source.json"]
        );
        fs::remove_file(&bench.spec.executable).expect("removed");
        assert!(source.is_changed().is_err());
        assert!(bench.source().program(&AtomicBool::new(false)).is_err());
    }

    #[test]
    fn a_program_is_changed_when_its_file_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let executable = folder.path().join("run");
        fs::write(&executable, "one").expect("written");
        let spec = ModuleSpec { executable, ..spec() };
        let source = ProgramSource::new(&spec, folder.path());
        assert!(source.is_at_hand());
        source.program(&AtomicBool::new(false)).expect("fine");
        assert!(!source.is_changed().expect("there"));
        fs::write(&spec.executable, "more").expect("written");
        assert!(source.is_changed().expect("there"));
        source.program(&AtomicBool::new(false)).expect("fine");
        assert!(!source.is_changed().expect("there"));
    }
}
