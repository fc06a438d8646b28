//! GGUF files, version 2 and 3, little-endian; one file or split into parts `NAME-00001-of-00003.gguf`
//! (any part opens all).
//!
//! In: a file of a folder. Out: tensors, metadata (of the first part, which has all of it), mapped sources.

mod companion;
mod cursor;
mod header;
mod metadata;
pub(super) mod types;
pub mod value;
pub mod write;

pub use companion::Companion;
pub use metadata::{FromValue, GgufMetadata};
pub use value::{ArrayView, Value, ValueType};
pub use write::{GgufWriter, WriteValue};

use super::archive::Tensors;
use super::error::{FormatError, Result};
use super::open::{Need, Opened, join_some};
use super::source::{Files, Source};
use header::Header;
pub(super) use header::MAGIC;

/// Number of this part, from 0.
const SPLIT_NO: &str = "split.no";
/// Number of parts.
const SPLIT_COUNT: &str = "split.count";
/// Number of tensors in all parts.
const SPLIT_TENSORS: &str = "split.tensors.count";

/// Opens the model that `source`, the file `name` of `files`, is or belongs to.
pub(super) fn open(files: &Files, name: &str, source: Source, need: Need) -> Result<Opened<GgufMetadata>> {
    let first = header::read(&source, need)?;
    let n_parts = first.metadata.get::<u32>(SPLIT_COUNT)?.unwrap_or(0);
    if n_parts > u32::from(u16::MAX) {
        return Err(split_error(&source, SPLIT_COUNT, "at most 65535".into(), n_parts.to_string()));
    }
    if n_parts < 2 {
        let mut tensors = Tensors::default();
        tensors.add(0, &source, first.tensors, first.unsupported)?;
        return Ok(Opened { metadata: first.metadata, tensors, sources: vec![source] });
    }
    let names = part_names(&source, name, n_parts)?;
    let present = files.list()?;
    let missing: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|part| present.binary_search_by(|p| (**p).cmp(part)).is_err())
        .collect();
    if let Some(missing) = join_some(&missing) {
        return Err(FormatError::MissingFile { file: source.name().into(), missing });
    }
    open_parts(files, &names, (name, source, first), need)
}

/// Opens all parts; the one called `opened.0` is open already.
fn open_parts(
    files: &Files,
    names: &[String],
    opened: (&str, Source, Header),
    need: Need,
) -> Result<Opened<GgufMetadata>> {
    let (opened_name, opened_source, opened_header) = opened;
    let mut opened_header = Some(opened_header);
    let mut tensors = Tensors::default();
    let mut sources = Vec::with_capacity(names.len());
    let mut metadata: Option<GgufMetadata> = None;
    for (ix, name) in names.iter().enumerate() {
        let reuse = if name == opened_name { opened_header.take() } else { None };
        let (source, header) = match reuse {
            Some(header) => (opened_source.clone(), header),
            None => {
                let missing =
                    || FormatError::MissingFile { file: opened_source.name().into(), missing: name.clone() };
                let source = files.open(name)?.ok_or_else(missing)?;
                let header = header::read(&source, need)?;
                (source, header)
            }
        };
        for (key, expected) in [(SPLIT_NO, ix), (SPLIT_COUNT, names.len())] {
            let found = header.metadata.require::<usize>(key)?;
            if found != expected {
                return Err(split_error(&source, key, expected.to_string(), found.to_string()));
            }
        }
        tensors.add(ix, &source, header.tensors, header.unsupported)?;
        sources.push(source);
        metadata.get_or_insert(header.metadata);
    }
    let metadata = metadata.expect("there are at least two parts");
    let found = tensors.supported.len() + tensors.unsupported.len();
    match metadata.get::<usize>(SPLIT_TENSORS)? {
        Some(expected) if expected != found => Err(split_error(
            &sources[0],
            SPLIT_TENSORS,
            format!("{found}, the sum of all parts"),
            expected.to_string(),
        )),
        _ => Ok(Opened { metadata, tensors, sources }),
    }
}

/// Names of all parts, from the name of one.
fn part_names(source: &Source, name: &str, n_parts: u32) -> Result<Vec<String>> {
    let prefix = split_prefix(name).filter(|&(_, count)| count == n_parts).map(|(prefix, _)| prefix);
    let prefix = prefix.ok_or_else(|| {
        let expected = format!("NAME-00001-of-{n_parts:05}.gguf, as it is one of {n_parts} parts");
        split_error(source, "file name", expected, name.to_string())
    })?;
    let suffix = &name[name.len() - SUFFIX.len()..];
    Ok((1..=n_parts).map(|no| format!("{prefix}-{no:05}-of-{n_parts:05}{suffix}")).collect())
}

const SUFFIX: &str = ".gguf";

/// Does the name end in `.gguf`, in whatever case?
pub(super) fn is_named(name: &str) -> bool {
    let start = name.len().checked_sub(SUFFIX.len());
    start.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
}

/// Is this file, which is not the only one of its folder, something else than a model? One that cannot be
/// read counts as a model: whoever opens it learns why.
pub(super) fn is_companion(source: &Source) -> bool {
    header::read(source, Need::Header).is_ok_and(|header| header.metadata.companion().is_some())
}

/// `NAME` and 3 of `NAME-00001-of-00003.gguf`.
pub(super) fn split_prefix(name: &str) -> Option<(&str, u32)> {
    if !is_named(name) {
        return None;
    }
    let (rest, count) = name[..name.len() - SUFFIX.len()].rsplit_once("-of-")?;
    let (prefix, no) = rest.rsplit_once('-')?;
    let number = |digits: &str| (digits.len() == 5).then(|| digits.parse::<u32>().ok()).flatten();
    number(no)?;
    Some((prefix, number(count)?))
}

fn split_error(source: &Source, what: &str, expected: String, found: String) -> FormatError {
    FormatError::Split { file: source.name().into(), what: what.into(), expected, found }
}
