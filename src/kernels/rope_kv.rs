//! QK norm, rotary positions, KV write. `shaders/rope_kv.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Snippet, Step};
use crate::kernels::attention::{Geometry, Tokens};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::kv::KvType;
use crate::kernels::reduce::{self, Reduce};
use crate::kernels::weights::snippet;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in rope_kv.wgsl")]
pub struct Params {
    pub heads: u32,
    pub kv_heads: u32,
    pub x_stride: u32,
    pub q_stride: u32,
    pub context: u32,
    pub eps: f32,
    pub norms_at: u32,
    pub rope_at: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "rope_kv",
    wgsl: include_str!("../../shaders/rope_kv.wgsl"),
    bindings: &[
        ("qkv", Access::Read),
        ("tables", Access::Read),
        ("q", Access::Write),
        ("k_cache", Access::Write),
        ("v_cache", Access::Write),
        ("state", Access::Uniform),
    ],
    params: &["heads", "kv_heads", "x_stride", "q_stride", "context", "eps", "norms_at", "rope_at"],
};

/// Invocations per workgroup.
const WG: u32 = 64;

/// A way to run the kernel: all fixed by the model, but for the reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Heads and cache.
    pub geometry: Geometry,
    /// Elements of a head that are rotated.
    pub rotary: usize,
    /// Pairs are (2i, 2i + 1) instead of (i, i + rotary/2).
    pub interleaved: bool,
    /// Norm q and k per head first.
    pub qk_norm: bool,
    /// How the norm sums.
    pub reduce: Reduce,
}

impl Variant {
    /// `rotary 64, interleaved, normed`, as checks are named.
    pub(super) fn rotation(self) -> String {
        let order = if self.interleaved { ", interleaved" } else { "" };
        format!("rotary {}{order}{}", self.rotary, if self.qk_norm { ", normed" } else { "" })
    }
}

/// The snippet that tells which elements of a head turn together.
pub fn rotary() -> Snippet {
    snippet!("shared/rotary.wgsl")
}

/// The variant.
pub fn shader(variant: Variant) -> Shader {
    let consts = vec![
        ("WG", Const::U32(WG)),
        ("HEAD_DIM", Const::U32(variant.geometry.head_dim as u32)),
        ("ROTARY", Const::U32(variant.rotary as u32)),
        ("INTERLEAVED", Const::Bool(variant.interleaved)),
        ("QK_NORM", Const::Bool(variant.qk_norm)),
    ];
    let mut snippets = vec![reduce::state(), variant.reduce.snippet(), rotary()];
    snippets.extend(variant.geometry.kv.writing_snippets());
    Shader {
        spec: &SPEC,
        consts,
        snippets,
        bound_as: vec![],
        f16: false,
        subgroups: variant.reduce.subgroups(),
    }
}

/// What q and k are normed and rotated by, in one buffer.
#[derive(Clone, Copy)]
pub struct Tables<'a> {
    /// [layers, 2, head_dim] f32: weights of the q and the k norm, where there are such norms; then
    /// [context, rotary / 2] pairs of f32 (cos, sin).
    pub slice: &'a Slice,
    /// Pairs before the norms of this layer.
    pub norms_at: usize,
    /// Pairs before the angles.
    pub rope_at: usize,
}

/// The buffers of one step.
#[derive(Clone, Copy)]
pub struct RopeKv<'a> {
    /// [n_tokens, x_stride] f32: q heads, k heads, v heads.
    pub qkv: &'a Slice,
    /// Norms and angles.
    pub tables: Tables<'a>,
    /// [n_tokens, q_stride] f32.
    pub q: &'a Slice,
    /// [kv_heads, context, head_dim rounded up to 4], as [`kv`](crate::kernels::kv) says.
    pub k_cache: &'a Slice,
    /// As `k_cache`.
    pub v_cache: &'a Slice,
    /// [`State`](crate::gpu::graph::State).
    pub state: &'a Slice,
    /// Floats per row of qkv.
    pub x_stride: usize,
    /// Floats per row of q.
    pub q_stride: usize,
    /// ε of the norms.
    pub eps: f32,
}

/// One dispatch.
pub fn step(gpu: &Gpu, label: &str, variant: Variant, buffers: RopeKv<'_>) -> Result<Step, GpuError> {
    let g = variant.geometry;
    let params = Params {
        heads: g.heads as u32,
        kv_heads: g.kv_heads as u32,
        x_stride: buffers.x_stride as u32,
        q_stride: buffers.q_stride as u32,
        context: g.context as u32,
        eps: buffers.eps,
        norms_at: buffers.tables.norms_at as u32,
        rope_at: buffers.tables.rope_at as u32,
    };
    let RopeKv { qkv, tables, q, k_cache, v_cache, state, .. } = buffers;
    let bindings = [qkv, tables.slice, q, k_cache, v_cache, state];
    let grid = [Extent::Fixed((g.heads + 2 * g.kv_heads) as u32), Extent::TokensPer(1), Extent::Fixed(1)];
    let norm_bytes = if variant.qk_norm { 2 * g.head_dim as u64 * 4 } else { 0 };
    Ok(gpu.step(label, &shader(variant), &bindings, params, grid)?.moving(norm_bytes))
}

/// Head geometries worth testing, with (rotary, interleaved, qk_norm).
fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    for kv in KvType::ALL {
        for reduce in Reduce::ALL {
            for (heads, kv_heads, head_dim, rotary, interleaved, qk_norm) in [
                (8, 4, 8, 8, true, false),
                (9, 3, 64, 64, false, false),
                (4, 2, 128, 128, false, true),
                (2, 1, 80, 32, false, true),
                (3, 1, 6, 6, true, true),
                (2, 2, 256, 256, false, false),
            ] {
                let geometry = Geometry { heads, kv_heads, head_dim, context: 20, window: 0, kv };
                all.push(Variant { geometry, rotary, interleaved, qk_norm, reduce });
            }
        }
    }
    all
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    variants().into_iter().map(shader).collect()
}

/// What inputs and the weights of norms, in ±1, are multiplied with: the second pair such that weights times
/// the scale of the norm overflow, but what is normed does not.
const SIZES: [[f32; 2]; 2] = [[1.0, 1.0], [1e-5, 1e36]];

/// Every variant × one token and several; checks q, K and V each. Huge weights where the cache can hold them.
pub fn checks(subgroups: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for variant in variants().into_iter().filter(|v| subgroups || !v.reduce.subgroups()) {
        let huge = variant.qk_norm && variant.geometry.kv == KvType::F32;
        let more = huge.then_some((Tokens::Run { pos: 7, n: 3 }, SIZES[1]));
        let cases = [
            Tokens::Run { pos: 0, n: 1 },
            Tokens::Run { pos: 7, n: 5 },
            Tokens::Run { pos: 19, n: 1 },
            Tokens::Each(&[19, 0, 7, 3, 4, 5, 6]),
        ];
        for (tokens, sizes) in cases.map(|tokens| (tokens, SIZES[0])).into_iter().chain(more) {
            let quick = variant.geometry.head_dim == 128 && tokens.count() == 5;
            checks.extend([0, 1, 2].map(|output| check(variant, tokens, sizes, output).quick(quick)));
        }
    }
    checks
}

/// What the kernel has to pass before it rotates heads like these.
pub fn checks_of(variant: Variant) -> Vec<Check> {
    let geometry = Geometry { context: 20, ..variant.geometry.few_heads() };
    let (variant, tokens) = (Variant { geometry, ..variant }, Tokens::Run { pos: 7, n: 5 });
    [0, 1, 2].map(|output| check(variant, tokens, SIZES[0], output)).into()
}

fn check(variant: Variant, tokens: Tokens, sizes: [f32; 2], output: usize) -> Check {
    let Geometry { heads, kv_heads, head_dim, kv, .. } = variant.geometry;
    let label = format!(
        "{}, heads {heads}/{kv_heads} of {head_dim}, {}{}, {} cache, {tokens}",
        ["Q", "K", "V"][output],
        variant.rotation(),
        if variant.qk_norm && sizes == SIZES[1] { ", norm by huge weights" } else { "" },
        kv.name()
    );
    let class = format!("reduce/{}", variant.reduce.name());
    Check::new("rope_kv", class, label, move |gpu| run_case(gpu, variant, tokens, sizes, output))
}

fn run_case(
    gpu: &Gpu,
    variant: Variant,
    tokens: Tokens,
    sizes: [f32; 2],
    output: usize,
) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let Geometry { heads, kv_heads, head_dim, context, kv, .. } = variant.geometry;
    let n = tokens.count();
    let (x_stride, q_stride) = ((heads + 2 * kv_heads) * head_dim + 5, heads * head_dim + 3);
    let (eps, row) = (1e-6f32, head_dim.next_multiple_of(4));
    let sized = |seed, n, size: f32| check::uniform(seed, n).iter().map(|v| v * size).collect::<Vec<f32>>();
    let qkv = sized(53, n * x_stride, sizes[0]);
    let norms = sized(59, 2 * head_dim, sizes[1]);
    let rope = table(context, variant.rotary);
    let (qkv_slice, tables) = (check::floats(gpu, &qkv)?, check_tables(gpu, &norms, &rope)?);
    // The cache is marked in words, of which one is several elements in types shorter than f32.
    let cache_words = tokens.sequences() * kv_heads * context * kv.row_bytes(head_dim) / 4;
    let outs = [
        check::marked(gpu, n * q_stride)?,
        check::marked(gpu, cache_words)?,
        check::marked(gpu, cache_words)?,
    ];
    let state = tokens.state();
    let state_slice = check::state(gpu, state)?;
    let buffers = RopeKv {
        qkv: &qkv_slice,
        tables: check_places(&tables, head_dim),
        q: &outs[0],
        k_cache: &outs[1],
        v_cache: &outs[2],
        state: &state_slice,
        x_stride,
        q_stride,
        eps,
    };
    let raw = check::finish(gpu, step(gpu, "check", variant, buffers)?, state, &outs[output])?;
    let head = |token: usize, slot: usize| &qkv[token * x_stride + slot * head_dim..][..head_dim];
    if output == 0 {
        let mut want = vec![Want::Untouched; n * q_stride];
        for token in 0..n {
            for h in 0..heads {
                let out = reference(
                    variant,
                    head(token, h),
                    Some(&norms[..head_dim]),
                    &rope,
                    tokens.place(token).1,
                    eps,
                );
                want[token * q_stride + h * head_dim..][..head_dim].copy_from_slice(&out);
            }
        }
        return Ok((raw, want));
    }
    let mut want = vec![Want::Untouched; tokens.sequences() * kv_heads * context * row];
    for h in 0..kv_heads {
        for token in 0..n {
            let (sequence, pos) = tokens.place(token);
            let slot = heads + (output - 1) * kv_heads + h;
            let weight = (output == 1).then_some(&norms[head_dim..]);
            let mut out = reference(variant, head(token, slot), weight, &rope, pos, eps);
            if output == 2 {
                let plain = |v: &f32| Want::Near { value: f64::from(*v), tolerance: 0.0 };
                out = head(token, slot).iter().map(plain).collect();
            }
            let value = |want: &Want| if let Want::Near { value, .. } = want { *value } else { f64::NAN };
            let rounding = kv.rounding(&out.iter().map(value).collect::<Vec<_>>());
            for (item, moved) in out.iter_mut().zip(rounding) {
                if let Want::Near { tolerance, .. } = item {
                    *tolerance += moved;
                }
            }
            out.resize(row, Want::Near { value: 0.0, tolerance: 0.0 });
            want[((sequence * kv_heads + h) * context + pos) * row..][..row].copy_from_slice(&out);
        }
    }
    // What nobody wrote is found by its words, which decode to numbers of their own in types shorter than f32.
    let (cache, guards) = raw.split_at(cache_words);
    let marker = guards[guards.len() - 1];
    let mut got = kv.decode(bytemuck::cast_slice(cache), row, context);
    let marks = kv.decode(&marker.to_le_bytes().repeat(cache_words), row, context);
    for (got, mark) in got.iter_mut().zip(marks) {
        if got.to_bits() == mark.to_bits() {
            *got = marker;
        }
    }
    got.extend(guards);
    Ok((got, want))
}

/// The buffer of [`Tables`] for checks: the layer of these norms is the second of two.
pub fn check_tables(gpu: &Gpu, norms: &[f32], rope: &[f32]) -> Result<Slice, GpuError> {
    let other = vec![f32::NAN; norms.len()];
    check::floats(gpu, &[&other, norms, rope].concat())
}

/// Where everything is in what [`check_tables`] made.
pub fn check_places(slice: &Slice, head_dim: usize) -> Tables<'_> {
    Tables { slice, norms_at: head_dim, rope_at: 2 * head_dim }
}

/// A table of angles for checks: [context, rotary / 2] pairs (cos, sin).
pub fn table(context: usize, rotary: usize) -> Vec<f32> {
    let half = rotary / 2;
    let angle = |i: usize| (i / half) as f32 * 0.9f32.powi((i % half) as i32);
    (0..context * half).flat_map(|i| [angle(i).cos(), angle(i).sin()]).collect()
}

/// Norm and rotation of one head in f64.
pub fn reference(
    variant: Variant,
    x: &[f32],
    weight: Option<&[f32]>,
    rope: &[f32],
    pos: usize,
    eps: f32,
) -> Vec<Want> {
    let mut v: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    if let (true, Some(weight)) = (variant.qk_norm, weight) {
        let mean = v.iter().map(|v| v * v).sum::<f64>() / v.len() as f64;
        let scale = 1.0 / (mean + f64::from(eps)).sqrt();
        for (v, w) in v.iter_mut().zip(weight) {
            *v *= scale * f64::from(*w);
        }
    }
    let half = variant.rotary / 2;
    let mut out = v.clone();
    for i in 0..half {
        let (a, b) = if variant.interleaved { (2 * i, 2 * i + 1) } else { (i, i + half) };
        let (cos, sin) = (f64::from(rope[2 * (pos * half + i)]), f64::from(rope[2 * (pos * half + i) + 1]));
        out[a] = v[a] * cos - v[b] * sin;
        out[b] = v[b] * cos + v[a] * sin;
    }
    let largest = v.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
    let tolerance = check::sum_tolerance(v.len(), 2.0 * largest);
    out.into_iter().map(|value| Want::Near { value, tolerance }).collect()
}
