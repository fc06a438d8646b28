//! Model files → named tensors and metadata. Pure CPU; bytes stay memory-mapped.

pub mod archive;
