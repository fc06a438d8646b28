//! The header of one GGUF file: magic, version, metadata, tensor table (GGUF specification, ggml's
//! `docs/gguf.md`).
//!
//! Layout, all little-endian: `"GGUF"`, u32 version (2 or 3), u64 number of tensors, u64 number of metadata
//! pairs; the pairs; per tensor: name, u32 number of dimensions, u64 each (innermost first), u32 type, u64
//! offset; padding to `general.alignment`; the tensors' bytes, offsets counting from here.

use super::cursor::{Cursor, DOWNLOAD_AGAIN};
use super::metadata::GgufMetadata;
use super::types;
use crate::base::DType;
use crate::formats::archive::{TensorInfo, UnsupportedTensor};
use crate::formats::error::{FormatError, Result};
use crate::formats::open::Need;
use crate::formats::source::Source;

/// First bytes of every GGUF file.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
/// Alignment of tensors where the metadata does not name one.
pub(super) const DEFAULT_ALIGNMENT: usize = 32;
/// The key that names another.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";
/// ggml's tensors have at most four dimensions.
pub(super) const MAX_DIMS: u32 = 4;
/// Fewest bytes of a row of the tensor table: name length, dimensions' count, one dimension, type, offset.
const MIN_TENSOR_BYTES: usize = 8 + 4 + 8 + 4 + 8;

/// One file's content.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: GgufMetadata,
    /// In the order of the table; `file` is 0.
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) unsupported: Vec<UnsupportedTensor>,
}

/// A row of the tensor table, as stored.
struct Row<'a> {
    name: &'a str,
    /// Outermost first.
    shape: Vec<usize>,
    type_id: u32,
    offset: u64,
    /// Where in the file the fields `type_id` and `offset` are, for messages.
    type_at: usize,
    offset_at: usize,
}

/// Reads and checks the header of one file; tensor bytes are not touched, and need not be there unless
/// they are needed.
pub(super) fn read(source: &Source, need: Need) -> Result<Header> {
    source.reject_pointer()?;
    let mut cursor = Cursor::new(source.name(), source.bytes());
    check_magic(&mut cursor)?;
    let n_tensors_at = cursor.pos;
    let n_tensors = cursor.u64(format_args!("number of tensors"))?;
    let n_pairs_at = cursor.pos;
    let n_pairs = cursor.u64(format_args!("number of metadata pairs"))?;
    let metadata = GgufMetadata::read(source, &mut cursor, n_pairs, n_pairs_at)?;
    let alignment = alignment(&metadata)?;

    let room = (cursor.remaining() / MIN_TENSOR_BYTES) as u64;
    if n_tensors > room {
        let expected = format!("at most {room} (what the file has room for)");
        let what = format_args!("number of tensors");
        return Err(cursor.field(n_tensors_at, what, expected, n_tensors.to_string()));
    }
    let rows = (0..n_tensors).map(|ix| read_row(&mut cursor, ix)).collect::<Result<Vec<_>>>()?;
    // A file without tensors (vocabulary only) need not be padded.
    let data_start = cursor.pos.checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
    let data = Data { start: data_start, alignment, need };

    let mut header = Header { metadata, tensors: Vec::new(), unsupported: Vec::new() };
    for row in rows {
        match DType::from_ggml_id(row.type_id) {
            Some(dtype) => header.tensors.push(place(&cursor, &row, dtype, &data)?),
            None => header.unsupported.push(unsupported(&cursor, &row)?),
        }
    }
    check_overlap(&cursor, &header.tensors)?;
    Ok(header)
}

fn check_magic(cursor: &mut Cursor<'_>) -> Result<()> {
    let magic = cursor.take(4, format_args!("magic number"))?;
    let error = |at, what: &str, expected: &str, found: String, next| {
        let (file, what, expected, found) = (cursor.file.into(), what.into(), expected.into(), found.into());
        Err(FormatError::Field { file, what, offset: at, expected, found, next })
    };
    if magic != MAGIC {
        let found = format!("\"{}\"", magic.escape_ascii());
        return error(0, "magic number", "\"GGUF\"", found, DOWNLOAD_AGAIN);
    }
    const REPLACE: &str = "take a newer conversion of the model";
    match cursor.u32(format_args!("version"))? {
        2 | 3 => Ok(()),
        1 => error(4, "version", "2 or 3", "1 (of 2023)".into(), REPLACE),
        // The magic bytes are the same in both byte orders, the version is not.
        v @ (0x0100_0000 | 0x0200_0000 | 0x0300_0000) => {
            let found = format!("{} in big-endian order", v.swap_bytes());
            error(4, "version", "2 or 3 in little-endian order", found, "take the little-endian file")
        }
        v if v > 3 && v < 256 => {
            error(4, "version", "2 or 3", v.to_string(), "update anygpu, or take an older conversion")
        }
        v => error(4, "version", "2 or 3", v.to_string(), DOWNLOAD_AGAIN),
    }
}

fn alignment(metadata: &GgufMetadata) -> Result<usize> {
    let Some(alignment) = metadata.get::<u32>(ALIGNMENT_KEY)? else { return Ok(DEFAULT_ALIGNMENT) };
    match usize::try_from(alignment) {
        Ok(alignment) if alignment.is_power_of_two() => Ok(alignment),
        _ => Err(FormatError::KeyType {
            file: metadata.file().into(),
            key: ALIGNMENT_KEY.into(),
            expected: "a power of two",
            found: alignment.to_string(),
        }),
    }
}

fn read_row<'a>(cursor: &mut Cursor<'a>, ix: u64) -> Result<Row<'a>> {
    let at = cursor.pos;
    let name = cursor.name(format_args!("name of tensor {ix}"))?;
    if name.is_empty() {
        return Err(cursor.field(at, format_args!("name of tensor {ix}"), "a name", "nothing"));
    }
    let dims_at = cursor.pos;
    let what = format_args!("number of dimensions of tensor '{name}'");
    let n_dims = cursor.u32(what)?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        return Err(cursor.field(dims_at, what, format!("1 to {MAX_DIMS}"), n_dims.to_string()));
    }
    let mut shape = Vec::with_capacity(MAX_DIMS as usize);
    for dim_ix in 0..n_dims {
        let at = cursor.pos;
        let what = format_args!("dimension {dim_ix} of tensor '{name}'");
        let dim = cursor.u64(what)?;
        let fits = usize::try_from(dim).ok().filter(|&dim| dim <= isize::MAX as usize);
        shape.push(fits.ok_or_else(|| cursor.field(at, what, "a size", dim.to_string()))?);
    }
    shape.reverse();
    // ggml fills shapes up with trailing ones, here leading: they say nothing of a matrix.
    let n_ones = shape.iter().take_while(|&&dim| dim == 1).count().min(shape.len().saturating_sub(2));
    shape.drain(..n_ones);
    let type_at = cursor.pos;
    let type_id = cursor.u32(format_args!("type of tensor '{name}'"))?;
    let offset_at = cursor.pos;
    let offset = cursor.u64(format_args!("offset of tensor '{name}'"))?;
    Ok(Row { name, shape, type_id, offset, type_at, offset_at })
}

/// Where the tensors' bytes are.
struct Data {
    start: usize,
    alignment: usize,
    need: Need,
}

/// Checks shape, offset and length of a tensor against its type and the file.
fn place(cursor: &Cursor<'_>, row: &Row<'_>, dtype: DType, data: &Data) -> Result<TensorInfo> {
    let (name, alignment) = (row.name, data.alignment);
    let len = cursor.bytes.len();
    let limit = if data.need == Need::Bytes { len } else { usize::MAX };
    let tensor_error = |what, expected: String, found: String| FormatError::Tensor {
        file: cursor.file.into(),
        tensor: name.into(),
        what,
        expected: expected.into(),
        found: found.into(),
        next: DOWNLOAD_AGAIN,
    };
    let (&cols, outer) = row.shape.split_last().expect("read_row makes at least one dimension");
    let too_big =
        || tensor_error("shape", "a size that fits the address space".into(), format!("{:?}", row.shape));
    // The element count must fit too: later layers multiply it by the size of an f32.
    row.shape.iter().try_fold(4usize, |n, &dim| n.checked_mul(dim)).ok_or_else(too_big)?;
    let row_bytes = dtype.row_bytes(cols).ok_or_else(|| {
        let expected = format!("a multiple of {} (block of {dtype})", dtype.block_len());
        tensor_error("row length", expected, cols.to_string())
    })?;
    let bytes = outer.iter().try_fold(row_bytes, |n, &dim| n.checked_mul(dim)).ok_or_else(too_big)?;

    if !row.offset.is_multiple_of(alignment as u64) {
        let what = format_args!("offset of tensor '{name}'");
        let expected = format!("a multiple of {alignment} ({ALIGNMENT_KEY})");
        return Err(cursor.field(row.offset_at, what, expected, row.offset.to_string()));
    }
    let start = usize::try_from(row.offset).ok().and_then(|offset| data.start.checked_add(offset));
    let end = start.and_then(|start| start.checked_add(bytes));
    match (start, end) {
        (Some(start), Some(end)) if end <= limit => {
            let shape = row.shape.clone();
            Ok(TensorInfo { name: name.into(), dtype, shape, file: 0, range: start..end })
        }
        _ => Err(FormatError::TensorData {
            file: cursor.file.into(),
            tensor: name.into(),
            end: end.map_or(u64::MAX, |end| end as u64),
            len,
        }),
    }
}

fn unsupported(cursor: &Cursor<'_>, row: &Row<'_>) -> Result<UnsupportedTensor> {
    let Some(type_name) = types::undecodable(row.type_id) else {
        return Err(FormatError::Field {
            file: cursor.file.into(),
            what: format!("type of tensor '{}'", row.name),
            offset: row.type_at,
            expected: format!("a known ggml type ({})", types::supported()).into(),
            found: row.type_id.to_string().into(),
            next: "the type is newer than this program, or the file is damaged",
        });
    };
    Ok(UnsupportedTensor {
        name: row.name.into(),
        type_name: format!("{type_name} (ggml type {})", row.type_id),
        shape: row.shape.clone(),
        file: 0,
    })
}

/// Two tensors that share bytes are never meant.
fn check_overlap(cursor: &Cursor<'_>, tensors: &[TensorInfo]) -> Result<()> {
    let mut order: Vec<&TensorInfo> = tensors.iter().filter(|t| !t.range.is_empty()).collect();
    order.sort_by_key(|t| t.range.start);
    for pair in order.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            return Err(FormatError::Tensor {
                file: cursor.file.into(),
                tensor: pair[1].name.clone(),
                what: "start of data",
                expected: format!("byte {} or later, where '{}' ends", pair[0].range.end, pair[0].name)
                    .into(),
                found: format!("byte {}", pair[1].range.start).into(),
                next: DOWNLOAD_AGAIN,
            });
        }
    }
    Ok(())
}
