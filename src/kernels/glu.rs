//! Gated linear unit: y[t, i] = act(x[t, i]) · x[t, inter + i] (Shazeer 2020). `shaders/glu.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Snippet, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::weights::snippet;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in glu.wgsl")]
pub struct Params {
    pub inter: u32,
    pub x_stride: u32,
    pub y_stride: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "glu",
    wgsl: include_str!("../../shaders/glu.wgsl"),
    bindings: &[("x", Access::Read), ("y", Access::Write)],
    params: &["inter", "x_stride", "y_stride"],
};

/// Invocations per workgroup.
const WG: u32 = 64;

/// Activation of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// x · sigmoid(x)
    Silu,
    /// GELU, tanh form
    GeluTanh,
    /// GELU, exact
    GeluErf,
}

impl std::fmt::Display for Act {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Act::Silu => "SiLU",
            Act::GeluTanh => "GELU (tanh)",
            Act::GeluErf => "GELU (erf)",
        })
    }
}

impl Act {
    /// All activations.
    pub const ALL: [Act; 3] = [Act::Silu, Act::GeluTanh, Act::GeluErf];

    /// The file.
    pub fn snippet(self) -> Snippet {
        match self {
            Act::Silu => snippet!("shared/act_silu.wgsl"),
            Act::GeluTanh => snippet!("shared/act_gelu_tanh.wgsl"),
            Act::GeluErf => snippet!("shared/act_gelu_erf.wgsl"),
        }
    }

    /// How far act(gate) · up may be off for exact `gate` and `up`.
    pub fn tolerance(self, gate: f64, up: f64) -> f64 {
        // exp errs by 3 + 2|x| ulp of a result that is at most 1 (WGSL §15.7.4); near zero the
        // activation is a small difference, so part of the tolerance follows |gate|.
        let ulp = f64::from(f32::EPSILON);
        let value = self.eval(gate) * up;
        (64.0 * ulp * value.abs()).max(64.0 * ulp * gate.abs().min(40.0) * up.abs()) + 1e-30
    }

    /// Reference in f64.
    pub fn eval(self, x: f64) -> f64 {
        match self {
            Act::Silu => x / (1.0 + (-x).exp()),
            Act::GeluTanh => {
                let c = (2.0 / std::f64::consts::PI).sqrt();
                0.5 * x * (1.0 + (c * (x + 0.044715 * x * x * x)).tanh())
            }
            Act::GeluErf => x * normal_cdf(x),
        }
    }
}

/// Φ(x) by the Taylor series of erf near 0 and the continued fraction of erfc (Abramowitz & Stegun 7.1.14)
/// further out, to f64 accuracy.
fn normal_cdf(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let erfc = if z < 2.0 {
        let (mut term, mut sum) = (z, z);
        for n in 1..100 {
            let n = f64::from(n);
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        1.0 - sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let tail = (1..200).rev().fold(0.0, |tail, k| f64::from(k) / 2.0 / (z + tail));
        (-z * z).exp() / std::f64::consts::PI.sqrt() / (z + tail)
    };
    if x < 0.0 { erfc / 2.0 } else { 1.0 - erfc / 2.0 }
}

/// The variant with this activation.
pub fn shader(act: Act) -> Shader {
    let (consts, snippets) = (vec![("WG", Const::U32(WG))], vec![act.snippet()]);
    Shader { spec: &SPEC, consts, snippets, bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch. `x`: [n_tokens, x_stride] f32 holding gate then up, each `inter` wide;
/// `y`: [n_tokens, y_stride] f32.
pub fn step(gpu: &Gpu, label: &str, act: Act, [x, y]: [&Slice; 2], params: Params) -> Result<Step, GpuError> {
    let grid = [Extent::Fixed(params.inter.div_ceil(WG)), Extent::TokensPer(1), Extent::Fixed(1)];
    gpu.step(label, &shader(act), &[x, y], params, grid)
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    Act::ALL.map(shader).into()
}

/// Every activation × odd widths × sizes up to where the activation saturates.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for act in Act::ALL {
        for inter in [1usize, 63, 64, 65, 1757] {
            for size in [1.0f32, 30.0, 2e4] {
                checks.push(check(act, inter, size).quick(inter == 65));
            }
        }
    }
    checks
}

/// What the kernel has to pass before it computes this activation.
pub fn checks_of(act: Act) -> Vec<Check> {
    [1.0, 2e4].map(|size| check(act, 65, size)).into()
}

fn check(act: Act, inter: usize, size: f32) -> Check {
    let label = format!("{act} [2, {inter}], values × {size}");
    Check::new("glu", "glu", label, move |gpu| run_case(gpu, act, inter, size))
}

fn run_case(gpu: &Gpu, act: Act, inter: usize, size: f32) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let (rows, x_stride, y_stride) = (2usize, 2 * inter + 3, inter + 5);
    let x: Vec<f32> = check::uniform(29, rows * x_stride).iter().map(|v| v * size).collect();
    let x_slice = check::floats(gpu, &x)?;
    let y = check::marked(gpu, rows * y_stride)?;
    let state = State { n_tokens: rows as u32, ..State::default() };
    let params = Params { inter: inter as u32, x_stride: x_stride as u32, y_stride: y_stride as u32 };
    let got = check::finish(gpu, step(gpu, "check", act, [&x_slice, &y], params)?, state, &y)?;
    let mut want = vec![Want::Untouched; rows * y_stride];
    for row in 0..rows {
        for i in 0..inter {
            let (gate, up) = (f64::from(x[row * x_stride + i]), f64::from(x[row * x_stride + inter + i]));
            let value = act.eval(gate) * up;
            let tolerance = act.tolerance(gate, up);
            want[row * y_stride + i] = Want::Near { value, tolerance };
        }
    }
    Ok((got, want))
}
