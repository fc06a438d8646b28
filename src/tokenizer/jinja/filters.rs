//! Filters and tests that differ from Jinja2's in the engine.

use minijinja::Error;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};

use super::{printf, python, refused};

/// `value|int(default=0, base=10)`: the default for what is no number.
pub(super) fn int(
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    options: Kwargs,
) -> Result<Value, Error> {
    let default = default.or(options.get("default")?).unwrap_or(Value::from(0));
    let base = base.or(options.get("base")?).unwrap_or(10);
    options.assert_all_used()?;
    let whole = match value.kind() {
        ValueKind::Number if value.is_integer() => return Ok(value.clone()),
        ValueKind::Number => f64::try_from(value.clone()).ok().and_then(truncated),
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            parse_int(text, base).or_else(|| parse_float(text).and_then(truncated))
        }
        _ => None,
    };
    Ok(whole.map_or(default, integer))
}

/// `value|float(default=0.0)`.
pub(super) fn float(value: &Value, default: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = default.or(options.get("default")?).unwrap_or(Value::from(0.0));
    options.assert_all_used()?;
    let number = match value.kind() {
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        ValueKind::Bool => Some(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::String => parse_float(value.as_str().unwrap_or_default()),
        _ => None,
    };
    Ok(number.map_or(default, Value::from))
}

/// An integer as a value, as small as it goes.
pub(super) fn integer(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

fn truncated(number: f64) -> Option<i128> {
    (number.is_finite() && number.abs() < 1e38).then_some(number as i128)
}

/// Python's `int(text, base)`.
fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefix = prefixed.iter().find(|(prefix, of)| lower.starts_with(prefix) && (base == *of || base == 0));
    let (digits, base) = match prefix {
        Some((prefix, of)) => (&lower[prefix.len()..], *of),
        None => (lower.as_str(), if base == 0 { 10 } else { base }),
    };
    let digits = without_underscores(digits)?;
    if !(2..=36).contains(&base) || digits.starts_with(['-', '+']) {
        return None;
    }
    let number = i128::from_str_radix(&digits, base).ok()?;
    Some(if negative { -number } else { number })
}

/// Python's `float(text)`.
fn parse_float(text: &str) -> Option<f64> {
    without_underscores(text.trim())?.parse().ok()
}

/// Underscores may stand between digits only.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |ix: usize| bytes.get(ix).is_some_and(u8::is_ascii_alphanumeric);
    let misplaced = |(ix, _): (usize, char)| ix == 0 || !digit(ix - 1) || !digit(ix + 1);
    (!text.char_indices().filter(|(_, c)| *c == '_').any(misplaced)).then(|| text.replace('_', ""))
}

/// `value|string`.
pub(super) fn string(value: &Value) -> Result<Value, Error> {
    Ok(Value::from(python::text(value)?))
}

/// `'%s %d'|format(a, b)` or `'%(a)s'|format(a=1)`.
pub(super) fn format(text: &str, args: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let has_names = named.args().next().is_some();
    let values = match (has_names, args.is_empty()) {
        (false, _) => printf::Values::Positional(args.0),
        (true, true) => printf::Values::Named(Value::from(named)),
        (true, false) => return Err(refused("format: values come by position or by name, not both")),
    };
    printf::format(text, values).map(Value::from)
}

/// `text|center(width=80)`.
pub(super) fn center(value: &Value, width: Option<usize>) -> Result<Value, Error> {
    super::methods::padded(&python::text(value)?, width.unwrap_or(80), ' ', super::methods::Side::Both)
        .map(Value::from)
}

/// `text|wordcount`.
pub(super) fn wordcount(value: &Value) -> Result<Value, Error> {
    let text = python::text(value)?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    Ok(Value::from(text.split(|c| !word(c)).filter(|part| !part.is_empty()).count()))
}

/// `text|truncate(length=255, killwords=False, end='...', leeway=5)`.
pub(super) fn truncate(
    value: &Value,
    length: Option<usize>,
    rest: Rest<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let text = python::text(value)?;
    let option = |ix: usize, name: &str| -> Result<Option<Value>, Error> {
        Ok(rest.get(ix).cloned().or(options.get(name)?))
    };
    let length = length.or(options.get("length")?).unwrap_or(255);
    let kill_words = option(0, "killwords")?.is_some_and(|flag| flag.is_true());
    let end = option(1, "end")?.map_or("...".to_string(), |end| end.to_string());
    let leeway = option(2, "leeway")?.map_or(Ok(5), usize::try_from)?;
    options.assert_all_used()?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(Value::from(text));
    }
    let room = length.checked_sub(end.chars().count());
    let room =
        room.ok_or_else(|| refused(format!("truncate: {length} characters have no room for the end")))?;
    let kept: String = text.chars().take(room).collect();
    let words = if kill_words { kept.as_str() } else { kept.rsplit_once(' ').map_or(&*kept, |pair| pair.0) };
    Ok(Value::from(format!("{words}{end}")))
}

/// `value is iterable`: none is not.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// `value is sequence`: whatever has a length and items by key, as a Python string and dict have.
pub(super) fn is_sequence(value: &Value) -> bool {
    let kinds = [ValueKind::Undefined, ValueKind::Seq, ValueKind::Map, ValueKind::String];
    kinds.contains(&value.kind())
}
