//! What a model *is*, as data: dimensions, flags and tensor names. One forward serves all families.
//!
//! In: a file's metadata ([`hf`]: `config.json`; [`gguf`]: key/value pairs) and the names and shapes
//! of its tensors. Out: a [`ModelSpec`] whose every tensor is known to exist with the right shape
//! ([`ModelSpec::from_archive`]). Without weights: a [`Described`], from a file's header or a name of [`shapes`].
//! Knows nothing of GPUs, files or tokenizers. A further family is a row of `hf::FAMILIES` or
//! `gguf::FAMILIES`, not a second forward.

pub mod check;
mod counts;
mod described;
mod error;
mod from_archive;
pub mod gguf;
pub mod hf;
mod hf_rope;
mod keys;
mod quantized;
mod rope;
pub mod shapes;
pub mod spec;

pub use described::Described;
pub use error::{ModelError, SUPPORTED};
pub(crate) use hf_rope::RopeParts;
pub(crate) use rope::{Scaling, build as build_rope, yarn_mscale};
pub use spec::ModelSpec;
