//! Real files, changed in the ways in which people and programs change them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::RawFile;

const PATIENCE: Duration = Duration::from_secs(20);

/// A config in a folder of its own, and the watch over it.
struct Bench {
    folder: tempfile::TempDir,
    path: PathBuf,
    watch: ConfigWatch,
}

impl Bench {
    /// A watch over `name`, after `make` has put it there. What is there at the start is known.
    fn new(name: &str, make: impl FnOnce(&Path)) -> Self {
        Self::with(name, notifier::of_this_system, make)
    }

    fn with(name: &str, maker: notifier::Maker, make: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        make(folder.path());
        let path = folder.path().join(name);
        let known = fs::read(&path).ok().map(|text| ConfigFiles {
            path: path.clone(),
            files: vec![RawFile {
                path: path.clone(),
                text: text.into(),
            }],
        });
        let watch = ConfigWatch::with(&path, known.as_ref(), maker);
        Self { folder, path, watch }
    }

    fn file(text: &str) -> Self {
        Self::new("a.yaml", |folder| {
            fs::write(folder.join("a.yaml"), text).expect("written")
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("written");
    }

    async fn next(&mut self) -> String {
        let seen = tokio::time::timeout(PATIENCE, self.watch.next())
            .await
            .expect("news in time");
        say(&seen)
    }

    /// Waits for this observation; what else is reported before is of the way there.
    async fn until(&mut self, wanted: &str) {
        let mut before = Vec::new();
        loop {
            let seen = tokio::time::timeout(PATIENCE, self.watch.next()).await;
            let seen = seen.unwrap_or_else(|_| panic!("no `{wanted}`, but {before:?}"));
            if say(&seen) == wanted {
                return;
            }
            before.push(say(&seen));
        }
    }

    /// Asserts that nothing is reported though the thread has had several looks.
    async fn silent(&mut self, for_: Duration) {
        if let Ok(seen) = tokio::time::timeout(for_, self.watch.next()).await {
            panic!("told `{}`", say(&seen));
        }
    }
}

fn say(seen: &Observation) -> String {
    match seen {
        Observation::Text(bundle) => String::from_utf8_lossy(&bundle.files[0].text).into_owned(),
        Observation::Refused(refused) => format!("refused: {refused}"),
        Observation::Missing => "missing".to_owned(),
        Observation::Unreadable(why) => format!("unreadable: {why}"),
    }
}

#[tokio::test]
async fn what_is_known_is_not_told_and_what_is_not_is_told_at_once() {
    let mut bench = Bench::file("one");
    bench.silent(Duration::from_millis(300)).await;
    bench.watch = ConfigWatch::new(&bench.path, None);
    assert_eq!(bench.next().await, "one");
    bench.write("one");
    bench.silent(Duration::from_millis(300)).await;
    bench.watch.look_again();
    assert_eq!(bench.next().await, "one", "SIGHUP asks for it");
}

#[tokio::test]
async fn every_way_of_replacing_the_file_is_seen() {
    let mut bench = Bench::file("one");
    bench.write("in place");
    bench.until("in place").await;

    // As vim does: the old one moves away, a new one is written.
    fs::rename(&bench.path, bench.at("a.yaml~")).expect("renamed");
    bench.write("vim");
    fs::remove_file(bench.at("a.yaml~")).expect("removed");
    bench.until("vim").await;

    // As VS Code and most tools do.
    fs::write(bench.at("a.yaml.tmp"), "renamed over").expect("written");
    fs::rename(bench.at("a.yaml.tmp"), &bench.path).expect("renamed");
    bench.until("renamed over").await;

    OpenOptions::new()
        .append(true)
        .open(&bench.path)
        .and_then(|mut file| file.write_all(b", appended"))
        .expect("written");
    bench.until("renamed over, appended").await;

    // With the time stamps of the old one, and as long.
    fs::write(bench.at("copy"), "RENAMED over, appended").expect("written");
    let times = fs::metadata(&bench.path).expect("there");
    let times = fs::FileTimes::new().set_modified(times.modified().expect("one"));
    File::options()
        .write(true)
        .open(bench.at("copy"))
        .and_then(|file| file.set_times(times))
        .expect("set");
    fs::rename(bench.at("copy"), &bench.path).expect("renamed");
    bench.until("RENAMED over, appended").await;
}

#[tokio::test]
async fn a_swap_of_any_link_on_the_way_is_seen() {
    let mut bench = Bench::new("config/a.yaml", |folder| {
        for version in ["v1", "v2", "v3"] {
            fs::create_dir_all(folder.join("mount").join(version)).expect("made");
            fs::write(folder.join("mount").join(version).join("a.yaml"), version).expect("written");
        }
        symlink("v1", folder.join("mount/..data")).expect("linked");
        symlink("..data/a.yaml", folder.join("mount/a.yaml")).expect("linked");
        symlink("mount", folder.join("config")).expect("linked");
    });
    bench.silent(Duration::from_millis(100)).await;
    // As kubectl does.
    symlink("v2", bench.at("mount/..data_tmp")).expect("linked");
    fs::rename(bench.at("mount/..data_tmp"), bench.at("mount/..data")).expect("swapped");
    bench.until("v2").await;
    fs::remove_dir_all(bench.at("mount/v1")).expect("removed");
    // The last link, and then the first.
    symlink("v3/a.yaml", bench.at("mount/link")).expect("linked");
    fs::rename(bench.at("mount/link"), bench.at("mount/a.yaml")).expect("swapped");
    bench.until("v3").await;
    fs::create_dir(bench.at("other")).expect("made");
    fs::write(bench.at("other/a.yaml"), "other").expect("written");
    symlink("other", bench.at("link")).expect("linked");
    fs::rename(bench.at("link"), bench.at("config")).expect("swapped");
    bench.until("other").await;
    fs::write(bench.at("other/a.yaml"), "in place behind it").expect("written");
    bench.until("in place behind it").await;
}

#[tokio::test]
async fn half_a_file_is_never_told() {
    let mut bench = Bench::file("one");
    let mut writer = File::create(&bench.path).expect("opened");
    writer.write_all(b"ha").expect("written");
    // Longer than the interval in which it is looked at in any case.
    bench.silent(LOOK + Duration::from_millis(500)).await;
    writer.write_all(b"lf, whole").expect("written");
    drop(writer);
    assert_eq!(bench.next().await, "half, whole");
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_and_its_return_after_any_time_too() {
    let mut bench = Bench::file("one");
    // Gone for a moment is no news.
    fs::remove_file(&bench.path).expect("removed");
    thread::sleep(Duration::from_millis(50));
    bench.write("one");
    bench.silent(Duration::from_millis(900)).await;
    fs::remove_file(&bench.path).expect("removed");
    assert_eq!(bench.next().await, "missing");
    bench.silent(Duration::from_millis(2500)).await;
    bench.write("one");
    assert_eq!(bench.next().await, "one", "the same content as before");

    // The folder goes, too, and others take its place.
    fs::remove_dir_all(bench.folder.path()).expect("removed");
    bench.until("missing").await;
    fs::create_dir(bench.folder.path()).expect("made");
    bench.write("two");
    bench.until("two").await;
    let other = bench.folder.path().with_extension("other");
    fs::create_dir(&other).expect("made");
    fs::write(other.join("a.yaml"), "three").expect("written");
    fs::rename(&bench.path, other.join("old")).expect("moved");
    fs::remove_dir_all(bench.folder.path()).expect("removed");
    fs::rename(&other, bench.folder.path()).expect("moved");
    bench.until("three").await;
    bench.write("four");
    bench.until("four").await;
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_its_reason_and_what_can_again_too() {
    let mut bench = Bench::file("one");
    fs::remove_file(&bench.path).expect("removed");
    fs::create_dir(&bench.path).expect("made");
    let told = bench.next().await;
    assert!(
        told.starts_with("unreadable: ") && told.contains("name the file in it"),
        "{told}"
    );
    fs::remove_dir(&bench.path).expect("removed");
    bench.write("one");
    assert_eq!(bench.next().await, "one");
    if !nix::unistd::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt as _;
        let allow = |mode| fs::set_permissions(&bench.path, fs::Permissions::from_mode(mode)).expect("changed");
        allow(0);
        let watch = &mut bench.watch;
        let told = say(&tokio::time::timeout(PATIENCE, watch.next()).await.expect("news"));
        assert!(told.contains("ermission denied"), "{told}");
        allow(0o600);
        assert_eq!(bench.next().await, "one");
    }
}

#[tokio::test]
async fn of_a_thousand_writes_few_are_told_and_the_last_one_always() {
    let mut bench = Bench::file("start");
    let path = bench.path.clone();
    let writer = thread::spawn(move || {
        for n in 0..1000 {
            if n % 3 == 0 {
                let other = path.with_extension("tmp");
                fs::write(&other, format!("write {n}")).expect("written");
                fs::rename(&other, &path).expect("renamed");
            } else {
                fs::write(&path, format!("write {n}")).expect("written");
            }
        }
        Instant::now()
    });
    let begun = Instant::now();
    let mut told = 0;
    while bench.next().await != "write 999" {
        told += 1;
    }
    let ended = writer.join().expect("it wrote");
    let rounds = (ended - begun).as_millis() / 500;
    assert!(told <= rounds + 3, "{told} in {:?}", ended - begun);
    bench.silent(Duration::from_millis(300)).await;
}

#[tokio::test]
async fn a_lone_change_is_told_within_milliseconds() {
    let mut bench = Bench::file("start");
    let mut took: Vec<Duration> = Vec::new();
    // The machine that runs this test may be busy; what always takes longer never gets under the bar.
    for n in 0..40 {
        // Beyond the time in which it would be a burst.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let begun = Instant::now();
        bench.write(&format!("write {n}"));
        bench.until(&format!("write {n}")).await;
        took.push(begun.elapsed());
        if took[n] < Duration::from_millis(10) {
            return;
        }
    }
    panic!("from write to news: {took:?}");
}

#[tokio::test]
async fn a_second_change_right_behind_the_first_is_told_soon() {
    let mut bench = Bench::file("start");
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..40 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bench.write(&format!("first {n}"));
        bench.until(&format!("first {n}")).await;
        tokio::time::sleep(Duration::from_millis(n as u64 % 7 * 30)).await;
        let begun = Instant::now();
        bench.write(&format!("second {n}"));
        bench.until(&format!("second {n}")).await;
        took.push(begun.elapsed());
        // The bar is 20 ms.
        if took[n] < Duration::from_millis(30) {
            return;
        }
    }
    panic!("from the second write to its news: {took:?}");
}

/// Number of requests for a watcher that were refused.
static REFUSALS: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn without_hints_the_files_are_looked_at_now_and_then() {
    let none: notifier::Maker = |_| {
        REFUSALS.fetch_add(1, Ordering::Relaxed);
        Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
    };
    let write = |folder: &Path| fs::write(folder.join("a.yaml"), "one").expect("written");
    let mut bench = Bench::with("a.yaml", none, write);
    bench.write("two");
    assert_eq!(bench.next().await, "two");
    // As long and in the same moment, so that only the content differs.
    bench.write("six");
    bench.write("ten");
    bench.until("ten").await;
    fs::remove_file(&bench.path).expect("removed");
    bench.until("missing").await;
    assert_eq!(REFUSALS.load(Ordering::Relaxed), 1, "asked, and said, once");
}

#[tokio::test]
async fn changes_that_nobody_hinted_at_are_found_all_the_same() {
    // A watcher that is never heard of again.
    let deaf: notifier::Maker = |_| Ok(Box::new(notify::NullWatcher));
    let write = |folder: &Path| fs::write(folder.join("a.yaml"), "one").expect("written");
    let mut bench = Bench::with("a.yaml", deaf, write);
    bench.silent(Duration::from_millis(100)).await;
    let begun = Instant::now();
    bench.write("two");
    bench.until("two").await;
    assert!(begun.elapsed() < LOOK * 3, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_watch_that_is_dropped_ends_its_thread() {
    let bench = Bench::file("one");
    let shared = Arc::downgrade(&bench.watch.shared);
    drop(bench);
    let begun = Instant::now();
    while shared.strong_count() > 0 {
        assert!(begun.elapsed() < PATIENCE, "the thread lives on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
