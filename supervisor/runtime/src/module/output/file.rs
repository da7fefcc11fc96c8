//! A module's output in files that are begun anew at a certain size. A thread of its own writes them: a disk that is
//! full or stalls costs lines in the file, and nobody's time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mainstay_model::ModuleName;
use tracing::{info, warn};

use crate::rotating_file::RotatingFile;

/// Lines that may wait for the disk.
const WAITING: usize = 512;

/// The files of one module.
#[derive(Debug)]
pub struct LogFile {
    module: ModuleName,
    path: PathBuf,
    max_size: u64,
    keep: u32,
    /// Queue of the writing thread, which starts with the first line; `None` if the system gave no thread.
    queue: OnceLock<Option<SyncSender<FileJob>>>,
    lost: Arc<AtomicU64>,
}

/// Work of the writing thread.
#[derive(Debug)]
enum FileJob {
    /// A line with its end.
    Line(String),
    /// The file may have been moved away: it is let go.
    Reopen,
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
        let taken = queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(FileJob::Line(line)).is_ok());
        if !taken {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets go of the file, if one is open, and opens the one at its path. Waits for nothing: what has no room writes, and each
    /// line looks at the path anyway.
    pub fn reopen(&self) {
        if let Some(Some(queue)) = self.queue.get() {
            let _full = queue.try_send(FileJob::Reopen);
        }
    }

    fn start(&self) -> Option<SyncSender<FileJob>> {
        let (queue, lines) = sync_channel(WAITING);
        let (module, lost) = (self.module.clone(), self.lost.clone());
        let files = RotatingFile::new(self.path.clone(), self.max_size, self.keep);
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

fn write(jobs: &Receiver<FileJob>, mut files: RotatingFile, module: &ModuleName, lost: &AtomicU64) {
    let mut failing = false;
    for job in jobs {
        // Counted until the note is in the file, which may take as long as the disk likes.
        let missing = lost.load(Ordering::Relaxed);
        let note =
            (missing > 0).then(|| format!("… {missing} lines are missing here: the disk was too slow or full\n"));
        let noted = note.map_or(Ok(()), |note| files.append(&note));
        if noted.is_ok() {
            lost.fetch_sub(missing, Ordering::Relaxed);
        }
        let (done, lines) = match &job {
            FileJob::Line(line) => (noted.and_then(|()| files.append(line)), 1),
            FileJob::Reopen => (files.reopen(), 0),
        };
        match done {
            Ok(()) => {
                if std::mem::take(&mut failing) {
                    info!(%module, "its output is written to `{}` again", files.path().display());
                }
            }
            Err(error) => {
                lost.fetch_add(lines, Ordering::Relaxed);
                // Once for each trouble, not once for each line.
                if !std::mem::replace(&mut failing, true) {
                    let path = files.path().display();
                    warn!(%module, "its output cannot be written to `{path}`: {error}; until that is mended it is kept in memory only");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, Instant};

    use super::*;

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
            queue.send(FileJob::Line(line.to_owned())).expect("room");
        }
        drop(queue);
        let files = || RotatingFile::new(path.clone(), 100, 1);
        write(&lines, files(), &"m".into(), &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
        fs::remove_dir(&blocked).expect("an empty folder");
        let (queue, lines) = sync_channel(9);
        queue.send(FileJob::Line("c\n".to_owned())).expect("room");
        drop(queue);
        write(&lines, files(), &"m".into(), &lost);
        let text = fs::read_to_string(&path).expect("written");
        assert_eq!(text, "… 2 lines are missing here: the disk was too slow or full\nc\n");
    }
}
