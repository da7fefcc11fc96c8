//! The power goes at every step: a disk that forgets whatever was not forced to it, in every way in which a real one may. And a
//! process that is killed in the middle of writing, with a real disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::super::*;
use super::bundle;

/// Directory of the simulated disk: each name with the number of its file.
type Names = BTreeMap<PathBuf, usize>;

/// Content in memory, and content that the disk holds for sure.
#[derive(Debug, Clone, Default)]
struct TreeNode {
    seen: Vec<u8>,
    safe: Option<Vec<u8>>,
}

/// A disk whose power goes after `steps` further changes.
#[derive(Debug, Clone, Default)]
struct Frail {
    nodes: Vec<TreeNode>,
    names: Names,
    safe_names: Names,
    /// Changes of names since they were last forced to the disk: the name, and what it stands for now.
    open: Vec<Vec<(PathBuf, Option<usize>)>>,
    steps: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct FrailDisk(std::rc::Rc<RefCell<Frail>>);

impl Frail {
    fn step(&mut self) -> io::Result<()> {
        match &mut self.steps {
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn name(&mut self, changes: Vec<(PathBuf, Option<usize>)>) {
        apply(&mut self.names, &changes);
        self.open.push(changes);
    }

    /// Every state in which the disk may be found afterwards.
    fn afterwards(&self) -> Vec<Self> {
        let mut found = Vec::new();
        // Any part of the open changes may have reached it, in order of their beginning; torn content in three ways.
        for kept in 0..(1_u32 << self.open.len()) {
            for torn in 0..3 {
                let mut names = self.safe_names.clone();
                for (n, changes) in self.open.iter().enumerate() {
                    if kept & (1 << n) != 0 {
                        apply(&mut names, changes);
                    }
                }
                let nodes = self.nodes.iter().map(|node| {
                    let unsafe_content = match torn {
                        0 => Vec::new(),
                        1 => node.seen[..node.seen.len() / 2].to_vec(),
                        _ => node.seen.clone(),
                    };
                    let content = node.safe.clone().unwrap_or(unsafe_content);
                    TreeNode {
                        seen: content.clone(),
                        safe: Some(content),
                    }
                });
                found.push(Self {
                    nodes: nodes.collect(),
                    names: names.clone(),
                    safe_names: names,
                    open: Vec::new(),
                    steps: None,
                });
            }
        }
        found
    }
}

fn apply(names: &mut Names, changes: &[(PathBuf, Option<usize>)]) {
    for (path, node) in changes {
        match node {
            Some(node) => names.insert(path.clone(), *node),
            None => names.remove(path),
        };
    }
}

impl Disk for FrailDisk {
    fn make_folder(&self, _: &Path) -> io::Result<()> {
        self.0.borrow_mut().step()
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        disk.step()?;
        let node = disk.nodes.len();
        disk.nodes.push(TreeNode {
            seen: Vec::new(),
            safe: None,
        });
        disk.name(vec![(path.to_owned(), Some(node))]);
        disk.step()?;
        disk.nodes[node].seen = bytes[..bytes.len() / 2].to_vec();
        disk.step()?;
        disk.nodes[node].seen = bytes.to_vec();
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        disk.step()?;
        match disk.names.get(path).copied() {
            Some(node) => disk.nodes[node].safe = Some(disk.nodes[node].seen.clone()),
            None => {
                disk.safe_names = disk.names.clone();
                disk.open.clear();
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        disk.step()?;
        let node = *disk.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        disk.name(vec![(from.to_owned(), None), (to.to_owned(), Some(node))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let disk = &mut *self.0.borrow_mut();
        disk.step()?;
        disk.name(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn read(&self, path: &Path, _: u64) -> io::Result<Vec<u8>> {
        let disk = self.0.borrow();
        let node = disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(disk.nodes[*node].seen.clone())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        let disk = self.0.borrow();
        let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        Ok(disk.names.keys().filter_map(name).collect())
    }
}

fn on(disk: Frail) -> (LastGood<FrailDisk>, FrailDisk) {
    let disk = FrailDisk(std::rc::Rc::new(RefCell::new(disk)));
    let store = LastGood::on(disk.clone(), Some(Path::new("/frail")), Path::new("/robots/rover.yaml"));
    (store, disk)
}

fn good(disk: &Frail) -> Option<ConfigFiles> {
    on(disk.clone()).0.read().expect("readable").map(|kept| kept.bundle)
}

/// Lets the power go after each step of `act` on each of the disks. Gives every disk that may be left, and how many steps there were.
fn cut_everywhere(disks: &[Frail], act: impl Fn(&LastGood<FrailDisk>) -> bool) -> (Vec<Frail>, usize) {
    let (mut left, mut most) = (Vec::new(), 0);
    for disk in disks {
        for steps in 0.. {
            let (store, handle) = on(Frail {
                steps: Some(steps),
                ..disk.clone()
            });
            let done = act(&store);
            let now = handle.0.borrow().clone();
            left.extend(now.afterwards());
            if done && now.steps != Some(0) {
                most = most.max(steps);
                break;
            }
        }
    }
    (left, most)
}

#[test]
fn the_power_may_go_at_every_step_and_the_old_or_the_new_config_is_there() {
    let texts = ["one", "two", "three", "four"];
    let mut disks = vec![Frail::default()];
    for (n, text) in texts.iter().enumerate() {
        let old = n.checked_sub(1).map(|n| bundle(texts[n]));
        let (left, steps) = cut_everywhere(&disks, |store| store.keep(&bundle(text)).is_ok());
        assert!(steps >= 6, "{steps}: write (3), sync, rename, sync");
        for disk in &left {
            let found = good(disk);
            assert!(
                found == old || found.as_ref() == Some(&bundle(text)),
                "{found:?} after {text}"
            );
        }
        // On from every way in which the next start may find the disk with the new one on it.
        disks = left
            .into_iter()
            .filter(|disk| good(disk) == Some(bundle(text)))
            .collect();
        disks.sort_by_key(|disk| format!("{:?}", disk.names));
        disks.dedup_by_key(|disk| format!("{:?}", disk.names));
        assert!(!disks.is_empty());
    }
}

#[test]
fn the_power_may_go_while_a_config_is_refused_or_pardoned_and_the_good_one_stays() {
    let (store, handle) = on(Frail::default());
    store.keep(&bundle("good")).expect("kept");
    let mut disks = vec![handle.0.borrow().clone()];
    for text in ["bad", "worse", "bad"] {
        let (left, _) = cut_everywhere(&disks, |store| store.reject(&bundle(text), &["why".to_owned()]).is_ok());
        for disk in &left {
            assert_eq!(good(disk), Some(bundle("good")));
        }
        let remembers = |disk: &Frail| {
            let rejection = on(disk.clone()).0.rejection(&bundle(text).digest());
            rejection.is_some_and(|rejection| rejection.reasons == ["why"])
        };
        disks = left.into_iter().filter(remembers).take(5).collect();
        assert!(!disks.is_empty());
    }
    let (left, _) = cut_everywhere(&disks, |store| {
        store.pardon(&bundle("bad").digest());
        true
    });
    for disk in &left {
        assert_eq!(good(disk), Some(bundle("good")));
    }
}

#[test]
fn what_was_kept_is_on_the_disk_when_keep_returns() {
    let (store, handle) = on(Frail::default());
    for text in ["one", "two", "three"] {
        store.keep(&bundle(text)).expect("kept");
        for disk in handle.0.borrow().afterwards() {
            assert_eq!(good(&disk), Some(bundle(text)));
        }
    }
}

const CHILD: &str = "MAINSTAY_TEST_LAST_GOOD_CHILD";

/// Process that the test below kills; not a test by itself.
#[test]
fn a_child_that_keeps_configs_until_it_is_killed() {
    let Some(state) = std::env::var_os(CHILD) else { return };
    let store = LastGood::within(Some(Path::new(&state)), Path::new("/robots/rover.yaml"));
    let first = store.read().expect("readable").map_or(0, |kept| kept.revision);
    for n in first + 1.. {
        let text = format!("{n} {}", "x".repeat(200_000));
        assert_eq!(store.keep(&bundle(&text)).expect("kept"), n);
    }
}

#[test]
fn a_process_that_is_killed_while_it_writes_leaves_a_whole_config() {
    let state = tempfile::tempdir().expect("a folder");
    let store = LastGood::within(Some(state.path()), Path::new("/robots/rover.yaml"));
    let mut last = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().expect("itself"))
            .args(["a_child_that_keeps_configs_until_it_is_killed", "--nocapture"])
            .env(CHILD, state.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let begun = std::time::Instant::now();
        let newer = || store.read().expect("readable").map_or(0, |kept| kept.revision) > last;
        while !newer() && begun.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Each time at another moment of its writing.
        std::thread::sleep(Duration::from_micros(round * 337));
        child.kill().expect("killed");
        child.wait().expect("ended");
        let kept = store.read().expect("readable").expect("there");
        assert!(kept.revision > last, "{} after {last}", kept.revision);
        let text = String::from_utf8_lossy(&kept.bundle.files[0].text).into_owned();
        assert!(text.starts_with(&format!("{} x", kept.revision)) && text.len() > 200_000);
        last = kept.revision;
    }
}
