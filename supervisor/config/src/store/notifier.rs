//! Notifier of changes in the folders where they may matter, for the config's files and for modules' programs. It gives
//! hints; what counts is a look at the file.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecursiveMode, Watcher};
use tracing::warn;

use crate::symlinks;

/// Number of notifiers that the system has no watch left for.
static SHORT: AtomicUsize = AtomicUsize::new(0);

/// Pause before a system that had no watcher left is asked for one again.
const NEXT_TRY: Duration = Duration::from_secs(10);

/// Constructor of the system's watcher, given the callback for changes.
pub type Maker = fn(Box<dyn Fn(notify::Result<Event>) + Send>) -> notify::Result<Box<dyn Watcher + Send>>;

/// The one that this system has.
pub fn of_this_system(hear: Box<dyn Fn(notify::Result<Event>) + Send>) -> notify::Result<Box<dyn Watcher + Send>> {
    Ok(Box::new(notify::recommended_watcher(hear)?))
}

/// Watch over the folders of some files, links on the way included.
pub struct Notifier {
    /// Name of the files in a warning.
    what: &'static str,
    watcher: Option<Box<dyn Watcher + Send>>,
    /// Way to get one, where the system had none left, and when that is tried again.
    make: Maker,
    hear: Arc<dyn Fn(notify::Result<Event>) + Send + Sync>,
    next_try: Instant,
    /// Watched folders with device and inode: another folder at the same place needs another watch.
    folders: BTreeMap<PathBuf, (u64, u64)>,
    /// Entries whose changes matter, and the folders themselves.
    matters: Arc<Mutex<BTreeSet<PathBuf>>>,
    /// Folders that cannot be watched now.
    blind: BTreeSet<PathBuf>,
    warned: bool,
    /// True while this counts in [`SHORT`].
    short: bool,
}

impl Notifier {
    /// Calls `hint` after each change that may matter to `what`, which lies at `place`.
    pub fn new(what: &'static str, place: &Path, make: Maker, hint: impl Fn() + Send + Sync + 'static) -> Self {
        let matters = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&matters);
        let hear = move |event: notify::Result<Event>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| may_matter(&event, &known)) {
                hint();
            }
        };
        let mut notifier = Self {
            what,
            watcher: None,
            make,
            hear: Arc::new(hear),
            next_try: Instant::now(),
            folders: BTreeMap::new(),
            matters,
            blind: BTreeSet::new(),
            warned: false,
            short: false,
        };
        notifier.open(place);
        notifier
    }

    /// Takes a watcher from the system, if it is time to ask for one.
    fn open(&mut self, place: &Path) {
        if Instant::now() < self.next_try {
            return;
        }
        let hear = self.hear.clone();
        match (self.make)(Box::new(move |event| hear(event))) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => {
                self.next_try = Instant::now() + NEXT_TRY;
                self.warn_once(place, &error);
                self.set_short(is_exhausted(&error));
            }
        }
    }

    /// Watches where these files may be led elsewhere from now on. `again`: the folders may be others at the same places.
    pub fn follow(&mut self, files: &[PathBuf], again: bool) {
        let entries: BTreeSet<PathBuf> = files.iter().flat_map(|file| symlinks::entries(file)).collect();
        let folders: BTreeMap<_, _> = symlinks::folders(&entries)
            .into_iter()
            .map(|folder| {
                let identity = std::fs::metadata(&folder).map_or((0, 0), |metadata| (metadata.dev(), metadata.ino()));
                (folder, identity)
            })
            .collect();
        let mut matters = entries;
        matters.extend(folders.keys().cloned());
        *self.matters.lock().unwrap_or_else(PoisonError::into_inner) = matters;
        if self.watcher.is_none() {
            // The system may have one again.
            let place = files.first().cloned().unwrap_or_default();
            self.open(&place);
        }
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.folders.keys().filter(|folder| !folders.contains_key(*folder)) {
            // It may be gone from the disk, too.
            let _no_more = watcher.unwatch(gone);
            self.blind.remove(gone);
        }
        let mut failed = None;
        for (folder, identity) in &folders {
            let known = self.folders.get(folder) == Some(identity) && !self.blind.contains(folder);
            if known && !again {
                continue;
            }
            // Watching one twice is harmless.
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.blind.remove(folder);
                }
                Err(error) => {
                    self.blind.insert(folder.clone());
                    failed = Some((folder.clone(), error));
                }
            }
        }
        self.folders = folders;
        self.set_short(failed.as_ref().is_some_and(|(_, error)| is_exhausted(error)));
        if let Some((folder, error)) = failed {
            self.warn_once(&folder, &error);
        }
    }

    /// True if some change may come without a hint.
    pub fn is_blind(&self) -> bool {
        self.watcher.is_none() || !self.blind.is_empty()
    }

    fn set_short(&mut self, short: bool) {
        match (std::mem::replace(&mut self.short, short), short) {
            (false, true) => _ = SHORT.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = SHORT.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Logs the failure once per place: it does not get truer by repetition.
    fn warn_once(&mut self, place: &Path, error: &notify::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            let cure = match error.kind {
                notify::ErrorKind::MaxFilesWatch => "; raise fs.inotify.max_user_watches",
                notify::ErrorKind::Io(_) => "; is fs.inotify.max_user_instances reached?",
                _ => "",
            };
            warn!(
                place = %place.display(),
                "the system does not tell of changes, so {} is looked at now and then: {error}{cure}", self.what
            );
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.set_short(false);
    }
}

/// Text about notices of file changes that the system has none left of; `None` while there are enough.
pub fn shortage() -> Option<String> {
    (SHORT.load(Ordering::Relaxed) > 0).then(|| {
        "the system has no file watch left, so changes of files are looked for every few seconds; raise \
         `fs.inotify.max_user_watches` or `fs.inotify.max_user_instances`"
            .to_owned()
    })
}

/// True if the system had no watch left, which passes.
fn is_exhausted(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::MaxFilesWatch => true,
        notify::ErrorKind::Io(error) => matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EMFILE)),
        _ => false,
    }
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier")
            .field("folders", &self.folders)
            .finish_non_exhaustive()
    }
}

/// Reading is no change, nor is writing before it ends: that would be a hint for each piece written.
fn may_matter(event: &Event, known: &BTreeSet<PathBuf>) -> bool {
    let kind = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        // Other systems do not tell when a writer is done.
        EventKind::Modify(ModifyKind::Data(_)) => !cfg!(target_os = "linux"),
        _ => true,
    };
    kind && (event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|path| known.contains(path)))
}
