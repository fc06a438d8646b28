//! [`GgufMetadata`]: key → value with typed access. Errors name the key, the type asked for and what is
//! stored.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::value::{self, Value, ValueType};
use crate::formats::error::{FormatError, Result};
use crate::formats::source::Source;

/// The key/value pairs of a GGUF file. Values stay in the mapped file; an entry holds only where.
#[derive(Clone, Debug)]
pub struct GgufMetadata {
    source: Source,
    /// Byte positions lie within `source` and were checked by [`value::check`].
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ty: ValueType,
    /// Start of the value in the file, after its type.
    at: usize,
    /// Its end.
    end: usize,
}

/// Fewest bytes of a pair: key length, value type, one byte of value.
const MIN_PAIR_BYTES: usize = 8 + 4 + 1;

impl GgufMetadata {
    pub(super) fn read(source: &Source, cursor: &mut Cursor<'_>, n_pairs: u64, at: usize) -> Result<Self> {
        let what = format_args!("number of metadata pairs");
        let room = (cursor.remaining() / MIN_PAIR_BYTES) as u64;
        if n_pairs > room {
            let expected = format!("at most {room} (what the file has room for)");
            return Err(cursor.field(at, what, expected, n_pairs.to_string()));
        }
        let mut entries = BTreeMap::new();
        for ix in 0..n_pairs {
            let key = key(cursor.string(format_args!("key {ix} of the metadata"))?);
            let ty = {
                let mut ahead = cursor.clone();
                let ty = value::check(&mut ahead, &key)?;
                let at = cursor.pos + 4; // after the type
                cursor.pos = ahead.pos;
                Entry { ty, at, end: ahead.pos }
            };
            if entries.insert(key.to_string(), ty).is_some() {
                return Err(FormatError::Duplicate {
                    file: cursor.file.into(),
                    what: "metadata key",
                    name: key.into_owned(),
                    next: super::cursor::DOWNLOAD_AGAIN,
                });
            }
        }
        Ok(GgufMetadata { source: source.clone(), entries })
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// All pairs as the file has them, in its order: key, type, bytes of the value behind its type.
    pub fn encoded(&self) -> Vec<(&str, ValueType, &[u8])> {
        let mut pairs: Vec<_> = self.entries.iter().collect();
        pairs.sort_by_key(|(_, entry)| entry.at);
        let bytes = self.source.bytes();
        pairs.into_iter().map(|(key, e)| (key.as_str(), e.ty, &bytes[e.at..e.end])).collect()
    }

    /// The value of a key, whatever its type.
    pub fn value(&self, key: &str) -> Option<Value<'_>> {
        let entry = self.entries.get(key)?;
        let mut cursor = Cursor { file: "", bytes: self.source.bytes(), pos: entry.at };
        Some(value::decode(&mut cursor, entry.ty))
    }

    /// The value of a key as `V`, `None` when the key is absent; an error when it has another type.
    ///
    /// `V` is an integer (from any stored integer type, in range), `f32`/`f64`, `bool`, `&str`/`String`, or
    /// a `Vec` of these from an array.
    pub fn get<'a, V: FromValue<'a>>(&'a self, key: &str) -> Result<Option<V>> {
        let Some(value) = self.value(key) else { return Ok(None) };
        V::from_value(value).map(Some).map_err(|found| FormatError::KeyType {
            file: self.source.name().into(),
            key: key.into(),
            expected: V::EXPECTED,
            found,
        })
    }

    /// As [`GgufMetadata::get`], absence being an error.
    pub fn require<'a, V: FromValue<'a>>(&'a self, key: &str) -> Result<V> {
        self.get(key)?.ok_or_else(|| FormatError::MissingKey {
            file: self.source.name().into(),
            key: key.into(),
            expected: V::EXPECTED,
        })
    }

    /// The file's path, for messages.
    pub fn file(&self) -> &str {
        self.source.name()
    }
}

/// A key that is not UTF-8, which no reader asks for, is listed with its bytes escaped.
fn key(bytes: &[u8]) -> Cow<'_, str> {
    let escaped = || Cow::Owned(bytes.escape_ascii().to_string());
    std::str::from_utf8(bytes).map_or_else(|_| escaped(), Cow::Borrowed)
}

/// Types that a metadata value can be asked for.
pub trait FromValue<'a>: Sized {
    /// The type's name in messages.
    const EXPECTED: &'static str;
    /// Converts, or says what was found instead.
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String>;
}

macro_rules! integers {
    ($($t:ty: $name:literal, $array:literal;)*) => {$(
        impl<'a> FromValue<'a> for $t {
            const EXPECTED: &'static str = $name;
            fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
                let wide: i128 = match value {
                    Value::U8(v) => v.into(),
                    Value::I8(v) => v.into(),
                    Value::U16(v) => v.into(),
                    Value::I16(v) => v.into(),
                    Value::U32(v) => v.into(),
                    Value::I32(v) => v.into(),
                    Value::U64(v) => v.into(),
                    Value::I64(v) => v.into(),
                    other => return Err(other.describe()),
                };
                <$t>::try_from(wide).map_err(|_| value.describe())
            }
        }
        arrays!($t, $array);
    )*};
}

macro_rules! arrays {
    ($t:ty, $array:literal) => {
        impl<'a> FromValue<'a> for Vec<$t> {
            const EXPECTED: &'static str = $array;
            fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
                let Value::Array(array) = value else { return Err(value.describe()) };
                // The array's length was checked against the file's; an element takes at most 16 times
                // its bytes in the file (an empty string: 8 bytes there, a `&str` or `String` here).
                array
                    .iter()
                    .enumerate()
                    .map(|(ix, v)| <$t>::from_value(v).map_err(|found| format!("{found} at index {ix}")))
                    .collect()
            }
        }
    };
}

integers! {
    u8: "an integer 0 to 255", "an array of integers 0 to 255";
    u32: "an integer ≥ 0 of 32 bits", "an array of integers ≥ 0 of 32 bits";
    u64: "an integer ≥ 0", "an array of integers ≥ 0";
    usize: "an integer ≥ 0", "an array of integers ≥ 0";
    i32: "an integer of 32 bits", "an array of integers of 32 bits";
    i64: "an integer", "an array of integers";
}

impl<'a> FromValue<'a> for f64 {
    const EXPECTED: &'static str = "a float";
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
        match value {
            Value::F32(v) => Ok(v.into()),
            Value::F64(v) => Ok(v),
            other => Err(other.describe()),
        }
    }
}

impl<'a> FromValue<'a> for f32 {
    const EXPECTED: &'static str = "a float";
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
        f64::from_value(value).map(|v| v as f32) // f64 is not used by model files; rounding is meant
    }
}

impl<'a> FromValue<'a> for bool {
    const EXPECTED: &'static str = "a bool";
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
        if let Value::Bool(v) = value { Ok(v) } else { Err(value.describe()) }
    }
}

impl<'a> FromValue<'a> for &'a [u8] {
    const EXPECTED: &'static str = "a string";
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
        if let Value::Str(v) = value { Ok(v) } else { Err(value.describe()) }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "a UTF-8 string";
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
        let Value::Str(bytes) = value else { return Err(value.describe()) };
        std::str::from_utf8(bytes).map_err(|_| value.describe())
    }
}

impl<'a> FromValue<'a> for String {
    const EXPECTED: &'static str = "a UTF-8 string";
    fn from_value(value: Value<'a>) -> std::result::Result<Self, String> {
        <&str>::from_value(value).map(str::to_string)
    }
}

arrays!(f32, "an array of floats");
arrays!(f64, "an array of floats");
arrays!(bool, "an array of bools");
arrays!(&'a [u8], "an array of strings");
arrays!(&'a str, "an array of UTF-8 strings");
arrays!(String, "an array of UTF-8 strings");
