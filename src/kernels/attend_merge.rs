//! Joins the parts of attention that was split over positions. `shaders/attend_merge.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::{Split, State};
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in attend_merge.wgsl")]
pub struct Params {
    pub splits: u32,
    pub heads: u32,
    pub out_stride: u32,
    pub partial_at: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "attend_merge",
    wgsl: include_str!("../../shaders/attend_merge.wgsl"),
    bindings: &[("out", Access::Write)],
    params: &["splits", "heads", "out_stride", "partial_at"],
};

/// Invocations per workgroup.
const WG: u32 = 64;

/// Floats of one head of one split.
pub fn partial_floats(head_dim: usize) -> usize {
    head_dim + 2
}

/// The variant for this width of heads.
pub fn shader(head_dim: usize) -> Shader {
    let consts = vec![("WG", Const::U32(WG)), ("HEAD_DIM", Const::U32(head_dim as u32))];
    Shader { spec: &SPEC, consts, snippets: Vec::new(), bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch, in runs whose attention is split. `out`: [n_tokens, out_stride] f32, and from `partial_at` on
/// [n_tokens, splits, heads, head_dim + 2] f32.
pub fn step(
    gpu: &Gpu,
    label: &str,
    head_dim: usize,
    split: Split,
    out: &Slice,
    params: Params,
) -> Result<Step, GpuError> {
    let grid = [Extent::IfSplit(split, params.heads), Extent::TokensPer(1), Extent::Fixed(1)];
    gpu.step(label, &shader(head_dim), &[out], params, grid)
}

/// Widths of heads worth testing.
const WIDTHS: [usize; 5] = [2, 6, 64, 80, 256];

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    WIDTHS.map(shader).into()
}

/// Every width × few and many splits, some of them without a position.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for head_dim in WIDTHS {
        for splits in [2, 5, 16] {
            checks.push(check(head_dim, splits).quick(head_dim == 64));
        }
    }
    checks
}

/// What the kernel has to pass before it joins splits of heads this wide.
pub fn checks_of(head_dim: usize) -> Vec<Check> {
    [2, 16].map(|splits| check(head_dim, splits)).into()
}

fn check(head_dim: usize, splits: usize) -> Check {
    let label = format!("3 heads of {head_dim} in {splits} splits");
    Check::new("attend_merge", "attend_merge", label, move |gpu| run_case(gpu, head_dim, splits))
}

fn run_case(gpu: &Gpu, head_dim: usize, splits: usize) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let (tokens, heads, row) = (2, 3, partial_floats(head_dim));
    let out_stride = heads * head_dim + 5;
    let mut partial = check::uniform(71, tokens * splits * heads * row);
    for (i, part) in partial.chunks_exact_mut(row).enumerate() {
        part[head_dim] *= 20.0;
        part[head_dim + 1] = part[head_dim + 1].abs() + 0.5;
        if (i / heads) % splits == splits - 1 {
            // No position came to the last split.
            part[..head_dim].fill(0.0);
            part[head_dim] = -3.0e38;
            part[head_dim + 1] = 0.0;
        }
    }
    // Rows, untouched floats, parts of sums, untouched floats again.
    let partial_at = tokens * out_stride + check::GUARD;
    let out = check::marked(gpu, partial_at + partial.len())?;
    gpu.write(&out, partial_at as u64 * 4, bytemuck::cast_slice(&partial));
    let state = State { n_tokens: tokens as u32, pos: 100, ..State::default() };
    let split = Split { above: 0, splits: splits as u32, window: 0 };
    let params = Params {
        splits: splits as u32,
        heads: heads as u32,
        out_stride: out_stride as u32,
        partial_at: partial_at as u32,
    };
    let step = step(gpu, "check", head_dim, split, &out, params)?;
    let got = check::finish(gpu, step, state, &out)?;
    let mut want = vec![Want::Untouched; partial_at];
    want.extend(partial.iter().map(|v| Want::Near { value: f64::from(*v), tolerance: 0.0 }));
    for token in 0..tokens {
        for head in 0..heads {
            let parts: Vec<&[f32]> =
                (0..splits).map(|s| &partial[((token * splits + s) * heads + head) * row..][..row]).collect();
            let top = parts.iter().map(|p| f64::from(p[head_dim])).fold(f64::NEG_INFINITY, f64::max);
            let shares: Vec<f64> = parts.iter().map(|p| (f64::from(p[head_dim]) - top).exp()).collect();
            let total: f64 = parts.iter().zip(&shares).map(|(p, s)| s * f64::from(p[head_dim + 1])).sum();
            for e in 0..head_dim {
                let terms = parts.iter().zip(&shares).map(|(p, s)| s * f64::from(p[e]) / total);
                let (value, magnitude) = terms.fold((0.0, 0.0), |(v, m), t| (v + t, m + t.abs()));
                // exp errs by 3 + 2|x| ulp (WGSL §15.7.4), |x| ≤ 40 here where the result counts.
                let tolerance = 200.0 * f64::from(f32::EPSILON) * magnitude + 1e-30;
                want[token * out_stride + head * head_dim + e] = Want::Near { value, tolerance };
            }
        }
    }
    Ok((got, want))
}
