//! Plain data shared by every layer: element types, adapter facts. Imports nothing from the crate.

pub mod activations;
pub mod adapter_facts;
pub mod dtype;
pub mod kv;
pub mod quote;
mod words;

pub use activations::Activations;
pub use adapter_facts::{AdapterFacts, AdapterKind, Maker};
pub use dtype::DType;
pub use kv::KvType;
pub use words::counted;
