//! Text that fits a terminal: lines of at most [`WIDTH`] columns.

/// Columns of a line that people read without it being broken.
pub(super) const WIDTH: usize = 100;

/// `text` in lines of at most [`WIDTH`] columns, broken between words; the first begins with `first`, the others with as
/// many blanks. A word that is too long for a line is shortened.
pub(super) fn wrapped(first: &str, text: &str) -> String {
    let indent = first.chars().count();
    let room = WIDTH - indent;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace().map(|word| shortened(word, room)) {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            let gap = if line.is_empty() { "" } else { " " };
            line.push_str(gap);
            line.push_str(&word);
        }
    }
    format!("{first}{}\n", lines.join(&format!("\n{:indent$}", "")))
}

/// `text` in at most `room` columns: its middle is left out if need be.
pub(super) fn shortened(text: &str, room: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= room {
        return text.to_owned();
    }
    let (front, back) = (room.saturating_sub(1).div_ceil(2), room.saturating_sub(1) / 2);
    chars[..front].iter().chain(&['…']).chain(&chars[chars.len() - back..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let text = "word ".repeat(60);
        let out = wrapped("  * ", &text);
        assert!(out.lines().all(|line| line.chars().count() <= WIDTH), "{out}");
        assert!(out.starts_with("  * word") && out.lines().nth(1).is_some_and(|l| l.starts_with("    word")));
        assert_eq!(out.split_whitespace().filter(|word| *word == "word").count(), 60);
        assert_eq!(wrapped("  ", "short"), "  short\n");
        assert_eq!(wrapped("", ""), "\n");
        let long = wrapped("  ", &"x".repeat(300));
        assert_eq!((long.lines().count(), long.trim_end().chars().count()), (1, WIDTH));
    }

    #[test]
    fn the_middle_is_left_out() {
        for (text, room, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "ab…ef"),
            ("abcdef", 4, "ab…f"),
            ("äöüß", 3, "ä…ß"),
            ("ab", 1, "…"),
        ] {
            assert_eq!(shortened(text, room), expected);
        }
    }
}
