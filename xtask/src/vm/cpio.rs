//! Writer of an initramfs archive: cpio, format `newc`, not compressed.
//!
//! Each member is a header of 110 bytes (a magic number and 13 fields of eight hex digits), its NUL-terminated name, and
//! its content; name and content are padded to a multiple of four bytes.

use std::collections::BTreeSet;
use std::path::{Component, Path};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

/// Archive under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    members: u32,
}

impl Archive {
    /// Adds a directory with its parents.
    pub fn directory(&mut self, path: &str) {
        let mut whole = String::new();
        for part in Path::new(path).components() {
            let Component::Normal(part) = part else { continue };
            if !whole.is_empty() {
                whole.push('/');
            }
            whole.push_str(&part.to_string_lossy());
            if self.directories.insert(whole.clone()) {
                self.member(&whole, DIRECTORY, &[]);
            }
        }
    }

    /// Adds a regular file with its parent directories.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.put(path, FILE, content);
    }

    /// Adds an executable file with its parent directories.
    pub fn program(&mut self, path: &str, content: &[u8]) {
        self.put(path, PROGRAM, content);
    }

    /// Finishes the archive and returns its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.member("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn put(&mut self, path: &str, mode: u32, content: &[u8]) {
        let path = path.trim_start_matches('/');
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.member(path, mode, content);
    }

    fn member(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.members += 1;
        let size = u32::try_from(content.len()).expect("nothing in here has 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("a path is short");
        // Number, mode, user, group, links, time, size, device of the file system, device, length of the name, sum.
        let fields = [self.members, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.fill_up();
        self.bytes.extend_from_slice(content);
        self.fill_up();
    }

    fn fill_up(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses an archive: name, mode and size of each member.
    fn list(bytes: &[u8]) -> Vec<(String, u32, usize)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                let text = std::str::from_utf8(&bytes[start..start + 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (mode, size, length) = (field(1), field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[at + 110..at + 109 + length].to_vec()).unwrap();
            at = (at + 110 + length).next_multiple_of(4);
            at = (at + size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return found;
            }
            found.push((name, mode, size));
        }
    }

    #[test]
    fn each_directory_comes_once_and_before_what_is_in_it() {
        let mut archive = Archive::default();
        archive.program("/bin/sh", b"sh");
        archive.file("/lib/deep/er/x.so", b"12345");
        archive.file("lib/y.so", b"");
        let listed = list(&archive.finish());
        let names: Vec<&str> = listed.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "bin",
                "bin/sh",
                "lib",
                "lib/deep",
                "lib/deep/er",
                "lib/deep/er/x.so",
                "lib/y.so"
            ]
        );
        assert_eq!(listed[1], ("bin/sh".to_owned(), PROGRAM, 2));
        assert_eq!(listed[5], ("lib/deep/er/x.so".to_owned(), FILE, 5));
        assert_eq!(listed[2].1, DIRECTORY);
    }
}
