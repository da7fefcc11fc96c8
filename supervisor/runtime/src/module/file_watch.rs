//! Watch over the files that a module is made of besides its program: the code in its script's folder, or what its entry
//! names. They are looked at by time, since the system's notices would take a watch for each folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mainstay_model::Watch;
use tracing::warn;

use super::entry::ModuleEntry;
use super::program_files;
use super::source::run_blocking;

/// Time for which all files must stay as they are before a change counts as whole.
const SETTLE: Duration = Duration::from_millis(200);
/// Pause between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest pause as a multiple of what a look takes: it costs one percent of a processor at most.
const SHARE: u32 = 100;
/// A file that changes this often, each time so soon after the change before, is written by the module itself.
const SELF_WRITTEN: (u32, Duration) = (5, Duration::from_secs(5));

/// State of a file, links followed: device, inode, size, time of its last change.
type FileState = (u64, u64, u64, i64, i64);
/// Files at one moment.
type Snapshot = BTreeMap<PathBuf, FileState>;

/// A watch over one module's files.
#[derive(Debug)]
pub struct FileWatch {
    entry: Arc<ModuleEntry>,
    watch: Watch,
    /// Files as they are known; `None` before the first look.
    seen: Option<Snapshot>,
    repeated: Repeated,
}

/// Changes of one file in quick succession.
#[derive(Debug, Default)]
struct Repeated {
    last: Option<(PathBuf, Instant)>,
    count: u32,
    /// Files that the module itself writes.
    left_out: BTreeSet<PathBuf>,
}

impl FileWatch {
    /// Watches what the policy of this module says.
    pub fn new(entry: Arc<ModuleEntry>) -> Self {
        Self {
            entry,
            watch: Watch::Off,
            seen: None,
            repeated: Repeated::default(),
        }
    }

    /// Waits until a file is another one, was added or removed, and all are at rest; gives the first. May be dropped and
    /// called again.
    pub async fn changed(&mut self) -> PathBuf {
        loop {
            let begun = Instant::now();
            if let Some(file) = self.change().await
                && self.repeated.counts(&file, Instant::now())
            {
                return file;
            }
            tokio::time::sleep(LOOK.max(begun.elapsed() * SHARE)).await;
        }
    }

    /// The first file that is another one than at the last look, once all are at rest.
    pub async fn change(&mut self) -> Option<PathBuf> {
        let watch = self.entry.policy().watch.clone();
        let mut now = self.look(&watch).await?;
        if watch != self.watch {
            (self.watch, self.seen) = (watch, None);
        }
        let seen = self.seen.get_or_insert_with(|| now.clone()).clone();
        difference(&seen, &now)?;
        loop {
            tokio::time::sleep(SETTLE).await;
            let later = self.look(&self.watch).await?;
            if later == now {
                break;
            }
            now = later;
        }
        let file = difference(&seen, &now);
        self.seen = Some(now);
        file
    }

    /// All files that count, now. `None` if the system has no thread for it.
    async fn look(&self, watch: &Watch) -> Option<Snapshot> {
        let (program, watch) = (self.entry.source.watched(), watch.clone());
        let left_out = self.repeated.left_out.clone();
        let look = move || {
            let files = program_files::watched(&program, &watch);
            let files = files.into_iter().filter(|file| !left_out.contains(file));
            files
                .filter_map(|file| Some((mark(&file)?, file)).map(|(mark, file)| (file, mark)))
                .collect()
        };
        run_blocking(move |_| look()).await.ok()
    }
}

impl Repeated {
    /// False for a file that changes again and again as soon as the module has been restarted: it is left out from now on.
    fn counts(&mut self, file: &PathBuf, now: Instant) -> bool {
        let (most, soon) = SELF_WRITTEN;
        let again = self
            .last
            .as_ref()
            .is_some_and(|(last, at)| last == file && now.duration_since(*at) < soon);
        self.count = if again { self.count + 1 } else { 1 };
        self.last = Some((file.clone(), now));
        if self.count < most {
            return true;
        }
        warn!(
            file = %file.display(),
            "it changes each time that its module is restarted, so the module most likely writes it; it is not watched any more"
        );
        self.left_out.insert(file.clone());
        false
    }
}

/// The first file that is in one of the two alone, or another one.
fn difference(before: &Snapshot, after: &Snapshot) -> Option<PathBuf> {
    let changed = after.iter().find(|(file, mark)| before.get(*file) != Some(mark));
    let gone = || before.keys().find(|file| !after.contains_key(*file));
    changed.map(|(file, _)| file).or_else(gone).cloned()
}

fn mark(file: &PathBuf) -> Option<FileState> {
    let file = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_that_the_module_writes_is_left_out_and_one_that_a_person_saves_is_not() {
        let (state, main) = (PathBuf::from("/m/state.py"), PathBuf::from("/m/main.py"));
        let mut repeated = Repeated::default();
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let counted: Vec<_> = (0..5).map(|step| repeated.counts(&state, at(step * 2))).collect();
        assert_eq!(counted, [true, true, true, true, false]);
        assert!(repeated.left_out.contains(&state));
        assert!((0..9).all(|step| repeated.counts(&main, at(100 + step * 6))));
        // Others in between are no sign of it either.
        assert!((0..9).all(|step| repeated.counts([&main, &state][step as usize % 2], at(200 + step))));
    }

    #[test]
    fn what_is_new_gone_or_other_differs() {
        let snapshot = |files: &[(&str, i64)]| -> Snapshot {
            let of = |(name, time): &(&str, i64)| (PathBuf::from(name), (1, 1, 1, *time, 0));
            files.iter().map(of).collect()
        };
        let before = snapshot(&[("a", 1), ("b", 1)]);
        for (after, first) in [
            (snapshot(&[("a", 1), ("b", 1)]), None),
            (snapshot(&[("a", 1), ("b", 2)]), Some("b")),
            (snapshot(&[("a", 1)]), Some("b")),
            (snapshot(&[("a", 1), ("aa", 1), ("b", 1)]), Some("aa")),
        ] {
            assert_eq!(difference(&before, &after).as_deref(), first.map(Path::new));
        }
    }
}
