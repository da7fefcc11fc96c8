//! Question for a secret on the terminal, whose answer is not shown.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::CliError;

/// Longest answer, in bytes.
const MAX_LEN: usize = 4096;

/// Asks on the terminal of this process, whatever its standard input is. `None` if it has no terminal.
///
/// # Errors
/// Whoever is asked gives up (Ctrl-C, Ctrl-D), or the terminal fails.
pub fn ask(question: &str) -> Result<Option<String>, CliError> {
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else {
        return Ok(None);
    };
    let failed = |error: io::Error| CliError::wrong(format!("the terminal cannot be asked: {error}"));
    let quiet = Quiet::on(&terminal).map_err(failed)?;
    let asked = (&terminal).write_all(question.as_bytes());
    let answer = asked.and_then(|()| read_line(&mut &terminal));
    drop(quiet);
    let _gone = (&terminal).write_all(b"\n");
    match answer.map_err(failed)? {
        Some(answer) => Ok(Some(answer)),
        None => Err(CliError::wrong("nothing was typed; nothing was done")),
    }
}

/// Terminal that shows nothing of what is typed and hands over each key, until this is dropped.
struct Quiet<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn on(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        // Without signals, too: Ctrl-C must not leave a shell behind that shows nothing.
        let shown = LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
        quiet.local_modes.remove(shown);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _gone = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Reads keys until Enter. `None`: Ctrl-C, Ctrl-D, or the end.
fn read_line(keys: &mut impl Read) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut key = [0];
    while keys.read(&mut key)? == 1 {
        match key[0] {
            b'\r' | b'\n' => return Ok(Some(String::from_utf8_lossy(&line).trim().to_owned())),
            // Ctrl-C and Ctrl-D.
            0x03 | 0x04 => return Ok(None),
            // Backspace, in both spellings.
            0x08 | 0x7f => {
                line.pop();
            }
            // Ctrl-U.
            0x15 => line.clear(),
            other if line.len() < MAX_LEN => line.push(other),
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line_or_give_up() {
        for (keys, expected) in [
            (&b"id:key\r"[..], Some("id:key")),
            (b" id:key \nrest", Some("id:key")),
            (b"ix\x7fd:kk\x08ey\n", Some("id:key")),
            (b"wrong\x15id:key\n", Some("id:key")),
            (b"\x7f\n", Some("")),
            (b"id\x03:key\n", None),
            (b"\x04", None),
            (b"id:key", None),
        ] {
            let read = read_line(&mut &keys[..]).expect("readable");
            assert_eq!(read.as_deref(), expected, "{keys:?}");
        }
    }
}
