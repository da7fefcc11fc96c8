//! Handovers between folders, cut after each step and failing at each write.

use std::fs;
use std::path::PathBuf;

use mainstay_pki::certificate::CertificateInfo;
use tempfile::TempDir;

use super::*;
use crate::take_over::{Anew, Followed};

/// Main part `a` with the sub-parts `b` and `c`, each in a folder of its own.
struct Machine {
    place: TempDir,
    now: SystemTime,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            place: tempfile::tempdir().expect("a folder"),
            now: SystemTime::now(),
        };
        let keys = machine.keys("a");
        keys.init("rover", &["rover".to_owned()], machine.now).expect("made");
        machine.part("a").init("rover", &keys, machine.now).expect("made");
        for (name, address) in [("b", "10.0.0.2:8080"), ("c", "10.0.0.3:8080")] {
            let request = part::request().expect("random numbers");
            let admitted = machine
                .part("a")
                .admit(&keys, name, (&request.request, address), machine.now);
            let joined = machine
                .part(name)
                .join(admitted.expect("admitted"), &request.key, false, &machine.keys(name));
            joined.expect("joined");
        }
        machine
    }

    fn part(&self, name: &str) -> PartFolder {
        PartFolder::at(self.place.path().join(name).join("part"))
    }

    fn keys(&self, name: &str) -> Authority {
        Authority::at(self.place.path().join(name).join("keys"))
    }

    fn now(&self, name: &str) -> Membership {
        self.part(name).read().expect("readable").expect("a part")
    }

    /// Each part's role and term: `a: main 1, b: sub 1, c: sub 1`.
    fn text(&self) -> String {
        let text = |name: &str| {
            let membership = self.now(name);
            let role = match membership.role {
                PartRole::Main(_) => "main",
                PartRole::Sub => "sub",
                PartRole::HandingOver(_) => "between",
            };
            format!("{name}: {role} {}", membership.term)
        };
        ["a", "b", "c"].map(text).join(", ")
    }

    /// Computers that have the private key of the machine's CA.
    fn key_holders(&self) -> String {
        let holds = |name: &&str| self.keys(name).has_key() || self.part(name).handed_ca().has_key();
        ["a", "b", "c"].into_iter().filter(holds).collect()
    }

    fn names(&self, main: &str) -> Vec<String> {
        let PartRole::Main(parts) = self.now(main).role else {
            panic!("a main part");
        };
        let mut names: Vec<_> = parts.into_iter().map(|part| part.name).collect();
        names.sort();
        names
    }

    fn insignia(&self) -> Insignia {
        let insignia = self.part("a").insignia(&self.keys("a"), "10.0.0.1:8080");
        insignia.expect("readable").expect("its key is here")
    }

    /// One step of the handover from `a` to `b`, as its own process would do it.
    fn step(&self, step: &str) -> Result<(), FolderError> {
        let (a, b) = (self.part("a"), self.part("b"));
        match step {
            "yield" => a.yield_to("b", Some("a"), &self.keys("a"), self.now).map(drop),
            "stage" => b.stage(&self.insignia(), self.now).map(drop),
            "commit" => b.commit(&self.insignia()),
            "confirm" => a.confirm(&self.keys("a")),
            "resume" => a.resume(2, &self.keys("a"), self.now).map(drop),
            "abandon" => b.abandon(),
            "follow" => self.part("c").follow(2, &self.keys("c")).map(drop),
            "a follows" => a.follow(2, &self.keys("a")).map(drop),
            "b follows" => b.follow(1, &self.keys("b")).map(drop),
            "lost at a" => a.start_anew(&self.keys("a"), self.now).map(drop),
            other => panic!("no step {other}"),
        }
    }

    fn steps(&self, steps: &[&str]) {
        for step in steps {
            self.step(step).expect(step);
        }
    }

    /// Makes the next write of a file fail, until it is dropped.
    fn full(&self, file: &str) -> Full {
        let path = self.place.path().join(file);
        let path = path.with_extension(format!("new-{}", std::process::id()));
        fs::create_dir_all(&path).expect("made");
        Full(path)
    }
}

struct Full(PathBuf);

impl Drop for Full {
    fn drop(&mut self) {
        let _removed = fs::remove_dir(&self.0);
    }
}

const ALL: [&str; 5] = ["yield", "stage", "commit", "confirm", "follow"];

#[test]
fn wherever_a_handover_ends_there_is_one_main_part_at_most_and_the_same_again_goes_on() {
    for (done, expected, holders) in [
        (0, "a: main 1, b: sub 1, c: sub 1", "a"),
        (1, "a: between 2, b: sub 1, c: sub 1", "a"),
        // The former one was not reached yet, so the new one has no key.
        (2, "a: between 2, b: sub 1, c: sub 1", "a"),
        (3, "a: between 2, b: main 2, c: sub 1", "ab"),
        (4, "a: sub 2, b: main 2, c: sub 1", "b"),
        (5, "a: sub 2, b: main 2, c: sub 2", "b"),
    ] {
        let machine = Machine::new();
        machine.steps(&ALL[..done]);
        assert_eq!(
            (machine.text().as_str(), machine.key_holders().as_str()),
            (expected, holders)
        );
        if done < 4 {
            machine.steps(&ALL[..4]);
        }
        machine.steps(&ALL[3..]);
        assert_eq!(machine.text(), "a: sub 2, b: main 2, c: sub 2", "after {done}");
        assert_eq!(
            (machine.key_holders().as_str(), machine.names("b")),
            ("b", vec!["a".to_owned(), "c".to_owned()])
        );
        // The new one takes others in, and the role may come back the same way; its name is known by then.
        let b = machine.part("b");
        let request = part::request().expect("random numbers");
        let signing = b.signing(&machine.keys("b"));
        assert!(
            b.admit(&signing, "d", (&request.request, "10.0.0.4:1"), machine.now)
                .is_ok()
        );
        assert!(matches!(b.check_invited("b", true), Err(FolderError::OwnName(_))));
        let back = b.yield_to("a", None, &machine.keys("b"), machine.now).expect("begun");
        assert_eq!((back.part.as_str(), back.term, back.shares_authority), ("b", 3, false));
        assert!(machine.now("a").shares_authority);
    }
}

#[test]
fn each_way_out_of_a_handover_that_does_not_end() {
    for (steps, expected, holders) in [
        // The answer of the new one was lost; it speaks to the former one, which is the confirmation.
        (
            &["yield", "stage", "commit", "a follows"][..],
            "a: sub 2, b: main 2, c: sub 1",
            "b",
        ),
        // The new one has refused.
        (
            &["yield", "stage", "abandon", "resume"],
            "a: main 3, b: sub 1, c: sub 1",
            "a",
        ),
        (&["yield", "resume", "resume"], "a: main 3, b: sub 1, c: sub 1", "a"),
        // The new one died with what it had not taken up; the main part of before speaks to it.
        (
            &["yield", "stage", "resume", "b follows"],
            "a: main 3, b: sub 1, c: sub 1",
            "a",
        ),
        // The new one is lost, whether it was the main part or not: the former one goes before it.
        (
            &["yield", "stage", "lost at a", "b follows"],
            "a: main 3, b: sub 1, c: sub 1",
            "a",
        ),
        (
            &["yield", "stage", "commit", "lost at a", "follow"],
            "a: main 3, b: main 2, c: sub 2",
            "ab",
        ),
        // What was confirmed cannot be taken back.
        (
            &["yield", "stage", "commit", "confirm", "resume", "abandon"],
            "a: sub 2, b: main 2, c: sub 1",
            "b",
        ),
    ] {
        let machine = Machine::new();
        machine.steps(steps);
        assert_eq!(
            (machine.text().as_str(), machine.key_holders().as_str()),
            (expected, holders),
            "{steps:?}"
        );
    }
}

#[test]
fn a_disk_that_is_full_leaves_what_was_or_what_goes_on() {
    for (before, step, file, expected, holders) in [
        (0, "yield", "a/part/part.pem", "a: main 1, b: sub 1, c: sub 1", "a"),
        (0, "yield", "a/part/machine.json", "a: main 1, b: sub 1, c: sub 1", "a"),
        (1, "stage", "b/part/main.pem", "a: between 2, b: sub 1, c: sub 1", "a"),
        (2, "commit", "b/part/ca/ca.key", "a: between 2, b: sub 1, c: sub 1", "a"),
        (
            2,
            "commit",
            "b/part/machine.json",
            "a: between 2, b: sub 1, c: sub 1",
            "a",
        ),
        // Confirmed it is all the same: the key is gone, and what is left to do is asked for again.
        (
            3,
            "confirm",
            "a/part/machine.json",
            "a: between 2, b: main 2, c: sub 1",
            "b",
        ),
        (4, "follow", "c/part/machine.json", "a: sub 2, b: main 2, c: sub 1", "b"),
    ] {
        let machine = Machine::new();
        machine.steps(&ALL[..before]);
        let full = machine.full(file);
        assert!(machine.step(step).is_err(), "{file}");
        drop(full);
        assert_eq!(
            (machine.text().as_str(), machine.key_holders().as_str()),
            (expected, holders),
            "{file}"
        );
        match step {
            "confirm" => {
                assert_eq!(
                    machine.part("a").insignia(&machine.keys("a"), "x").expect("readable"),
                    None
                );
                machine.steps(&ALL[3..]);
            }
            "follow" => machine.steps(&ALL[4..]),
            _ => machine.steps(&ALL),
        }
        assert_eq!(machine.text(), "a: sub 2, b: main 2, c: sub 2", "{file}");
        assert_eq!(machine.key_holders(), "b", "{file}");
    }
}

#[test]
fn what_does_not_come_now_is_refused_with_the_way_on() {
    let machine = Machine::new();
    let keys = machine.keys("a");
    let begin = |to: &str, own: Option<&str>| {
        let begun = machine.part("a").yield_to(to, own, &keys, machine.now);
        begun.expect_err("refused").to_string()
    };
    for (to, own, text) in [
        ("b", None, "this computer needs a name as a sub-part"),
        ("b", Some("c"), "rover has a part `c` already"),
        ("b", Some("b"), "rover has a part `b` already"),
        ("b", Some("A!"), "`A!` is no name for a part"),
        ("d", Some("a"), "rover has no part `d`; it has b, c"),
    ] {
        let said = begin(to, own);
        assert!(said.starts_with(text), "{said}");
    }
    let not_main = machine.part("b").yield_to("c", None, &keys, machine.now);
    assert!(matches!(not_main, Err(FolderError::NotMain(_))));
    machine.steps(&["yield"]);
    assert!(begin("c", Some("a")).contains("`mainstay part make-main b` goes on"));
    assert!(
        machine
            .now("a")
            .text()
            .contains("`mainstay part make-main b` here goes on")
    );
    // Nobody is invited or removed while nobody is main, and it cannot get out with what it has.
    assert!(machine.part("a").leave().is_err() && machine.part("a").check_joins(true).is_err());
    assert!(machine.part("a").check_invited("d", false).is_err() && machine.part("a").remove("c").is_err());

    let insignia = machine.insignia();
    let mut bad = insignia.clone();
    bad.authority_key = part::request().expect("random numbers").key;
    assert!(machine.part("b").stage(&bad, machine.now).is_err());
    for change in [
        (|list: &mut Vec<SubPart>| list.clear()) as fn(&mut Vec<SubPart>),
        |list| list.retain(|part| part.name != "a"),
        |list| list[0].name = "b".to_owned(),
        |list| list[0].name = "../c".to_owned(),
    ] {
        let mut bad = insignia.clone();
        change(&mut bad.parts);
        let staged = machine.part("b").stage(&bad, machine.now);
        assert!(matches!(staged, Err(FolderError::Handover(HandoverError::BadList(_)))));
    }
    assert_eq!(machine.key_holders(), "a");
    assert!(matches!(
        machine.part("b").commit(&insignia),
        Err(FolderError::Handover(HandoverError::NotStaged))
    ));
    machine.steps(&["stage", "commit", "confirm", "follow"]);
    // The former main part, restored from a copy of its folder, is of an earlier term.
    let late = machine.part("c").follow(1, &machine.keys("c")).expect_err("superseded");
    assert!(
        late.to_string().contains("another computer is the main part now"),
        "{late}"
    );
    assert!(machine.part("c").stage(&insignia, machine.now).is_err());
}

#[test]
fn without_its_main_part_a_sub_part_begins_another_machine() {
    let machine = Machine::new();
    let before = machine.now("b");
    let Anew::NewMachine(made) = machine
        .part("b")
        .start_anew(&machine.keys("b"), machine.now)
        .expect("made")
    else {
        panic!("it has no key of the old one");
    };
    assert!(made.machine_id != before.machine_id && made.authority != before.authority);
    assert_eq!(
        (made.text().as_str(), made.part.as_str()),
        ("main part of rover (0 sub-parts)", "b")
    );
    assert!(machine.part("b").start_anew(&machine.keys("b"), machine.now).is_err());
    // Another part joins it, and leaves the one that is lost.
    let b = machine.part("b");
    let request = part::request().expect("random numbers");
    let signing = b.signing(&machine.keys("b"));
    let admitted = b.admit(&signing, "c", (&request.request, "10.0.0.3:8080"), machine.now);
    let joined = machine
        .part("c")
        .join(admitted.expect("admitted"), &request.key, true, &machine.keys("c"));
    assert_eq!(joined.expect("joined").machine_id, made.machine_id);
    // On a computer that is a part of nothing.
    let nobody = machine.part("x").start_anew(&machine.keys("x"), machine.now);
    assert!(matches!(nobody, Err(FolderError::Handover(HandoverError::NoPart))));
}

#[test]
fn a_ca_of_its_own_is_not_taken_for_that_of_the_machine() {
    // `b` is the main part with a CA that it was handed, and has `keys` of its own; `a` made the machine, and made itself new keys.
    for (from, to, own) in [("b", "a", "own of b"), ("a", "b", "new of a")] {
        let machine = Machine::new();
        let hosts = ["x".to_owned()];
        if from == "b" {
            machine.steps(&ALL);
            machine.keys("b").init(own, &hosts, machine.now).expect("made");
        }
        let (part, keys) = (machine.part(from), machine.keys(from));
        part.yield_to(to, Some(from), &keys, machine.now).expect("begun");
        let membership = machine.now(from);
        let full = machine.full(&format!("{from}/part/machine.json"));
        assert!(part.confirm(&keys).is_err());
        drop(full);
        if from == "a" {
            keys.init(own, &hosts, machine.now).expect("made anew");
        }
        assert_eq!(machine.now(from), membership);

        // It is sent to nobody, signs nothing of the machine, and survives the end of the handover.
        assert_eq!(part.insignia(&keys, "x:1").expect("readable"), None);
        assert!(!part.signing(&keys).has_key());
        part.confirm(&keys).expect("done now");
        assert_eq!(machine.now(from).role, PartRole::Sub);
        assert!(keys.has_key(), "{own}");
    }
}

#[test]
fn a_sub_part_has_no_key_of_the_machine_wherever_it_comes_from() {
    let machine = Machine::new();
    let keys = machine.keys("a");
    let key = keys.key_pem().expect("there");
    machine.steps(&ALL);
    let restore = |file: PathBuf| fs::write(file, &key).expect("written");
    restore(keys.folder().join("ca.key"));
    assert_eq!(machine.key_holders(), "ab");
    // The main part speaks to the one that was restored.
    let followed = machine.part("a").follow(2, &keys).expect("follows");
    assert!(matches!(followed, Followed::Changed) && machine.now("a").shares_authority);
    assert_eq!(machine.key_holders(), "b");
    let followed = machine.part("a").follow(2, &keys).expect("follows");
    assert!(matches!(followed, Followed::AsBefore));

    // It is taken in anew.
    restore(keys.folder().join("ca.key"));
    let b = machine.part("b");
    let request = part::request().expect("random numbers");
    let signing = b.signing(&machine.keys("b"));
    let admitted = b.admit(&signing, "a", (&request.request, "10.0.0.1:8080"), machine.now);
    let joined = machine
        .part("a")
        .join(admitted.expect("admitted"), &request.key, true, &keys);
    assert!(joined.expect("joined").shares_authority);
    assert_eq!(machine.key_holders(), "b");
}

#[test]
fn a_disk_that_takes_no_writes_keeps_nobody_from_being_a_sub_part() {
    let machine = Machine::new();
    let (c, keys) = (machine.part("c"), machine.keys("c"));
    let lock = machine.place.path().join("c/part/lock");
    fs::remove_file(&lock).expect("there");
    std::os::unix::fs::symlink("nowhere/lock", &lock).expect("made");
    assert!(matches!(c.follow(1, &keys), Ok(Followed::AsBefore)));
    assert!(c.follow(2, &keys).is_err());
    // What a handover has left cannot go, and harms nobody: its record says what it is.
    fs::create_dir(c.handed_ca().folder()).expect("made");
    assert!(matches!(c.follow(1, &keys), Ok(Followed::Untidy(_))));
    fs::remove_file(&lock).expect("removed");
    assert!(matches!(c.follow(1, &keys), Ok(Followed::AsBefore)));
    assert!(!c.handed_ca().folder().exists());
}

#[test]
fn a_take_back_has_a_certificate_of_its_term() {
    let machine = Machine::new();
    machine.steps(&["yield"]);
    // One that broke off, after the certificate.
    let full = machine.full("a/part/machine.json");
    assert!(machine.step("lost at a").is_err());
    drop(full);
    machine.steps(&["resume"]);
    let membership = machine.now("a");
    let shown = part::authority(&machine.part("a").main_certificate_file()).expect("readable");
    let names = CertificateInfo::of(&shown).expect("a certificate").names;
    assert_eq!(membership.main_term(&names), Some(membership.term));
    // Of another handover than the one that is here nothing is taken back.
    machine
        .part("a")
        .yield_to("b", Some("a"), &machine.keys("a"), machine.now)
        .expect("begun");
    let resumed = machine.part("a").resume(2, &machine.keys("a"), machine.now);
    assert!(!resumed.expect("readable"));
    assert_eq!(machine.text(), "a: between 4, b: sub 1, c: sub 1");
}

#[test]
fn a_damaged_record_costs_no_ca() {
    for damage in [None, Some("{"), Some("")] {
        let machine = Machine::new();
        machine.steps(&ALL);
        let (b, keys) = (machine.part("b"), machine.keys("b"));
        keys.init("x", &["x".to_owned()], machine.now).expect("made");
        let before = fs::read(b.machine_file()).expect("readable");
        match damage {
            None => fs::remove_file(b.machine_file()).expect("removed"),
            Some(text) => fs::write(b.machine_file(), text).expect("written"),
        }
        let refused = [
            b.init("x", &keys, machine.now).map(drop),
            b.leave().map(drop),
            b.check_joins(false),
            b.check_joins(true),
        ];
        for refused in refused {
            let said = refused.expect_err("refused").to_string();
            assert!(said.contains("restore that from a copy"), "{said}");
        }
        if damage.is_some() {
            let said = b.read().expect_err("damaged").to_string();
            assert!(
                said.contains("restore the file from a copy") && !said.contains("--replace"),
                "{said}"
            );
        }
        fs::write(b.machine_file(), before).expect("written");
        assert_eq!(
            (machine.text(), machine.key_holders()),
            ("a: sub 2, b: main 2, c: sub 2".to_owned(), "b".to_owned())
        );
    }
}

#[test]
fn what_a_write_has_left_that_broke_off_goes_with_the_role() {
    let machine = Machine::new();
    let draft = |file: &str| {
        let path = machine.place.path().join(file);
        fs::write(&path, "secret").expect("written");
        path
    };
    let of_a = [draft("a/keys/ca.new-1"), draft("a/part/main.new-1")];
    let of_b = draft("b/part/main.new-1");
    machine.part("b").abandon().expect("cleared");
    machine.steps(&ALL);
    for path in of_a.iter().chain([&of_b]) {
        assert!(!path.exists(), "{}", path.display());
    }
}
