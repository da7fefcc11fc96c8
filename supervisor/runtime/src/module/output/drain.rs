//! Reads what a process prints. A module that cannot write stops, so this never waits for anything but the pipe.

use std::io;
use std::time::Instant;

use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout_at;

use super::split::Splitter;
use super::{Stream, Tail};

/// Bytes that are read at once.
const READ: usize = 32 * 1024;

/// Reads `pipe` to its end.
pub async fn drain(pipe: Receiver, stream: Stream, tail: Tail) {
    let output = &tail.output;
    let mut splitter = Splitter::default();
    loop {
        let ready = match output.report_at() {
            None => pipe.readable().await,
            Some(at) => match timeout_at(at.into(), pipe.readable()).await {
                Ok(ready) => ready,
                Err(_silent) => {
                    output.release();
                    continue;
                }
            },
        };
        match ready.and_then(|()| read(&pipe, &mut splitter, stream, &tail)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_broken) => break,
        }
        // A module that prints without end gets no more of this thread than a call does.
        tokio::task::yield_now().await;
    }
    splitter.finish(|line| tail.printed(stream, line, Instant::now()));
    output.release();
}

/// Takes out what there is. The buffer lies on the stack: twenty modules that are silent need forty of none.
fn read(pipe: &Receiver, splitter: &mut Splitter, stream: Stream, tail: &Tail) -> io::Result<usize> {
    let mut buffer = [0; READ];
    let length = pipe.try_read(&mut buffer)?;
    let now = Instant::now();
    splitter.push(&buffer[..length], |line| tail.printed(stream, line, now));
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use nix::fcntl::OFlag;

    use super::*;
    use crate::module::output::ModuleOutput;
    use mainstay_model::policy;

    fn tail_of(output: &ModuleOutput) -> Vec<String> {
        let ring = output.lines().ring();
        let mut last: Vec<_> = ring
            .newest_first()
            .take(2)
            .map(|(_, line)| line.text.to_string())
            .collect();
        last.reverse();
        last
    }

    #[tokio::test]
    async fn a_flood_is_taken_as_fast_as_it_comes_and_its_end_is_kept() {
        let output = ModuleOutput::new("m".into(), &policy::Output::default());
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
        let pipe = Receiver::from_owned_fd(read_end).expect("a pipe");
        let writer = std::thread::spawn(move || {
            let mut pipe = std::fs::File::from(write_end);
            let lines: String = (0..200_000_u32).map(|line| format!("flood {line}\n")).collect();
            pipe.write_all(lines.as_bytes()).expect("somebody reads");
            pipe.write_all(b"\xff and no end of line").expect("somebody reads");
        });
        tokio::time::timeout(Duration::from_secs(20), drain(pipe, Stream::Stdout, output.begin()))
            .await
            .expect("it is read to its end");
        writer.join().expect("the writer was not held up");
        assert_eq!(tail_of(&output), ["flood 199999", "\\xff and no end of line"]);
        let ring = output.lines().ring();
        assert!(
            ring.newest_first()
                .any(|(_, line)| line.text.contains("lines suppressed"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_suppressed_is_told_when_silence_follows() {
        let output = ModuleOutput::new("m".into(), &policy::Output::default());
        let (mut sender, pipe) = tokio::net::unix::pipe::pipe().expect("a pipe");
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(drain(pipe, Stream::Stderr, output.begin()));
        let mut lines = output.lines().follow(0);
        let text: String = (0..300_u32).map(|line| format!("{line}\n")).collect();
        tokio::io::AsyncWriteExt::write_all(&mut sender, text.as_bytes())
            .await
            .expect("somebody reads");
        // The pipe stays open: nothing but time brings the rest.
        let mut seen = Vec::new();
        while seen.len() < 221 {
            seen.extend(lines.next().await.entries.into_iter().map(|line| line.text.to_string()));
        }
        assert_eq!(seen[200], "80 lines suppressed: more than 200 a second");
        assert_eq!(seen[220], "299");
    }
}
