//! Attention of one token (or a few, each for itself). `shaders/attend_decode.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Const, Extent, Gpu, GpuError, KernelSpec, Shader, Step};
use crate::kernels::attention::{self, Attention, Geometry, Tokens};
use crate::kernels::check::Check;
use crate::kernels::kv::KvType;
use crate::kernels::reduce::{self, Reduce};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in attend_decode.wgsl")]
pub struct Params {
    pub group: u32,
    pub kv_heads: u32,
    pub parts: u32,
    pub q_stride: u32,
    pub out_stride: u32,
    pub context: u32,
    pub window: u32,
    pub scale: f32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "attend_decode",
    wgsl: include_str!("../../shaders/attend_decode.wgsl"),
    bindings: attention::BINDINGS,
    params: &["group", "kv_heads", "parts", "q_stride", "out_stride", "context", "window", "scale"],
};

/// Fewest invocations per workgroup; a head wider than 4 × this needs more.
const MIN_WG: u32 = 64;

/// The variant for this geometry.
pub fn shader(geometry: Geometry, reduce: Reduce) -> Shader {
    let consts = vec![
        ("WG", Const::U32(workgroup(geometry.head_dim))),
        ("HEAD_DIM", Const::U32(geometry.head_dim as u32)),
        ("GV", Const::U32(head_vectors(geometry))),
    ];
    let snippets = vec![reduce::state(), reduce.snippet(), geometry.kv.snippet()];
    Shader { spec: &SPEC, consts, snippets, f16: false, subgroups: reduce.subgroups() }
}

fn workgroup(head_dim: usize) -> u32 {
    (head_dim.div_ceil(4) as u32).next_power_of_two().max(MIN_WG)
}

/// How many vec4 of query heads one workgroup serves: 4 or 8 heads, 4 where queries of 8 would take more
/// than half of the 16 KiB of workgroup memory.
fn head_vectors(geometry: Geometry) -> u32 {
    if geometry.group() > 4 && geometry.head_dim <= 256 { 2 } else { 1 }
}

/// One dispatch for all tokens of the run.
pub fn step(
    gpu: &Gpu,
    label: &str,
    geometry: Geometry,
    reduce: Reduce,
    attention: Attention<'_>,
) -> Result<Step, GpuError> {
    let parts = (geometry.group() as u32).div_ceil(4 * head_vectors(geometry));
    let params = Params {
        group: geometry.group() as u32,
        kv_heads: geometry.kv_heads as u32,
        parts,
        q_stride: attention.q_stride as u32,
        out_stride: attention.out_stride as u32,
        context: geometry.context as u32,
        window: geometry.window as u32,
        scale: geometry.scale(),
    };
    let grid = [Extent::Fixed(geometry.kv_heads as u32 * parts), Extent::TokensPer(1), Extent::Fixed(1)];
    gpu.step(label, &shader(geometry, reduce), &attention.bindings(), params, grid)
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for geometry in attention::geometries() {
        shaders.extend(Reduce::ALL.map(|reduce| shader(geometry, reduce)));
    }
    shaders
}

/// Every geometry × reduction × positions around the tile size, with and without window.
pub fn checks(subgroups: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for geometry in attention::geometries() {
        for reduce in Reduce::ALL.into_iter().filter(|r| subgroups || !r.subgroups()) {
            let run = |pos, n| Tokens::Run { pos, n };
            for (tokens, window, size) in [
                (run(0, 1), 0, 1.0),
                (run(63, 2), 0, 1.0),
                (run(200, 1), 0, 4.0),
                (run(150, 3), 70, 1.0),
                (run(5, 1), 9, 1.0),
                (Tokens::Each(&[130, 0, 64, 259, 7]), 0, 1.0),
                (Tokens::Each(&[100, 9]), 70, 1.0),
            ] {
                let geometry = Geometry { window, ..geometry };
                let class = format!("reduce/{}", reduce.name());
                let quick = tokens == run(150, 3) && geometry.head_dim == 64 && geometry.kv == KvType::F16;
                let run = move |gpu: &Gpu, attention: Attention<'_>| {
                    step(gpu, "check", geometry, reduce, attention)
                };
                let check = attention::check("attend_decode", class, geometry, tokens, size, run);
                checks.push(check.quick(quick));
            }
        }
    }
    checks
}
