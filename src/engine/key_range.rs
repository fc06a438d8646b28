//! Which type the KV cache needs, told from what the file says of keys before anything is computed:
//! biases of the projections of K and V (Qwen2), and weights of the norm of keys (Qwen3).
//!
//! A bias is the same at every position, but its rounding is not: rotation moves it. Rounded to
//! steps as large as what tells positions apart, attention sees noise. Measured on a tiny Qwen2
//! (`tests/ranges.rs`), logits with a standard deviation of 5 are off by 0.09 in q8_0 without a
//! large bias, by 0.4 with one of 30, by 0.8 with 100, by 3 with 300; in f16 by 0.04 with 300, by
//! up to 4.6 with 1,000.

use crate::engine::EngineError;
use crate::formats::Archive;
use crate::kernels::kv::KvType;
use crate::model::ModelSpec;
use crate::quant;

/// Largest key bias that a type of the cache holds well: a key beside it is off by at most 1/4.
const MOST_BIAS_F16: f32 = 512.0;
/// As [`MOST_BIAS_F16`]: a block of 32 shares 127 steps.
const MOST_BIAS_Q8_0: f32 = 63.5;
/// Largest key or value that f16 surely holds: twice as much may be left of a pair that turns, and
/// added by the projection itself.
const MOST_F16: f32 = 65504.0 / 2.0;

/// What is known of the keys and values of a layer.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    layer: usize,
    /// Largest magnitude of a bias of K.
    bias: f32,
    /// Largest magnitude that a norm leaves, or that is added to V.
    value: f32,
}

impl Range {
    /// The first type from `asked` on, towards more exact ones, that holds it.
    fn fitting(self, asked: KvType) -> KvType {
        let finer = [KvType::Q8_0, KvType::F16, KvType::F32];
        let from = finer.iter().position(|kv| *kv == asked).unwrap_or(0);
        finer[from..].iter().copied().find(|kv| self.fits(*kv)).unwrap_or(KvType::F32)
    }

    fn fits(self, kv: KvType) -> bool {
        match kv {
            KvType::F32 => true,
            KvType::F16 => self.bias <= MOST_BIAS_F16 && self.value <= MOST_F16,
            // Its scales are f16, 127 times as much as f16 holds; then numbers are as in f16 but
            // for steps.
            KvType::Q8_0 => self.bias <= MOST_BIAS_Q8_0 && self.value <= MOST_F16,
        }
    }

    /// Why not the type that was asked for.
    fn notice(self, asked: KvType, used: KvType) -> String {
        let Range { layer, bias, value } = self;
        let (what, size) = match self.bias > MOST_BIAS_Q8_0 && bias >= value {
            true => ("a bias of keys", bias),
            false => ("keys or values", value.max(bias)),
        };
        let (asked, used) = (asked.name(), used.name());
        format!(
            "{what} up to {size:.0} in layer {layer}: a KV cache in {asked} would not hold that well, \
             {used} is used"
        )
    }
}

/// The type to keep K and V in where `asked` is wanted, and what to tell the user if it is another
/// one.
pub(super) fn cache_type(
    archive: &Archive,
    spec: &ModelSpec,
    asked: KvType,
) -> Result<(KvType, Option<String>), EngineError> {
    let mut worst = (asked, None);
    for layer in 0..spec.n_layers {
        let range = range_of(archive, spec, layer)?;
        let used = range.fitting(worst.0);
        if used != worst.0 {
            worst = (used, Some(range.notice(asked, used)));
        }
    }
    Ok(worst)
}

fn range_of(archive: &Archive, spec: &ModelSpec, layer: usize) -> Result<Range, EngineError> {
    let names = &spec.tensors.layers[layer];
    let most = |name: &Option<String>| name.as_deref().map_or(Ok(0.0), |name| largest(archive, name));
    // An element of a head that is normed is at most √n times its weight.
    let normed = most(&names.k_norm)? * (spec.head_dim as f32).sqrt();
    let bias = if names.k_norm.is_some() { 0.0 } else { most(&names.k_bias)? };
    Ok(Range { layer, bias, value: normed.max(most(&names.v_bias)?) })
}

/// Largest magnitude of a small tensor. NaN counts as nothing: it shows in the logits.
fn largest(archive: &Archive, name: &str) -> Result<f32, EngineError> {
    let info = archive.tensor(name)?;
    let mut values = vec![0.0; info.n_elements()];
    quant::decode(info.dtype, archive.bytes(info), &mut values)
        .map_err(|cause| EngineError::Tensor { tensor: name.to_owned(), cause })?;
    Ok(values.into_iter().map(f32::abs).fold(0.0, f32::max))
}
