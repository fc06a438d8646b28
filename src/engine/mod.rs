//! Runs a model: weights onto the GPU, the list of steps, the KV cache, sampling, generation.

pub mod ahead;
pub mod batch;
pub mod cache;
pub mod error;
pub mod first_use;
pub mod forward;
pub mod generate;
pub mod heartbeat;
mod key_range;
pub mod loader;
pub mod memory;
pub mod model;
pub mod opened;
pub mod perplexity;
pub mod pipelines;
pub mod quality;
pub mod random;
pub mod sampler;
pub mod session;
pub mod steps;
pub mod tables;
pub mod tuned;
pub mod weights;

pub use batch::Batch;
pub use error::EngineError;
pub use generate::{FinishReason, GenerateOptions, Generation};
pub use heartbeat::Heartbeat;
pub use model::{LoadOptions, Model};
pub use opened::Opened;
pub use sampler::{Sampler, SamplerOptions};
pub use session::{Logits, Session};
