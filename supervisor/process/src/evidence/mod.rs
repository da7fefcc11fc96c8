//! Evidence of a module that hangs, written down before it is ended: the wait channels of its threads, its open files, the
//! calls in flight, and its last output. `inspect` reads the processes, `stacks` has them print their own.
//!
//! Reading `/proc/PID` can block for as long as the process does, and a full disk can, too. So all of it is done by a thread
//! of its own that nobody waits for longer than a second; what it had not written by then is missing.

mod inspect;
mod stacks;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::oneshot;

pub use crate::evidence::inspect::tracer;
pub use crate::evidence::stacks::ask as ask_for_stacks;

/// Limit for gathering evidence.
pub const LIMIT: Duration = Duration::from_secs(1);
/// Folders that are kept for each module.
const KEEP: usize = 20;
/// Readers that may be stuck at once; with more, nothing is read any more.
const MOST_READERS: usize = 8;

/// Description of one module that hangs.
#[derive(Debug, Clone)]
pub struct HungModule {
    /// The module's name.
    pub module: String,
    /// Process id of the module.
    pub pid: u32,
    /// Reason for ending the module.
    pub reason: String,
    /// Time of the decision, as text.
    pub when: String,
    /// The calls in flight, one a line.
    pub calls: Vec<String>,
    /// Last lines that the module printed.
    pub output: Vec<String>,
}

/// Outcome of gathering evidence.
#[derive(Debug)]
pub struct Evidence {
    /// Folder of the evidence, if one could be made.
    pub folder: Option<PathBuf>,
    /// Text about missing parts and their reasons.
    pub problem: Option<String>,
}

/// Writes a folder about `case` below `state`/evidence. Returns within [`LIMIT`].
pub async fn gather(state: Option<PathBuf>, case: HungModule) -> Evidence {
    let Some(state) = state else {
        return Evidence {
            folder: None,
            problem: Some("no state directory: set STATE_DIRECTORY, XDG_STATE_HOME or HOME".to_owned()),
        };
    };
    let folder = Arc::new(OnceLock::new());
    let made = folder.clone();
    let written = run_with_limit(LIMIT, move || write(&state.join("evidence"), &case, &made)).await;
    Evidence {
        folder: folder.get().cloned(),
        problem: match written {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some(format!(
                "not complete after {LIMIT:?}: reading about the process, or the disk, blocks"
            )),
        },
    }
}

/// Adds a file to a folder that was made before. Returns within [`LIMIT`], with the reason if it could not be written.
pub async fn add(folder: PathBuf, name: &'static str, text: String) -> Option<String> {
    let path = folder.join(name);
    let write = move || create(&folder, name).and_then(|mut file| file.write_all(text.as_bytes()));
    let why = match run_with_limit(LIMIT, write).await {
        Some(Ok(())) => return None,
        Some(Err(error)) => error.to_string(),
        None => "the disk blocks".to_owned(),
    };
    Some(format!("cannot write `{}`: {why}", path.display()))
}

/// Does what may block in a thread of its own. `None` if it has not ended within `limit`: it is left alone then.
pub async fn run_with_limit<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    static READERS: AtomicUsize = AtomicUsize::new(0);
    struct EvidenceReader;
    impl Drop for EvidenceReader {
        fn drop(&mut self) {
            READERS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let others = READERS.fetch_add(1, Ordering::Relaxed);
    let reader = EvidenceReader;
    if others >= MOST_READERS {
        return None;
    }
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("evidence".into())
        .stack_size(256 * 1024);
    let begun = thread.spawn(move || {
        let outcome = work();
        drop(reader);
        let _late = done.send(outcome);
    });
    begun.ok()?;
    tokio::time::timeout(limit, outcome).await.ok()?.ok()
}

fn write(archive: &Path, case: &HungModule, made: &OnceLock<PathBuf>) -> io::Result<()> {
    let folder = make_folder(archive, &case.module)?;
    let folder = made.get_or_init(|| folder);
    let at = |error: io::Error, name: &str| {
        io::Error::new(
            error.kind(),
            format!("cannot write `{}`: {error}", folder.join(name).display()),
        )
    };
    let put = |name: &str, lines: &[String]| {
        let text = if lines.is_empty() {
            "none\n".to_owned()
        } else {
            lines.join("\n") + "\n"
        };
        create(folder, name)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| at(error, name))
    };
    let HungModule {
        module,
        pid,
        reason,
        when,
        ..
    } = case;
    // What cannot block comes first.
    put(
        "about.txt",
        &[format!("module {module}, process {pid}"), when.clone(), reason.clone()],
    )?;
    put("calls.txt", &case.calls)?;
    put("output.txt", &case.output)?;
    let file = |name| create(folder, name).map_err(|error| at(error, name));
    inspect::threads(*pid, &mut file("threads.txt")?)?;
    inspect::open_files(*pid, &mut file("files.txt")?)?;
    inspect::summary(*pid, &mut file("status.txt")?)?;
    prune(archive, &case.module);
    Ok(())
}

fn create(folder: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(name))
}

/// Makes the next folder of the module: `<module>-<NNNN>`.
fn make_folder(archive: &Path, module: &str) -> io::Result<PathBuf> {
    let cannot = |path: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("cannot make `{}`: {error}", path.display()))
    };
    let mut builder = DirBuilder::new();
    builder
        .mode(0o700)
        .recursive(true)
        .create(archive)
        .map_err(|error| cannot(archive, error))?;
    builder.recursive(false);
    let mut number = numbers(archive, module).last().map_or(1, |(last, _)| last + 1);
    loop {
        let path = archive.join(format!("{}-{number:04}", stem(module)));
        match builder.create(&path) {
            Ok(()) => return Ok(path),
            // Another machine of this user has a module of the same name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(cannot(&path, error)),
        }
    }
}

/// A module's name as a file's: nothing in it leads elsewhere.
fn stem(module: &str) -> String {
    let safe = |character: char| character.is_ascii_alphanumeric() || "-_.:".contains(character);
    let name: String = module
        .chars()
        .map(|character| if safe(character) { character } else { '_' })
        .collect();
    if name.starts_with('.') {
        format!("_{name}")
    } else {
        name
    }
}

/// The folders of a module, oldest first.
fn numbers(archive: &Path, module: &str) -> Vec<(u64, PathBuf)> {
    let prefix = format!("{}-", stem(module));
    let entries = fs::read_dir(archive).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(&prefix)?;
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| Some((number.parse().ok()?, entry.path()))).flatten()
        })
        .collect();
    found.sort();
    found
}

/// Removes the oldest folders of a module beyond those that are kept.
fn prune(archive: &Path, module: &str) {
    let found = numbers(archive, module);
    for (_, path) in &found[..found.len().saturating_sub(KEEP)] {
        // Somebody may be looking at it, or have removed it; there is a next time.
        let _left = fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn case(module: &str) -> HungModule {
        HungModule {
            module: module.into(),
            pid: std::process::id(),
            reason: "no sign of life for 30 s".into(),
            when: "2026-11-21 11:42:07".into(),
            calls: vec!["GetReadings of rdk:component:sensor/eye for 41 s from module slam".into()],
            output: Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_evidence_names_threads_files_calls_and_output() {
        let state = tempfile::tempdir().unwrap();
        let (ready, waiting) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("stuck-here".into());
        let thread = thread.spawn(move || waiting.recv()).unwrap();
        let Evidence { folder, problem } = gather(Some(state.path().to_owned()), case("eyes")).await;
        drop(ready);
        let _ended = thread.join();
        assert_eq!(problem, None);
        let folder = folder.unwrap();
        assert_eq!(folder, state.path().join("evidence/eyes-0001"));
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert!(read("about.txt").contains("no sign of life for 30 s"));
        assert!(read("calls.txt").contains("GetReadings of rdk:component:sensor/eye for 41 s"));
        assert_eq!(read("output.txt"), "none\n");
        if cfg!(target_os = "linux") {
            assert!(read("threads.txt").contains("stuck-here"), "{}", read("threads.txt"));
            assert!(read("files.txt").contains(" -> "), "{}", read("files.txt"));
            assert!(read("status.txt").contains("TracerPid"));
        }
    }

    #[tokio::test]
    async fn twenty_folders_of_each_module_are_kept() {
        let state = tempfile::tempdir().unwrap();
        let archive = state.path().join("evidence");
        for path in ["eyes-0007", "eyes-0008", "eyes-0009-0001", "ears-0001", "eyes-x"] {
            fs::create_dir_all(archive.join(path)).unwrap();
        }
        for _ in 0..25 {
            let gathered = gather(Some(state.path().to_owned()), case("eyes")).await;
            assert_eq!(gathered.problem, None);
        }
        let kept: Vec<_> = numbers(&archive, "eyes")
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        assert_eq!(kept, (14..=33).collect::<Vec<_>>());
        for others in ["eyes-0009-0001", "ears-0001", "eyes-x"] {
            assert!(archive.join(others).exists(), "{others}");
        }
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_written_is_told_and_names_lead_nowhere_else() {
        let state = tempfile::tempdir().unwrap();
        let file = state.path().join("file");
        fs::write(&file, "").unwrap();
        let Evidence { folder, problem } = gather(Some(file.clone()), case("eyes")).await;
        assert!(
            folder.is_none() && problem.unwrap().contains("cannot make `"),
            "no folder below a file"
        );
        assert!(
            gather(None, case("eyes"))
                .await
                .problem
                .unwrap()
                .contains("STATE_DIRECTORY")
        );
        assert_eq!(stem("../a/b"), "_.._a_b");
        assert_eq!(stem("builtin:fake"), "builtin:fake");
    }

    #[tokio::test]
    async fn work_that_blocks_is_left_alone_after_its_limit() {
        let (end, blocked) = std::sync::mpsc::channel::<()>();
        let begun = std::time::Instant::now();
        let outcome = run_with_limit(Duration::from_millis(50), move || blocked.recv().is_ok()).await;
        assert_eq!(outcome, None);
        assert!(begun.elapsed() < Duration::from_secs(5));
        drop(end);
        assert_eq!(run_with_limit(LIMIT, || 42).await, Some(42));
    }
}
