// One token's attention over its KV cache, from the token's row of Q, K and V: norms (Qwen3) and rotates q and k (see
// rotary.wgsl), writes k and v to the cache, and computes
// out = softmax(q · Kᵀ * scale) · V, online softmax (Milakov & Gimelshein 2018) over tiles of WG positions.
// A workgroup serves up to HEADS query heads of one KV head (x) of one token (y), so K and V are read once per KV head
// when the group has at most HEADS heads. With several workgroups along z every one takes each so-many-th tile and leaves
// its part of the sum behind the rows of `out`, for attend_merge (Dao et al. 2023, flash-decoding). The token's own position never
// comes from the cache: the first split has it at hand.
// Scores: an invocation is a position. Values: an invocation is four elements of V and every SLICES-th position.
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
const SLICES: u32 = WG / D4;
const_assert(SLICES > 0u);
const LOWEST: f32 = -3.0e38;
var<workgroup> q_scale: array<f32, HEADS + 1u>;        // of every query head, and of the key
var<workgroup> q_tile: array<vec4<f32>, MOST * D8>;    // [head, d8], rotated; zero where there is nothing
var<workgroup> raw_own: array<vec4<f32>, 2u * D8>;     // this position: K, then V
var<workgroup> k_own: array<vec4<f32>, D8>;            // the same as the cache keeps it
var<workgroup> v_own: array<vec4<f32>, D8>;
var<workgroup> p_tile: array<vec4<f32>, WG * GV>;      // [position, four heads]
var<workgroup> o_tile: array<vec4<f32>, WG>;           // [slice, d4]

// Element e of the head that begins at qkv[begin], normed; `slot` says which scale and `weight` which norm. 0 beyond it.
fn element(begin: u32, slot: u32, weight: u32, e: u32) -> f32 {
  if (e >= HEAD_DIM) { return 0.0; }
  let v = qkv[begin + e];
  if (QK_NORM) { return v * q_scale[slot] * head_norm(weight + e); }
  return v;
}

fn rotated(begin: u32, slot: u32, weight: u32, e: u32, pos: u32) -> f32 {
  let v = element(begin, slot, weight, e);
  if (e >= ROTARY) { return v; }
  let pair = rotary_pair(e);
  return turned(v, element(begin, slot, weight, pair.other), angle_at(pos, pair.angle), pair.second);
}

fn rotated4(begin: u32, slot: u32, weight: u32, e: u32, pos: u32) -> vec4<f32> {
  return vec4<f32>(
    rotated(begin, slot, weight, e, pos), rotated(begin, slot, weight, e + 1u, pos),
    rotated(begin, slot, weight, e + 2u, pos), rotated(begin, slot, weight, e + 3u, pos));
}

// Squares of element e of four query heads from `begin` on, of which `heads` exist.
fn squares4(begin: u32, heads: u32, e: u32) -> vec4<f32> {
  var v = vec4<f32>();
  if (heads > 0u) { v.x = qkv[begin + e]; }
  if (heads > 1u) { v.y = qkv[begin + HEAD_DIM + e]; }
  if (heads > 2u) { v.z = qkv[begin + 2u * HEAD_DIM + e]; }
  if (heads > 3u) { v.w = qkv[begin + 3u * HEAD_DIM + e]; }
  return v * v;
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

fn unrounded(i: u32) -> vec4<f32> { return raw_own[i]; }

// K at eight vec4 from octet o of a position on, whose scales begin at `scales`; beyond the head q is zero, and any K will do.
fn load_keys(row: u32, scales: u32, o: u32) -> Block32 {
  let s = key_scale(scales, o);
  var i: array<u32, 8>;
  for (var j = 0u; j < 8u; j++) { i[j] = row + min(o * 8u + j, D4 - 1u); }
  return Block32(
    kv_unpack(k_cache[i[0]], s), kv_unpack(k_cache[i[1]], s), kv_unpack(k_cache[i[2]], s), kv_unpack(k_cache[i[3]], s),
    kv_unpack(k_cache[i[4]], s), kv_unpack(k_cache[i[5]], s), kv_unpack(k_cache[i[6]], s), kv_unpack(k_cache[i[7]], s));
}

// V at d of a position of the head that begins at `base`.
fn value(base: u32, p: u32, d: u32) -> vec4<f32> {
  let scale = value_scale(base + params.context * D4 + p * SCALE_WORDS, d / 8u);
  return kv_unpack(v_cache[base + p * D4 + d], scale);
}

// V at d of eight positions from `at` on, every SLICES-th; those past the last have no weight.
fn load_values(base: u32, at: u32, pos: u32, d: u32) -> Block32 {
  var p: array<u32, 8>;
  for (var j = 0u; j < 8u; j++) { p[j] = min(at + j * SLICES, pos - 1u); }
  return Block32(
    value(base, p[0], d), value(base, p[1], d), value(base, p[2], d), value(base, p[3], d),
    value(base, p[4], d), value(base, p[5], d), value(base, p[6], d), value(base, p[7], d));
}

// Weight of the j-th of a slice's positions from `first` on, of four heads; 0 past the tile, and in what no slice is.
fn weight_of(first: u32, slice: u32, j: u32, g: u32) -> vec4<f32> {
  let at = first + slice + j * SLICES;
  if (slice >= SLICES || at >= WG) { return vec4<f32>(); }
  return p_tile[at * GV + g];
}

fn weights_of(first: u32, slice: u32, g: u32) -> Block32 {
  return Block32(
    weight_of(first, slice, 0u, g), weight_of(first, slice, 1u, g),
    weight_of(first, slice, 2u, g), weight_of(first, slice, 3u, g),
    weight_of(first, slice, 4u, g), weight_of(first, slice, 5u, g),
    weight_of(first, slice, 6u, g), weight_of(first, slice, 7u, g));
}

// Sum of the vectors of v, each times component c of its w.
fn weighted(w: Block32, v: Block32, c: u32) -> vec4<f32> {
  var s = w.a[c] * v.a;
  s += w.b[c] * v.b; s += w.c[c] * v.c; s += w.d[c] * v.d; s += w.e[c] * v.e;
  s += w.f[c] * v.f; s += w.g[c] * v.g; s += w.h[c] * v.h;
  return s;
}

fn value_at(begin: u32, e: u32) -> f32 {
  if (e < HEAD_DIM) { return qkv[begin + e]; }
  return 0.0;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, in: ReduceInput) {
  let kv_head = id.x / params.parts;
  let first_head = (id.x % params.parts) * HEADS;
  let heads = min(HEADS, params.group - first_head);
  let head0 = kv_head * params.group + first_head;
  let all_heads = params.group * params.kv_heads;
  let pos = token_position(id.y);
  let start = select(0u, pos + 1u - params.window, params.window > 0u && pos >= params.window);
  let base = (token_sequence(id.y) * params.kv_heads + kv_head) * params.context * HEAD_WORDS;
  let scales = base + params.context * D4;
  let q_begin = id.y * params.x_stride + head0 * HEAD_DIM;
  let k_begin = id.y * params.x_stride + (all_heads + kv_head) * HEAD_DIM;
  let v_begin = k_begin + params.kv_heads * HEAD_DIM;
  let d = in.lane % D4;
  let slice = in.lane / D4;

  if (QK_NORM) {
    for (var g = 0u; g <= GV; g++) {
      // The last turn is the key's.
      let begin = select(q_begin + g * 4u * HEAD_DIM, k_begin, g == GV);
      let count = select(heads - min(heads, g * 4u), 1u, g == GV);
      var own = vec4<f32>();
      for (var e = in.lane; e < HEAD_DIM; e += WG) { own += squares4(begin, count, e); }
      let scale = inverseSqrt(wg_sum4(own, in) / f32(HEAD_DIM) + params.eps);
      if (in.lane < 4u && g * 4u + in.lane <= HEADS) { q_scale[g * 4u + in.lane] = scale[in.lane]; }
    }
    workgroupBarrier();
  }
  for (var i = in.lane; i < MOST * D8; i += WG) {
    let h = i / D8;
    let e = (i % D8) * 4u;
    var q = vec4<f32>();
    if (h < heads && e < HEAD_DIM) { q = rotated4(q_begin + h * HEAD_DIM, h, 0u, e, pos); }
    q_tile[i] = q;
  }
  let writes = first_head == 0u && id.z == 0u;
  for (var i = in.lane; i < D8; i += WG) {
    let e = i * 4u;
    raw_own[i] = rotated4(k_begin, HEADS, HEAD_DIM, e, pos);
    raw_own[D8 + i] = vec4<f32>(
      value_at(v_begin, e), value_at(v_begin, e + 1u), value_at(v_begin, e + 2u), value_at(v_begin, e + 3u));
  }
  // Without scales every invocation goes on with what it wrote itself.
  if (KV_SCALED) { workgroupBarrier(); }
  for (var i = in.lane; i < D8; i += WG) {
    let octet = i & ~7u;
    let k_scale = octet_scale(octet);
    let v_scale = octet_scale(D8 + octet);
    let k = kv_pack(raw_own[i], k_scale);
    let v = kv_pack(raw_own[D8 + i], v_scale);
    if (writes && i < D4) {
      k_cache[base + pos * D4 + i] = k;
      v_cache[base + pos * D4 + i] = v;
    }
    k_own[i] = kv_unpack(k, k_scale);
    v_own[i] = kv_unpack(v, v_scale);
  }
  for (var i = in.lane; i < SCALE_WORDS; i += WG) {
    // The last word may have no second octet.
    let low = i * 16u;
    let high = min(low + 8u, D8 - 8u);
    if (writes) {
      k_cache[scales + pos * SCALE_WORDS + i] = kv_halves(octet_half(low), octet_half(high));
      v_cache[scales + pos * SCALE_WORDS + i] = kv_halves(octet_half(D8 + low), octet_half(D8 + high));
    }
  }
  workgroupBarrier();

  var top: array<vec4<f32>, GV>;     // running maximum per head, the same in all invocations
  var total: array<vec4<f32>, GV>;   // this invocation's share of the softmax denominator
  var acc: array<vec4<f32>, HEADS>;  // four output elements per head, this slice's share
  for (var h = 0u; h < HEADS; h++) { acc[h] = vec4<f32>(); }
  for (var g = 0u; g < GV; g++) {
    var own = vec4<f32>();
    for (var i = in.lane; i < D8; i += WG) {
      let k = k_own[i];
      let h = g * 4u * D8 + i;
      own.x += dot(q_tile[h], k);
      if (g * 4u + 1u < MOST) { own.y += dot(q_tile[h + D8], k); }
      if (g * 4u + 2u < MOST) { own.z += dot(q_tile[h + 2u * D8], k); }
      if (g * 4u + 3u < MOST) { own.w += dot(q_tile[h + 3u * D8], k); }
    }
    top[g] = select(vec4<f32>(LOWEST), wg_sum4(own, in) * params.scale, id.z == 0u);
    total[g] = select(vec4<f32>(), vec4<f32>(1.0), id.z == 0u && in.lane == 0u);
    if (id.z == 0u && slice == 0u) {
      let v = v_own[d];
      acc[g * 4u] = v; acc[g * 4u + 1u] = v; acc[g * 4u + 2u] = v; acc[g * 4u + 3u] = v;
    }
  }

  for (var tile = start + id.z * WG; tile < pos; tile += groups.z * WG) {
    let p = tile + in.lane;
    let row = base + min(p, pos - 1u) * D4;
    let row_scales = scales + min(p, pos - 1u) * SCALE_WORDS;
    var score: array<vec4<f32>, GV>;
    for (var g = 0u; g < GV; g++) { score[g] = vec4<f32>(); }
    for (var o = 0u; o < OCTETS; o++) {
      let k = load_keys(row, row_scales, o);
      for (var g = 0u; g < GV; g++) {
        let h = g * 4u;
        let at = h * D8 + o * 8u;
        score[g].x += block_dot(query(at, in), k);
        if (h + 1u < MOST) { score[g].y += block_dot(query(at + D8, in), k); }
        if (h + 2u < MOST) { score[g].z += block_dot(query(at + 2u * D8, in), k); }
        if (h + 3u < MOST) { score[g].w += block_dot(query(at + 3u * D8, in), k); }
      }
    }
    for (var g = 0u; g < GV; g++) {
      let s = select(vec4<f32>(LOWEST), score[g] * params.scale, p < pos);
      let new_top = max(top[g], wg_max4(s, in));
      let shrink = exp(top[g] - new_top);
      let weight = select(vec4<f32>(), exp(s - new_top), p < pos);
      top[g] = new_top;
      total[g] = total[g] * shrink + weight;
      p_tile[in.lane * GV + g] = weight;
      acc[g * 4u] *= shrink.x;
      acc[g * 4u + 1u] *= shrink.y;
      acc[g * 4u + 2u] *= shrink.z;
      acc[g * 4u + 3u] *= shrink.w;
    }
    workgroupBarrier();
    for (var first = 0u; first < WG; first += 8u * SLICES) {
      // Eight positions, every SLICES-th: this slice's.
      let v = load_values(base, tile + first + slice, pos, d);
      for (var g = 0u; g < GV; g++) {
        let w = weights(first, slice, g, in);
        let h = g * 4u;
        acc[h] += weighted(w, v, 0u);
        if (h + 1u < MOST) { acc[h + 1u] += weighted(w, v, 1u); }
        if (h + 2u < MOST) { acc[h + 2u] += weighted(w, v, 2u); }
        if (h + 3u < MOST) { acc[h + 3u] += weighted(w, v, 3u); }
      }
    }
    workgroupBarrier();
  }

  let split = id.y * groups.z + id.z;
  for (var g = 0u; g < GV; g++) {
    let sum = wg_sum4(total[g], in);
    for (var j = 0u; j < min(4u, MOST - g * 4u); j++) {
      let h = g * 4u + j;
      o_tile[in.lane] = acc[h];
      workgroupBarrier();
      if (in.lane < D4 && h < heads) {
        var o = vec4<f32>();
        for (var s = 0u; s < SLICES; s++) { o += o_tile[s * D4 + in.lane]; }
        let e = in.lane * 4u;
        if (groups.z == 1u) {
          o /= sum[j];
          let to = id.y * params.out_stride + (head0 + h) * HEAD_DIM + e;
          for (var c = 0u; c < min(4u, HEAD_DIM - e); c++) { out[to + c] = o[c]; }
        } else {
          let to = params.partial_at + (split * all_heads + head0 + h) * (HEAD_DIM + 2u);
          for (var c = 0u; c < min(4u, HEAD_DIM - e); c++) { out[to + e + c] = o[c]; }
          if (in.lane == 0u) {
            out[to + HEAD_DIM] = top[g][j];
            out[to + HEAD_DIM + 1u] = sum[j];
          }
        }
      }
      workgroupBarrier();
    }
  }
}
