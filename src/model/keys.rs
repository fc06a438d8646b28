//! Typed look-ups in a file's metadata, the same for JSON and GGUF, with full key names in errors.

use serde_json::Value;

use super::error::ModelError;
use crate::base::quote::clip_to;

/// Longest piece of a wrong value quoted in an error.
const MAX_QUOTE_CHARS: usize = 60;

/// Look-up of one metadata key; `Value::Null` is a key that is present and empty.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<Value> + 'a;

/// Metadata under a common prefix.
pub(crate) struct Keys<'a> {
    lookup: Box<Lookup<'a>>,
    prefix: String,
}

impl<'a> Keys<'a> {
    /// Keys as `lookup` knows them, shown in errors as `prefix` + key.
    pub(crate) fn new(prefix: &str, lookup: Box<Lookup<'a>>) -> Keys<'a> {
        Keys { lookup, prefix: prefix.to_owned() }
    }

    /// Members of a JSON object; none if `object` is something else.
    pub(crate) fn of_json(prefix: &str, object: &'a Value) -> Keys<'a> {
        Keys::new(prefix, Box::new(|key| object.get(key).cloned()))
    }

    /// Full name of `key` for messages.
    pub(crate) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The value as stored; `Some(Null)` for an explicit null.
    pub(crate) fn raw(&self, key: &str) -> Option<Value> {
        (self.lookup)(key)
    }

    /// The value unless missing or null.
    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        self.raw(key).filter(|value| !value.is_null())
    }

    /// True when the key is there and null.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.raw(key).is_some_and(|value| value.is_null())
    }

    /// Error for `key`, quoting its value.
    pub(crate) fn bad(&self, key: &str, expected: impl Into<String>) -> ModelError {
        let found = self.raw(key).map_or("missing".to_owned(), |value| quote(&value));
        ModelError::BadConfig { key: self.name(key), expected: expected.into(), found }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ModelError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => convert(&value).map(Some).ok_or_else(|| self.bad(key, expected)),
        }
    }

    /// A count in `1..=max`, or `default` when missing; an error when missing without default.
    pub(crate) fn size(&self, key: &str, default: Option<usize>, max: usize) -> Result<usize, ModelError> {
        let expected = format!("a whole number from 1 to {max}");
        let in_range = |value: &Value| whole(value).filter(|n| (1..=max).contains(n));
        let found = self.typed(key, &expected, in_range)?.or(default);
        found.ok_or_else(|| self.bad(key, expected))
    }

    /// Like [`Keys::size`], and a list of equal numbers (one per layer) counts as that number.
    pub(crate) fn uniform_size(
        &self,
        key: &str,
        default: Option<usize>,
        max: usize,
    ) -> Result<usize, ModelError> {
        let Some(Value::Array(list)) = self.value(key) else {
            return self.size(key, default, max);
        };
        match list.split_first() {
            Some((first, rest)) if rest.iter().all(|n| n == first) => {
                let first = whole(first).filter(|n| (1..=max).contains(n));
                first.ok_or_else(|| self.bad(key, format!("whole numbers from 1 to {max}")))
            }
            _ => Err(self.bad(key, "the same number in every layer")),
        }
    }

    /// A finite number accepted by `valid`; `expected` describes what is.
    pub(crate) fn number(
        &self,
        key: &str,
        expected: &str,
        valid: impl Fn(f64) -> bool,
    ) -> Result<Option<f64>, ModelError> {
        self.typed(key, expected, |value| value.as_f64().filter(|&x| x.is_finite() && valid(x)))
    }

    /// A finite number above zero.
    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        self.number(key, "a number above 0", |x| x > 0.0)
    }

    /// [`Keys::positive`] that must be there.
    pub(crate) fn need_positive(&self, key: &str) -> Result<f64, ModelError> {
        self.positive(key)?.ok_or_else(|| self.bad(key, "a number above 0"))
    }

    /// A string.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, ModelError> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// True or false, `default` when missing.
    pub(crate) fn flag(&self, key: &str, default: bool) -> Result<bool, ModelError> {
        Ok(self.typed(key, "true or false", Value::as_bool)?.unwrap_or(default))
    }
}

/// A non-negative whole number, also when written with a decimal point (8192.0).
fn whole(value: &Value) -> Option<usize> {
    const MAX_EXACT: f64 = 9e15; // below 2^53, where f64 still counts in ones
    let from_float = |x: f64| (x.fract() == 0.0 && (0.0..MAX_EXACT).contains(&x)).then_some(x as u64);
    let n = value.as_u64().or_else(|| value.as_f64().and_then(from_float))?;
    usize::try_from(n).ok()
}

/// The value as JSON text of bounded length.
fn quote(value: &Value) -> String {
    clip_to(&value.to_string(), MAX_QUOTE_CHARS)
}
