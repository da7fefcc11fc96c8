//! Files that a module is made of besides its program: what its process has loaded, of a script what lies in its folder, and
//! what its entry names (`watch: [paths]`). A look at them tells whether one of them was changed after the process was started.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mainstay_model::Watch;

/// Files of a folder that are looked at.
const MAX_FILES: usize = 4000;
/// Levels of folders that are looked into.
const MAX_DEPTH: usize = 8;
/// Folders in which a program is built, kept or writes, and none of whose files it is made of; hidden ones are left out, too.
const LEFT_OUT: [&str; 9] = [
    "__pycache__",
    "venv",
    "env",
    "node_modules",
    "target",
    "data",
    "log",
    "logs",
    "tmp",
];
/// Endings of files that programs write.
const WRITTEN: [&str; 9] = ["log", "pyc", "pid", "tmp", "lock", "db", "sqlite", "sqlite3", "sock"];

/// Endings of the files in a script's folder that are code, which it does not write itself.
const CODE: [&str; 18] = [
    "py", "pyi", "pyx", "sh", "bash", "js", "mjs", "cjs", "ts", "mts", "rb", "lua", "pl", "php", "jl", "r", "so", "jar",
];

/// Result of a look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ProgramFiles {
    /// A file that was changed after the process was started.
    pub changed: Option<PathBuf>,
    /// Folders whose files were looked at.
    pub folders: Vec<PathBuf>,
    /// What the entry names and is not there.
    pub missing: Vec<PathBuf>,
    /// Files that were looked at.
    pub looked_at: usize,
    /// True if the folder has more files than are looked at.
    pub more: bool,
}

/// Looks at the files of process `pid`, which was started from `program` at `started`, and at `named` ones. Blocks.
pub fn look(program: &Path, pid: Option<u32>, named: &[PathBuf], started: SystemTime) -> ProgramFiles {
    let mut files: BTreeSet<PathBuf> = pid.map(loaded).unwrap_or_default();
    let mut look = ProgramFiles::default();
    let named = named.iter().filter_map(|path| match fs::metadata(path) {
        Err(_) => {
            look.missing.push(path.clone());
            None
        }
        Ok(file) if file.is_dir() => Some(path.as_path()),
        Ok(_) => {
            files.insert(path.clone());
            None
        }
    });
    let folders: Vec<_> = named.chain(folder_of_script(program)).map(Path::to_owned).collect();
    for folder in &folders {
        look.more |= !walk(folder, 0, &mut files);
    }
    look.folders = folders;
    look.looked_at = files.len();
    look.changed = files
        .into_iter()
        .find(|file| fs::metadata(file).is_ok_and(|file| is_newer(&file, started)));
    look
}

/// Files to watch besides `program`. Blocks.
pub fn watched(program: &Path, watch: &Watch) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    match watch {
        Watch::Off => {}
        Watch::Program => {
            if let Some(folder) = folder_of_script(program) {
                walk(folder, 0, &mut files);
                files.retain(|file| file != program && has_ending(file, &CODE));
            }
        }
        Watch::Paths(paths) => {
            for path in paths {
                if path.is_dir() {
                    walk(path, 0, &mut files);
                } else {
                    files.insert(path.clone());
                }
            }
        }
    }
    files
}

/// The folder that a script is made of.
fn folder_of_script(program: &Path) -> Option<&Path> {
    let folder = program.parent().filter(|folder| is_of_one_program(folder))?;
    is_script(program).then_some(folder)
}

fn has_ending(file: &Path, endings: &[&str]) -> bool {
    let ending = file.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| endings.contains(&ending))
}

impl ProgramFiles {
    /// What was looked at, in words.
    pub fn describe(&self) -> String {
        let mut text = "the program".to_owned();
        if self.looked_at > 0 {
            text.push_str(&format!(" and {} files that its process has loaded", self.looked_at));
            for (index, folder) in self.folders.iter().enumerate() {
                let before = if index == 0 { " or that lie in " } else { ", " };
                text.push_str(&format!("{before}{}", folder.display()));
            }
        }
        for missing in &self.missing {
            text.push_str(&format!("; there is no {} (`watch`)", missing.display()));
        }
        if self.more {
            text.push_str("; there are more files, which were not looked at");
        }
        text
    }
}

/// Whether a file was written or put in its place after `started`: one that is copied with its old time has a new change time.
fn is_newer(file: &Metadata, started: SystemTime) -> bool {
    let at = |seconds: i64, nanos: i64| {
        let since = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        SystemTime::UNIX_EPOCH + since
    };
    let written = at(file.mtime(), file.mtime_nsec());
    file.is_file() && written.max(at(file.ctime(), file.ctime_nsec())) > started
}

/// True if the program is a text that others run.
pub fn is_script(program: &Path) -> bool {
    let mut head = [0; 2];
    File::open(program)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok()
        && head == *b"#!"
}

/// Folders of the system and of users hold much that is not the program's.
fn is_of_one_program(folder: &Path) -> bool {
    let shared = [
        "/",
        "/bin",
        "/sbin",
        "/usr",
        "/usr/bin",
        "/usr/sbin",
        "/usr/local/bin",
        "/opt",
        "/tmp",
        "/home",
        "/root",
        "/etc",
    ];
    !shared.iter().any(|shared| folder == Path::new(shared)) && std::env::home_dir().as_deref() != Some(folder)
}

/// Files that a process has mapped, and those that its arguments name. Devices and the system's own files never change by hand.
fn loaded(pid: u32) -> BTreeSet<PathBuf> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let maps = fs::read_to_string(process.join("maps")).unwrap_or_default();
    // What is mapped to be shared is written by programs, not by people.
    let private = maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.ends_with('p')));
    let mapped = private.filter_map(|line| {
        let path = &line[line.find('/')?..];
        Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path)))
    });
    let cwd = fs::read_link(process.join("cwd")).unwrap_or_default();
    let arguments = fs::read(process.join("cmdline")).unwrap_or_default();
    let arguments = String::from_utf8_lossy(&arguments).into_owned();
    let named = arguments
        .split('\0')
        .filter(|word| !word.is_empty())
        .map(|word| cwd.join(word));
    let files = mapped.chain(named.filter(|path| path.is_file()));
    files
        .filter(|path| !path.starts_with("/dev") && !path.starts_with("/proc"))
        .take(MAX_FILES)
        .collect()
}

/// Adds the files of a folder. False if there are more than are looked at.
fn walk(folder: &Path, depth: usize, files: &mut BTreeSet<PathBuf>) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return true };
    let mut whole = true;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if name.starts_with('.') {
            continue;
        }
        if files.len() >= MAX_FILES {
            return false;
        }
        let path = entry.path();
        if kind.is_dir() {
            if !LEFT_OUT.contains(&&*name) {
                whole &= depth < MAX_DEPTH && walk(&path, depth + 1, files);
            }
        } else if !has_ending(&path, &WRITTEN) {
            files.insert(path);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_made_of_its_folder_and_a_program_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["data", ".git", "__pycache__", "lib"] {
            fs::create_dir(at(name)).expect("a folder");
        }
        let started = SystemTime::now() - Duration::from_secs(3600);
        for name in ["data/a", ".git/a", "__pycache__/a.pyc", ".env", "out.log"] {
            fs::write(at(name), "").expect("written");
        }
        fs::write(at("binary"), "\x7fELF").expect("written");
        assert_eq!(look(&at("binary"), None, &[], started), ProgramFiles::default());
        fs::remove_file(at("binary")).expect("removed");
        fs::write(at("run.sh"), "#!/bin/sh\n").expect("written");
        let after = SystemTime::now() + Duration::from_secs(3600);
        let same = look(&at("run.sh"), None, &[], after);
        assert_eq!((same.changed.clone(), same.looked_at, same.more), (None, 1, false));
        assert!(
            same.describe().starts_with("the program and 1 files"),
            "{}",
            same.describe()
        );
        fs::remove_file(at("run.sh")).expect("removed");
        assert_eq!(look(&at("run.sh"), None, &[], started).changed, None);
        fs::write(at("run.sh"), "#!/bin/sh\n").expect("written");
        fs::write(at("lib/main.py"), "").expect("written");
        assert_eq!(look(&at("run.sh"), None, &[], started).changed, Some(at("lib/main.py")));
    }

    #[test]
    fn what_is_watched_is_code_or_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("lib")).expect("made");
        for name in ["main.py", "state.json", "lib/eyes.py", "lib/notes.txt", "plain"] {
            fs::write(at(name), "").expect("written");
        }
        fs::write(at("run.sh"), "#!/bin/sh\n").expect("written");
        let watched = |program: &str, watch| -> Vec<PathBuf> { watched(&at(program), &watch).into_iter().collect() };
        assert!(watched("run.sh", Watch::Off).is_empty());
        assert_eq!(watched("run.sh", Watch::Program), [at("lib/eyes.py"), at("main.py")]);
        assert!(watched("plain", Watch::Program).is_empty());
        let named = Watch::Paths(vec![at("lib"), at("state.json"), at("to-come")]);
        let all = [at("lib/eyes.py"), at("lib/notes.txt"), at("state.json"), at("to-come")];
        assert_eq!(watched("plain", named), all);
        let look = look(
            &at("plain"),
            None,
            &[at("lib"), at("to-come")],
            SystemTime::now() + Duration::from_secs(60),
        );
        assert_eq!(
            (look.folders.as_slice(), look.missing.as_slice()),
            (&[at("lib")][..], &[at("to-come")][..])
        );
        assert!(look.describe().ends_with("to-come (`watch`)"), "{}", look.describe());
    }

    #[test]
    fn what_a_process_has_loaded_is_found() {
        let files = loaded(std::process::id());
        let program = std::env::current_exe().expect("it runs");
        assert!(files.contains(&program), "{files:?}");
    }
}
