//! Watch over a config: reports each new content of the file and of what it includes, however it came there.
//!
//! One thread looks at the files: it may block on a slow disk, and calls through the core never wait for it. It looks when the system
//! hints at a change, and at intervals in any case, because hints get lost. What it tells lies in a slot until it is fetched; newer
//! things replace older ones, so the last content always wins.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::debounce::{Debounce, DebounceVerdict, FileChange};
use super::notifier::Notifier;
use super::stable_read::{Mark, StableRead};
use super::{notifier, stable_read};
use crate::{ConfigFiles, Refused};

/// Period of looks at the files without a hint.
const LOOK: Duration = Duration::from_secs(2);
/// Period of looks where the system does not report changes.
const LOOK_BLIND: Duration = Duration::from_millis(500);
/// First and longest pause before the next look at a file that is being written.
const BUSY_FIRST: Duration = Duration::from_millis(1);
const BUSY_LONGEST: Duration = Duration::from_millis(128);
/// Longest time of being written before a file is reported as unreadable.
const BUSY_TOO_LONG: Duration = Duration::from_secs(10);
/// The thread's stack, in bytes: reading a config is not deep.
const STACK: usize = 256 * 1024;

/// State of the config file, as observed.
#[derive(Debug, Clone)]
pub enum Observation {
    /// The file holds this now.
    Text(ConfigFiles),
    /// The file is there, but what it includes does not fit together.
    Refused(Refused),
    /// The file is away.
    Missing,
    /// The file is there and cannot be read, for the given reason.
    Unreadable(Arc<str>),
}

/// A watch over one config. Dropping it ends it.
#[derive(Debug)]
pub struct ConfigWatch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    request: Mutex<LookRequest>,
    wake: Condvar,
    slot: Mutex<Option<Observation>>,
    published: Notify,
}

/// Request to the thread.
#[derive(Debug, Default, Clone, Copy)]
struct LookRequest {
    /// True if something may have changed.
    look: bool,
    /// True if the state is to be reported even if it is known.
    tell: bool,
    end: bool,
}

impl Shared {
    fn ask(&self, ask: impl FnOnce(&mut LookRequest)) {
        ask(&mut lock(&self.request));
        self.wake.notify_one();
    }

    /// Waits until something is asked for or `patience` is over.
    fn wait(&self, patience: Duration) -> LookRequest {
        let until = Instant::now() + patience;
        let mut request = lock(&self.request);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if request.look || request.tell || request.end || left.is_zero() {
                return std::mem::take(&mut *request);
            }
            request = self
                .wake
                .wait_timeout(request, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn tell(&self, seen: Observation) {
        *lock(&self.slot) = Some(seen);
        self.published.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConfigWatch {
    /// Watches the config at `path`. `known` is what the caller has already; it is not reported again.
    pub fn new(path: &Path, known: Option<&ConfigFiles>) -> Self {
        Self::with(path, known, notifier::of_this_system)
    }

    /// Watch over nothing: a config that came from standard input never changes.
    #[must_use]
    pub fn never() -> Self {
        Self { shared: Arc::default() }
    }

    fn with(path: &Path, known: Option<&ConfigFiles>, make: notifier::Maker) -> Self {
        let shared = Arc::new(Shared::default());
        let path = path.to_owned();
        let known = known.map(|bundle| FileChange::Text(bundle.digest()));
        let inside = Arc::clone(&shared);
        let spawned = thread::Builder::new()
            .name("config watch".to_owned())
            .stack_size(STACK)
            .spawn(move || WatchThread::new(path, known, make, inside).run());
        if let Err(error) = spawned {
            let text = format!("its changes are not followed, because the system gives no thread: {error}");
            shared.tell(Observation::Unreadable(text.into()));
        }
        Self { shared }
    }

    /// Waits for the next observation. May be dropped and called again.
    pub async fn next(&mut self) -> Observation {
        loop {
            if let Some(seen) = lock(&self.shared.slot).take() {
                return seen;
            }
            self.shared.published.notified().await;
        }
    }

    /// Looks at once, and reports the state even if it was reported before.
    pub fn look_again(&self) {
        self.shared.ask(|request| request.tell = true);
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        self.shared.ask(|request| request.end = true);
    }
}

/// Result of one look.
enum Look {
    /// A file is being written, or the files changed while they were read.
    Busy(PathBuf),
    /// `sudden`: some file was not there or not readable.
    Found {
        found: FileChange,
        sudden: bool,
        seen: Observation,
    },
}

/// State of the watching thread.
struct WatchThread {
    /// Path of the config, as it was given.
    path: PathBuf,
    shared: Arc<Shared>,
    notifier: Notifier,
    debounce: Debounce,
    /// The files that the last look asked for, and in which state they were.
    files: Vec<(PathBuf, Result<Mark, io::ErrorKind>)>,
    /// True if a file was changed so shortly before it was read that its mark cannot be relied upon.
    fresh: bool,
    /// True if a file is there and could not be read, which may pass without a change of the file: no descriptor was left, or
    /// its disk did not answer.
    unread: bool,
    /// Since when files are being written, and the next pause.
    busy: Option<(Instant, Duration)>,
}

impl WatchThread {
    fn new(path: PathBuf, known: Option<FileChange>, make: notifier::Maker, shared: Arc<Shared>) -> Self {
        let wake = Arc::clone(&shared);
        let notifier = Notifier::new("the config", &path, make, move || {
            wake.ask(|request| request.look = true)
        });
        Self {
            files: vec![(path.clone(), Err(io::ErrorKind::NotFound))],
            path,
            shared,
            notifier,
            debounce: Debounce::new(known),
            fresh: true,
            unread: false,
            busy: None,
        }
    }

    fn run(mut self) {
        let mut request = LookRequest {
            look: true,
            ..LookRequest::default()
        };
        let mut tell = false;
        while !request.end {
            tell |= request.tell;
            let patience = self.look_once(request.look, &mut tell);
            request = self.shared.wait(patience);
        }
    }

    /// Takes a look, if there is a reason for it, and acts on the result. Gives the time until the next.
    fn look_once(&mut self, hinted: bool, tell: &mut bool) -> Duration {
        // Before the look: what changes after it is then sure to be heard of.
        self.follow(hinted);
        let patience = if self.notifier.is_blind() { LOOK_BLIND } else { LOOK };
        let unsure = self.fresh || self.unread || self.busy.is_some() || self.debounce.is_waiting();
        let reason = hinted || *tell || unsure;
        if !reason && self.files.iter().all(|(path, mark)| Mark::of(path) == *mark) {
            return patience;
        }
        let before: Vec<PathBuf> = self.paths();
        let look = self.look();
        if self.paths() != before {
            // Newly included files may have changed before their folders were watched.
            self.follow(false);
            self.shared.ask(|request| request.look = true);
        }
        let now = Instant::now();
        let (found, sudden, seen) = match look {
            Look::Found { found, sudden, seen } => {
                self.busy = None;
                (found, sudden, seen)
            }
            Look::Busy(file) => {
                let (since, pause) = self.busy.unwrap_or((now, BUSY_FIRST));
                self.busy = Some((since, (pause * 2).min(BUSY_LONGEST)));
                if now - since < BUSY_TOO_LONG {
                    return pause;
                }
                let text = format!(
                    "`{}` has been open for writing for more than {} s, so it may be half written; end the program that writes it",
                    file.display(),
                    BUSY_TOO_LONG.as_secs()
                );
                let seen = Observation::Unreadable(text.as_str().into());
                if self.debounce.judge(&FileChange::Unreadable(text), false, now) == DebounceVerdict::Tell {
                    self.shared.tell(seen);
                }
                return pause;
            }
        };
        match self.debounce.judge(&found, sudden, now) {
            DebounceVerdict::Tell => {
                *tell = false;
                self.shared.tell(seen);
            }
            DebounceVerdict::Known if *tell => {
                *tell = false;
                self.debounce.set_reported(found, now);
                self.shared.tell(seen);
            }
            DebounceVerdict::Known => {}
            DebounceVerdict::Wait(pause) => return pause.min(patience),
        }
        patience
    }

    fn follow(&mut self, again: bool) {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let paths: Vec<PathBuf> = self.paths().into_iter().map(absolute).collect();
        self.notifier.follow(&paths, again);
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Reads all files of the config, each while nobody writes it and all in one state.
    fn look(&mut self) -> Look {
        let mut files: Vec<(PathBuf, Result<Mark, io::ErrorKind>)> = Vec::new();
        let (mut busy, mut failed, mut fresh) = (None, None, false);
        let mut hash = Sha256::new();
        let gathered = ConfigFiles::gather(&self.path, &mut |path| {
            hash.update(path.as_os_str().as_encoded_bytes());
            let read = stable_read::read(path);
            match read {
                Ok(StableRead::Whole(bytes, mark)) => {
                    hash.update(&bytes);
                    fresh |= mark.is_fresh(SystemTime::now());
                    files.push((path.to_owned(), Ok(mark)));
                    Ok(bytes)
                }
                Ok(StableRead::Busy) => {
                    busy = Some(path.to_owned());
                    files.push((path.to_owned(), Err(io::ErrorKind::WouldBlock)));
                    Err(io::ErrorKind::WouldBlock.into())
                }
                Err(error) => {
                    hash.update(error.to_string());
                    failed.get_or_insert_with(|| (files.len(), error.kind(), error.to_string()));
                    // What may not be read may still be looked at, and then its mark tells when that changes.
                    files.push((path.to_owned(), Mark::of(path)));
                    Err(error)
                }
            }
        });
        if files.is_empty() {
            files.push((self.path.clone(), Mark::of(&self.path)));
        }
        let torn = files
            .iter()
            .find(|(path, mark)| mark.is_ok() && Mark::of(path) != *mark)
            .map(|(path, _)| path.clone());
        self.unread = failed.is_some() && files.iter().any(|(_, mark)| mark.is_ok());
        (self.files, self.fresh) = (files, fresh);
        if let Some(file) = busy.or(torn) {
            return Look::Busy(file);
        }
        let sudden = failed.is_some();
        let (found, seen) = match (failed, gathered) {
            // The file itself is the first that is asked for.
            (Some((0, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory, _)), _) => {
                (FileChange::Missing, Observation::Missing)
            }
            (Some((0, _, text)), _) => {
                let seen = Observation::Unreadable(text.as_str().into());
                (FileChange::Unreadable(text), seen)
            }
            (_, Ok(bundle)) => (FileChange::Text(bundle.digest()), Observation::Text(bundle)),
            (_, Err(refused)) => {
                let hash = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
                (FileChange::Refused(hash), Observation::Refused(refused))
            }
        };
        Look::Found { found, sudden, seen }
    }
}

#[cfg(test)]
mod tests;
