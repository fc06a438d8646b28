// What the two kernels of decode attention have in common: attend_decode.wgsl, by a workgroup, and
// attend_decode_subgroup.wgsl, by a subgroup. Attention of a token over its KV cache, from the token's row of Q, K and V:
// norms (Qwen3) and rotates q and k (see rotary.wgsl), writes k and v to the cache, and computes
// out = softmax(q · Kᵀ * scale) · V, online softmax (Milakov & Gimelshein 2018) over tiles of positions.
// A workgroup serves up to HEADS query heads of one KV head (x) of one token (y), so K and V are read once per KV head
// when the group has at most HEADS heads. With several workgroups along z every one takes each so-many-th tile and leaves
// its part of the sum behind the rows of `out`, for attend_merge (Dao et al. 2023, flash-decoding). The token's own position never
// comes from the cache: the first split has it at hand.
struct Params {
  group: u32,       // query heads per KV head
  kv_heads: u32,
  parts: u32,       // workgroups per KV head
  x_stride: u32,    // floats per row of qkv
  out_stride: u32,  // floats per row of out
  context: u32,     // positions in the cache
  window: u32,      // a token sees the last `window` positions; 0: all
  scale: f32,
  eps: f32,         // of the norms
  norms_at: u32,    // pairs of `tables` before the norms of this layer
  rope_at: u32,     // pairs of `tables` before the angles
  partial_at: u32,  // floats of `out` before the parts of sums
}
@group(0) @binding(0) var<storage, read> qkv: array<f32>;            // [n_tokens, x_stride]: q, k and v heads
@group(0) @binding(1) var<storage, read> tables: array<vec2<f32>>;   // see rotary.wgsl
@group(0) @binding(2) var<storage, read_write> k_cache: array<kv4>;  // [sequences, kv_heads, context, HEAD_WORDS]
@group(0) @binding(3) var<storage, read_write> v_cache: array<kv4>;  // as k_cache
// [n_tokens, out_stride]; from partial_at on [n_tokens, splits, heads, HEAD_DIM + 2], for attend_merge
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<uniform> state: State;

const D4: u32 = (HEAD_DIM + 3u) / 4u;
const HEADS: u32 = 4u * GV;           // of which MOST are used
const LOWEST: f32 = -3.0e38;

// What a workgroup works on.
struct Work {
  first_head: u32,   // of the group's query heads
  heads: u32,        // of the HEADS from there on, those that there are
  pos: u32,          // the token's own position
  start: u32,        // the first position that it sees
  base: u32,         // of the head's elements in the caches
  scales: u32,       // of its scales
  q_begin: u32, k_begin: u32, v_begin: u32,  // in qkv
  out_begin: u32,    // in out
  partial_begin: u32,  // the same where positions are split
}

fn work_of(id: vec3<u32>, splits: u32) -> Work {
  var w: Work;
  let kv_head = id.x / params.parts;
  w.first_head = (id.x % params.parts) * HEADS;
  w.heads = min(HEADS, params.group - w.first_head);
  let head0 = kv_head * params.group + w.first_head;
  w.pos = token_position(id.y);
  w.start = select(0u, w.pos + 1u - params.window, params.window > 0u && w.pos >= params.window);
  w.base = (token_sequence(id.y) * params.kv_heads + kv_head) * params.context * HEAD_WORDS;
  w.scales = w.base + params.context * D4;
  let all_heads = params.group * params.kv_heads;
  let row = id.y * params.x_stride;
  w.q_begin = row + head0 * HEAD_DIM;
  w.k_begin = row + (all_heads + kv_head) * HEAD_DIM;
  w.v_begin = w.k_begin + params.kv_heads * HEAD_DIM;
  w.out_begin = id.y * params.out_stride + head0 * HEAD_DIM;
  w.partial_begin = params.partial_at + ((id.y * splits + id.z) * all_heads + head0) * (HEAD_DIM + 2u);
  return w;
}

// Element e of the head that begins at qkv[begin]; 0 beyond it.
fn raw(begin: u32, e: u32) -> f32 {
  if (e >= HEAD_DIM) { return 0.0; }
  return qkv[begin + e];
}

// The same normed, where there are norms, by the head's scale; `weight` says with which.
fn normed(begin: u32, scale: f32, weight: u32, e: u32) -> f32 {
  let v = raw(begin, e);
  if (QK_NORM && e < HEAD_DIM) { return v * scale * head_norm(weight + e); }
  return v;
}

fn raw4(begin: u32, e: u32) -> vec4<f32> {
  return vec4<f32>(raw(begin, e), raw(begin, e + 1u), raw(begin, e + 2u), raw(begin, e + 3u));
}

// Scales of octet o whose words begin at `at`.
fn key_scale(at: u32, o: u32) -> f32 {
  if (KV_SCALED) { return kv_scale(k_cache[at + o / 2u], o); }
  return 1.0;
}
fn value_scale(at: u32, o: u32) -> f32 {
  if (KV_SCALED) { return kv_scale(v_cache[at + o / 2u], o); }
  return 1.0;
}

// K of octet o of position p, or of the last one in the cache where p is beyond it. Beyond the head q is zero, and any K will do.
fn load_keys(work: Work, p: u32, o: u32) -> Block32 {
  let at = min(p, work.pos - 1u);
  let s = key_scale(work.scales + at * SCALE_WORDS, o);
  var i: array<u32, 8>;
  for (var j = 0u; j < 8u; j++) { i[j] = work.base + at * D4 + min(o * 8u + j, D4 - 1u); }
  return Block32(
    kv_unpack(k_cache[i[0]], s), kv_unpack(k_cache[i[1]], s), kv_unpack(k_cache[i[2]], s), kv_unpack(k_cache[i[3]], s),
    kv_unpack(k_cache[i[4]], s), kv_unpack(k_cache[i[5]], s), kv_unpack(k_cache[i[6]], s), kv_unpack(k_cache[i[7]], s));
}

// V at d of a position.
fn value(work: Work, p: u32, d: u32) -> vec4<f32> {
  let scale = value_scale(work.scales + p * SCALE_WORDS, d / 8u);
  return kv_unpack(v_cache[work.base + p * D4 + d], scale);
}

// V at d of eight positions from `at` on, every stride-th; those beyond the last one have no weight.
fn load_values(work: Work, at: u32, stride: u32, d: u32) -> Block32 {
  var p: array<u32, 8>;
  for (var j = 0u; j < 8u; j++) { p[j] = min(at + j * stride, work.pos - 1u); }
  return Block32(
    value(work, p[0], d), value(work, p[1], d), value(work, p[2], d), value(work, p[3], d),
    value(work, p[4], d), value(work, p[5], d), value(work, p[6], d), value(work, p[7], d));
}

// Sum of the vectors of v, each times component c of its w.
fn weighted(w: Block32, v: Block32, c: u32) -> vec4<f32> {
  var s = w.a[c] * v.a;
  s += w.b[c] * v.b; s += w.c[c] * v.c; s += w.d[c] * v.d; s += w.e[c] * v.e;
  s += w.f[c] * v.f; s += w.g[c] * v.g; s += w.h[c] * v.h;
  return s;
}

// What the own position counts in the softmax denominator: as much as the maximum, which it is, so 1. But what is no number has
// to show where there is no other position: Inf - Inf.
fn own_weight(score: vec4<f32>) -> vec4<f32> {
  let bad = (bitcast<vec4<u32>>(score) & vec4<u32>(0x7FFFFFFFu)) >= vec4<u32>(0x7F800000u);
  return select(vec4<f32>(1.0), score - score, bad);
}

// Writes vec4 d of head h's output, or, where positions are split, of its part of the sum: with its maximum and denominator.
fn store(work: Work, splits: u32, h: u32, d: u32, v: vec4<f32>, top: f32, total: f32) {
  let e = d * 4u;
  if (splits == 1u) {
    let to = work.out_begin + h * HEAD_DIM + e;
    for (var c = 0u; c < min(4u, HEAD_DIM - e); c++) { out[to + c] = v[c] / total; }
  } else {
    let to = work.partial_begin + h * (HEAD_DIM + 2u);
    for (var c = 0u; c < min(4u, HEAD_DIM - e); c++) { out[to + e + c] = v[c]; }
    if (d == 0u) {
      out[to + HEAD_DIM] = top;
      out[to + HEAD_DIM + 1u] = total;
    }
  }
}
