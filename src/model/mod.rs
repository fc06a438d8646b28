//! What a model *is*, as data: dimensions, flags and tensor names. One forward serves all families.

pub mod spec;

pub use spec::ModelSpec;
