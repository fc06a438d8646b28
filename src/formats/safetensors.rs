//! One safetensors file → its tensors.
//!
//! Format (README of the safetensors project): u64 little-endian length of the header; the header, JSON:
//! name → `{"dtype", "shape", "data_offsets": [begin, end]}`, beside an optional `"__metadata__"`; then the
//! tensors' bytes, without holes, `data_offsets` counting from the end of the header.
//!
//! The element types and their sizes are those of the `safetensors` crate. Its reader is not used: its errors
//! name neither file nor byte, and on sums of lengths near 2⁶⁴ it overflows (a panic in debug builds).

use std::collections::BTreeSet;

use safetensors::Dtype;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{Deserialize, IgnoredAny, MapAccess, Visitor};

use super::archive::{TensorInfo, UnsupportedTensor};
use super::error::{FormatError, Result};
use super::source::Source;
use crate::base::DType;

/// Longest header that readers accept (the `safetensors` crate's limit).
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH_BYTES: usize = 8;
const DOWNLOAD_AGAIN: &str = "the file is damaged or not safetensors: download it again";

/// Types of tensors that can be used, for messages.
pub(crate) const SUPPORTED: &str = "F64, F32, F16, BF16";

/// A file's tensors; `file` is 0.
pub(super) struct Content {
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) unsupported: Vec<UnsupportedTensor>,
    /// Those stored in F64, as F32.
    pub(super) narrowed: Narrowed,
}

/// Tensors that are held in memory, in a narrower type than the file's.
pub(super) struct Narrowed {
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) source: Source,
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header's entries in file order; names may repeat.
struct Table(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Table, D::Error> {
        struct TableVisitor;
        impl<'de> Visitor<'de> for TableVisitor {
            type Value = Table;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Table, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Table(entries))
            }
        }
        deserializer.deserialize_map(TableVisitor)
    }
}

/// Reads and checks the header of a file; tensor bytes are not touched.
pub(super) fn read(source: &Source) -> Result<Content> {
    source.reject_pointer()?;
    let (header, data_start) = split_header(source)?;
    let Table(mut entries) = serde_json::from_slice(header).map_err(|e| FormatError::Json {
        file: source.name().into(),
        what: "safetensors header (JSON from byte 8)",
        reason: e,
    })?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    check_layout(source, &entries, data_start)?;

    let (mut tensors, mut unsupported) = (Vec::new(), Vec::new());
    let (mut narrow, mut narrow_bytes) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for (name, entry) in entries {
        if !names.insert(name.clone()) {
            return Err(FormatError::Duplicate {
                file: source.name().into(),
                what: "tensor",
                name,
                next: DOWNLOAD_AGAIN,
            });
        }
        let (n_elements, shape) = elements(source, &name, &entry)?;
        check_size(source, &name, &entry, n_elements)?;
        // check_layout has shown that both ends lie within the file, whose length is a usize.
        let (begin, end) = (entry.data_offsets.0 as usize, entry.data_offsets.1 as usize);
        let range = data_start + begin..data_start + end;
        let dtype = match entry.dtype.as_str() {
            "F64" => {
                let start = narrow_bytes.len();
                let wide = source.bytes()[range].as_chunks::<8>().0;
                narrow_bytes.extend(wide.iter().flat_map(|x| (f64::from_le_bytes(*x) as f32).to_le_bytes()));
                let range = start..narrow_bytes.len();
                narrow.push(TensorInfo { name, dtype: DType::F32, shape, file: 0, range });
                continue;
            }
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            _ => {
                unsupported.push(UnsupportedTensor { name, type_name: entry.dtype, shape, file: 0 });
                continue;
            }
        };
        tensors.push(TensorInfo { name, dtype, shape, file: 0, range });
    }
    let narrowed = Narrowed { tensors: narrow, source: Source::memory(source.name(), narrow_bytes) };
    Ok(Content { tensors, unsupported, narrowed })
}

/// The header's bytes, and where the data starts.
fn split_header(source: &Source) -> Result<(&[u8], usize)> {
    let (file, bytes) = (source.name(), source.bytes());
    let truncated = |what: &str, offset, needed| FormatError::Truncated {
        file: file.into(),
        what: what.into(),
        offset,
        needed,
        len: bytes.len(),
    };
    let (length, rest) = bytes
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or_else(|| truncated("header length", 0, LENGTH_BYTES as u64))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(FormatError::Field {
            file: file.into(),
            what: "header length".into(),
            offset: 0,
            expected: format!("at most {MAX_HEADER_BYTES}").into(),
            found: length.to_string().into(),
            next: DOWNLOAD_AGAIN,
        });
    }
    let header = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let header = header.ok_or_else(|| truncated("header", LENGTH_BYTES, length))?;
    Ok((header, LENGTH_BYTES + header.len()))
}

/// `entries`, sorted by offset, must cover the file's data from its first to its last byte.
fn check_layout(source: &Source, entries: &[(String, Entry)], data_start: usize) -> Result<()> {
    let data_len = (source.bytes().len() - data_start) as u64;
    let mut covered = 0;
    for (name, entry) in entries {
        let (begin, end) = entry.data_offsets;
        if begin != covered || end < begin {
            let expected = format!("[{covered}, end], as tensors follow each other without gap or overlap");
            return Err(tensor_error(source, name, "data_offsets", expected, format!("[{begin}, {end}]")));
        }
        if end > data_len {
            return Err(FormatError::TensorData {
                file: source.name().into(),
                tensor: name.clone(),
                end: end.saturating_add(data_start as u64),
                len: source.bytes().len(),
            });
        }
        covered = end;
    }
    if covered == data_len {
        return Ok(());
    }
    Err(FormatError::Field {
        file: source.name().into(),
        what: "data after the last tensor".into(),
        offset: data_start + covered as usize, // covered < data_len, which came from a usize
        expected: "the end of the file".into(),
        found: format!("{} more bytes", data_len - covered).into(),
        next: DOWNLOAD_AGAIN,
    })
}

/// Number of elements and shape, both as `usize`; four bytes per element still fit.
fn elements(source: &Source, name: &str, entry: &Entry) -> Result<(usize, Vec<usize>)> {
    let shape: Option<Vec<usize>> = entry.shape.iter().map(|&dim| usize::try_from(dim).ok()).collect();
    let bytes = shape.as_ref().and_then(|s| s.iter().try_fold(4usize, |n, &dim| n.checked_mul(dim)));
    shape.zip(bytes.map(|bytes| bytes / 4)).map(|(shape, n)| (n, shape)).ok_or_else(|| {
        let expected = "a size that fits the address space".into();
        tensor_error(source, name, "shape", expected, format!("{:?}", entry.shape))
    })
}

/// The bytes between the offsets must be those of the elements. A type that the `safetensors` crate does not
/// know has no size to compare with; such a tensor is never read.
fn check_size(source: &Source, name: &str, entry: &Entry, n_elements: usize) -> Result<()> {
    let dtype = Dtype::deserialize(StrDeserializer::<ValueError>::new(&entry.dtype));
    let Ok(dtype) = dtype else { return Ok(()) };
    let bits = n_elements as u128 * dtype.bitsize() as u128;
    let found = entry.data_offsets.1 - entry.data_offsets.0; // check_layout: end ≥ begin
    if bits == u128::from(found) * 8 {
        return Ok(());
    }
    let expected = format!("{} for {} of shape {:?}", bits.div_ceil(8), entry.dtype, entry.shape);
    Err(tensor_error(source, name, "bytes between data_offsets", expected, found.to_string()))
}

fn tensor_error(
    source: &Source,
    tensor: &str,
    what: &'static str,
    expected: String,
    found: String,
) -> FormatError {
    let (file, tensor) = (source.name().into(), tensor.into());
    let (expected, found) = (expected.into(), found.into());
    FormatError::Tensor { file, tensor, what, expected, found, next: DOWNLOAD_AGAIN }
}
