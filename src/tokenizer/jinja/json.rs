//! The filter `tojson`: Python's `json.dumps` with the defaults that `transformers` gives it.

use minijinja::Error;
use minijinja::value::{Kwargs, Rest, Value, ValueKind};

use super::{python, refused};

/// Deepest nesting that is written.
const MAX_DEPTH: usize = 100;
/// Longest text: indentation multiplies.
const MAX_BYTES: usize = 64 << 20;

struct Style {
    ensure_ascii: bool,
    /// What one level is indented with; none: everything on one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
}

/// `value|tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(value: Value, args: Rest<Value>, options: Kwargs) -> Result<Value, Error> {
    let option = |ix: usize, name: &str| -> Result<Option<Value>, Error> {
        let given = args.get(ix).cloned().or(options.get::<Option<Value>>(name)?);
        Ok(given.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = match option(1, "indent")? {
        Some(text) if text.as_str().is_some() => text.as_str().map(str::to_string),
        Some(width) => Some(" ".repeat(indent_width(&width)?)),
        None => None,
    };
    let (between_items, after_key) = match option(2, "separators")? {
        Some(pair) => separators(&pair)?,
        None => (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()),
    };
    let style = Style {
        ensure_ascii: option(0, "ensure_ascii")?.is_some_and(|flag| flag.is_true()),
        sort_keys: option(3, "sort_keys")?.is_some_and(|flag| flag.is_true()),
        indent,
        between_items,
        after_key,
    };
    options.assert_all_used()?;
    let mut text = String::new();
    style.write(&value, 0, &mut text)?;
    Ok(Value::from_safe_string(text))
}

/// Python takes a negative width for 0.
fn indent_width(width: &Value) -> Result<usize, Error> {
    let wrong = || refused(format!("tojson: indent is {width}, expected a text or a number up to 100"));
    let width = if width.kind() == ValueKind::Bool {
        i64::from(width.is_true())
    } else {
        i64::try_from(width.clone()).map_err(|_| wrong())?
    };
    usize::try_from(width.max(0)).ok().filter(|width| *width <= 100).ok_or_else(wrong)
}

fn separators(pair: &Value) -> Result<(String, String), Error> {
    let texts: Vec<String> = pair.try_iter()?.filter_map(|part| part.as_str().map(str::to_string)).collect();
    match <[String; 2]>::try_from(texts) {
        Ok([items, key]) => Ok((items, key)),
        Err(_) => Err(refused(format!("tojson: separators are {pair}, expected two texts"))),
    }
}

impl Style {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > MAX_DEPTH || out.len() > MAX_BYTES {
            return Err(refused("tojson: the value is nested too deeply, or too long"));
        }
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::String => self.quote(value.as_str().unwrap_or_default(), out),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)),
            ValueKind::Seq => {
                let items: Vec<Value> = value.try_iter()?.collect();
                let one = |ix: usize, out: &mut String| self.write(&items[ix], depth + 1, out);
                self.group(('[', ']'), items.len(), depth, out, one)?;
            }
            ValueKind::Map => {
                let mut keys: Vec<(String, Value)> =
                    value.try_iter()?.map(|key| Ok((key_text(&key)?, key))).collect::<Result<_, Error>>()?;
                if self.sort_keys {
                    keys.sort_by(|a, b| a.0.cmp(&b.0));
                }
                let one = |ix: usize, out: &mut String| {
                    self.quote(&keys[ix].0, out);
                    out.push_str(&self.after_key);
                    self.write(&value.get_item(&keys[ix].1)?, depth + 1, out)
                };
                self.group(('{', '}'), keys.len(), depth, out, one)?;
            }
            kind => return Err(refused(format!("tojson: {kind} has no JSON form"))),
        }
        Ok(())
    }

    /// Brackets, commas and line breaks around `count` items.
    fn group(
        &self,
        brackets: (char, char),
        count: usize,
        depth: usize,
        out: &mut String,
        mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |out: &mut String, depth: usize| {
            if let Some(indent) = self.indent.as_ref().filter(|_| count > 0) {
                out.push('\n');
                out.extend(std::iter::repeat_n(indent.as_str(), depth));
            }
        };
        out.push(brackets.0);
        for ix in 0..count {
            out.push_str(if ix > 0 { &self.between_items } else { "" });
            line(out, depth + 1);
            item(ix, out)?;
        }
        line(out, depth);
        out.push(brackets.1);
        Ok(())
    }

    /// A JSON string with only the escapes JSON demands, or all of ASCII.
    fn quote(&self, text: &str, out: &mut String) {
        let quoted = serde_json::Value::from(text).to_string();
        if !self.ensure_ascii {
            return out.push_str(&quoted);
        }
        for c in quoted.chars() {
            if matches!(c, ' '..='~') {
                out.push(c);
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// Keys that are no text are written as they would be as values.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_string()),
        ValueKind::None => Ok("null".to_string()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_string()),
        ValueKind::Number => Ok(number(key)),
        kind => Err(refused(format!("tojson: {kind} cannot be a key"))),
    }
}

fn number(value: &Value) -> String {
    match python::number(value).as_str() {
        "nan" => "NaN".to_string(),
        "inf" => "Infinity".to_string(),
        "-inf" => "-Infinity".to_string(),
        number => number.to_string(),
    }
}
