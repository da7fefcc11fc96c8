//! Files that are rotated at a certain size: `path`, `path.1` and so on. Others may move, delete or truncate them, too: the file
//! that is written to is always the one at `path`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The files, and the one that is written to.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<File>,
}

impl RotatingFile {
    /// Files at `path` and numbered ones beside it, `keep` of them in all, each of `max_size` bytes at most unless one
    /// line is longer. Opens nothing yet; what is there is gone on with.
    pub fn new(path: PathBuf, max_size: u64, keep: u32) -> Self {
        Self {
            path,
            max_size,
            keep,
            open: None,
        }
    }

    /// The file that is written to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets go of the file and opens the one at `path`, which is made if it is not there.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.open = None;
        self.open = Some(open(&self.path)?);
        Ok(())
    }

    /// Adds a line, which has its end. After a failure the file is reopened, and nothing of the line is in it.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        let full = |size: u64| size > 0 && size + line.len() as u64 > self.max_size;
        let kept = self
            .open
            .take()
            .and_then(|file| Some((size_at(&self.path, &file)?, file)));
        let (mut size, mut file) = match kept {
            Some(kept) => kept,
            None => sized(open(&self.path)?)?,
        };
        if full(size) {
            drop(file);
            self.rotate()?;
            (size, file) = sized(open(&self.path)?)?;
        }
        // After a failure it is opened again: it may have been the disk below it that went away.
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half a line would swallow the next one.
            let _full = file.set_len(size);
            return Err(error);
        }
        self.open = Some(file);
        Ok(())
    }

    /// Moves every file one further; the oldest goes.
    fn rotate(&self) -> io::Result<()> {
        let numbered = |number: u32| match number {
            0 => self.path.clone(),
            _ => {
                let mut path = self.path.clone().into_os_string();
                path.push(format!(".{number}"));
                path.into()
            }
        };
        let last = self.keep.max(1) - 1;
        absent_is_fine(fs::remove_file(numbered(last)))?;
        for number in (0..last).rev() {
            absent_is_fine(fs::rename(numbered(number), numbered(number + 1)))?;
        }
        Ok(())
    }
}

/// The size of the file at `path`, if that is the open one: a look for each line, which costs less than writing it.
fn size_at(path: &Path, open: &File) -> Option<u64> {
    let (there, open) = (fs::metadata(path).ok()?, open.metadata().ok()?);
    ((there.dev(), there.ino()) == (open.dev(), open.ino())).then_some(open.len())
}

fn sized(file: File) -> io::Result<(u64, File)> {
    Ok((file.metadata()?.len(), file))
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path, max_size: u64, keep: u32) -> RotatingFile {
        RotatingFile::new(folder.join("deep/out.log"), max_size, keep)
    }

    fn content(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder.join("deep")).expect("the folder was made");
        let mut content: Vec<_> = entries
            .map(|entry| entry.expect("readable").path())
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                (name, fs::read_to_string(&path).expect("text"))
            })
            .collect();
        content.sort();
        content
    }

    #[test]
    fn files_are_begun_anew_at_their_size_and_the_oldest_goes() {
        for (keep, expected) in [
            (1, "out.log=5\n"),
            (2, "out.log=5\n out.log.1=3\n4\n"),
            (9, "out.log=5\n out.log.1=3\n4\n out.log.2=1\n2\n"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let mut files = files(folder.path(), 4, keep);
            for line in 1..=5 {
                files.append(&format!("{line}\n")).expect("written");
                if line == 3 {
                    // A core that starts anew goes on where the last one ended.
                    files.open = None;
                }
            }
            let found = content(folder.path());
            let found: Vec<_> = found.iter().map(|(name, text)| format!("{name}={text}")).collect();
            assert_eq!(found.join(" "), expected, "{keep}");
        }
    }

    #[test]
    fn whatever_others_do_to_the_file_lines_are_in_the_one_at_the_path() {
        type Deed = fn(&Path) -> io::Result<()>;
        let deeds: [(&str, Deed, &str); 6] = [
            ("nothing", |_| Ok(()), "out.log=a\nb\n"),
            (
                "renamed",
                |at| fs::rename(at, at.with_extension("old")),
                "out.log=b\n out.old=a\n",
            ),
            (
                "renamed and made anew",
                |at| {
                    fs::rename(at, at.with_extension("old"))?;
                    fs::write(at, "new\n")
                },
                "out.log=new\nb\n out.old=a\n",
            ),
            ("deleted", |at| fs::remove_file(at), "out.log=b\n"),
            (
                "folder deleted",
                |at| fs::remove_dir_all(at.with_file_name("")),
                "out.log=b\n",
            ),
            ("copied and truncated", |at| fs::write(at, ""), "out.log=b\n"),
        ];
        for (name, deed, expected) in deeds {
            let folder = tempfile::tempdir().expect("a folder");
            let mut files = files(folder.path(), 100, 2);
            files.append("a\n").expect("written");
            deed(&folder.path().join("deep/out.log")).expect(name);
            files.append("b\n").expect(name);
            let found = content(folder.path());
            let found: Vec<_> = found.iter().map(|(name, text)| format!("{name}={text}")).collect();
            assert_eq!(found.join(" "), expected, "{name}");
        }
    }

    #[test]
    fn a_file_that_was_deleted_is_let_go_and_made_anew_when_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = files(folder.path(), 100, 2);
        files.append("a\n").expect("written");
        fs::remove_file(files.path()).expect("it is there");
        files.reopen().expect("opened");
        assert_eq!(content(folder.path()), [("out.log".to_owned(), String::new())]);
        // A file in place of the folder, and then none.
        fs::remove_dir_all(folder.path().join("deep")).expect("removed");
        fs::write(folder.path().join("deep"), "").expect("written");
        assert!(files.append("lost\n").is_err() && files.reopen().is_err());
        fs::remove_file(folder.path().join("deep")).expect("removed");
        files.append("b\n").expect("written");
        assert_eq!(content(folder.path()), [("out.log".to_owned(), "b\n".to_owned())]);
    }

    #[test]
    fn a_line_that_is_longer_than_a_file_gets_one_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut files = files(folder.path(), 4, 2);
        for line in ["a\n", "much too long\n", "b\n"] {
            files.append(line).expect("written");
        }
        let expected = [("out.log", "b\n"), ("out.log.1", "much too long\n")];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(content(folder.path()), expected);
    }
}
