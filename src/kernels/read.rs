//! Reading memory and nothing else: the denominator of every "% of bandwidth". `shaders/read.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::base::AdapterFacts;
use crate::gpu::graph::{State, linear_grid};
use crate::gpu::{Access, Bind, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::weights::{Store, snippet};

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
    /// From a storage texture, as weights in tiles are.
    pub texels: bool,
}

impl Variant {
    /// The patterns worth trying: CPU adapters like runs, GPUs coalesced loads.
    pub const ALL: [Variant; 6] = [
        Variant { wg: 64, loads: 16, contiguous: false, texels: false },
        Variant { wg: 256, loads: 16, contiguous: false, texels: false },
        Variant { wg: 64, loads: 32, contiguous: true, texels: false },
        Variant { wg: 128, loads: 64, contiguous: true, texels: false },
        Variant { wg: 8, loads: 1024, contiguous: false, texels: true },
        Variant { wg: 16, loads: 64, contiguous: false, texels: true },
    ];

    /// Is it for this adapter? From textures where weights may be.
    pub fn runs_on(self, facts: &AdapterFacts) -> bool {
        !self.texels || Store::Tiles.runs_on(facts)
    }

    /// Bytes that one workgroup reads.
    pub fn group_bytes(self) -> u64 {
        u64::from(self.wg) * u64::from(self.loads) * 16
    }

    /// For people.
    pub fn name(self) -> String {
        let kind = if self.contiguous { "runs" } else { "coalesced" };
        let unit = if self.texels { "texels" } else { "loads" };
        format!("{kind}, {} invocations × {} {unit}", self.wg, self.loads)
    }
}

/// The variant.
pub fn shader(variant: Variant) -> Shader {
    let consts = vec![
        ("WG", Const::U32(variant.wg)),
        ("LOADS", Const::U32(variant.loads)),
        ("CONTIGUOUS", Const::Bool(variant.contiguous)),
    ];
    let (data, bound_as) = match variant.texels {
        false => (snippet!("shared/read_buffer.wgsl"), vec![]),
        true => (snippet!("shared/read_texels.wgsl"), vec![("data", Access::Texture)]),
    };
    Shader { spec: &SPEC, consts, snippets: vec![data], bound_as, f16: false, subgroups: false }
}

/// Bytes of `result` for `bytes` of data.
pub fn result_bytes(variant: Variant, bytes: u64) -> u64 {
    bytes / variant.group_bytes() * u64::from(variant.wg) * 4
}

/// One dispatch over the whole groups in the first `bytes` of `data`.
pub fn step(
    gpu: &Gpu,
    variant: Variant,
    data: &dyn Bind,
    bytes: u64,
    result: &Slice,
) -> Result<Step, GpuError> {
    let groups = (bytes / variant.group_bytes()) as u32;
    let grid = linear_grid(groups, Extent::Fixed(1));
    let bindings: [&dyn Bind; 2] = [data, result];
    let step = gpu.step("read", &shader(variant), &bindings, Params { groups }, grid)?;
    Ok(step.moving(u64::from(groups) * variant.group_bytes()))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    Variant::ALL.map(shader).into()
}

/// Every variant over one and over several workgroups, with a rest that must not be read into the result.
pub fn checks(facts: &AdapterFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    for variant in Variant::ALL.into_iter().filter(|variant| variant.runs_on(facts)) {
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
    let host: &[u8] = bytemuck::cast_slice(&data);
    let bound: Box<dyn Bind> = match variant.texels {
        false => Box::new(gpu.upload("check data", host)?),
        true => {
            let texture = gpu.texture("check data", host.len() as u64)?;
            gpu.write_texels(&texture, 0, host)?;
            Box::new(texture)
        }
    };
    let result = check::marked(gpu, groups * wg)?;
    let step = step(gpu, variant, &*bound, host.len() as u64, &result)?;
    let raw = check::finish(gpu, step, State::default(), &result)?;
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
