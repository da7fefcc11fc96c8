//! The store on a real disk; `power`: on one that loses its power.

mod power;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;

use super::*;
use crate::RawFile;

fn bundle(text: &str) -> ConfigFiles {
    let path = PathBuf::from("/robots/rover.yaml");
    let file = |path: PathBuf, text: &str| RawFile {
        path,
        text: text.as_bytes().into(),
    };
    let files = vec![
        file(path.clone(), text),
        file("/robots/arm.yaml".into(), "token: ${TOKEN}\n"),
    ];
    ConfigFiles { path, files }
}

fn store() -> (tempfile::TempDir, LastGood) {
    let state = tempfile::tempdir().expect("a folder");
    let inside = state.path().join("a/b");
    let store = LastGood::within(Some(&inside), Path::new("/robots/rover.yaml"));
    (state, store)
}

fn names(store: &LastGood) -> Vec<String> {
    RealDisk.list(store.folder().expect("a place")).unwrap_or_default()
}

#[test]
fn what_was_kept_last_is_read_by_the_next_core_with_its_revision() {
    let (state, store) = store();
    assert_eq!(store.read().expect("readable"), None);
    for (text, revision) in [("a", 1), ("b", 2), ("b", 2), ("c", 3)] {
        assert_eq!(store.keep(&bundle(text)).expect("kept"), revision, "{text}");
    }
    let next = LastGood::within(Some(&state.path().join("a/b")), Path::new("/robots/./rover.yaml"));
    let kept = next.read().expect("readable").expect("there");
    assert_eq!((kept.bundle, kept.revision), (bundle("c"), 3));
    assert!(kept.saved.elapsed().expect("in the past").as_secs() < 60);
    assert_eq!(names(&store), ["good-0000000002", "good-0000000003"]);
}

#[test]
fn what_was_removed_from_the_disk_is_kept_again_under_its_number() {
    let (state, store) = store();
    for text in ["a", "b", "c"] {
        store.keep(&bundle(text)).expect("kept");
    }
    assert!(store.holds_something());
    fs::remove_dir_all(state.path().join("a")).expect("removed");
    assert!(!store.holds_something());
    assert_eq!(store.keep_as(&bundle("c"), 3).expect("kept"), 3);
    assert_eq!(store.keep_as(&bundle("d"), 3).expect("kept"), 4);
}

#[test]
fn only_its_user_can_read_what_it_keeps() {
    let (state, store) = store();
    store.keep(&bundle("a")).expect("kept");
    store.reject(&bundle("b"), &[]).expect("kept");
    let folder = store.folder().expect("a place");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    for path in [folder, folder.parent().expect("one"), &state.path().join("a")] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    for name in names(&store) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("changed");
    store.read().expect("readable");
    assert_eq!(mode(folder), 0o700, "opened by somebody and closed again");
}

#[test]
fn a_damaged_file_gives_way_to_the_one_before_and_both_damaged_are_told() {
    let (_state, store) = store();
    store.keep(&bundle("a")).expect("kept");
    store.keep(&bundle("b")).expect("kept");
    let folder = store.folder().expect("a place").to_owned();
    fs::write(folder.join("good-0000000002"), "half").expect("written");
    assert_eq!(store.read().expect("readable").expect("there").bundle, bundle("a"));
    // The damaged one goes, the whole one stays.
    assert_eq!(store.keep(&bundle("c")).expect("kept"), 3);
    assert_eq!(names(&store), ["good-0000000001", "good-0000000003"]);
    for name in names(&store) {
        fs::write(folder.join(name), "").expect("written");
    }
    let problem = store.read().expect_err("damaged").to_string();
    assert!(problem.contains("damaged; remove it"), "{problem}");
    assert_eq!(store.keep(&bundle("d")).expect("kept"), 4);
}

#[test]
fn a_refused_config_is_remembered_with_its_reasons_until_it_is_pardoned_or_too_old() {
    let (_state, store) = store();
    let digest = |text: &str| bundle(text).digest();
    assert_eq!(store.rejection(&digest("0")), None);
    let reason = |n: usize| vec![format!("reason {n}")];
    for n in 0..9 {
        store.reject(&bundle(&n.to_string()), &reason(n)).expect("kept");
    }
    assert_eq!(store.rejection(&digest("0")), None, "the oldest is forgotten");
    for n in 1..9 {
        let rejection = store.rejection(&digest(&n.to_string())).expect("remembered");
        assert_eq!(rejection.reasons, reason(n));
    }
    store.reject(&bundle("1"), &reason(100)).expect("kept");
    assert_eq!(store.rejection(&digest("1")).expect("there").reasons, reason(100));
    assert_eq!(names(&store).len(), REJECTED, "{:?}", names(&store));
    store.pardon(&digest("1"));
    assert_eq!(store.rejection(&digest("1")), None);
    assert_eq!(names(&store).len(), REJECTED - 1);
    assert_eq!(store.read().expect("readable"), None, "refused is not good");

    let path = store.folder().expect("a place").join(&names(&store)[0]);
    fs::write(path, "half").expect("written");
    let rejection = store.rejection(&digest("2")).expect("its name says it");
    assert!(rejection.reasons[0].contains("damaged"), "{rejection:?}");
}

#[test]
fn long_texts_and_reasons_are_bounded() {
    let (_state, store) = store();
    let long = bundle(&"x".repeat(REJECTED_TEXT + 1));
    let reasons: Vec<String> = (0..1000).map(|_| "y".repeat(10_000)).collect();
    store.reject(&long, &reasons).expect("kept");
    let reasons = store.rejection(&long.digest()).expect("there").reasons;
    assert_eq!((reasons.len(), reasons[50].as_str()), (51, "and 950 more"));
    let path = store.folder().expect("a place").join(&names(&store)[0]);
    let length = fs::metadata(path).expect("there").len();
    assert!(length < 110_000, "{length}");
}

#[test]
fn each_path_as_given_has_its_own_place_with_a_readable_name() {
    let state = Path::new("/s");
    let place = |path: &str| {
        let store = LastGood::within(Some(state), Path::new(path));
        store
            .folder()
            .expect("a place")
            .file_name()
            .expect("one")
            .to_string_lossy()
            .into_owned()
    };
    assert_eq!(place("/a/rover.yaml"), place("/a/./rover.yaml"));
    assert_ne!(place("/a/rover.yaml"), place("/b/rover.yaml"));
    assert_ne!(place("/a/rover.yaml"), place("/a/rover.json"));
    assert!(place("/a/rover.yaml").starts_with("rover-"));
    assert!(place("/a/mein Röver.yaml").starts_with("mein-R-ver-"));
    assert!(place(&format!("/a/{}.yaml", "x".repeat(200))).len() < 60);

    let folder = tempfile::tempdir().expect("a folder");
    let (target, link) = (folder.path().join("v1.yaml"), folder.path().join("rover.yaml"));
    fs::write(&target, "").expect("written");
    symlink(&target, &link).expect("linked");
    let place = |path: &Path| LastGood::within(Some(state), path).folder().map(Path::to_owned);
    assert_ne!(place(&link), place(&target), "links are not resolved");
}

#[test]
fn where_nothing_can_be_kept_the_problem_says_so_and_nothing_breaks() {
    let nowhere = LastGood::within(None, Path::new("/a.yaml"));
    assert!(matches!(nowhere.keep(&bundle("a")), Err(StoreError::NoPlace)));
    assert!(matches!(nowhere.read(), Err(StoreError::NoPlace)));
    assert_eq!(nowhere.rejection("0"), None);

    // A read-only place, for root as well.
    let store = LastGood::within(Some(Path::new("/proc/sys")), Path::new("/a.yaml"));
    let problem = store.keep(&bundle("a")).expect_err("read-only");
    assert!(
        problem.to_string().contains("cannot make `/proc/sys/last-good`"),
        "{problem}"
    );
    store.reject(&bundle("a"), &[]).expect_err("read-only");
    assert_eq!(store.read().expect("nothing there"), None);

    // A file where a folder should be.
    let state = tempfile::tempdir().expect("a folder");
    let store = LastGood::within(Some(state.path()), Path::new("/a.yaml"));
    let folder = store.folder().expect("a place").to_owned();
    fs::create_dir_all(folder.parent().expect("one")).expect("made");
    fs::write(&folder, "").expect("written");
    let problem = store.read().expect_err("no folder");
    assert!(
        std::error::Error::source(&problem)
            .expect("one")
            .to_string()
            .contains("it is no folder")
    );
}
