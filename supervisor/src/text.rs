//! Text from strangers, made fit to show.

/// A line that a program printed, without colours and whatever else would steer the terminal. Tabs become spaces.
pub fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => {
                // `ESC [ … letter` sets colours and moves the cursor; anything else is the escape and one letter.
                if letters.next() == Some('[') {
                    let _ = letters.by_ref().find(|c| matches!(c, '@'..='~'));
                }
            }
            '\t' => plain.push(' '),
            letter if letter.is_control() => {}
            letter => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_the_terminal_is_left_out() {
        let cases = [
            ("plain", "plain"),
            ("\x1b[33;36mINFO\x1b[0m\tup", "INFO up"),
            ("a\x1b[2Jb\x1bcd\u{9b}e\r", "abde"),
            ("cut \x1b[3", "cut "),
        ];
        for (line, text) in cases {
            assert_eq!(plain(line), text);
        }
    }
}
