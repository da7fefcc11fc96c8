//! A module's output in files that are begun anew at a certain size. A thread of its own writes them: a disk that is
//! full or stalls costs lines in the file, and nobody's time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::warn;

use crate::identity::ModuleName;

/// Lines that may wait for the disk.
const WAITING: usize = 512;

/// The files of one module.
#[derive(Debug)]
pub struct LogFile {
    module: ModuleName,
    path: PathBuf,
    max_size: u64,
    keep: u32,
    /// To the writing thread, which starts with the first line; `None` if the system gave none.
    queue: OnceLock<Option<SyncSender<String>>>,
    lost: Arc<AtomicU64>,
}

impl LogFile {
    /// Files at `path`, `path.1` and so on, `keep` of them, each of `max_size` bytes at most unless one line is longer.
    pub fn new(module: ModuleName, path: PathBuf, max_size: u64, keep: u32) -> Self {
        Self {
            module,
            path,
            max_size,
            keep,
            queue: OnceLock::new(),
            lost: Arc::default(),
        }
    }

    /// Hands over a line with its end. Waits for nothing: without room it is counted as lost.
    pub fn write(&self, line: String) {
        let queue = self.queue.get_or_init(|| self.start());
        let taken = queue.as_ref().is_some_and(|queue| queue.try_send(line).is_ok());
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn start(&self) -> Option<SyncSender<String>> {
        let (queue, lines) = sync_channel(WAITING);
        let (module, lost) = (self.module.clone(), self.lost.clone());
        let files = Files {
            path: self.path.clone(),
            max_size: self.max_size,
            keep: self.keep,
            open: None,
        };
        let thread = std::thread::Builder::new()
            .name("output".into())
            .stack_size(128 * 1024)
            .spawn(move || write(&lines, files, &module, &lost));
        match thread {
            Ok(_ends_with_the_queue) => Some(queue),
            Err(error) => {
                warn!(module = %self.module, "its output is not written to `{}`: no thread: {error}", self.path.display());
                None
            }
        }
    }
}

fn write(lines: &Receiver<String>, mut files: Files, module: &ModuleName, lost: &AtomicU64) {
    let mut failing = false;
    for line in lines {
        // Counted until the note is in the file, which may take as long as the disk likes.
        let missing = lost.load(Ordering::Relaxed);
        let note =
            (missing > 0).then(|| format!("… {missing} lines are missing here: the disk was too slow or full\n"));
        let noted = note.map_or(Ok(()), |note| files.append(&note));
        if noted.is_ok() {
            lost.fetch_sub(missing, Ordering::Relaxed);
        }
        match noted.and_then(|()| files.append(&line)) {
            Ok(()) => failing = false,
            Err(error) => {
                lost.fetch_add(1, Ordering::Relaxed);
                // Once for each trouble, not once for each line.
                if !std::mem::replace(&mut failing, true) {
                    let path = files.path.display();
                    warn!(%module, "its output cannot be written to `{path}`: {error}; until that is mended it is kept in memory only");
                }
            }
        }
    }
}

/// The files, and the one that is written to.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<(File, u64)>,
}

impl Files {
    fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        let full = |size: u64| size > 0 && size + length > self.max_size;
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        if full(size) {
            drop(file);
            self.rotate()?;
            (file, size) = open(&self.path)?;
        }
        // After a failure it is opened again: it may have been the disk below it that went away.
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half a line would swallow the next one.
            let _full = file.set_len(size);
            return Err(error);
        }
        self.open = Some((file, size + length));
        Ok(())
    }

    /// Moves every file one further; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| match number {
            0 => self.path.clone(),
            _ => {
                let mut path = self.path.clone().into_os_string();
                path.push(format!(".{number}"));
                path.into()
            }
        };
        let last = self.keep.max(1) - 1;
        absent_is_fine(fs::remove_file(numbered(last)))?;
        for number in (0..last).rev() {
            absent_is_fine(fs::rename(numbered(number), numbered(number + 1)))?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn files(folder: &Path, max_size: u64, keep: u32) -> Files {
        Files {
            path: folder.join("deep/out.log"),
            max_size,
            keep,
            open: None,
        }
    }

    fn content(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder.join("deep")).expect("the folder was made");
        let mut content: Vec<_> = entries
            .map(|entry| entry.expect("readable").path())
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                (name, fs::read_to_string(&path).expect("text"))
            })
            .collect();
        content.sort();
        content
    }

    #[test]
    fn files_are_begun_anew_at_their_size_and_the_oldest_goes() {
        for (keep, expected) in [
            (1, "out.log=5\n"),
            (2, "out.log=5\n out.log.1=3\n4\n"),
            (9, "out.log=5\n out.log.1=3\n4\n out.log.2=1\n2\n"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut files = files(folder.path(), 4, keep);
            for line in 1..=5 {
                files.append(&format!("{line}\n")).expect("written");
                if line == 3 {
                    // A core that starts anew goes on where the last one ended.
                    files.open = None;
                }
            }
            let found = content(folder.path());
            let found: Vec<_> = found.iter().map(|(name, text)| format!("{name}={text}")).collect();
            assert_eq!(found.join(" "), expected, "{keep}");
        }
    }

    #[test]
    fn a_line_that_is_longer_than_a_file_gets_one_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = files(folder.path(), 4, 2);
        for line in ["a\n", "much too long\n", "b\n"] {
            files.append(line).expect("written");
        }
        let expected = [("out.log", "b\n"), ("out.log.1", "much too long\n")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(content(folder.path()), expected);
    }

    #[test]
    fn a_file_that_stalls_costs_lines_and_no_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        // Opening a FIFO that nobody reads waits for ever, as a dead network file system does.
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        let file = LogFile::new("m".into(), path.clone(), 1 << 20, 2);
        let begun = Instant::now();
        for line in 0..10_000 {
            file.write(format!("{line}\n"));
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(file.lost.load(Ordering::Relaxed) >= 10_000 - WAITING as u64 - 1);
        // Lets the thread go.
        drop(file);
        let _text = fs::read(&path);
    }

    #[test]
    fn what_could_not_be_written_is_counted_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.log");
        let blocked = path.clone();
        fs::create_dir(&blocked).expect("a folder where the file should be");
        let (lost, (queue, lines)) = (AtomicU64::new(0), sync_channel(9));
        for line in ["a\n", "b\n"] {
            queue.send(line.to_owned()).expect("room");
        }
        drop(queue);
        let files = || Files {
            path: path.clone(),
            max_size: 100,
            keep: 1,
            open: None,
        };
        write(&lines, files(), &"m".into(), &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        fs::remove_dir(&blocked).expect("an empty folder");
        let (queue, lines) = sync_channel(9);
        queue.send("c\n".to_owned()).expect("room");
        drop(queue);
        write(&lines, files(), &"m".into(), &lost);
        let text = fs::read_to_string(&path).expect("written");
        assert_eq!(text, "… 2 lines are missing here: the disk was too slow or full\nc\n");
    }
}
