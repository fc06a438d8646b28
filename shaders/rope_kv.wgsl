// Splits a QKV row into heads; norms (Qwen3) and rotates q and k; writes q to `q`, k and v to the cache.
// One workgroup per head slot (x: query heads, then key heads, then value heads) and token (y).
// Rotation: see rotary.wgsl. Every sequence has a cache of its own.
struct Params {
  heads: u32, kv_heads: u32,
  x_stride: u32,  // floats per row of qkv
  q_stride: u32,  // floats per row of q
  context: u32,   // positions in the cache
  eps: f32,
  norms_at: u32,  // pairs of `tables` before the norms of this layer
  rope_at: u32,   // pairs of `tables` before the angles
}
@group(0) @binding(0) var<storage, read> qkv: array<f32>;            // [n_tokens, x_stride]
@group(0) @binding(1) var<storage, read> tables: array<vec2<f32>>;   // see rotary.wgsl
@group(0) @binding(2) var<storage, read_write> q: array<f32>;        // [n_tokens, q_stride]
@group(0) @binding(3) var<storage, read_write> k_cache: array<kv4>;  // [sequences, kv_heads, context, HEAD_WORDS]
@group(0) @binding(4) var<storage, read_write> v_cache: array<kv4>;  // as k_cache
@group(0) @binding(5) var<uniform> state: State;

const D4: u32 = (HEAD_DIM + 3u) / 4u;
var<workgroup> head: array<f32, D4 * 4u>;
var<workgroup> kept: array<vec4<f32>, D8>;  // what is kept of it, rotated

fn rotated(e: u32, pos: u32) -> f32 {
  if (e >= ROTARY) { return head[e]; }
  let pair = rotary_pair(e);
  return turned(head[e], head[pair.other], angle_at(pos, pair.angle), pair.second);
}

fn unrounded(i: u32) -> vec4<f32> { return kept[i]; }

// `main` is in reduce_*.wgsl: what it takes of an invocation differs.
fn body(id: vec3<u32>, groups: vec3<u32>, in: ReduceInput) {
  let slot = id.x;
  let pos = token_position(id.y);
  let first_head = token_sequence(id.y) * params.kv_heads;
  let is_q = slot < params.heads;
  let is_v = slot >= params.heads + params.kv_heads;
  let begin = id.y * params.x_stride + slot * HEAD_DIM;
  var squares = 0.0;
  for (var e = in.lane; e < D4 * 4u; e += WG) {
    var v = 0.0;
    if (e < HEAD_DIM) { v = qkv[begin + e]; }
    head[e] = v;
    squares += v * v;
  }
  workgroupBarrier();
  if (QK_NORM && !is_v) {
    let s = wg_sum4(vec4<f32>(squares, 0.0, 0.0, 0.0), in);
    let scale = inverseSqrt(s.x / f32(HEAD_DIM) + params.eps);
    for (var e = in.lane; e < HEAD_DIM; e += WG) {
      // From the left: the scale times the weight alone may overflow.
      head[e] = head[e] * scale * head_norm(select(HEAD_DIM, 0u, is_q) + e);
    }
    workgroupBarrier();
  }
  for (var g = in.lane; g < D8; g += WG) {
    let e = g * 4u;
    var out = vec4<f32>();
    if (g < D4) {
      out = vec4<f32>(head[e], head[e + 1u], head[e + 2u], head[e + 3u]);
      if (!is_v) { out = vec4<f32>(rotated(e, pos), rotated(e + 1u, pos), rotated(e + 2u, pos), rotated(e + 3u, pos)); }
    }
    kept[g] = out;
  }
  // Without scales every invocation goes on with what it wrote itself.
  if (KV_SCALED) { workgroupBarrier(); }
  let kv_head = first_head + slot - params.heads - select(0u, params.kv_heads, is_v);
  let base = kv_head * params.context * HEAD_WORDS;  // of use for K and V only
  for (var g = in.lane; g < D4; g += WG) {
    let e = g * 4u;
    let out = kept[g];
    if (is_q) {
      for (var j = 0u; j < min(4u, HEAD_DIM - e); j++) {
        q[id.y * params.q_stride + slot * HEAD_DIM + e + j] = out[j];
      }
    } else {
      let packed = kv_pack(out, octet_scale(g & ~7u));
      if (is_v) { v_cache[base + pos * D4 + g] = packed; } else { k_cache[base + pos * D4 + g] = packed; }
    }
  }
  for (var i = in.lane; i < SCALE_WORDS; i += WG) {
    // The last word may have no second octet.
    let word = kv_halves(octet_half(i * 16u), octet_half(min(i * 16u + 8u, D8 - 8u)));
    let at = base + params.context * D4 + pos * SCALE_WORDS + i;
    if (is_v) { v_cache[at] = word; }
    if (!is_v && !is_q) { k_cache[at] = word; }
  }
}
