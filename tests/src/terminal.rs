//! A command at a terminal, which asks questions and is answered, by `script` of util-linux.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::bins;
use crate::place::Place;
use crate::proc::eventually;
use crate::world::PATIENCE;

/// The command line of Mainstay, at a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    script: Child,
    shown: Arc<Mutex<String>>,
    /// Ends with the terminal.
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts it beside a machine. The arguments are words of a shell.
    ///
    /// # Panics
    /// There is no `script`.
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        let line = format!("{} {}", bins::mainstay().display(), arguments.join(" "));
        let mut script = place.command(Path::new("script"));
        script
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut script = script.spawn().expect("`script` is part of every Debian");
        let mut output = script.stdout.take().expect("a pipe");
        let shown = Arc::new(Mutex::new(String::new()));
        let screen = shown.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                screen.lock().expect("no panics").push_str(&text);
            }
        });
        Self { script, shown, reader }
    }

    /// All that the terminal showed so far.
    ///
    /// # Panics
    /// Never.
    pub fn shown(&self) -> String {
        self.shown.lock().expect("no panics").clone()
    }

    /// Waits until the terminal shows a text, and types the answer.
    ///
    /// # Panics
    /// It is not shown in time.
    pub async fn answer(&mut self, question: &str, typed: &str) {
        let asked = eventually(PATIENCE, || self.shown().contains(question)).await;
        assert!(asked, "`{question}` was never asked: {}", self.shown());
        let keys = self.script.stdin.as_mut().expect("a pipe");
        keys.write_all(typed.as_bytes())
            .and_then(|()| keys.flush())
            .expect("it reads");
    }

    /// Waits for the end, and returns the exit code and all that was shown.
    ///
    /// # Panics
    /// It goes on.
    pub async fn end(mut self) -> (i32, String) {
        let mut code = None;
        let ended = eventually(PATIENCE, || {
            code = self.script.try_wait().expect("it is our child");
            code.is_some()
        });
        assert!(ended.await, "it goes on: {}", self.shown());
        // What was written last may still be on its way.
        let screen = self.shown.clone();
        self.reader.join().expect("no panics");
        let shown = screen.lock().expect("no panics").clone();
        (code.and_then(|status| status.code()).unwrap_or(-1), shown)
    }
}
