//! Text from files and models on its way to a terminal: what a terminal would take for an order is shown
//! as an escape.
//!
//! Styling that the program adds goes around text that
//! went through here.

use std::borrow::Cow;
use std::fmt::Write;
use std::io::{self, IsTerminal};

use crate::base::quote::is_obeyed;

/// Line feeds and tabs belong to a text.
fn is_order(c: char) -> bool {
    !matches!(c, '\n' | '\t') && is_obeyed(c)
}

/// `text` with `\x1b`, `\u{202e}` for the characters that a terminal would obey.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_order) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        let code = u32::from(c);
        let _ = match c {
            '\r' => write!(out, "\\r"),
            c if !is_order(c) => write!(out, "{c}"),
            _ if code < 0x80 => write!(out, "\\x{code:02x}"),
            _ => write!(out, "\\u{{{code:x}}}"),
        };
    }
    Cow::Owned(out)
}

/// For results on stdout: as it is through a pipe, escaped on a terminal.
pub(super) fn for_stdout(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { escaped(text) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_escaped_and_text_is_not() {
        for (text, want) in [
            ("plain ü 🦙 \t\n", "plain ü 🦙 \t\n"),
            ("\x1b[31mred\x1b]0;x\x07", "\\x1b[31mred\\x1b]0;x\\x07"),
            ("a\rb\0\x7f", "a\\rb\\x00\\x7f"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            ("\u{202e}abc\u{2066}\u{200f}\u{2028}", "\\u{202e}abc\\u{2066}\\u{200f}\\u{2028}"),
            ("👩\u{200d}👧", "👩\u{200d}👧"),
        ] {
            assert_eq!(escaped(text), want);
        }
        assert!(matches!(escaped("plain"), Cow::Borrowed(_)));
    }
}
