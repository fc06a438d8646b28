//! Attention of a chunk of a prompt, K and V staged in workgroup memory. `shaders/attend_prefill.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Const, Extent, Gpu, GpuError, KernelSpec, Shader, Step};
use crate::kernels::attention::{self, Attention, Geometry, Tokens};
use crate::kernels::check::Check;
use crate::kernels::kv::KvType;
use crate::kernels::reduce;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in attend_prefill.wgsl")]
pub struct Params {
    pub group: u32,
    pub kv_heads: u32,
    pub q_stride: u32,
    pub out_stride: u32,
    pub context: u32,
    pub window: u32,
    pub scale: f32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "attend_prefill",
    wgsl: include_str!("../../shaders/attend_prefill.wgsl"),
    bindings: attention::BINDINGS,
    params: &["group", "kv_heads", "q_stride", "out_stride", "context", "window", "scale"],
};

/// Invocations per workgroup.
const WG: u32 = 64;
/// Most floats of queries staged: 4 KiB.
const Q_FLOATS: u32 = 1024;
/// Most floats of K or V staged: 8 KiB.
const KV_FLOATS: u32 = 2048;
/// Most query rows and positions per tile, whatever fits.
const MAX_ROWS: u32 = 16;
const MAX_COLS: u32 = 32;

/// (query rows, positions) per tile, within WebGPU's 16 KiB of workgroup memory.
fn tile(head_dim: usize) -> (u32, u32) {
    let width = head_dim.next_multiple_of(4) as u32;
    ((Q_FLOATS / width).clamp(1, MAX_ROWS), (KV_FLOATS / width).clamp(1, MAX_COLS))
}

/// The variant for this geometry.
pub fn shader(geometry: Geometry) -> Shader {
    let (rows, cols) = tile(geometry.head_dim);
    let consts = vec![
        ("WG", Const::U32(WG)),
        ("HEAD_DIM", Const::U32(geometry.head_dim as u32)),
        ("ROWS", Const::U32(rows)),
        ("COLS", Const::U32(cols)),
    ];
    let [kv, octets] = geometry.kv.snippets();
    let snippets = vec![reduce::state(), kv, octets];
    Shader { spec: &SPEC, consts, snippets, bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch for all tokens of the run.
pub fn step(gpu: &Gpu, label: &str, geometry: Geometry, attention: Attention<'_>) -> Result<Step, GpuError> {
    let params = Params {
        group: geometry.group() as u32,
        kv_heads: geometry.kv_heads as u32,
        q_stride: attention.q_stride as u32,
        out_stride: attention.out_stride as u32,
        context: geometry.context as u32,
        window: geometry.window as u32,
        scale: geometry.scale(),
    };
    let rows = Extent::TokenRowsPer { rows_per_token: params.group, per_group: tile(geometry.head_dim).0 };
    let grid = [Extent::Fixed(geometry.kv_heads as u32), rows, Extent::Fixed(1)];
    let step = gpu.step(label, &shader(geometry), &attention.bindings(), params, grid)?;
    Ok(step.reading(geometry.kv_bytes()))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    attention::geometries().into_iter().map(shader).collect()
}

/// Every geometry × chunks at the start, across tiles and with a window smaller than the chunk.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for geometry in attention::geometries() {
        for (pos, n, window, size) in
            [(0, 1, 0, 1.0), (0, 33, 0, 1.0), (200, 17, 0, 4.0), (100, 70, 37, 1.0), (5, 3, 2, 1.0)]
        {
            let geometry = Geometry { window, ..geometry };
            let quick = pos == 100 && geometry.head_dim == 64 && geometry.kv != KvType::F32;
            checks.push(check(geometry, Tokens::Run { pos, n }, size).quick(quick));
        }
    }
    checks
}

/// What the kernel has to pass before it runs on heads like these: prompts at the start and over what is cached, with
/// a window within them where the model has one.
pub fn checks_of(geometry: Geometry) -> Vec<Check> {
    let window = if geometry.window > 0 { 37 } else { 0 };
    let geometry = Geometry { context: 200, window, ..geometry.few_heads() };
    [(0, 33), (100, 19)].map(|(pos, n)| check(geometry, Tokens::Run { pos, n }, 1.0)).into()
}

fn check(geometry: Geometry, tokens: Tokens, size: f32) -> Check {
    let run = move |gpu: &Gpu, attention: Attention<'_>| step(gpu, "check", geometry, attention);
    attention::check("attend_prefill", "attend_prefill".to_owned(), geometry, tokens, size, run)
}
