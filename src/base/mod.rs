//! Plain data shared by every layer: element types, adapter facts. Imports nothing from the crate.

pub mod dtype;

pub use dtype::DType;
