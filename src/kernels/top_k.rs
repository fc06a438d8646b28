//! The K largest logits, for sampling. `shaders/top_k.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in top_k.wgsl")]
pub struct Params {
    pub cols: u32,
    pub k: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "top_k",
    wgsl: include_str!("../../shaders/top_k.wgsl"),
    bindings: &[("x", Access::Read), ("result", Access::Write)],
    params: &["cols", "k"],
};

/// The only variant.
pub fn shader() -> Shader {
    let consts = vec![("WG", Const::U32(256))];
    Shader { spec: &SPEC, consts, snippets: vec![], bound_as: vec![], f16: false, subgroups: false }
}

/// Bytes of the result for `k` elements.
pub fn result_bytes(k: usize) -> u64 {
    8 * (2 + k as u64)
}

/// One dispatch. `x`: `[cols]` f32; `result`: see [`read`].
pub fn step(gpu: &Gpu, x: &Slice, result: &Slice, params: Params) -> Result<Step, GpuError> {
    gpu.step("top_k", &shader(), &[x, result], params, [Extent::Fixed(1); 3])
}

/// The result as (index, value) by falling value, then rising index; and the number of non-finite elements.
pub fn read(bytes: &[u8]) -> (Vec<(u32, f32)>, u32) {
    let words: Vec<u32> =
        bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let found = (words[0] as usize).min(words.len() / 2 - 2);
    let mut items: Vec<(u32, f32)> =
        words[4..].chunks_exact(2).take(found).map(|w| (w[0], f32::from_bits(w[1]))).collect();
    items.sort_by(|a, b| finite(b.1).total_cmp(&finite(a.1)).then(a.0.cmp(&b.0)));
    (items, words[1])
}

/// Non-finite elements rank as the smallest.
fn finite(v: f32) -> f32 {
    if v.is_finite() { v } else { f32::NEG_INFINITY }
}

/// Odd widths and k; ties at the border; everything equal; NaN.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (cols, k) in [(1usize, 1usize), (5, 5), (257, 40), (1757, 1), (50_000, 64)] {
        for data in ["distinct", "ties", "equal", "nan"] {
            let run = move |gpu: &Gpu| run_case(gpu, cols, k, data);
            let label = format!("{k} of {cols}, {data}");
            checks.push(Check::new("top_k", "top_k", label, run).quick(cols == 257));
        }
    }
    checks
}

/// What the kernel has to pass before a session runs it.
pub fn checks_of() -> Vec<Check> {
    check::quick(checks())
}

fn run_case(gpu: &Gpu, cols: usize, k: usize, data: &str) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let mut x = check::uniform(37, cols);
    match data {
        "ties" => x.iter_mut().for_each(|v| *v = (*v * 4.0).round()),
        "equal" => x.fill(-1.5),
        "nan" => x[cols / 2] = f32::NAN,
        _ => {}
    }
    let x_slice = check::floats(gpu, &x)?;
    let result = check::marked(gpu, 2 * (2 + k))?;
    let params = Params { cols: cols as u32, k: k as u32 };
    let raw = check::finish(gpu, step(gpu, &x_slice, &result, params)?, State::default(), &result)?;
    let (items, bad) = read(bytemuck::cast_slice(&raw[..2 * (2 + k)]));
    let mut order: Vec<(u32, f32)> = x.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
    order.sort_by(|a, b| finite(b.1).total_cmp(&finite(a.1)).then(a.0.cmp(&b.0)));
    let exact = |value: f64| Want::Near { value, tolerance: 0.0 };
    let (mut got, mut want) = (vec![items.len() as f32, bad as f32], Vec::new());
    want.extend([exact(k as f64), exact(x.iter().filter(|v| !v.is_finite()).count() as f64)]);
    for ((i, v), (want_i, want_v)) in items.iter().zip(&order) {
        got.push(*i as f32);
        want.push(exact(f64::from(*want_i)));
        if want_v.is_finite() {
            got.push(*v);
            want.push(exact(f64::from(*want_v)));
        }
    }
    got.extend(&raw[2 * (2 + k)..]);
    Ok((got, want))
}
