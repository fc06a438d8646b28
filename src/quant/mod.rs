//! f32 values ↔ quantized blocks ↔ GPU planes: pure arithmetic on slices. Knows byte layouts, nothing
//! about GPUs, files, threads or time; callers split work by rows and may run it in parallel.
//!
//! - [`decode`](decode()): file bytes of any [`DType`] → f32, bit for bit what ggml computes.
//! - [`encode`](encode()): f32 → file bytes, for the types that `--quant` offers and a few more.
//! - [`PlaneLayout`]: file bytes → the two planes that the shaders read, and back to f32.
//! - [`transcode`](transcode()): from a type without native compute to the one [`native_for`] names.
//!
//! Block layouts and the order of operations are those of ggml (`ggml-common.h`, `ggml-quants.c`,
//! <https://github.com/ggml-org/ggml>); they are described here beside each decoder.

mod decode;
mod encode;
mod encode_k;
mod encode_legacy;
mod error;
mod fit;
mod float;
mod iq;
mod k_quants;
mod legacy;
pub mod planes;
pub mod transcode;

pub use decode::decode;
pub use encode::encode;
pub use error::QuantError;
pub use planes::PlaneLayout;
pub use transcode::{native_for, transcode, transcode_target};

use crate::base::DType;

/// True for the types that shaders compute with directly, which are those that [`PlaneLayout`] knows.
pub fn is_native(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, F32 | F16 | BF16 | Q8_0 | Q4_0 | Q4_1 | Q5_0 | Q5_1 | Q4K | Q5K | Q6K)
}
