//! Reading memory and nothing else: the denominator of every "% of bandwidth". `shaders/read.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::{State, linear_grid};
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in read.wgsl")]
pub struct Params {
    pub groups: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "read",
    wgsl: include_str!("../../shaders/read.wgsl"),
    bindings: &[("data", Access::Read), ("result", Access::Write)],
    params: &["groups"],
};

/// An access pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Invocations per workgroup.
    pub wg: u32,
    /// vec4 per invocation, a multiple of 4.
    pub loads: u32,
    /// Every invocation reads a run of its own, instead of neighbours reading neighbours.
    pub contiguous: bool,
}

impl Variant {
    /// The patterns worth trying: CPU adapters like runs, GPUs coalesced loads.
    pub const ALL: [Variant; 4] = [
        Variant { wg: 64, loads: 16, contiguous: false },
        Variant { wg: 256, loads: 16, contiguous: false },
        Variant { wg: 64, loads: 32, contiguous: true },
        Variant { wg: 128, loads: 64, contiguous: true },
    ];

    /// Bytes that one workgroup reads.
    pub fn group_bytes(self) -> u64 {
        u64::from(self.wg) * u64::from(self.loads) * 16
    }

    /// For people.
    pub fn name(self) -> String {
        let kind = if self.contiguous { "runs" } else { "coalesced" };
        format!("{kind}, {} invocations × {} loads", self.wg, self.loads)
    }
}

/// The variant.
pub fn shader(variant: Variant) -> Shader {
    let consts = vec![
        ("WG", Const::U32(variant.wg)),
        ("LOADS", Const::U32(variant.loads)),
        ("CONTIGUOUS", Const::Bool(variant.contiguous)),
    ];
    Shader { spec: &SPEC, consts, snippets: vec![], bound_as: vec![], f16: false, subgroups: false }
}

/// Bytes of `result` for `bytes` of data.
pub fn result_bytes(variant: Variant, bytes: u64) -> u64 {
    bytes / variant.group_bytes() * u64::from(variant.wg) * 4
}

/// One dispatch over the whole groups in `data`.
pub fn step(gpu: &Gpu, variant: Variant, data: &Slice, result: &Slice) -> Result<Step, GpuError> {
    let groups = (data.bytes / variant.group_bytes()) as u32;
    let grid = linear_grid(groups, Extent::Fixed(1));
    let step = gpu.step("read", &shader(variant), &[data, result], Params { groups }, grid)?;
    Ok(step.moving(u64::from(groups) * variant.group_bytes()))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    Variant::ALL.map(shader).into()
}

/// Every variant over one and over several workgroups, with a rest that must not be read into the result.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for variant in Variant::ALL {
        for groups in [1usize, 3] {
            let label = format!("{}, {groups} workgroups", variant.name());
            checks.push(Check::new("read", "read", label, move |gpu| run_case(gpu, variant, groups)));
        }
    }
    checks
}

fn run_case(gpu: &Gpu, variant: Variant, groups: usize) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let (wg, loads) = (variant.wg as usize, variant.loads as usize);
    let words = groups * wg * loads * 4;
    let data: Vec<u32> = check::uniform(61, words + 64).iter().map(|v| v.to_bits()).collect();
    let data_slice = gpu.upload("check data", bytemuck::cast_slice(&data))?;
    let result = check::marked(gpu, groups * wg)?;
    let raw = check::finish(gpu, step(gpu, variant, &data_slice, &result)?, State::default(), &result)?;
    let mut want = Vec::new();
    for group in 0..groups {
        for lane in 0..wg {
            let at =
                |k| group * wg * loads + if variant.contiguous { lane * loads + k } else { lane + k * wg };
            let word = (0..loads).flat_map(|k| &data[at(k) * 4..at(k) * 4 + 4]).fold(0, |a, b| a ^ b);
            want.extend([word & 0xFFFF, word >> 16]);
        }
    }
    let n = groups * wg;
    let halves = |v: &f32| [(v.to_bits() & 0xFFFF) as f32, (v.to_bits() >> 16) as f32];
    let mut got: Vec<f32> = raw[..n].iter().flat_map(halves).collect();
    got.extend(&raw[n..]);
    Ok((got, want.iter().map(|half| Want::Near { value: f64::from(*half), tolerance: 0.0 }).collect()))
}
