//! Tarballs of every kind, built in memory.

use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::*;

/// Tar entry of a test: kind, name, content or target.
type TarEntry<'a> = (EntryType, &'a str, &'a str);

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const HARD: EntryType = EntryType::Link;
const FOLDER: EntryType = EntryType::Directory;

fn header(kind: EntryType, name: &str, size: u64) -> Header {
    let mut header = Header::new_gnu();
    // Names are written as they are: the builder itself refuses the bad ones.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header
}

fn tarball(entries: &[TarEntry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, content) in entries {
        let data = if *kind == FILE { content.as_bytes() } else { b"" };
        let mut header = header(*kind, name, data.len() as u64);
        if *kind != FILE {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, data).expect("appended");
    }
    builder.into_inner().expect("written").finish().expect("compressed")
}

fn run(bytes: &[u8], limits: UnpackLimits) -> (tempfile::TempDir, Result<(), UnpackError>) {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("m.tgz");
    fs::write(&archive, bytes).expect("written");
    let into = folder.path().join("into");
    fs::create_dir(&into).expect("made");
    let outcome = unpack(&archive, &into, limits, &AtomicBool::new(false));
    (folder, outcome)
}

#[test]
fn an_ordinary_tarball_comes_out_as_it_was_packed_without_privileges() {
    let long = "deep/".repeat(30) + "file";
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in [("./meta.json", "{}"), ("bin/run", "#!/bin/sh\n"), (&long, "far")] {
        let mut header = header(FILE, "", content.len() as u64);
        builder
            .append_data(&mut header, name, content.as_bytes())
            .expect("appended");
    }
    let mut linked = header(LINK, "", 0);
    builder
        .append_link(&mut linked, "bin/again", "../bin/run")
        .expect("appended");
    let bytes = builder.into_inner().expect("written").finish().expect("compressed");
    let (folder, outcome) = run(&bytes, UnpackLimits::default());
    outcome.expect("unpacked");
    let into = folder.path().join("into");
    assert_eq!(fs::read_to_string(into.join(&long)).expect("there"), "far");
    assert_eq!(
        fs::read_to_string(into.join("bin/again")).expect("there"),
        "#!/bin/sh\n"
    );
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(into.join("bin/run")).expect("there"));
    assert_eq!(mode & 0o7100, 0o100, "executable, and not set-uid: {mode:o}");
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let cases: &[(&[TarEntry<'_>], &str)] = &[
        (&[(FILE, "../evil", "x")], "leads out"),
        (&[(FILE, "a/../../evil", "x")], "leads out"),
        (&[(FILE, "/evil", "x")], "leads out"),
        (&[(LINK, "l", "/etc/passwd")], "points to `/etc/passwd`"),
        (&[(FOLDER, "a/", ""), (LINK, "a/l", "../../x")], "points to"),
        // Each link alone looks harmless by its text.
        (
            &[(FOLDER, "d/", ""), (LINK, "d/x", ".."), (LINK, "l", "d/x/../evil")],
            "points to",
        ),
        (&[(LINK, "l", "."), (FILE, "l/evil", "x")], "leads out"),
        (&[(LINK, "l", ".."), (FILE, "l/evil", "x")], "leads out"),
        (&[(HARD, "h", "/etc/passwd")], "points to"),
        (&[(HARD, "h", "../x")], "points to"),
        (&[(LINK, "l", "../m.tgz"), (HARD, "h", "l")], "points to"),
        (&[(EntryType::Char, "null", "")], "is a device"),
        (&[(EntryType::Fifo, "pipe", "")], "is a pipe"),
        (&[(EntryType::GNUSparse, "holes", "")], "is a sparse file"),
        (&[], "empty"),
    ];
    for (entries, expected) in cases {
        let (folder, outcome) = run(&tarball(entries), UnpackLimits::default());
        let error = outcome.expect_err("refused").to_string();
        assert!(error.contains(expected), "{entries:?}: {error}");
        let mut beside: Vec<_> = fs::read_dir(folder.path()).expect("readable").flatten().collect();
        beside.retain(|entry| entry.file_name() != "into" && entry.file_name() != "m.tgz");
        assert!(beside.is_empty(), "{entries:?} wrote {beside:?}");
    }
}

#[test]
fn links_within_the_archive_are_fine() {
    for entries in [
        &[(FILE, "lib.so.1", "x"), (LINK, "lib.so", "lib.so.1")] as &[TarEntry<'_>],
        &[(FOLDER, "a/", ""), (LINK, "a/up", "../b"), (FILE, "b", "x")],
        &[(LINK, "circle", "circle")],
        &[(LINK, "nowhere", "not/there")],
        &[(FILE, "f", "x"), (HARD, "h", "f")],
    ] {
        let (_folder, outcome) = run(&tarball(entries), UnpackLimits::default());
        assert!(outcome.is_ok(), "{entries:?}: {outcome:?}");
    }
}

#[test]
fn a_bomb_or_a_damaged_archive_is_refused_before_anything_is_written() {
    let limits = UnpackLimits {
        bytes: 1 << 20,
        entries: 10,
    };
    let zeros = "\0".repeat(3 << 20);
    let names: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let many: Vec<TarEntry<'_>> = names.iter().map(|name| (FILE, name.as_str(), "")).collect();
    let mut name = header(EntryType::GNULongName, "././@LongLink", 512 << 10);
    name.set_cksum();
    let mut long_name = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    long_name
        .append(&name, &zeros.as_bytes()[..512 << 10])
        .expect("appended");
    let long_name = long_name.into_inner().expect("written").finish().expect("compressed");
    let whole = tarball(&[(FILE, "a", "content")]);
    let mut plain = GzEncoder::new(Vec::new(), Compression::fast());
    plain.write_all(b"no archive, just text").expect("written");
    for (bytes, expected) in [
        (tarball(&[(FILE, "zeros", &zeros)]), "larger than"),
        (tarball(&many), "more than 10 files"),
        (long_name, "a header of"),
        (whole[..whole.len() - 9].to_vec(), "cannot read it"),
        (plain.finish().expect("compressed"), "cannot read it"),
        (b"no gzip".to_vec(), "cannot read it"),
        (Vec::new(), "cannot read it"),
    ] {
        let (folder, outcome) = run(&bytes, limits);
        let error = outcome.expect_err("refused").to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        let written = fs::read_dir(folder.path().join("into")).expect("readable").count();
        assert_eq!(written, 0, "{expected}");
    }
}

#[test]
fn nobody_waits_for_an_unpacking_that_was_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("m.tgz");
    fs::write(&archive, tarball(&[(FILE, "a", "content")])).expect("written");
    let outcome = unpack(&archive, folder.path(), UnpackLimits::default(), &AtomicBool::new(true));
    assert!(matches!(outcome, Err(UnpackError::GivenUp)), "{outcome:?}");
}
