//! The third process, which sleeps until both the guardian and the core are dead, and then does what they would have done.
//!
//! The kernel's death signal cannot do that for modules: it fires once for each thread of a killed core that had
//! inherited them, and a second SIGTERM makes an SDK exit without stopping anything. In an orderly run the guardian ends
//! this process.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{leftovers, terminate};
use crate::runtime_dir::Leftover;

/// Sends the path of the coming runtime directory. The last one counts.
pub(super) fn send_directory(pipe: &mut PipeWriter, directory: &Path) -> std::io::Result<()> {
    // No path holds a zero byte. At most 4 KiB, so it fits into an empty pipe whole.
    pipe.write_all(&[&[0], directory.as_os_str().as_bytes()].concat())
}

/// Last directory in the text.
fn parse_directory(text: &[u8]) -> Option<PathBuf> {
    let path = text.rsplit(|byte| *byte == 0).next()?;
    (!path.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(path)))
}

/// Sleeps until nobody holds the other end of `pipe`, then ends what is left. Takes no signals.
pub(super) fn wait(mut pipe: PipeReader) -> ExitCode {
    // Out of reach of the terminal, of `kill -9 %1` and of `killall mainstay`.
    let _leader = nix::unistd::setsid();
    let _named = nix::sys::prctl::set_name(c"undertaker");
    // Whoever reads what the machine prints must not wait for us.
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdin(&null);
        let _ = nix::unistd::dup2_stdout(&null);
    }
    let mut text = Vec::new();
    let _broken = pipe.read_to_end(&mut text);
    // Locked: it ended in order, or the next core is at work already. Gone: there is nothing to do.
    if let Some(directory) = parse_directory(&text)
        && let Some(leftover) = Leftover::take(directory.clone(), None)
    {
        let key = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (_, left) = leftovers::end(&key);
        leftover.remove();
        eprint!("{}", terminate::name(&left));
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_counts() {
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        send_directory(&mut writer, Path::new("/run/a")).expect("room");
        send_directory(&mut writer, Path::new("/run/b")).expect("room");
        drop(writer);
        let mut text = Vec::new();
        reader.read_to_end(&mut text).expect("readable");
        assert_eq!(parse_directory(&text).as_deref(), Some(Path::new("/run/b")));
        assert_eq!(parse_directory(b""), None);
    }
}
