//! Console blocks: commands behind `$ `, and below each what it prints.
//!
//! Of what is printed, these may differ, and nothing else: how many spaces stand in a row; a measure (`26 ms`, `31.0 MB`,
//! `0.7%`; `–` is one that is not known yet); a time (`2026-11-30T04:22:31.144Z`); a whole number of three digits or more, such as a
//! process id, that stands alone. `…` stands for any text in a line, and alone in a line for any lines.

use std::sync::LazyLock;

use regex_lite::Regex;

/// One command of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Line in the page, from 1.
    pub line: usize,
    /// As it is typed.
    pub command: String,
    /// Expected output. Empty: any.
    pub expected: String,
}

/// The commands of the block that begins at `line` of its page.
///
/// # Errors
/// Output without a command, with its line.
pub fn commands(text: &str, line: usize) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    for (content, line) in text.lines().zip(line + 1..) {
        if let Some(command) = content.strip_prefix("$ ") {
            commands.push(Command {
                line,
                command: command.to_owned(),
                expected: String::new(),
            });
        } else if let Some(last) = commands.last_mut() {
            last.expected += content;
            last.expected.push('\n');
        } else {
            return Err(format!("{line}: no command (`$ …`) prints this"));
        }
    }
    Ok(commands)
}

/// Whether this was to be expected, by the rules above.
pub fn matches(expected: &str, printed: &str) -> bool {
    let lines = |text: &str| text.trim_end().lines().map(generalized).collect::<Vec<_>>();
    all_match(&lines(expected), &lines(printed))
}

fn all_match(expected: &[String], printed: &[String]) -> bool {
    match expected {
        [] => printed.is_empty(),
        [any, rest @ ..] if any == "…" => (0..=printed.len()).any(|from| all_match(rest, &printed[from..])),
        [line, rest @ ..] => {
            printed.first().is_some_and(|first| line_matches(line, first)) && all_match(rest, &printed[1..])
        }
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let parts: Vec<String> = expected.split('…').map(regex_lite::escape).collect();
    let pattern = Regex::new(&format!("^{}$", parts.join(".*"))).expect("escaped");
    pattern.is_match(printed)
}

/// A line with a word in place of all that may differ.
fn generalized(line: &str) -> String {
    static TIME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?").expect("a pattern"));
    static MEASURE: LazyLock<Regex> = LazyLock::new(|| {
        let one = r"\d+(\.\d+)?( (ms|s|min|h|d|B|[kMGTP]B)|%)";
        Regex::new(&format!(r"(^|\s)(({one})( {one})*|–)(?P<end>[\s,;)]|$)")).expect("a pattern")
    });
    static NUMBER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(^|\s)\d{3,}(?P<end>[\s,;)]|$)").expect("a pattern"));
    let mut line = TIME.replace_all(line.trim_end(), "<time>").into_owned();
    // Twice, because the space between two neighbours belongs to one of them only.
    for _ in 0..2 {
        line = MEASURE.replace_all(&line, " <measure>$end").into_owned();
        line = NUMBER.replace_all(&line, " <number>$end").into_owned();
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_commands_with_what_they_print() {
        let found = commands("$ a --b\nx\ny\n$ c # why\n", 10).expect("commands");
        let shown: Vec<_> = found
            .iter()
            .map(|one| (one.line, one.command.as_str(), one.expected.as_str()))
            .collect();
        assert_eq!(shown, [(11, "a --b", "x\ny\n"), (14, "c # why", "")]);
        assert_eq!(commands("x\n", 3).unwrap_err(), "4: no command (`$ …`) prints this");
    }

    #[test]
    fn what_varies_may_differ_and_nothing_else() {
        for (expected, printed) in [
            (
                "  builtin:fake  ready     26 ms  pid 4121",
                "  builtin:fake  ready   1.2 s  pid 871",
            ),
            (
                "rover  running 1.5 s  pid 41150  30.5 MB",
                "rover  running 3 min 20 s  pid 200  9 kB",
            ),
            (
                "fake  ready  4121  1.4 s  0  12.7 MB  0.7%",
                "fake ready 99999 12 s 0 812 B –",
            ),
            ("2026-11-30T04:21:49.229Z INFO  x", "2027-01-01T00:00:00Z INFO x"),
            ("a\n…\nz", "a\nz"),
            ("a\n…\nz\n…", "a\nb\nc\nz\n"),
            ("rebuilt …; done", "rebuilt left, base; done"),
        ] {
            assert!(matches(expected, printed), "{expected}\n{printed}");
        }
        for (expected, printed) in [
            ("ready 26 ms", "failed 26 ms"),
            ("{\"readings\":{\"celsius\":22.0}}", "{\"readings\":{\"celsius\":22.5}}"),
            ("3 of 3 resources ready", "2 of 3 resources ready"),
            ("restarts 0", "restarts 1"),
            ("max_rpm 60 → 90", "max_rpm 60 → 70"),
            ("a", "a\nb"),
            ("a\nb", "a"),
            ("a\n…\nz", "a\nb"),
            ("127.0.0.1:8080", "127.0.0.1:9090"),
        ] {
            assert!(!matches(expected, printed), "{expected}\n{printed}");
        }
    }
}
