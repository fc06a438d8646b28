//! Greedy choice: index of the largest logit, and how many are not finite. `shaders/argmax.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::base::{AdapterFacts, AdapterKind};
use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in argmax.wgsl")]
pub struct Params {
    pub cols: u32,
    pub stride: u32,
}

/// What the kernel writes per row.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Best {
    /// Index of the largest finite element, the lowest on ties; `u32::MAX` when there is none.
    pub index: u32,
    /// The element.
    pub value: f32,
    /// How many elements are NaN or infinite.
    pub bad: u32,
    /// Always 0.
    pub pad: u32,
}

impl Best {
    /// Bytes of one.
    pub const BYTES: usize = size_of::<Best>();
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "argmax",
    wgsl: include_str!("../../shaders/argmax.wgsl"),
    bindings: &[("x", Access::Read), ("result", Access::Write)],
    params: &["cols", "stride"],
};

/// Invocations of a row's workgroup: as many as it may have.
const WG: u32 = 256;
/// The same on CPU adapters, where barriers cost.
const WG_LANES: u32 = 16;

/// The variant with workgroups of `wg`.
fn shader(wg: u32) -> Shader {
    let consts = vec![("WG", Const::U32(wg))];
    Shader { spec: &SPEC, consts, snippets: vec![], bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch over `rows` rows. `x`: [rows, stride] f32, `result`: `[rows]` of [`Best`].
pub fn step(gpu: &Gpu, rows: u32, x: &Slice, result: &Slice, params: Params) -> Result<Step, GpuError> {
    step_of(gpu, workgroup(gpu.facts()), rows, x, result, params)
}

/// Invocations per workgroup on this adapter.
fn workgroup(facts: &AdapterFacts) -> u32 {
    if facts.kind == AdapterKind::Cpu { WG_LANES } else { WG }
}

fn step_of(
    gpu: &Gpu,
    wg: u32,
    rows: u32,
    x: &Slice,
    result: &Slice,
    params: Params,
) -> Result<Step, GpuError> {
    let grid = [Extent::Fixed(rows), Extent::Fixed(1), Extent::Fixed(1)];
    gpu.step("argmax", &shader(wg), &[x, result], params, grid)
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    [WG_LANES, WG].map(shader).into()
}

/// Odd widths; ties, NaN, infinities, everything equal.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for cols in [1usize, 2, 255, 256, 257, 1757, 50_000] {
        for wg in [WG_LANES, WG] {
            checks.push(check(wg, cols).quick(cols == 257));
        }
    }
    checks
}

/// What the kernel has to pass before it chooses on this adapter.
pub fn checks_of(facts: &AdapterFacts) -> Vec<Check> {
    [257, 50_000].map(|cols| check(workgroup(facts), cols)).into()
}

fn check(wg: u32, cols: usize) -> Check {
    let label = format!("[5, {cols}] in workgroups of {wg}");
    Check::new("argmax", "argmax", label, move |gpu| run_case(gpu, wg, cols))
}

fn run_case(gpu: &Gpu, wg: u32, cols: usize) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let stride = cols + 3;
    let mut x = check::uniform(31, 5 * stride);
    x[stride + cols / 2] = 7.0;
    x[stride + cols - 1] = 7.0; // a tie in row 1
    x[2 * stride + cols / 3] = f32::NAN;
    x[2 * stride + cols - 1] = f32::INFINITY;
    x[3 * stride..4 * stride].fill(-2.0);
    for v in &mut x[4 * stride..] {
        *v -= 1e4;
    }
    for row in x.chunks_exact_mut(stride) {
        row[cols..].fill(1e9); // beyond the row: must not be seen
    }
    let x_slice = check::floats(gpu, &x)?;
    let result = check::marked(gpu, 5 * 4)?;
    let params = Params { cols: cols as u32, stride: stride as u32 };
    let raw = check::finish(gpu, step_of(gpu, wg, 5, &x_slice, &result, params)?, State::default(), &result)?;
    let exact = |value: f64| Want::Near { value, tolerance: 0.0 };
    let (mut got, mut want) = (Vec::new(), Vec::new());
    for (row, found) in x.chunks_exact(stride).zip(raw.chunks_exact(4)) {
        let finite = row[..cols].iter().enumerate().filter(|(_, v)| v.is_finite());
        let best = finite.fold(None, |best: Option<(usize, f32)>, (i, v)| match best {
            Some((_, top)) if top >= *v => best,
            _ => Some((i, *v)),
        });
        let bad = row[..cols].iter().filter(|v| !v.is_finite()).count();
        // Integers are compared as numbers: their bits may be NaN patterns.
        got.extend([found[0].to_bits() as f32, found[2].to_bits() as f32, found[3].to_bits() as f32]);
        want.extend([
            exact(best.map_or(u32::MAX as f32, |b| b.0 as f32).into()),
            exact(bad as f64),
            exact(0.0),
        ]);
        if let Some((_, value)) = best {
            got.push(found[1]);
            want.push(exact(f64::from(value)));
        }
    }
    got.extend(&raw[20..]);
    Ok((got, want))
}
