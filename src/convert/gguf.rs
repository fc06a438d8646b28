//! GGUF → [`Plan`]: metadata byte for byte, tensors in the order of their bytes.

use std::collections::BTreeSet;

use super::output::{Kind, Output};
use super::{Plan, Result};
use crate::formats::gguf::WriteValue;
use crate::formats::{Archive, GgufMetadata};
use crate::model::ModelSpec;

/// Keys of a file in parts: what is written is one file.
const SPLIT_PREFIX: &str = "split.";

pub(super) fn plan(archive: &Archive, metadata: &GgufMetadata, spec: &ModelSpec) -> Result<Plan> {
    if let Some(name) = archive.unsupported.keys().next() {
        // Says which type it has, and which are known.
        archive.tensor(name)?;
    }
    let pairs = metadata.encoded().into_iter().filter(|(key, ..)| !key.starts_with(SPLIT_PREFIX));
    let pairs = pairs.map(|(key, ty, bytes)| (key.to_owned(), WriteValue::Encoded(ty, bytes.to_vec())));
    let used: BTreeSet<&str> = spec.expected_tensors().into_iter().map(|(name, _)| name).collect();
    let mut tensors: Vec<_> = archive.tensors.values().collect();
    tensors.sort_by_key(|tensor| (tensor.file, tensor.range.start));
    let kind = |name: &str, dims: usize| match dims {
        0 | 1 => Kind::Vector,
        2 if name == spec.tensors.embedding || name == spec.tensors.output => Kind::Outer,
        2 if used.contains(name) => Kind::Matrix,
        _ => Kind::Other,
    };
    let outputs = tensors.into_iter().map(|t| {
        let kind = kind(&t.name, t.shape.len());
        Output::stored(&t.name, &t.name, &t.shape, t.dtype, kind)
    });
    Ok(Plan { metadata: pairs.collect(), outputs: outputs.collect(), notices: Vec::new() })
}
