//! Compiled pipelines in the [`cache`] directory, by adapter, driver and version.

use crate::engine::cache;
use crate::gpu::Gpu;

/// Pipelines of models that are gone stay in the file: when it gets this large, it begins anew.
const MOST_BYTES: usize = 128 << 20;

/// The device begins with the pipelines of earlier processes, and from now on [`keep`] keeps what it compiles.
pub fn load(gpu: &Gpu) {
    let kept = cache::read(&name(gpu)).filter(|kept| kept.len() <= MOST_BYTES);
    gpu.use_pipelines(kept.as_deref());
}

/// Keeps what was compiled, if there is anything new and [`load`] was called. A cache that cannot be written only
/// costs time.
pub fn keep(gpu: &Gpu) {
    if let Some(pipelines) = gpu.pipelines_to_keep() {
        let _ = cache::write(&name(gpu), &pipelines);
    }
}

fn name(gpu: &Gpu) -> String {
    format!("pipelines-{}.bin", gpu.facts().cache_key())
}
