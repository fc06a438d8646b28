//! Methods that cut a text into parts.

use minijinja::Error;
use minijinja::value::{Kwargs, Tuple, Value, from_args};

use super::methods::is_space;
use super::refused;

/// `text.split(sep=None, maxsplit=-1)`, or `rsplit`.
pub(super) fn split(text: &str, args: &[Value], from_right: bool) -> Result<Value, Error> {
    let (by, most, options): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let by = by.or(options.get("sep")?);
    let most = most.or(options.get("maxsplit")?).unwrap_or(-1);
    options.assert_all_used()?;
    let cuts = usize::try_from(most).unwrap_or(usize::MAX);
    let pieces = cuts.saturating_add(1);
    let mut parts: Vec<&str> = match (by, from_right) {
        (Some(""), _) => return Err(refused("split: empty separator")),
        (Some(by), false) => text.splitn(pieces, by).collect(),
        (Some(by), true) => text.rsplitn(pieces, by).collect(),
        (None, false) => words(text, cuts, |text| {
            let text = text.trim_start_matches(is_space);
            let end = text.find(is_space).unwrap_or(text.len());
            (text, &text[..end], &text[end..])
        }),
        (None, true) => words(text, cuts, |text| {
            let text = text.trim_end_matches(is_space);
            let start = text.char_indices().rev().find(|(_, c)| is_space(*c));
            let start = start.map_or(0, |(at, c)| at + c.len_utf8());
            (text, &text[start..], &text[..start])
        }),
    };
    if from_right {
        parts.reverse();
    }
    Ok(parts.into_iter().map(Value::from).collect())
}

/// Words between white space; what is left after `cuts` of them is one piece. `next`: (trimmed text,
/// its next word, the rest).
fn words<'t>(
    text: &'t str,
    cuts: usize,
    next: impl Fn(&'t str) -> (&'t str, &'t str, &'t str),
) -> Vec<&'t str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    loop {
        let (trimmed, word, after) = next(rest);
        if trimmed.is_empty() {
            return parts;
        }
        if parts.len() >= cuts {
            parts.push(trimmed);
            return parts;
        }
        parts.push(word);
        rest = after;
    }
}

/// `text.splitlines(keepends)`.
pub(super) fn splitlines(text: &str, keep: bool) -> Value {
    let ends = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let (mut lines, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let end = rest.find(ends).unwrap_or(rest.len());
        let tail = &rest[end..];
        let mark = if tail.starts_with("\r\n") { 2 } else { tail.chars().next().map_or(0, char::len_utf8) };
        lines.push(Value::from(&rest[..if keep { end + mark } else { end }]));
        rest = &rest[end + mark..];
    }
    Value::from(lines)
}

/// `text.partition(by)`, or `rpartition`.
pub(super) fn partition(text: &str, by: &str, from_right: bool) -> Result<Value, Error> {
    if by.is_empty() {
        return Err(refused("partition: empty separator"));
    }
    let parts = match (if from_right { text.rsplit_once(by) } else { text.split_once(by) }, from_right) {
        (Some((left, right)), _) => [left, by, right],
        (None, false) => [text, "", ""],
        (None, true) => ["", "", text],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}
