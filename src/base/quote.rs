//! Text of a file, as messages quote it: of bounded length, without characters that a terminal obeys.

/// Longest quoted piece, in characters.
const QUOTE_CHARS: usize = 80;

/// [`clip_to`] the length of a name or value.
pub fn clip(text: &str) -> String {
    clip_to(text, QUOTE_CHARS)
}

/// The first `chars` characters of `text`, escaped; an ellipsis stands for the rest.
pub fn clip_to(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", escape(&text[..end])),
        None => escape(text),
    }
}

/// True for characters that a terminal takes for an order: they move its cursor, colour, rename or reorder.
/// C0, DEL, C1, line and paragraph separators, and Unicode's marks, embeddings, overrides and isolates of
/// direction.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with control characters, line breaks and marks of text direction written as `\u{1b}`.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_short_and_plain() {
        let long = "x".repeat(81);
        for (text, expected) in [
            ("", String::new()),
            ("blk.0.attn_q.weight", "blk.0.attn_q.weight".into()),
            ("größe “ok”", "größe “ok”".into()),
            ("\u{1b}[2J", "\\u{1b}[2J".into()),
            ("a\nb\tc\u{9b}", "a\\nb\\tc\\u{9b}".into()),
            ("\u{202e}gpj", "\\u{202e}gpj".into()),
            (&long[..80], long[..80].into()),
            (&long, format!("{}…", &long[..80])),
        ] {
            assert_eq!(clip(text), expected, "{text:?}");
        }
        assert_eq!(clip_to("äöü", 2), "äö…");
    }
}
