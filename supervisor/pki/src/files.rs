//! Files of certificates and keys: read with a bound, and written whole, for their owner alone if they are secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Longest file that is read, in bytes: a chain of a hundred certificates fits.
const LONGEST: u64 = 1 << 20;
/// First part of the extension of a draft; the number of its process is the rest.
const DRAFT: &str = "new-";

/// Reads a regular file.
///
/// # Errors
/// The system refuses, or it is no such file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    Ok(bytes)
}

/// Makes a folder that only its owner can look into, and those above it. What root makes belongs to whom the first folder above
/// belongs that was there: the machine may run as another user than the command line.
///
/// # Errors
/// The system refuses.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => give_to_owner_of_folder(folder),
    }
}

/// Writes a file for its owner alone, under another name first, so that a reader finds the old content or the new.
///
/// # Errors
/// The system refuses.
pub fn write(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(format!("{DRAFT}{}", std::process::id()));
    // Left by a process of the same number that was killed.
    let _absent = fs::remove_file(&draft);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        give_to_owner_of_folder(&draft)?;
        fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().inspect_err(|_| {
        let _absent = fs::remove_file(&draft);
    })
}

/// Opens a file that is there to be locked. One that is made belongs to the owner of its folder, as with [`write`]; to read is
/// enough for a lock, whoever made it.
///
/// # Errors
/// The system refuses.
pub fn open_lock(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    give_to_owner_of_folder(path)?;
    Ok(file)
}

/// Removes the drafts of [`write`] whose names begin with `stem`: the power may have failed before they were renamed. Nobody must
/// write such files at the same time.
///
/// # Errors
/// The system refuses.
pub fn remove_drafts(folder: &Path, stem: &str) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if is_draft(&entry.file_name().to_string_lossy(), stem) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_draft(name: &str, stem: &str) -> bool {
    let process = name.strip_prefix(stem).and_then(|rest| rest.rsplit_once('.'));
    let process = process.and_then(|(_, extension)| extension.strip_prefix(DRAFT));
    process.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|_| nix::unistd::geteuid().is_root()) else {
        return Ok(());
    };
    let owner = fs::metadata(folder)?;
    std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_go_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        remove_drafts(&folder.path().join("none"), "").expect("nothing to do");
        for (stem, rest) in [
            ("ca", "ca.pem lock machine.new-7 my.new-x"),
            ("", "ca.pem lock my.new-x"),
        ] {
            for name in ["ca.new-1", "ca.pem", "lock", "machine.new-7", "my.new-x"] {
                fs::write(folder.path().join(name), "x").expect("written");
            }
            remove_drafts(folder.path(), stem).expect("removed");
            let names = fs::read_dir(folder.path()).expect("readable").flatten();
            let mut names: Vec<_> = names
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            assert_eq!(names.join(" "), rest, "{stem}");
        }
    }

    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let (user, group) = (1234, 4321);
        std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("root may");
        let [lock, file] = ["lock", "file.pem"].map(|name| folder.path().join(name));
        for _ in 0..2 {
            open_lock(&lock).expect("opened");
            write(&file, "x").expect("written");
            for path in [&lock, &file] {
                let made = fs::metadata(path).expect("there");
                let found = (made.uid(), made.gid(), made.mode() & 0o777);
                assert_eq!(found, (user, group, 0o600), "{}", path.display());
            }
        }
    }
}
