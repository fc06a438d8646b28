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
    pub unit: f32,
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
    params: &["cols", "stride", "eps", "of_logits", "unit"],
};

/// Weights of a norm on the GPU.
#[derive(Clone, Debug)]
pub struct NormWeights {
    /// `[stride]` f32, tail zero, each divided by `unit`.
    pub slice: Slice,
    /// A power of two: 1 unless weights are so large that x · weight might overflow, which matvec makes
    /// before it knows the root that divides it.
    pub unit: f32,
}

impl NormWeights {
    /// Weights up to this are stored as they are. Times 2⁶⁴, above which squares of x overflow, it leaves
    /// room for sums of 2²⁴ products.
    const LARGEST: f32 = (1u64 << 40) as f32;

    /// Uploads weights, padded with zeros to a multiple of 32.
    pub fn upload(gpu: &Gpu, label: &str, values: &[f32]) -> Result<NormWeights, GpuError> {
        let (mut values, unit) = NormWeights::in_units(values);
        values.resize(values.len().next_multiple_of(BLOCK), 0.0);
        Ok(NormWeights { slice: gpu.upload(label, bytemuck::cast_slice(&values))?, unit })
    }

    /// The weights in a unit, and the unit. NaN and infinity stay what they are.
    pub fn in_units(values: &[f32]) -> (Vec<f32>, f32) {
        let finite = values.iter().map(|v| v.abs()).filter(|v| v.is_finite());
        let most = finite.fold(0.0, f32::max);
        let mut unit = 1.0;
        while most / unit > NormWeights::LARGEST {
            unit *= 2.0;
        }
        (values.iter().map(|v| v / unit).collect(), unit)
    }
}

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
    /// `[stride]`.
    pub weight: &'a NormWeights,
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
    let unit = norm.weight.unit;
    let params = Params { cols: norm.cols as u32, stride, eps: norm.eps, of_logits, unit };
    let rows = if norm.of_logits { Extent::LogitsPer(1) } else { Extent::TokensPer(1) };
    let bindings = [norm.x, &norm.weight.slice, norm.y, norm.state];
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

/// Both reductions × odd widths × easy and hard data and weights, with and without `of_logits`.
pub fn checks(subgroups: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for reduce in Reduce::ALL.into_iter().filter(|r| subgroups || !r.subgroups()) {
        for cols in [1usize, 2, 64, 127, 128, 129, 1757, 4096] {
            for (size, weights, first_logit) in
                [(1.0f32, 1.0f32, 0u32), (3e4, 1.0, 1), (1e-8, 1.0, 0), (1e6, 1e36, 0), (1e-6, 1e-30, 0)]
            {
                let quick = cols == 129 && size == 1.0;
                checks.push(check(reduce, cols, [size, weights], first_logit).quick(quick));
            }
        }
    }
    checks
}

/// What the kernel has to pass before it norms with this reduction.
pub fn checks_of(reduce: Reduce) -> Vec<Check> {
    vec![check(reduce, 129, [1.0, 1.0], 0), check(reduce, 1757, [3e4, 1.0], 1)]
}

fn check(reduce: Reduce, cols: usize, sizes: [f32; 2], first_logit: u32) -> Check {
    let [size, weights] = sizes;
    let class = format!("reduce/{}", reduce.name());
    let label = format!("[3, {cols}], values × {size:e}, weights × {weights:e}, from row {first_logit}");
    Check::new("rms_norm", class, label, move |gpu| run_case(gpu, reduce, cols, sizes, first_logit))
}

fn run_case(
    gpu: &Gpu,
    reduce: Reduce,
    cols: usize,
    [size, weights]: [f32; 2],
    first_logit: u32,
) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let (rows, stride, eps) = (3usize, cols.next_multiple_of(BLOCK), 1e-5f32);
    let x: Vec<f32> = check::uniform(3, rows * cols).iter().map(|v| v * size).collect();
    let weight: Vec<f32> = check::uniform(5, cols).iter().map(|v| v * weights).collect();
    let x_slice = check::floats(gpu, &check::padded(&x, cols, stride))?;
    let norm_weights = NormWeights::upload(gpu, "check weights", &weight)?;
    let y = check::marked(gpu, rows * stride)?;
    let state = State { n_tokens: rows as u32, first_logit, ..State::default() };
    let state_slice = check::state(gpu, state)?;
    let norm = RmsNorm {
        x: &x_slice,
        weight: &norm_weights,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_huge_weights_get_a_unit() {
        for (values, unit) in [
            (&[1.0f32, -200.0, 0.0][..], 1.0f32),
            (&[1.1e12], 2.0),
            (&[1.0, 1e20], 2.0f32.powi(27)),
            (&[f32::MIN, 1.0], 2.0f32.powi(88)),
            (&[f32::INFINITY, f32::NAN, 1.0], 1.0),
            (&[], 1.0),
        ] {
            let (scaled, got) = NormWeights::in_units(values);
            assert_eq!(got, unit, "{values:?}");
            let back: Vec<u32> = scaled.iter().map(|v| (v * unit).to_bits()).collect();
            assert_eq!(back, values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), "{values:?}");
        }
    }
}
