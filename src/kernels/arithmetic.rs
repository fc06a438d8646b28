//! Multiplying and adding and nothing else: the arithmetic rate of an adapter. `shaders/arithmetic.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::weights::snippet;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in arithmetic.wgsl")]
pub struct Params {
    pub rounds: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "arithmetic",
    wgsl: include_str!("../../shaders/arithmetic.wgsl"),
    bindings: &[("result", Access::Write)],
    params: &["rounds"],
};

/// Invocations per workgroup.
pub const WG: u32 = 64;

/// What is multiplied and added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Numbers {
    /// f32
    F32,
    /// f16; needs `shader-f16`.
    F16,
    /// Signed bytes, four in a word, summed in 32 bits (`dot4I8Packed`).
    Int8,
}

impl Numbers {
    /// All of them.
    pub const ALL: [Numbers; 3] = [Numbers::F32, Numbers::F16, Numbers::Int8];

    /// `f32`, `f16` or `int8`.
    pub fn name(self) -> &'static str {
        match self {
            Numbers::F32 => "f32",
            Numbers::F16 => "f16",
            Numbers::Int8 => "int8",
        }
    }

    /// Operations (a multiplication or an addition each) of one invocation per round.
    pub fn ops_per_round(self) -> u64 {
        8 * if self == Numbers::Int8 { 32 } else { 8 }
    }
}

/// The variant.
pub fn shader(numbers: Numbers) -> Shader {
    let mut consts = vec![("WG", Const::U32(WG))];
    let snippet = match numbers {
        Numbers::Int8 => snippet!("shared/arithmetic_int8.wgsl"),
        _ => {
            consts.push(("num", Const::Type(numbers.name())));
            snippet!("shared/arithmetic_float.wgsl")
        }
    };
    let f16 = numbers == Numbers::F16;
    Shader { spec: &SPEC, consts, snippets: vec![snippet], bound_as: vec![], f16, subgroups: false }
}

/// One dispatch of `groups` workgroups; `result`: [groups · [`WG`]] f32.
pub fn step(gpu: &Gpu, numbers: Numbers, groups: u32, rounds: u32, result: &Slice) -> Result<Step, GpuError> {
    let grid = [Extent::Fixed(groups), Extent::Fixed(1), Extent::Fixed(1)];
    gpu.step("arithmetic", &shader(numbers), &[result], Params { rounds }, grid)
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    Numbers::ALL.map(shader).into()
}

/// Every kind of numbers, without and with rounds.
pub fn checks(f16: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for numbers in Numbers::ALL.into_iter().filter(|n| f16 || *n != Numbers::F16) {
        for rounds in [0, 37] {
            let label = format!("{}, {rounds} rounds", numbers.name());
            let run = move |gpu: &Gpu| run_case(gpu, numbers, rounds);
            checks.push(Check::new("arithmetic", format!("arithmetic/{}", numbers.name()), label, run));
        }
    }
    checks
}

fn run_case(gpu: &Gpu, numbers: Numbers, rounds: u32) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    const GROUPS: u32 = 2;
    let n = (GROUPS * WG) as usize;
    let result = check::marked(gpu, n)?;
    let got = check::finish(gpu, step(gpu, numbers, GROUPS, rounds, &result)?, State::default(), &result)?;
    let want = (0..n as u32).map(|i| match numbers {
        Numbers::Int8 => Want::Near { value: int8(i % WG, rounds), tolerance: 0.0 },
        Numbers::F32 => float(i % WG, rounds, f64::from(f32::EPSILON)),
        Numbers::F16 => float(i % WG, rounds, 2.0f64.powi(-10)),
    });
    Ok((got, want.collect()))
}

fn float(lane: u32, rounds: u32, epsilon: f64) -> Want {
    let mut sum = 0.0;
    for x in [1.0, 2.0, 3.0, 4.0].map(|v| v * (f64::from(lane % 8) + 1.0) / 64.0) {
        for chain in 1..=8 {
            sum += (0..rounds).fold(x * f64::from(chain), |value, _| value * 0.75 + x);
        }
    }
    // A step's rounding errors fade with 0.75 per step: in all four of them, and the sum's three levels.
    Want::Near { value: sum, tolerance: 16.0 * epsilon * sum }
}

fn int8(lane: u32, rounds: u32) -> f64 {
    let bytes = |word: u32| word.to_le_bytes().map(|b| i32::from(b as i8));
    let dot = |a: u32, b: u32| -> i32 { bytes(a).iter().zip(bytes(b)).map(|(a, b)| a * b).sum() };
    let mut all = 0u32;
    for word in [0x0102_0304u32, 0x7F80_FF01, 0x1122_3344, 0x55AA_55AA] {
        let x = word.wrapping_add(lane % 8);
        let chain = |k: u32| (0..rounds).fold(x.wrapping_mul(k), |v, _| v.wrapping_add(dot(v, x) as u32));
        all ^= (1..=8).map(chain).fold(0u32, u32::wrapping_add);
    }
    f64::from(all & 0xFFFF)
}
