//! A small GGUF writer: metadata and tensor table first, then the tensors' bytes streamed in that order.
//! For converted fixtures, test files and benchmark files; nothing is held in memory but the header.
//!
//! ```
//! use anygpu::base::DType;
//! use anygpu::formats::{Archive, gguf::GgufWriter};
//!
//! let mut writer = GgufWriter::new();
//! writer.set("general.architecture", "llama");
//! writer.tensor("output_norm.weight", DType::F32, &[2])?;
//! let mut body = writer.begin(Vec::new())?;
//! body.write(&1.0f32.to_le_bytes())?; // in pieces of any size
//! body.write(&2.0f32.to_le_bytes())?;
//! let archive = Archive::from_memory([("tiny.gguf", body.finish()?)])?;
//! assert_eq!(archive.tensor("output_norm.weight")?.shape, [2]);
//! # Ok::<(), anygpu::formats::FormatError>(())
//! ```

use std::io::Write;

use super::header::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS};
use super::value::ValueType;
use crate::base::DType;
use crate::formats::error::{FormatError, Result};

/// A metadata value to write.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum WriteValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    Str(String),
    /// Elements must all be of this type.
    Array(ValueType, Vec<WriteValue>),
    U64(u64),
    I64(i64),
    F64(f64),
    /// A value of this type as another file has it ([`super::GgufMetadata::encoded`]).
    Encoded(ValueType, Vec<u8>),
}

macro_rules! from {
    ($($t:ty => $variant:ident),*) => {$(
        impl From<$t> for WriteValue {
            fn from(v: $t) -> WriteValue { WriteValue::$variant(v.into()) }
        }
        impl From<Vec<$t>> for WriteValue {
            fn from(v: Vec<$t>) -> WriteValue {
                WriteValue::Array(ValueType::$variant, v.into_iter().map(WriteValue::from).collect())
            }
        }
    )*};
}

from!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, bool => Bool,
      &str => Str, String => Str, u64 => U64, i64 => I64, f64 => F64);

impl WriteValue {
    fn value_type(&self) -> ValueType {
        match self {
            WriteValue::U8(_) => ValueType::U8,
            WriteValue::I8(_) => ValueType::I8,
            WriteValue::U16(_) => ValueType::U16,
            WriteValue::I16(_) => ValueType::I16,
            WriteValue::U32(_) => ValueType::U32,
            WriteValue::I32(_) => ValueType::I32,
            WriteValue::F32(_) => ValueType::F32,
            WriteValue::Bool(_) => ValueType::Bool,
            WriteValue::Str(_) => ValueType::Str,
            WriteValue::Array(..) => ValueType::Array,
            WriteValue::U64(_) => ValueType::U64,
            WriteValue::I64(_) => ValueType::I64,
            WriteValue::F64(_) => ValueType::F64,
            WriteValue::Encoded(value_type, _) => *value_type,
        }
    }

    fn encode(&self, key: &str, out: &mut Vec<u8>) -> Result<()> {
        match self {
            WriteValue::U8(v) => out.extend(v.to_le_bytes()),
            WriteValue::I8(v) => out.extend(v.to_le_bytes()),
            WriteValue::U16(v) => out.extend(v.to_le_bytes()),
            WriteValue::I16(v) => out.extend(v.to_le_bytes()),
            WriteValue::U32(v) => out.extend(v.to_le_bytes()),
            WriteValue::I32(v) => out.extend(v.to_le_bytes()),
            WriteValue::F32(v) => out.extend(v.to_le_bytes()),
            WriteValue::U64(v) => out.extend(v.to_le_bytes()),
            WriteValue::I64(v) => out.extend(v.to_le_bytes()),
            WriteValue::F64(v) => out.extend(v.to_le_bytes()),
            WriteValue::Bool(v) => out.push(u8::from(*v)),
            WriteValue::Str(v) => put_string(v, out),
            WriteValue::Encoded(_, bytes) => out.extend(bytes),
            WriteValue::Array(elem, values) => {
                out.extend((*elem as u32).to_le_bytes()); // the discriminant is the number in the file
                out.extend((values.len() as u64).to_le_bytes());
                for value in values {
                    if value.value_type() != *elem {
                        let found = value.value_type().name();
                        return Err(write_error(format!("array '{key}'"), elem.name(), found));
                    }
                    value.encode(key, out)?;
                }
            }
        }
        Ok(())
    }
}

/// The header of a file to be written.
#[derive(Clone, Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<(String, WriteValue)>,
    /// (name, type, shape outermost first, bytes)
    tensors: Vec<(String, DType, Vec<usize>, usize)>,
}

impl GgufWriter {
    /// An empty file.
    pub fn new() -> GgufWriter {
        GgufWriter::default()
    }

    /// Sets a metadata value, replacing an earlier one of the same key.
    pub fn set(&mut self, key: &str, value: impl Into<WriteValue>) {
        let value = value.into();
        match self.metadata.iter_mut().find(|pair| pair.0 == key) {
            Some(pair) => pair.1 = value,
            None => self.metadata.push((key.into(), value)),
        }
    }

    /// Adds a tensor to the table; `shape` is outermost first. Bytes follow in the same order.
    pub fn tensor(&mut self, name: &str, dtype: DType, shape: &[usize]) -> Result<()> {
        let invalid = |expected: String| {
            let found = format!("{dtype} {shape:?}");
            write_error(format!("tensor '{name}'"), expected, found)
        };
        if shape.is_empty() || shape.len() > MAX_DIMS as usize {
            return Err(invalid(format!("1 to {MAX_DIMS} dimensions")));
        }
        if self.tensors.iter().any(|tensor| tensor.0 == name) {
            return Err(write_error("tensor names".into(), "distinct names", format!("'{name}' twice")));
        }
        let (&cols, outer) = shape.split_last().expect("not empty");
        let row_bytes = dtype
            .row_bytes(cols)
            .ok_or_else(|| invalid(format!("rows of a multiple of {}", dtype.block_len())))?;
        let bytes = outer.iter().try_fold(row_bytes, |n, &dim| n.checked_mul(dim));
        let bytes = bytes.ok_or_else(|| invalid("a size that fits the address space".into()))?;
        self.tensors.push((name.into(), dtype, shape.into(), bytes));
        Ok(())
    }

    /// Writes the header to `out`; the tensors' bytes are then given to the returned [`GgufBody`].
    pub fn begin<W: Write>(self, out: W) -> Result<GgufBody<W>> {
        let alignment = self.alignment()?;
        let mut header = Vec::new();
        header.extend(MAGIC);
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            put_string(key, &mut header);
            header.extend((value.value_type() as u32).to_le_bytes()); // as above
            value.encode(key, &mut header)?;
        }
        let mut offset = 0usize;
        for (name, dtype, shape, bytes) in &self.tensors {
            put_string(name, &mut header);
            header.extend((shape.len() as u32).to_le_bytes()); // at most MAX_DIMS
            for &dim in shape.iter().rev() {
                header.extend((dim as u64).to_le_bytes());
            }
            header.extend(dtype.ggml_id().to_le_bytes());
            header.extend((offset as u64).to_le_bytes());
            let end = offset.checked_add(*bytes).and_then(|end| end.checked_next_multiple_of(alignment));
            offset = end.ok_or_else(|| {
                write_error(
                    "tensors".into(),
                    "a size that fits the address space",
                    format!("more, at '{name}'"),
                )
            })?;
        }
        header.resize(header.len().next_multiple_of(alignment), 0);
        let lengths = self.tensors.iter().map(|t| (t.0.clone(), t.3)).collect::<Vec<_>>().into_iter();
        let mut body = GgufBody { out, alignment, lengths, current: None };
        body.put(&header)?;
        body.advance()?;
        Ok(body)
    }

    fn alignment(&self) -> Result<usize> {
        match self.metadata.iter().find(|pair| pair.0 == ALIGNMENT_KEY) {
            None => Ok(DEFAULT_ALIGNMENT),
            Some((_, WriteValue::U32(v))) if v.is_power_of_two() => Ok(*v as usize), // u32 → usize widens
            // The reader has checked it.
            Some((_, WriteValue::Encoded(ValueType::U32, bytes))) => {
                let bytes = bytes.as_slice().try_into().unwrap_or_default();
                Ok((u32::from_le_bytes(bytes) as usize).max(1)) // u32 → usize widens
            }
            Some((_, other)) => {
                Err(write_error(ALIGNMENT_KEY.into(), "a u32 that is a power of two", format!("{other:?}")))
            }
        }
    }
}

/// Takes the tensors' bytes in the order of the table and pads between them.
#[derive(Debug)]
pub struct GgufBody<W> {
    out: W,
    alignment: usize,
    /// (name, bytes) of the tensors after the current one.
    lengths: std::vec::IntoIter<(String, usize)>,
    /// The tensor being written: name, bytes in all, bytes written.
    current: Option<(String, usize, usize)>,
}

impl<W: Write> GgufBody<W> {
    /// The next bytes of the current tensor: any amount up to its end, not beyond.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some((name, total, done)) = &mut self.current else {
            let found = format!("{} bytes", bytes.len());
            return Err(write_error("data after the last tensor".into(), "nothing", found));
        };
        if bytes.len() > *total - *done {
            let expected = format!("at most {} more bytes", *total - *done);
            return Err(write_error(format!("tensor '{name}'"), expected, bytes.len().to_string()));
        }
        *done += bytes.len();
        self.put(bytes)?;
        self.advance()
    }

    /// Ends the file; every tensor must have all its bytes. Returns the flushed output.
    pub fn finish(mut self) -> Result<W> {
        if let Some((name, total, done)) = self.current {
            return Err(write_error(format!("tensor '{name}'"), format!("{total} bytes"), done.to_string()));
        }
        self.out.flush().map_err(io)?;
        Ok(self.out)
    }

    /// Pads a complete tensor and goes on to the next, past empty ones.
    fn advance(&mut self) -> Result<()> {
        loop {
            match &self.current {
                Some((_, total, done)) if done < total => return Ok(()),
                Some((_, total, _)) => {
                    let padding = total.next_multiple_of(self.alignment) - total;
                    const ZEROS: [u8; 4096] = [0; 4096];
                    for start in (0..padding).step_by(ZEROS.len()) {
                        self.put(&ZEROS[..ZEROS.len().min(padding - start)])?;
                    }
                }
                None => {}
            }
            match self.lengths.next() {
                Some((name, total)) => self.current = Some((name, total, 0)),
                None => {
                    self.current = None;
                    return Ok(());
                }
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(io)
    }
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn write_error(what: String, expected: impl Into<String>, found: impl Into<String>) -> FormatError {
    FormatError::Write { what, expected: expected.into(), found: found.into() }
}

fn io(reason: std::io::Error) -> FormatError {
    FormatError::Io { file: "GGUF output".into(), action: "write", reason }
}
