//! anygpu: language models on any GPU adapter.

pub mod base;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
pub mod formats;
pub mod gpu;
pub mod kernels;
pub mod model;
pub mod quant;
pub mod tokenizer;
