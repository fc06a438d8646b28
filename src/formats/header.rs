//! [`Header`]: what a model's files say of it, for questions that need no weights.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use super::archive::{Metadata, TensorInfo, Tensors, UnsupportedTensor};
use super::error::Result;
use super::open::{self, Extent, Need, Parts};

/// The description of a model whose tensors' bytes need not be there. It has no way to ask for them: that
/// takes an [`Archive`](super::Archive).
#[derive(Debug)]
pub struct Header {
    /// By name; `range` may reach beyond the end of the file. Empty when `extent` is [`Extent::Config`].
    pub tensors: BTreeMap<String, TensorInfo>,
    /// By name: those whose type cannot be decoded.
    pub unsupported: BTreeMap<String, UnsupportedTensor>,
    /// What the file says of the model beside its tensors; of a `config.json` alone only that.
    pub metadata: Metadata,
    /// The path as it was given.
    pub name: String,
    /// How much is there.
    pub extent: Extent,
}

impl Header {
    /// Reads what [`Archive::open`](super::Archive::open) opens, and beside that a GGUF file (or parts) cut
    /// off behind its header, a `config.json`, and a folder that has one without (all of) its weights.
    pub fn open(path: &Path) -> Result<Header> {
        open::path(path, Need::Header).map(Header::from_parts)
    }

    /// As [`Header::open`] of a folder, from named files in memory.
    pub fn from_memory<N, B>(files: impl IntoIterator<Item = (N, B)>) -> Result<Header>
    where
        N: Into<String>,
        B: Into<Cow<'static, [u8]>>,
    {
        open::memory(files, Need::Header).map(Header::from_parts)
    }

    fn from_parts(parts: Parts) -> Header {
        let Tensors { supported, unsupported } = parts.tensors;
        let Parts { metadata, name, extent, .. } = parts;
        Header { tensors: supported, unsupported, metadata, name, extent }
    }
}
