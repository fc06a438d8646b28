//! The only place that names wgpu: adapters, devices, shader composition, pipelines, graphs of steps.

pub mod adapter;
pub mod buffer;
pub mod compose;
pub mod device;
pub mod error;
pub mod graph;
mod memory;
mod pace;
pub mod pipeline;
mod pipeline_cache;
pub mod staging;
pub mod submit;
pub mod texture;
pub mod timing;

pub use adapter::{AdapterChoice, adapters};
pub use buffer::{Bind, Readback, Resource, Slice};
pub use compose::{Access, Const, KernelSpec, Shader, Snippet};
pub use device::{Gpu, GpuOptions};
pub use error::GpuError;
pub use graph::{Extent, Graph, Grid, Step};
pub use memory::main_memory_available;
pub use staging::{Copies, Staging};
pub use texture::Texture;
