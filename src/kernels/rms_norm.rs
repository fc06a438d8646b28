//! y = x / sqrt(mean(x²) + ε) · weight (Zhang & Sennrich 2019, eq. 4). `shaders/rms_norm.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::reduce::{self, Reduce};
use crate::kernels::weights::BLOCK;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in rms_norm.wgsl")]
pub struct Params {
    pub cols: u32,
    pub stride: u32,
    pub eps: f32,
    pub of_logits: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "rms_norm",
    wgsl: include_str!("../../shaders/rms_norm.wgsl"),
    bindings: &[
        ("x", Access::Read),
        ("weight", Access::Read),
        ("y", Access::Write),
        ("state", Access::Uniform),
    ],
    params: &["cols", "stride", "eps", "of_logits"],
};

/// Invocations per workgroup.
const WG: u32 = 128;

/// The variant that sums with `reduce`.
pub fn shader(reduce: Reduce) -> Shader {
    let snippets = vec![reduce::state(), reduce.snippet()];
    let consts = vec![("WG", Const::U32(WG))];
    Shader { spec: &SPEC, consts, snippets, bound_as: vec![], f16: false, subgroups: reduce.subgroups() }
}

/// One norm over rows of `cols` floats, each padded with zeros to a multiple of 32.
#[derive(Clone, Copy)]
pub struct RmsNorm<'a> {
    /// [n_tokens, stride] f32.
    pub x: &'a Slice,
    /// `[stride]` f32, tail zero.
    pub weight: &'a Slice,
    /// [n_tokens, stride] f32.
    pub y: &'a Slice,
    /// [`State`].
    pub state: &'a Slice,
    /// Floats that count.
    pub cols: usize,
    /// ε.
    pub eps: f32,
    /// Only tokens whose logits are wanted, compacted.
    pub of_logits: bool,
}

/// One dispatch.
pub fn step(gpu: &Gpu, label: &str, reduce: Reduce, norm: RmsNorm<'_>) -> Result<Step, GpuError> {
    let stride = (norm.cols.next_multiple_of(BLOCK) / 4) as u32;
    let of_logits = u32::from(norm.of_logits);
    let params = Params { cols: norm.cols as u32, stride, eps: norm.eps, of_logits };
    let rows = if norm.of_logits { Extent::LogitsPer(1) } else { Extent::TokensPer(1) };
    let bindings = [norm.x, norm.weight, norm.y, norm.state];
    let grid = [rows, Extent::Fixed(1), Extent::Fixed(1)];
    Ok(gpu.step(label, &shader(reduce), &bindings, params, grid)?.moving(norm.cols as u64 * 4))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    Reduce::ALL.map(shader).into()
}

fn reference(x: &[f32], weight: &[f32], eps: f32) -> Vec<Want> {
    let mean = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(eps)).sqrt();
    let near = |(v, w): (&f32, &f32)| {
        let value = f64::from(*v) * scale * f64::from(*w);
        // inverseSqrt may err by 2 ulp (WGSL §15.7.4), the mean by √n ulp, two products.
        Want::Near { value, tolerance: check::sum_tolerance(x.len(), value.abs()) }
    };
    x.iter().zip(weight).map(near).collect()
}

/// Both reductions × odd widths × easy and hard data, with and without `of_logits`.
pub fn checks(subgroups: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for reduce in Reduce::ALL.into_iter().filter(|r| subgroups || !r.subgroups()) {
        for cols in [1usize, 2, 64, 127, 128, 129, 1757, 4096] {
            for (size, first_logit) in [(1.0f32, 0u32), (3e4, 1), (1e-8, 0)] {
                let class = format!("reduce/{}", reduce.name());
                let label = format!("[3, {cols}], values × {size}, from row {first_logit}");
                let quick = cols == 129 && size == 1.0;
                let check = Check::new("rms_norm", class, label, move |gpu| {
                    run_case(gpu, reduce, cols, size, first_logit)
                });
                checks.push(check.quick(quick));
            }
        }
    }
    checks
}

fn run_case(
    gpu: &Gpu,
    reduce: Reduce,
    cols: usize,
    size: f32,
    first_logit: u32,
) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let (rows, stride, eps) = (3usize, cols.next_multiple_of(BLOCK), 1e-5f32);
    let x: Vec<f32> = check::uniform(3, rows * cols).iter().map(|v| v * size).collect();
    let weight = check::uniform(5, cols);
    let x_slice = check::floats(gpu, &check::padded(&x, cols, stride))?;
    let weight_slice = check::floats(gpu, &check::padded(&weight, cols, stride))?;
    let y = check::marked(gpu, rows * stride)?;
    let state = State { n_tokens: rows as u32, first_logit, ..State::default() };
    let state_slice = check::state(gpu, state)?;
    let norm = RmsNorm {
        x: &x_slice,
        weight: &weight_slice,
        y: &y,
        state: &state_slice,
        cols,
        eps,
        of_logits: first_logit > 0,
    };
    let got = check::finish(gpu, step(gpu, "check", reduce, norm)?, state, &y)?;
    let mut want = Vec::new();
    for row in x.chunks_exact(cols).skip(first_logit as usize) {
        want.extend(reference(row, &weight, eps));
        want.resize(want.len() + stride - cols, Want::Near { value: 0.0, tolerance: 0.0 });
    }
    want.resize(rows * stride, Want::Untouched);
    Ok((got, want))
}
