//! Values of GGUF metadata, decoded from the file's bytes when they are asked for: an array of 250 000
//! tokens costs one entry until somebody walks over it.
//!
//! Encoding (GGUF specification, ggml's `docs/gguf.md`): a `u32` type, then the value; integers and floats
//! little-endian; bool one byte, 0 or 1; string = u64 length + bytes; array = u32 element type + u64 length
//! + elements without their type.

use super::cursor::Cursor;
use crate::formats::error::Result;

/// Type of a metadata value; the discriminant is its number in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Str = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

use ValueType as T;

/// (type, name, bytes of a value; for strings and arrays the least they take)
const TYPES: [(T, &str, usize); 13] = [
    (T::U8, "u8", 1),
    (T::I8, "i8", 1),
    (T::U16, "u16", 2),
    (T::I16, "i16", 2),
    (T::U32, "u32", 4),
    (T::I32, "i32", 4),
    (T::F32, "f32", 4),
    (T::Bool, "bool", 1),
    (T::Str, "string", 8),
    (T::Array, "array", 12),
    (T::U64, "u64", 8),
    (T::I64, "i64", 8),
    (T::F64, "f64", 8),
];

/// Arrays within arrays: the specification sets no limit, files use one level. Bounds the recursion.
const MAX_ARRAY_DEPTH: usize = 4;

impl ValueType {
    /// Name for messages: `u32`, `string`, `array`.
    pub fn name(self) -> &'static str {
        TYPES[self as usize].1
    }

    fn min_bytes(self) -> usize {
        TYPES[self as usize].2
    }

    fn read(cursor: &mut Cursor<'_>, what: std::fmt::Arguments<'_>) -> Result<ValueType> {
        let at = cursor.pos;
        let id = cursor.u32(what)?;
        let found = TYPES.get(id as usize).map(|row| row.0); // u32 → usize only widens
        found.ok_or_else(|| cursor.field(at, what, "a value type 0 to 12", id.to_string()))
    }
}

/// A metadata value, borrowing the file's bytes.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Value<'a> {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// Bytes of a string; UTF-8 by the specification, not checked.
    Str(&'a [u8]),
    Array(ArrayView<'a>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value<'_> {
    /// Type and value for messages, long content left out: `u32 7`, `array of 32000 string`.
    pub fn describe(&self) -> String {
        match self {
            Value::U8(v) => format!("u8 {v}"),
            Value::I8(v) => format!("i8 {v}"),
            Value::U16(v) => format!("u16 {v}"),
            Value::I16(v) => format!("i16 {v}"),
            Value::U32(v) => format!("u32 {v}"),
            Value::I32(v) => format!("i32 {v}"),
            Value::F32(v) => format!("f32 {v}"),
            Value::Bool(v) => format!("bool {v}"),
            Value::Str(v) => {
                format!("string of {} bytes \"{}\"", v.len(), v[..v.len().min(32)].escape_ascii())
            }
            Value::Array(v) => format!("array of {} {}", v.len, v.elem.name()),
            Value::U64(v) => format!("u64 {v}"),
            Value::I64(v) => format!("i64 {v}"),
            Value::F64(v) => format!("f64 {v}"),
        }
    }
}

/// The elements of an array, still encoded. They were walked over once when the file was opened.
#[derive(Clone, Copy, Debug)]
pub struct ArrayView<'a> {
    /// Type of the elements.
    pub elem: ValueType,
    /// Number of elements.
    pub len: usize,
    bytes: &'a [u8],
}

impl<'a> ArrayView<'a> {
    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
        let mut cursor = Cursor::new("", self.bytes);
        let elem = self.elem;
        (0..self.len).map(move |_| decode(&mut cursor, elem))
    }
}

/// Walks over one value of a file, type first, checking everything that [`decode`] relies on. Returns its
/// type; the value lies between the position after the type and the cursor's new position.
pub(super) fn check(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueType> {
    let ty = ValueType::read(cursor, format_args!("type of metadata key '{key}'"))?;
    check_body(cursor, ty, key, 0)?;
    Ok(ty)
}

fn check_body(cursor: &mut Cursor<'_>, ty: ValueType, key: &str, depth: usize) -> Result<()> {
    let at = cursor.pos;
    match ty {
        T::Str => {
            cursor.string(format_args!("string of metadata key '{key}'"))?;
        }
        T::Bool => check_bools(cursor, 1, key)?,
        T::Array if depth == MAX_ARRAY_DEPTH => {
            let what = format_args!("nesting of metadata key '{key}'");
            return Err(cursor.field(at, what, format!("at most {MAX_ARRAY_DEPTH} arrays deep"), "more"));
        }
        T::Array => check_array(cursor, key, depth)?,
        scalar => {
            cursor.take(scalar.min_bytes() as u64, format_args!("value of metadata key '{key}'"))?;
        }
    }
    Ok(())
}

fn check_array(cursor: &mut Cursor<'_>, key: &str, depth: usize) -> Result<()> {
    let elem = ValueType::read(cursor, format_args!("element type of metadata key '{key}'"))?;
    let len = cursor.count(elem.min_bytes(), format_args!("array length of metadata key '{key}'"))?;
    match elem {
        T::Bool => check_bools(cursor, len, key),
        T::Str | T::Array => (0..len).try_for_each(|_| check_body(cursor, elem, key, depth + 1)),
        scalar => {
            // count() has made sure that the product is at most the rest of the file
            let bytes = (len * scalar.min_bytes()) as u64;
            cursor.take(bytes, format_args!("array of metadata key '{key}'")).map(|_| ())
        }
    }
}

fn check_bools(cursor: &mut Cursor<'_>, n: usize, key: &str) -> Result<()> {
    let at = cursor.pos;
    let what = format_args!("bool of metadata key '{key}'");
    let bytes = cursor.take(n as u64, what)?;
    match bytes.iter().position(|&b| b > 1) {
        None => Ok(()),
        Some(ix) => Err(cursor.field(at + ix, what, "0 or 1", bytes[ix].to_string())),
    }
}

/// Decodes a value that [`check`] has walked over. On bytes that were not checked it returns zeros and
/// empty strings rather than panic.
pub(super) fn decode<'a>(cursor: &mut Cursor<'a>, ty: ValueType) -> Value<'a> {
    match ty {
        T::U8 => Value::U8(u8::from_le_bytes(fixed(cursor))),
        T::I8 => Value::I8(i8::from_le_bytes(fixed(cursor))),
        T::U16 => Value::U16(u16::from_le_bytes(fixed(cursor))),
        T::I16 => Value::I16(i16::from_le_bytes(fixed(cursor))),
        T::U32 => Value::U32(u32::from_le_bytes(fixed(cursor))),
        T::I32 => Value::I32(i32::from_le_bytes(fixed(cursor))),
        T::U64 => Value::U64(u64::from_le_bytes(fixed(cursor))),
        T::I64 => Value::I64(i64::from_le_bytes(fixed(cursor))),
        T::F32 => Value::F32(f32::from_le_bytes(fixed(cursor))),
        T::F64 => Value::F64(f64::from_le_bytes(fixed(cursor))),
        T::Bool => Value::Bool(fixed::<1>(cursor)[0] != 0),
        T::Str => Value::Str(cursor.string(format_args!("")).unwrap_or_default()),
        T::Array => decode_array(cursor),
    }
}

fn decode_array<'a>(cursor: &mut Cursor<'a>) -> Value<'a> {
    let elem = ValueType::read(cursor, format_args!("")).unwrap_or(T::U8);
    let len = cursor.count(elem.min_bytes(), format_args!("")).unwrap_or(0);
    let start = cursor.pos;
    match elem {
        T::Str | T::Array => (0..len).for_each(|_| {
            decode(cursor, elem);
        }),
        scalar => {
            let _ = cursor.take((len * scalar.min_bytes()) as u64, format_args!(""));
        }
    }
    Value::Array(ArrayView { elem, len, bytes: &cursor.bytes[start..cursor.pos] })
}

fn fixed<const N: usize>(cursor: &mut Cursor<'_>) -> [u8; N] {
    cursor.take(N as u64, format_args!("")).ok().and_then(|b| b.try_into().ok()).unwrap_or([0; N])
}
