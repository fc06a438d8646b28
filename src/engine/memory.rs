//! Does it fit? The sum is made and shown before anything is allocated.

use crate::base::{AdapterFacts, AdapterKind, DType};
use crate::engine::EngineError;
use crate::engine::forward::{self, Sizes};
use crate::engine::loader;
use crate::formats::Archive;
use crate::gpu::{Gpu, main_memory_available};
use crate::model::ModelSpec;
use crate::plan::memory::HEADROOM_BYTES;
pub use crate::plan::memory::Memory as Needs;
use crate::plan::weights::Matrices;
use crate::quant::PlaneLayout;

/// How much an adapter has to give, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Available {
    /// Bytes.
    pub bytes: u64,
    /// For people.
    pub source: String,
}

/// Device memory where the adapter tells, else main memory for adapters that share it.
pub fn available(facts: &AdapterFacts, limit: Option<u64>) -> Option<Available> {
    if let Some(bytes) = limit {
        return Some(Available { bytes, source: "--memory".to_owned() });
    }
    let separate = !matches!(facts.kind, AdapterKind::Cpu | AdapterKind::Integrated);
    if let (Some(bytes), true) = (facts.memory_bytes, separate) {
        return Some(Available { bytes, source: "device memory as the driver tells".to_owned() });
    }
    let bytes = main_memory_available();
    (facts.shares_main_memory() && bytes > 0)
        .then(|| Available { bytes, source: "main memory available, which the adapter shares".to_owned() })
}

/// The sum for this model, quantization and session.
pub fn needs(
    archive: &Archive,
    spec: &ModelSpec,
    quant: Option<DType>,
    sizes: Sizes,
) -> Result<Needs, EngineError> {
    let mut weights = 0;
    for (name, shape) in spec.expected_tensors() {
        let info = archive.tensor(name)?;
        let (rows, cols) = match shape[..] {
            [rows, cols] => (rows, cols),
            _ => {
                weights += info.n_elements() as u64 * 4;
                continue;
            }
        };
        let is_output = name == spec.tensors.embedding || name == spec.tensors.output;
        let quant = if is_output { quant.map(crate::plan::weights::output_type) } else { quant };
        let target = loader::target(info.dtype, cols, quant, archive.bytes(info));
        let layout = PlaneLayout::new(target.dtype, cols)
            .map_err(|cause| EngineError::Tensor { tensor: name.to_owned(), cause })?;
        weights += (layout.quant_row_bytes + layout.scale_row_bytes) as u64 * rows as u64;
    }
    let buffers = forward::buffer_bytes(spec, sizes);
    Ok(Needs { weights, kv: buffers.kv, activations: buffers.activations, headroom: HEADROOM_BYTES })
}

/// The sum for a model that is made, not loaded.
pub fn needs_of(spec: &ModelSpec, matrices: &Matrices, sizes: Sizes) -> Needs {
    let buffers = forward::buffer_bytes(spec, sizes);
    Needs {
        weights: matrices.bytes(),
        kv: buffers.kv,
        activations: buffers.activations,
        headroom: HEADROOM_BYTES,
    }
}

/// Refuses a further session's buffers where they do not fit beside what is loaded.
pub fn check_session(gpu: &Gpu, spec: &ModelSpec, sizes: Sizes, loaded: u64) -> Result<(), EngineError> {
    let buffers = forward::buffer_bytes(spec, sizes);
    // Of main memory, only what is left is counted as available.
    let weights = if gpu.shares_main_memory() { 0 } else { loaded };
    let needs = Needs { weights, kv: buffers.kv, activations: buffers.activations, headroom: HEADROOM_BYTES };
    check(&needs, available(gpu.facts(), None).as_ref(), gpu.facts())
}

/// Refuses what does not fit, with the sum.
pub fn check(needs: &Needs, available: Option<&Available>, facts: &AdapterFacts) -> Result<(), EngineError> {
    let Some(available) = available else { return Ok(()) };
    if needs.total() <= available.bytes {
        return Ok(());
    }
    let hint = if needs.total() - needs.kv / 2 <= available.bytes {
        "; a shorter context fits (--ctx), or a smaller cache (--kv q8_0 takes half of f16)"
    } else {
        "; try fewer bits per weight (--quant, down to q4_0, or a smaller GGUF) or a smaller model"
    };
    Err(EngineError::OutOfMemory {
        adapter: facts.id(),
        needed: mib(needs.total()),
        available: mib(available.bytes),
        source_of_limit: available.source.clone(),
        parts: format!(
            "weights {} + KV cache {} + activations {} + headroom {}",
            mib(needs.weights),
            mib(needs.kv),
            mib(needs.activations),
            mib(needs.headroom)
        ),
        hint: hint.to_owned(),
    })
}

/// `1234 MiB`
pub fn mib(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}
