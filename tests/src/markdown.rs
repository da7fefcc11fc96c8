//! The fenced blocks of a Markdown page, each with its place, its kind and the file that it names.

/// One fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Line of the opening fence, from 1.
    pub line: usize,
    /// First word behind the fence: `yaml`, `console` and so on.
    pub language: String,
    /// The further words.
    pub words: Vec<String>,
    /// Text between the fences.
    pub text: String,
}

impl Block {
    /// Whether this word stands behind the fence.
    pub fn is(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    /// The file that the block is: a name behind the fence, or alone in a comment that is the first line, or the second
    /// after `#!`.
    pub fn file(&self) -> Option<&str> {
        let lines = self.text.lines().skip_while(|line| line.starts_with("#!"));
        let comment = lines
            .take(1)
            .find_map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix("// ")));
        let behind = self.words.iter().map(String::as_str);
        behind.chain(comment).find(|name| is_file_name(name))
    }
}

fn is_file_name(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '-' | '_');
    text.chars().all(known)
        && text
            .rsplit('/')
            .next()
            .is_some_and(|last| last.trim_matches('.').contains('.'))
}

/// All fenced blocks of a page.
///
/// # Errors
/// A block that is not closed, with its line.
pub fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let mut words = info.split_whitespace().map(str::to_owned);
        let language = words.next().unwrap_or_default();
        let mut text = String::new();
        loop {
            match lines.next() {
                Some(("```", _)) => break,
                Some((line, _)) => {
                    text.push_str(line);
                    text.push('\n');
                }
                None => return Err(format!("{number}: the block that begins here has no end")),
            }
        }
        blocks.push(Block {
            line: number,
            language,
            words: words.collect(),
            text,
        });
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_with_line_kind_and_name() {
        let page = "a\n```yaml\n# rover.yaml\nx: 1\n```\nb `code`\n```console not-run\n$ ls\n```\n";
        let found = blocks(page).expect("whole");
        let shown: Vec<_> = found
            .iter()
            .map(|block| (block.line, block.language.as_str(), block.file()))
            .collect();
        assert_eq!(shown, [(2, "yaml", Some("rover.yaml")), (7, "console", None)]);
        assert_eq!(
            (found[0].text.as_str(), found[1].is("not-run")),
            ("# rover.yaml\nx: 1\n", true)
        );
        assert_eq!(
            blocks("x\n```sh\nls\n").unwrap_err(),
            "2: the block that begins here has no end"
        );
    }

    #[test]
    fn a_name_stands_behind_the_fence_or_in_the_first_comment() {
        for (text, expected) in [
            ("```json a/meta.json\n{}\n```", Some("a/meta.json")),
            ("```rust\n// src/main.rs\n```", Some("src/main.rs")),
            ("```sh\n#!/bin/sh\n# run.sh\n```", Some("run.sh")),
            ("```yaml\n# The rover.\n```", None),
            ("```yaml\nx: 1\n# late.yaml\n```", None),
            ("```yaml fragment\nx: 1\n```", None),
        ] {
            assert_eq!(blocks(text).expect("whole")[0].file(), expected, "{text}");
        }
    }
}
