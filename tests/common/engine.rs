//! Shared by the tests that run models: the device, and comparing logits.

use anygpu::engine::{LoadOptions, Logits, Model, Session};
use anygpu::gpu::{AdapterChoice, Gpu, GpuOptions};
use anygpu::kernels::kv::KvType;

/// The default adapter (`TEST_ADAPTER` chooses another), in the form that runs models where `tests/kernels.rs` passes.
pub(crate) fn gpu() -> Gpu {
    let gpu = gpu_with(GpuOptions::default());
    gpu.leave_checks_out(&anygpu::kernels::ALL);
    gpu
}

/// The same adapter with other options, and with runtime checks in shaders.
pub(crate) fn gpu_with(options: GpuOptions) -> Gpu {
    let choice = std::env::var("TEST_ADAPTER").map_or(AdapterChoice::Auto, |text| match text.parse() {
        Ok(choice) => choice,
        Err(never) => match never {},
    });
    Gpu::open(&choice, options).expect("an adapter: `make test` installs a software one")
}

/// Options for exact comparison: KV cache in f32.
pub(crate) fn exact() -> LoadOptions {
    LoadOptions { kv: KvType::F32, ..LoadOptions::default() }
}

/// Logits of the last of `ids`, fed in chunks as a prompt is, or token by token.
pub(crate) fn last_logits(model: &Model, ids: &[u32], one_by_one: bool) -> Vec<f32> {
    let mut session = Session::new(model).expect("session");
    if one_by_one {
        for id in ids {
            session.feed(&[*id], Logits::Last, &mut |_| true).expect("feed");
        }
    } else {
        session.feed(ids, Logits::Last, &mut |_| true).expect("feed");
    }
    session.logits().expect("finite logits")
}

/// Largest |got - want|; infinite when lengths differ or anything is NaN.
pub(crate) fn max_difference(got: &[f32], want: &[f64]) -> f64 {
    if got.len() != want.len() || got.is_empty() {
        return f64::INFINITY;
    }
    let differences = got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs());
    differences.fold(0.0, |worst: f64, d| if d.is_nan() { f64::INFINITY } else { worst.max(d) })
}
