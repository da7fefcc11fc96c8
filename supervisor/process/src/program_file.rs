//! Program file of a module, as its first bytes tell: why the system does not run it. Whoever asks the C library to run a
//! foreign program gets `/bin/sh` reading it as a script, and a riddle.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString, c_char};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::libc;

use crate::child::PRIVATE_VARIABLES;
use crate::launch::Launch;

/// Bytes that are looked at. The kernel reads as many of a first line.
const HEAD: u64 = 256;

/// Beginnings of files that are programs of other systems, or none, and their names.
const FOREIGN: [(&[u8], &str); 8] = [
    (b"MZ", "built for Windows"),
    (b"\xcf\xfa\xed\xfe", "built for macOS"),
    (b"\xce\xfa\xed\xfe", "built for macOS"),
    (b"\xca\xfe\xba\xbe", "built for macOS or Java"),
    (b"\0asm", "a WebAssembly module"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"!<arch>", "a library"),
];

/// First bytes of a program.
#[derive(Debug)]
pub(crate) struct ProgramHead(Vec<u8>);

impl ProgramHead {
    /// Head of the file at `path`; empty if it cannot be read, which need not keep it from being run.
    pub(crate) fn read(path: &Path) -> Self {
        let mut head = Vec::new();
        if let Ok(file) = File::open(path) {
            let _as_far_as_it_goes = file.take(HEAD).read_to_end(&mut head);
        }
        Self(head)
    }

    /// True for what is no script, whatever else it is.
    pub(crate) fn is_binary(&self) -> bool {
        self.0.starts_with(b"\x7fELF") || FOREIGN.iter().any(|(magic, _)| self.0.starts_with(magic))
    }

    /// Fault of a script's first line that would end in a riddle.
    pub(crate) fn fault_of_script(&self, path: &Path) -> Option<String> {
        let path = path.display();
        if self.0.starts_with(b"\xef\xbb\xbf#!") {
            return Some(format!(
                "its first line begins with a byte order mark, so the system does not see `#!`; save it without, for example with `sed -i '1s/^\\xEF\\xBB\\xBF//' {path}`"
            ));
        }
        let line = self.0.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
        let command = line.strip_suffix(b"\r")?;
        let command = String::from_utf8_lossy(command).trim().to_owned();
        let interpreter = format!("{}\r", command.split_whitespace().next().unwrap_or_default());
        // Some make a link by that name.
        if !command.contains(' ') && Path::new(&interpreter).exists() {
            return None;
        }
        Some(format!(
            "its first line ends with a carriage return (Windows line ends), so the system looks for `{command}\\r`; convert it, for example with `sed -i 's/\\r$//' {path}`"
        ))
    }

    /// Reason why the system does not know the format of this file, on a host of this architecture.
    pub(crate) fn unknown_format(&self, host: &str) -> String {
        if let Some(built) = self.foreign_machine(host) {
            return format!("{built}; install the one for this host");
        }
        if self.elf_machine().is_some() {
            return "its file is damaged, or cut off".to_owned();
        }
        let known = FOREIGN.iter().find(|(magic, _)| self.0.starts_with(magic));
        known.map_or_else(
            || "the system does not know its format".to_owned(),
            |(_, what)| format!("it is {what}, no program for this host"),
        )
    }

    /// Text about an ELF file for another architecture than the host's.
    pub(crate) fn foreign_machine(&self, host: &str) -> Option<String> {
        let machine = self.elf_machine().filter(|machine| machine != host)?;
        Some(format!("built for {machine}, this is {host}"))
    }

    /// Architecture of an ELF file.
    fn elf_machine(&self) -> Option<String> {
        let head = self.0.strip_prefix(b"\x7fELF")?;
        let (class, order) = (*head.first()?, *head.get(1)?);
        let machine = [*head.get(14)?, *head.get(15)?];
        let machine = if order == 2 {
            u16::from_be_bytes(machine)
        } else {
            u16::from_le_bytes(machine)
        };
        let bits = if class == 2 { "64" } else { "32" };
        Some(match machine {
            3 => "x86".to_owned(),
            8 => "mips".to_owned(),
            20 | 21 => format!("powerpc{}", if machine == 21 { "64" } else { "" }),
            22 => "s390x".to_owned(),
            40 => "arm".to_owned(),
            62 => "x86_64".to_owned(),
            183 => "aarch64".to_owned(),
            243 => format!("riscv{bits}"),
            258 => format!("loongarch{bits}"),
            other => format!("ELF machine {other}"),
        })
    }
}

/// Arguments of a call of `execve`, ready before the fork: it does not hand what the kernel refuses to a shell.
#[derive(Debug)]
pub(crate) struct Exec {
    arguments: CStrings,
    variables: CStrings,
}

/// Texts, and the array of pointers to them that the kernel reads.
#[derive(Debug)]
struct CStrings {
    _texts: Vec<CString>,
    pointers: Vec<*const c_char>,
}

#[expect(
    unsafe_code,
    reason = "the pointers lead into the texts beside them, which nobody changes"
)]
// SAFETY: the heap memory that they lead to is owned by the same value, and is only read.
unsafe impl Send for CStrings {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Sync for CStrings {}

impl CStrings {
    fn new(texts: impl Iterator<Item = Vec<u8>>) -> io::Result<Self> {
        let texts: Vec<CString> = texts.map(CString::new).collect::<Result<_, _>>()?;
        let pointers = texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self {
            _texts: texts,
            pointers,
        })
    }
}

impl Exec {
    /// The call that starts `launch`.
    pub(crate) fn new(launch: &Launch) -> io::Result<Self> {
        let own = std::env::vars_os().filter(|(key, _)| !PRIVATE_VARIABLES.iter().any(|private| *key == **private));
        let mut variables: BTreeMap<OsString, OsString> = own.collect();
        variables.extend(launch.env.iter().map(|(key, value)| (key.into(), value.clone())));
        let variables = variables.into_iter().map(|(key, value)| {
            let mut text = key.into_vec();
            text.push(b'=');
            text.extend(value.as_bytes());
            text
        });
        let executable = launch.executable.as_os_str().as_bytes().to_vec();
        let arguments = launch.arguments.iter().map(|argument| argument.as_bytes().to_vec());
        Ok(Self {
            arguments: CStrings::new(std::iter::once(executable).chain(arguments))?,
            variables: CStrings::new(variables)?,
        })
    }

    /// Becomes the program, or tells why not. In the child: a system call.
    #[expect(unsafe_code, reason = "nix's execve allocates")]
    pub(crate) fn run(&self) -> Errno {
        let (arguments, variables) = (&self.arguments.pointers, &self.variables.pointers);
        let program = arguments.first().copied().unwrap_or(ptr::null());
        // SAFETY: both arrays end with a null pointer, and all texts with a zero byte; they outlive the call.
        unsafe { libc::execve(program, arguments.as_ptr(), variables.as_ptr()) };
        Errno::last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(class: u8, order: u8, machine: [u8; 2]) -> ProgramHead {
        let mut head = b"\x7fELF".to_vec();
        head.extend([class, order]);
        head.resize(18, 0);
        head.extend(machine);
        ProgramHead(head)
    }

    #[test]
    fn a_foreign_program_is_named_by_what_it_was_built_for() {
        for (head, expected) in [
            (elf(2, 1, [183, 0]), "built for aarch64, this is x86_64"),
            (elf(1, 1, [40, 0]), "built for arm, this is x86_64"),
            (elf(2, 2, [0, 21]), "built for powerpc64, this is x86_64"),
            (elf(2, 1, [243, 0]), "built for riscv64, this is x86_64"),
            (elf(2, 1, [62, 0]), "damaged, or cut off"),
            (ProgramHead(b"MZ\x90".to_vec()), "built for Windows"),
            (ProgramHead(b"\x7fELF".to_vec()), "does not know its format"),
        ] {
            assert!(head.is_binary());
            let told = head.unknown_format("x86_64");
            assert!(told.contains(expected), "{told}");
        }
        assert!(
            !ProgramHead(b"echo hello".to_vec()).is_binary(),
            "a script without a first line"
        );
    }

    #[test]
    fn windows_line_ends_and_byte_order_marks_of_scripts_are_named() {
        for (head, expected) in [
            ("#!/bin/sh\r\necho\r\n", Some("looks for `/bin/sh\\r`")),
            (
                "#!/usr/bin/env python3\r\n",
                Some("looks for `/usr/bin/env python3\\r`"),
            ),
            ("#!/bin/sh\n# a\r\n", None),
            ("#!/bin/sh", None),
            ("echo\r\n", None),
            ("\u{feff}#!/bin/sh\n", Some("byte order mark")),
        ] {
            let fault = ProgramHead(head.as_bytes().to_vec()).fault_of_script(Path::new("/m/run.sh"));
            match expected {
                None => assert_eq!(fault, None, "{head}"),
                Some(text) => assert!(fault.as_deref().is_some_and(|fault| fault.contains(text)), "{fault:?}"),
            }
        }
    }
}
