//! Methods that Python's texts, lists, dicts and numbers have; what changes a value is left out, as in
//! the sandbox that `transformers` renders templates in.

use minijinja::value::{Kwargs, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::split::{partition, split, splitlines};
use super::{python, refused};

/// Longest text that a method pads to.
const MAX_PADDED_CHARS: usize = 1 << 20;

/// Which side of a text is filled up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
    Both,
}

/// `value.method(args)`.
pub(super) fn call(state: &mut State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    let done = match value.kind() {
        ValueKind::String => text_method(value.as_str().unwrap_or_default(), method, args)?,
        ValueKind::Seq => list_method(value, method, args)?,
        ValueKind::Map if method == "copy" => {
            let () = from_args(args)?;
            Some(value.clone())
        }
        ValueKind::Number if method == "is_integer" => {
            let whole = f64::try_from(value.clone()).is_ok_and(|number| number.fract() == 0.0);
            Some(Value::from(whole))
        }
        _ => None,
    };
    match done {
        Some(done) => Ok(done),
        None => unknown_method_callback(state, value, method, args).map_err(|error| {
            match error.kind() == ErrorKind::UnknownMethod {
                true => {
                    Error::new(ErrorKind::UnknownMethod, format!("{} has no method {method}", value.kind()))
                }
                false => error,
            }
        }),
    }
}

fn list_method(value: &Value, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match method {
        "index" => {
            let (wanted, start, end): (Value, Option<i64>, Option<i64>) = from_args(args)?;
            let items: Vec<Value> = value.try_iter()?.collect();
            let range = slice_range(items.len(), start, end);
            let found = items[range.clone()].iter().position(|item| *item == wanted);
            let found = found.ok_or_else(|| refused("index: the value is not in the list"))?;
            Ok(Some(Value::from(range.start + found)))
        }
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(value.clone()))
        }
        _ => Ok(None),
    }
}

fn text_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "split" | "rsplit" => split(text, args, method == "rsplit")?,
        "splitlines" => {
            let (keep, options): (Option<bool>, Kwargs) = from_args(args)?;
            let keep = keep.or(options.get("keepends")?).unwrap_or(false);
            options.assert_all_used()?;
            splitlines(text, keep)
        }
        "partition" | "rpartition" => {
            let (by,): (&str,) = from_args(args)?;
            partition(text, by, method == "rpartition")?
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let of = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
            Value::from(match method {
                "strip" => text.trim_matches(of),
                "lstrip" => text.trim_start_matches(of),
                _ => text.trim_end_matches(of),
            })
        }
        "center" | "ljust" | "rjust" => {
            let (width, fill): (i64, Option<char>) = from_args(args)?;
            let side = match method {
                "center" => Side::Both,
                "ljust" => Side::Right,
                _ => Side::Left,
            };
            Value::from(padded(text, width.max(0) as usize, fill.unwrap_or(' '), side)?)
        }
        "zfill" => {
            let (width,): (i64,) = from_args(args)?;
            let sign = text.len() - text.strip_prefix(['+', '-']).unwrap_or(text).len();
            let room = (width.max(0) as usize).saturating_sub(sign);
            Value::from(text[..sign].to_string() + &padded(&text[sign..], room, '0', Side::Left)?)
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search(text, method, args)?,
        "startswith" | "endswith" => edge(text, args, method == "startswith")?,
        "swapcase" => Value::from(text.chars().flat_map(swapped).collect::<String>()),
        "casefold" => Value::from(text.to_lowercase().replace('ß', "ss")),
        "capitalize" => Value::from(titled(text, true)),
        "title" => Value::from(titled(text, false)),
        "expandtabs" => {
            let (width, options): (Option<i64>, Kwargs) = from_args(args)?;
            let width = width.or(options.get("tabsize")?).unwrap_or(8);
            Value::from(expandtabs(text, width.max(0) as usize)?)
        }
        "join" => {
            let (items,): (Value,) = from_args(args)?;
            join(text, &items)?
        }
        "isdecimal" => Value::from(!text.is_empty() && text.chars().all(|c| c.is_ascii_digit())),
        "isspace" => Value::from(!text.is_empty() && text.chars().all(is_space)),
        "isprintable" => Value::from(!text.chars().any(|c| c.is_control() || (c != ' ' && is_space(c)))),
        "istitle" => Value::from(text.chars().any(char::is_alphabetic) && titled(text, false) == text),
        "isidentifier" => {
            let first = |c: char| c.is_alphabetic() || c == '_';
            let mut chars = text.chars();
            let begins = chars.next().is_some_and(first);
            Value::from(begins && chars.all(|c| c.is_alphanumeric() || c == '_'))
        }
        _ => return Ok(None),
    }))
}

/// White space as `str.strip` takes it: Unicode's, and the four information separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` filled up to `width` characters.
pub(super) fn padded(text: &str, width: usize, fill: char, side: Side) -> Result<String, Error> {
    if width > MAX_PADDED_CHARS {
        return Err(refused(format!("a text cannot be filled up to {width} characters")));
    }
    let missing = width.saturating_sub(text.chars().count());
    let left = match side {
        Side::Left => missing,
        Side::Right => 0,
        // Python puts the odd one to the left when the width is odd.
        Side::Both => missing / 2 + (missing & width & 1),
    };
    let run = |count: usize| std::iter::repeat_n(fill, count);
    Ok(run(left).chain(text.chars()).chain(run(missing - left)).collect())
}

/// `start..end` of a sequence with `len` items, as Python's slices count.
fn slice_range(len: usize, start: Option<i64>, end: Option<i64>) -> std::ops::Range<usize> {
    let place = |ix: i64| match ix < 0 {
        true => len.saturating_sub(ix.unsigned_abs() as usize),
        false => len.min(ix as usize),
    };
    let (start, end) = (start.map_or(0, place), end.map_or(len, place));
    start.min(end)..end
}

/// The part of `text` between two character positions, and its byte range.
fn part(text: &str, start: Option<i64>, end: Option<i64>) -> (std::ops::Range<usize>, usize) {
    let count = text.chars().count();
    let range = slice_range(count, start, end);
    let byte = |ix: usize| text.char_indices().nth(ix).map_or(text.len(), |(at, _)| at);
    (byte(range.start)..byte(range.end), range.start)
}

fn search(text: &str, method: &str, args: &[Value]) -> Result<Value, Error> {
    let (wanted, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let (bytes, first) = part(text, start, end);
    let inside = &text[bytes];
    if method == "count" {
        return Ok(Value::from(inside.matches(wanted).count()));
    }
    let found = if method.starts_with('r') { inside.rfind(wanted) } else { inside.find(wanted) };
    match found {
        Some(at) => Ok(Value::from(first + inside[..at].chars().count())),
        None if method.ends_with("index") => Err(refused(format!("{method}: substring not found"))),
        None => Ok(Value::from(-1)),
    }
}

fn edge(text: &str, args: &[Value], at_start: bool) -> Result<Value, Error> {
    let (wanted, start, end): (Value, Option<i64>, Option<i64>) = from_args(args)?;
    let inside = &text[part(text, start, end).0];
    let fits = |wanted: &str| if at_start { inside.starts_with(wanted) } else { inside.ends_with(wanted) };
    if let Some(wanted) = wanted.as_str() {
        return Ok(Value::from(fits(wanted)));
    }
    let wrong = || refused("startswith and endswith take a text or a tuple of texts");
    let mut any = false;
    for item in wanted.try_iter().map_err(|_| wrong())? {
        any |= fits(item.as_str().ok_or_else(wrong)?);
    }
    Ok(Value::from(any))
}

fn join(between: &str, items: &Value) -> Result<Value, Error> {
    let mut out = String::new();
    for (ix, item) in items.try_iter()?.enumerate() {
        out.push_str(if ix > 0 { between } else { "" });
        out.push_str(&python::text(&item)?);
    }
    Ok(Value::from(out))
}

fn swapped(c: char) -> Vec<char> {
    if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
}

/// Words with a capital letter and small ones behind it; `once`: only the first word.
fn titled(text: &str, once: bool) -> String {
    let (mut out, mut inside) = (String::with_capacity(text.len()), false);
    for (ix, c) in text.chars().enumerate() {
        match if once { ix > 0 } else { inside } {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
        inside = c.is_alphabetic();
    }
    out
}

fn expandtabs(text: &str, width: usize) -> Result<String, Error> {
    if width > 1000 {
        return Err(refused("expandtabs: tabs are too wide"));
    }
    let (mut out, mut column) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '\t' => {
                let gap = if width == 0 { 0 } else { width - column % width };
                out.extend(std::iter::repeat_n(' ', gap));
                column += gap;
            }
            '\n' | '\r' => {
                out.push(c);
                column = 0;
            }
            _ => {
                out.push(c);
                column += 1;
            }
        }
    }
    Ok(out)
}
