//! Files that are rotated at a certain size: `path`, `path.1` and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The files, and the one that is written to.
#[derive(Debug)]
pub struct RotatingFile {
    path: PathBuf,
    max_size: u64,
    keep: u32,
    open: Option<(File, u64)>,
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

    /// Adds a line, which has its end. After a failure the file is reopened, and nothing of the line is in it.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        let length = line.len() as u64;
        let full = |size: u64| size > 0 && size + length > self.max_size;
        let (mut file, mut size) = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        if full(size) {
            drop(file);
            self.rotate()?;
            (file, size) = open(&self.path)?;
        }
        // After a failure it is opened again: it may have been the disk below it that went away.
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half a line would swallow the next one.
            let _full = file.set_len(size);
            return Err(error);
        }
        self.open = Some((file, size + length));
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

fn open(path: &Path) -> io::Result<(File, u64)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
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
