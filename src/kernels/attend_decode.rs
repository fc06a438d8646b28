//! Attention of one token (or a few, each for itself), from its row of Q, K and V: rotation, KV write and attention in one.
//! `shaders/attend_decode.wgsl` by a workgroup, `shaders/attend_decode_subgroup.wgsl` by a subgroup.

use bytemuck::{Pod, Zeroable};

use crate::base::AdapterFacts;
use crate::gpu::graph::Split;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::attend_merge;
use crate::kernels::attention::{self, Geometry, Tokens, unusual};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::kv::KvType;
use crate::kernels::reduce::{self, Reduce};
use crate::kernels::rope_kv;
use crate::kernels::weights::snippet;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in shared/decode.wgsl")]
pub struct Params {
    pub group: u32,
    pub kv_heads: u32,
    pub parts: u32,
    pub x_stride: u32,
    pub out_stride: u32,
    pub context: u32,
    pub window: u32,
    pub scale: f32,
    pub eps: f32,
    pub norms_at: u32,
    pub rope_at: u32,
    pub partial_at: u32,
}

const BINDINGS: &[(&str, Access)] = &[
    ("qkv", Access::Read),
    ("tables", Access::Read),
    ("k_cache", Access::Write),
    ("v_cache", Access::Write),
    ("out", Access::Write),
    ("state", Access::Uniform),
];

const PARAMS: &[&str] = &[
    "group",
    "kv_heads",
    "parts",
    "x_stride",
    "out_stride",
    "context",
    "window",
    "scale",
    "eps",
    "norms_at",
    "rope_at",
    "partial_at",
];

/// The kernel in which a workgroup shares what it reads through workgroup memory.
pub static SPEC: KernelSpec = KernelSpec {
    name: "attend_decode",
    wgsl: include_str!("../../shaders/attend_decode.wgsl"),
    bindings: BINDINGS,
    params: PARAMS,
};

/// The kernel in which a subgroup shares it through broadcasts.
pub static SUBGROUP_SPEC: KernelSpec = KernelSpec {
    name: "attend_decode_subgroup",
    wgsl: include_str!("../../shaders/attend_decode_subgroup.wgsl"),
    bindings: BINDINGS,
    params: PARAMS,
};

/// Fewest invocations of a workgroup that is not one subgroup; a head wider than 4 × this needs more.
const MIN_WG: u32 = 64;

/// A way to run the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// What the model fixes, and the reduction.
    pub rope: rope_kv::Variant,
    /// The one size of subgroups, where a workgroup shall be one; see [`one_size`].
    pub subgroup: Option<u32>,
}

/// The one size of this adapter's subgroups, where [`SUBGROUP_SPEC`] can run.
pub fn one_size(facts: &AdapterFacts) -> Option<u32> {
    let [fewest, most] = facts.subgroup_sizes;
    (facts.subgroups && fewest == most && fewest >= 8).then_some(fewest)
}

/// The variant.
pub fn shader(variant: Variant) -> Shader {
    let rope_kv::Variant { geometry, rotary, interleaved, qk_norm, reduce } = variant.rope;
    let mut consts = vec![
        ("HEAD_DIM", Const::U32(geometry.head_dim as u32)),
        ("GV", Const::U32(head_vectors(geometry))),
        ("MOST", Const::U32((4 * head_vectors(geometry)).min(geometry.group() as u32))),
        ("ROTARY", Const::U32(rotary as u32)),
        ("INTERLEAVED", Const::Bool(interleaved)),
        ("QK_NORM", Const::Bool(qk_norm)),
    ];
    let mut snippets = vec![
        reduce::state(),
        rope_kv::rotary(),
        snippet!("shared/block.wgsl"),
        snippet!("shared/decode.wgsl"),
    ];
    let spec = match variant.subgroup {
        Some(size) => {
            consts.push(("SUBGROUP", Const::U32(size)));
            snippets.push(snippet!("shared/broadcast.wgsl"));
            snippets.extend(geometry.kv.snippets());
            &SUBGROUP_SPEC
        }
        None => {
            consts.push(("WG", Const::U32(workgroup(geometry.head_dim))));
            snippets.push(reduce.snippet());
            snippets.extend(geometry.kv.writing_snippets());
            &SPEC
        }
    };
    let subgroups = reduce.subgroups() || variant.subgroup.is_some();
    Shader { spec, consts, snippets, bound_as: vec![], f16: false, subgroups }
}

fn workgroup(head_dim: usize) -> u32 {
    (head_dim.div_ceil(4) as u32).next_power_of_two().max(MIN_WG)
}

/// How many vec4 of query heads one workgroup serves: 4 or 8 heads, 4 where queries of 8 would take more
/// than a quarter of the 16 KiB of workgroup memory.
fn head_vectors(geometry: Geometry) -> u32 {
    if geometry.group() > 4 && geometry.head_dim <= 128 { 2 } else { 1 }
}

/// The buffers of one attention step.
#[derive(Clone, Copy)]
pub struct Decode<'a> {
    /// [n_tokens, x_stride] f32: q heads, k heads, v heads.
    pub qkv: &'a Slice,
    /// Norms and angles.
    pub tables: rope_kv::Tables<'a>,
    /// [sequences, kv_heads, context, head_dim rounded up to 4], as [`kv`](crate::kernels::kv) says; written at the token's position.
    pub k_cache: &'a Slice,
    /// As `k_cache`.
    pub v_cache: &'a Slice,
    /// [n_tokens, out_stride] f32, and from `partial_at` on [n_tokens, splits, heads, head_dim + 2] f32: the parts of sums
    /// that are split.
    pub out: &'a Slice,
    /// [`State`](crate::gpu::graph::State).
    pub state: &'a Slice,
    /// Floats per row of qkv.
    pub x_stride: usize,
    /// Floats per row of out.
    pub out_stride: usize,
    /// Floats of out before the parts of sums.
    pub partial_at: usize,
    /// ε of the norms.
    pub eps: f32,
}

/// Attention for all tokens of the run: one dispatch, and where `split` applies another that joins the splits.
pub fn steps(
    gpu: &Gpu,
    label: &str,
    variant: Variant,
    split: Split,
    decode: Decode<'_>,
) -> Result<Vec<Step>, GpuError> {
    let geometry = variant.rope.geometry;
    let split = Split { window: geometry.window as u32, ..split };
    let parts = (geometry.group() as u32).div_ceil(4 * head_vectors(geometry));
    let params = Params {
        group: geometry.group() as u32,
        kv_heads: geometry.kv_heads as u32,
        parts,
        x_stride: decode.x_stride as u32,
        out_stride: decode.out_stride as u32,
        context: geometry.context as u32,
        window: geometry.window as u32,
        scale: geometry.scale(),
        eps: decode.eps,
        norms_at: decode.tables.norms_at as u32,
        rope_at: decode.tables.rope_at as u32,
        partial_at: decode.partial_at as u32,
    };
    let Decode { qkv, tables, k_cache, v_cache, out, state, .. } = decode;
    let bindings = [qkv, tables.slice, k_cache, v_cache, out, state];
    let grid = [Extent::Fixed(geometry.kv_heads as u32 * parts), Extent::TokensPer(1), Extent::Splits(split)];
    let step = gpu.step(label, &shader(variant), &bindings, params, grid)?;
    let norm_bytes = if variant.rope.qk_norm { 2 * geometry.head_dim as u64 * 4 } else { 0 };
    let mut steps = vec![step.moving(norm_bytes).reading(geometry.kv_bytes())];
    if split.splits > 1 {
        let params = attend_merge::Params {
            splits: split.splits,
            heads: geometry.heads as u32,
            out_stride: decode.out_stride as u32,
            partial_at: decode.partial_at as u32,
        };
        let label = format!("{label} merge");
        steps.push(attend_merge::step(gpu, &label, geometry.head_dim, split, out, params)?);
    }
    Ok(steps)
}

/// Heads worth testing, with their ways to rotate and norm: widths that are no multiple of 4 or 32, partners in the same vec4, in
/// another octet and elsewhere, rotation of a part, groups of every kind.
fn ropes() -> Vec<rope_kv::Variant> {
    use KvType::{F16, F32, Q8_0};
    let rope = |(kv, heads, kv_heads, head_dim, rotary, interleaved, qk_norm)| {
        let geometry = Geometry { heads, kv_heads, head_dim, context: 260, window: 0, kv };
        rope_kv::Variant { geometry, rotary, interleaved, qk_norm, reduce: Reduce::Workgroup }
    };
    // Cache, query heads, KV heads, width, rotated elements, interleaved, normed.
    let all = [
        (F16, 9, 3, 64, 64, false, false),
        (F16, 10, 2, 128, 128, false, true),
        (F16, 14, 2, 64, 64, false, false),
        (F16, 16, 2, 128, 128, true, false),
        (F16, 4, 1, 128, 64, false, false),
        (F16, 8, 4, 8, 8, false, false),
        (F16, 4, 4, 32, 32, true, true),
        (F16, 2, 1, 80, 32, false, true),
        (F16, 2, 1, 96, 96, false, false),
        (F16, 2, 1, 20, 12, true, false),
        (F16, 9, 1, 6, 6, true, false),
        (F16, 5, 1, 256, 256, false, true),
        (F16, 2, 2, 256, 256, false, false),
        (F16, 1, 1, 2, 2, true, true),
        (F32, 9, 3, 64, 64, false, false),
        (F32, 9, 1, 6, 6, true, false),
        (F32, 2, 2, 256, 256, false, true),
        (Q8_0, 9, 3, 64, 64, true, false),
        (Q8_0, 9, 1, 80, 80, false, false),
        (Q8_0, 9, 1, 6, 6, false, false),
        (Q8_0, 2, 1, 96, 96, false, true),
        (Q8_0, 2, 2, 256, 256, true, true),
    ];
    all.map(rope).into()
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for rope in ropes() {
        for reduce in Reduce::ALL {
            let rope = rope_kv::Variant { reduce, ..rope };
            shaders.push(shader(Variant { rope, subgroup: None }));
            if reduce.subgroups() {
                shaders.extend([8, 32].map(|size| shader(Variant { rope, subgroup: Some(size) })));
            }
        }
    }
    shaders
}

/// Every geometry × reduction × positions around the tile size, with and without window, whole and split.
pub fn checks(facts: &AdapterFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut ways: Vec<(Reduce, Option<u32>)> = vec![(Reduce::Workgroup, None)];
    if facts.subgroups {
        ways.push((Reduce::Subgroup, None));
    }
    ways.extend(one_size(facts).map(|size| (Reduce::Subgroup, Some(size))));
    for rope in ropes() {
        for (reduce, subgroup) in &ways {
            let run = |pos, n| Tokens::Run { pos, n };
            for (tokens, window, size, splits) in [
                (run(0, 1), 0, 1.0, 1),
                (run(64, 1), 0, 1.0, 1),
                (run(200, 1), 0, 4.0, 1),
                (run(259, 1), 0, 1.0, 3),
                (run(150, 1), 70, 1.0, 1),
                (run(150, 1), 70, 1.0, 4),
                (run(5, 1), 9, 1.0, 1),
                (Tokens::Each(&[130, 0, 64, 259, 7]), 0, 1.0, 1),
                (Tokens::Each(&[130, 0, 64, 259, 7]), 0, 1.0, 4),
                (Tokens::Each(&[100, 9]), 70, 1.0, 1),
            ] {
                let geometry = Geometry { window, ..rope.geometry };
                let rope = rope_kv::Variant { geometry, reduce: *reduce, ..rope };
                let variant = Variant { rope, subgroup: *subgroup };
                for output in [Output::Attention, Output::K, Output::V, Output::Nan] {
                    let Geometry { heads, head_dim, kv, .. } = geometry;
                    let usual = [(9, 64), (10, 128)].contains(&(heads, head_dim)) && kv != KvType::F32;
                    let quick = usual && matches!(tokens, Tokens::Each(&[130, ..]));
                    // What is written to the cache depends on neither split nor window.
                    let attention = output == Output::Attention;
                    if !attention && !matches!(tokens, Tokens::Each(&[130, ..])) {
                        continue;
                    }
                    let check = Case { variant, tokens, size, splits, output }.check();
                    checks.push(check.quick(quick && matches!(output, Output::Attention | Output::Nan)));
                }
            }
        }
    }
    checks
}

/// What the kernel has to pass before it runs on heads like these: all that it writes, sequences of several lengths,
/// and one in as many splits as the model's may have.
pub fn checks_of(variant: Variant, splits: u32) -> Vec<Check> {
    let window = if variant.rope.geometry.window > 0 { 70 } else { 0 };
    let geometry = Geometry { context: 260, window, ..variant.rope.geometry.few_heads() };
    let variant = Variant { rope: rope_kv::Variant { geometry, ..variant.rope }, ..variant };
    let case = |tokens, splits, output| Case { variant, tokens, size: 1.0, splits, output }.check();
    let each = Tokens::Each(&[130, 0, 64, 259, 7]);
    let mut checks = Vec::from([Output::Attention, Output::K, Output::V].map(|output| case(each, 1, output)));
    if splits > 1 {
        checks.push(case(Tokens::Run { pos: 259, n: 1 }, splits, Output::Attention));
    }
    checks
}

/// What a number of splits has to pass before the tuner may choose it: the first geometry of each cache type, at positions
/// that make some splits empty and others uneven.
pub fn checks_of_splits(reduce: Reduce, subgroup: Option<u32>, splits: u32) -> Vec<Check> {
    let mut checks = Vec::new();
    for rope in ropes().into_iter().filter(|rope| rope.geometry.head_dim == 64) {
        for tokens in [Tokens::Run { pos: 259, n: 1 }, Tokens::Each(&[130, 0, 64, 259, 7])] {
            let variant = Variant { rope: rope_kv::Variant { reduce, ..rope }, subgroup };
            checks.push(Case { variant, tokens, size: 1.0, splits, output: Output::Attention }.check());
        }
    }
    checks
}

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Attention,
    K,
    V,
    /// Whether NaN in the first query shows in all of its head's attention.
    Nan,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Output::Attention => "attention",
            Output::K => "K written",
            Output::V => "V written",
            Output::Nan => "NaN passed on",
        })
    }
}

#[derive(Clone, Copy)]
struct Case {
    variant: Variant,
    tokens: Tokens,
    size: f32,
    splits: u32,
    output: Output,
}

impl Case {
    fn check(self) -> Check {
        let Case { variant: Variant { rope, subgroup }, tokens, size, splits, output } = self;
        let Geometry { heads, kv_heads, head_dim, window, kv, .. } = rope.geometry;
        let (kernel, class) = match subgroup {
            Some(_) => (SUBGROUP_SPEC.name, SUBGROUP_SPEC.name.to_owned()),
            None => (SPEC.name, format!("reduce/{}", rope.reduce.name())),
        };
        let label = format!(
            "{output}, heads {heads}/{kv_heads} of {head_dim}, {}, {} cache, {tokens}{}{}",
            rope.rotation(),
            kv.name(),
            if splits > 1 { format!(", {splits} splits") } else { String::new() },
            unusual(window, size),
        );
        Check::new(kernel, class, label, move |gpu| self.run(gpu))
    }

    fn run(self, gpu: &Gpu) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
        let Case { variant, tokens, size, splits, output } = self;
        let rope = variant.rope;
        let Geometry { heads, kv_heads, head_dim, context, window, kv } = rope.geometry;
        let (n, row) = (tokens.count(), head_dim.next_multiple_of(4));
        let (x_stride, out_stride) = ((heads + 2 * kv_heads) * head_dim + 3, heads * head_dim + 7);
        let scaled =
            |seed, n| -> Vec<f32> { check::uniform(seed, n).into_iter().map(|v| v * size).collect() };
        let mut qkv = scaled(41, n * x_stride);
        if output == Output::Nan {
            qkv.chunks_exact_mut(x_stride).for_each(|row| row[0] = f32::NAN);
        }
        let norms: Vec<f32> = check::uniform(59, 2 * head_dim).iter().map(|v| v + 1.5).collect();
        let table = rope_kv::table(context, rope.rotary);
        // Positions that no token may see hold NaN, and so does the token's own: looking at them shows.
        let cache = |seed| -> Vec<f32> {
            let mut cache = scaled(seed, tokens.sequences() * kv_heads * context * row);
            for position in cache.chunks_exact_mut(row) {
                position[head_dim..].fill(0.0);
                position.copy_from_slice(&kv.round(position));
            }
            for (i, head) in cache.chunks_exact_mut(context * row).enumerate() {
                let own = (0..n).map(|t| tokens.place(t)).find(|(s, _)| *s == i / kv_heads);
                head[own.map_or(0, |(_, pos)| pos) * row..].fill(f32::NAN);
            }
            cache
        };
        let caches = [cache(43), cache(47)];
        let eps = 1e-6f32;
        let (qkv_slice, tables) = (check::floats(gpu, &qkv)?, rope_kv::check_tables(gpu, &norms, &table)?);
        let encoded = [0, 1].map(|i| kv.encode(&caches[i], row, context));
        let [k_cache, v_cache] = [gpu.upload("check k", &encoded[0])?, gpu.upload("check v", &encoded[1])?];
        // Rows, untouched floats, parts of sums, untouched floats again.
        let partial_at = n * out_stride + check::GUARD;
        let partial_end = partial_at + n * splits as usize * heads * attend_merge::partial_floats(head_dim);
        let out = check::marked(gpu, partial_end)?;
        let state = tokens.state();
        let state_slice = check::state(gpu, state)?;
        let decode = Decode {
            qkv: &qkv_slice,
            tables: rope_kv::check_places(&tables, head_dim),
            k_cache: &k_cache,
            v_cache: &v_cache,
            out: &out,
            state: &state_slice,
            x_stride,
            out_stride,
            partial_at,
            eps,
        };
        let split = Split { above: 0, splits, window: window as u32 };
        let steps = steps(gpu, "check", variant, split, decode)?;
        gpu.run(&crate::gpu::Graph::new(steps), state)?;
        let place =
            |sequence: usize, head: usize, p: usize| ((sequence * kv_heads + head) * context + p) * row;
        // (k or v of a token's own position, as the cache shall hold it, with the tolerance of what is stored)
        let own = |token: usize, head: usize, output: Output| -> Vec<(f64, f64)> {
            let (slot, weight) = match output {
                Output::V => (heads + kv_heads + head, None),
                _ => (heads + head, Some(&norms[head_dim..])),
            };
            let x = &qkv[token * x_stride + slot * head_dim..][..head_dim];
            if output == Output::V {
                let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
                return x.iter().copied().zip(kv.rounding(&x)).collect();
            }
            let wanted = rope_kv::reference(rope, x, weight, &table, tokens.place(token).1, eps);
            let near = |want: &Want| match want {
                Want::Near { value, tolerance } => (*value, *tolerance),
                Want::Untouched => (f64::NAN, 0.0),
            };
            let (values, tolerances): (Vec<f64>, Vec<f64>) = wanted.iter().map(near).unzip();
            let moved = kv.rounding(&values);
            let sum = |((value, tolerance), moved): ((f64, f64), f64)| (value, tolerance + moved);
            values.into_iter().zip(tolerances).zip(moved).map(sum).collect()
        };
        if matches!(output, Output::K | Output::V) {
            let (cache, slice) = match output {
                Output::K => (&caches[0], &k_cache),
                _ => (&caches[1], &v_cache),
            };
            let got = kv.decode(&gpu.read(slice)?[..encoded[0].len()], row, context);
            let mut want: Vec<Want> =
                cache.iter().map(|v| Want::Near { value: f64::from(*v), tolerance: 0.0 }).collect();
            for token in 0..n {
                let (sequence, pos) = tokens.place(token);
                for head in 0..kv_heads {
                    for (e, (value, tolerance)) in own(token, head, output).into_iter().enumerate() {
                        want[place(sequence, head, pos) + e] = Want::Near { value, tolerance };
                    }
                    for e in head_dim..row {
                        want[place(sequence, head, pos) + e] = Want::Near { value: 0.0, tolerance: 0.0 };
                    }
                }
            }
            // What was NaN and must stay so cannot be compared as a number: 7 stands for it on both sides.
            let mut shown = got;
            for (got, want) in shown.iter_mut().zip(&mut want) {
                if matches!(want, Want::Near { value, .. } if value.is_nan()) && got.is_nan() {
                    (*got, *want) = (7.0, Want::Near { value: 7.0, tolerance: 0.0 });
                }
            }
            return Ok((shown, want));
        }
        let bytes = gpu.read(&out)?;
        let mut got: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        got.drain(partial_at..partial_end);
        if output == Output::Nan {
            let shows = |v: &f32| !v.is_finite() && v.to_bits() != check::MARKER;
            let shown = got.chunks(out_stride).take(n).flat_map(|row| row[..head_dim].iter().map(shows));
            let want = vec![Want::Near { value: 1.0, tolerance: 0.0 }; n * head_dim];
            return Ok((shown.map(|shows| f32::from(u8::from(shows))).collect(), want));
        }
        // The token's own key and value as they were stored, which is checked apart: they may be rounded either way.
        let [stored, stored_values] = [&k_cache, &v_cache].map(|slice| gpu.read(slice));
        let [stored, stored_values] =
            [stored?, stored_values?].map(|bytes| kv.decode(&bytes[..encoded[0].len()], row, context));
        let mut want = vec![Want::Untouched; n * out_stride];
        for token in 0..n {
            let (sequence, last) = tokens.place(token);
            let first = if window > 0 { (last + 1).saturating_sub(window) } else { 0 };
            for head in 0..heads {
                let kv_head = head / rope.geometry.group();
                let at = |cache: &[f32], p: usize| cache[place(sequence, kv_head, p)..][..head_dim].to_vec();
                let keys: Vec<Vec<f32>> = (first..=last).map(|p| at(&stored, p)).collect();
                let values: Vec<Vec<f32>> = (first..=last).map(|p| at(&stored_values, p)).collect();
                let keys: Vec<&[f32]> = keys.iter().map(Vec::as_slice).collect();
                let values: Vec<&[f32]> = values.iter().map(Vec::as_slice).collect();
                let x = &qkv[token * x_stride + head * head_dim..][..head_dim];
                let query: Vec<f32> =
                    rope_kv::reference(rope, x, Some(&norms[..head_dim]), &table, last, eps)
                        .into_iter()
                        .map(|want| if let Want::Near { value, .. } = want { value as f32 } else { f32::NAN })
                        .collect();
                let result = attention::reference(&query, &keys, &values, rope.geometry.scale());
                want[token * out_stride + head * head_dim..][..head_dim].copy_from_slice(&result);
            }
        }
        Ok((got, want))
    }
}
