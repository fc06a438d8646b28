//! Model files → named tensors and metadata. Pure CPU; bytes stay memory-mapped.
//!
//! In: a path (or named byte slices). Out: an [`Archive`]: each tensor's type, shape and checked byte range,
//! and the [`Metadata`] of a Hugging Face folder or a GGUF file; or a [`Header`], which needs no tensor's bytes
//! and so reads files that were cut off, and a `config.json` alone. This layer does not know what the tensors
//! mean ([`crate::model`]) nor how blocks are decoded, and it never holds a copy of the weights.
//!
//! Files are not trusted: every number read is checked before it is used as a size, an offset or a count, so
//! damaged files end in a [`FormatError`], never in a panic or a huge allocation (`tests/formats.rs`,
//! `tests/fuzz_formats.rs`).

pub mod archive;
mod cache;
pub mod error;
pub mod gguf;
pub mod header;
pub mod hf;
mod kinds;
mod names;
mod open;
pub mod safetensors;
pub mod source;

pub use archive::{Archive, Metadata, TensorInfo, UnsupportedTensor};
pub use cache::main_snapshot;
pub use error::FormatError;
pub use gguf::GgufMetadata;
pub use header::Header;
pub use hf::HfFolder;
pub use open::Extent;
pub use source::Source;
