// One token's attention over its KV cache: out = softmax(q · Kᵀ * scale) · V, online softmax
// (Milakov & Gimelshein 2018) over tiles of WG positions.
// A workgroup serves up to HEADS query heads of one KV head (x) of one token (y), so K and V are read once
// per KV head when the group has at most HEADS heads. Scores: an invocation is a position. Values: an
// invocation is four elements of V and every SLICES-th position.
struct Params {
  group: u32,       // query heads per KV head
  kv_heads: u32,
  parts: u32,       // workgroups per KV head
  q_stride: u32,    // floats per row of q
  out_stride: u32,  // floats per row of out
  context: u32,     // positions in the cache
  window: u32,      // a token sees the last `window` positions; 0: all
  scale: f32,
}
@group(0) @binding(0) var<storage, read> q: array<f32>;          // [n_tokens, q_stride]
@group(0) @binding(1) var<storage, read> k_cache: array<kv4>;    // [sequences, kv_heads, context, D4]
@group(0) @binding(2) var<storage, read> v_cache: array<kv4>;    // as k_cache
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [n_tokens, out_stride]
@group(0) @binding(4) var<uniform> state: State;

const D4: u32 = (HEAD_DIM + 3u) / 4u;
const HEADS: u32 = 4u * GV;
const SLICES: u32 = WG / D4;
const_assert(SLICES > 0u);
const LOWEST: f32 = -3.0e38;
var<workgroup> q_tile: array<vec4<f32>, HEADS * D4>;  // [head, d4]
var<workgroup> p_tile: array<vec4<f32>, WG * GV>;     // [position, four heads]
var<workgroup> o_tile: array<vec4<f32>, WG>;          // [slice, d4]

// Element e of a head whose first float is q[row]; 0 where there is none. (Storing to v[j] in a loop is what
// Direct3D's older compiler refuses.)
fn q_at(row: u32, e: u32, exists: bool) -> f32 {
  if (exists && e < HEAD_DIM) { return q[row + e]; }
  return 0.0;
}

fn load_q(row: u32, heads: u32, lane: u32) {
  for (var i = lane; i < HEADS * D4; i += WG) {
    let h = i / D4;
    let e = (i % D4) * 4u;
    let at = row + h * HEAD_DIM;
    let ok = h < heads;
    q_tile[i] = vec4<f32>(q_at(at, e, ok), q_at(at, e + 1u, ok), q_at(at, e + 2u, ok), q_at(at, e + 3u, ok));
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, in: ReduceInput) {
  let kv_head = id.x / params.parts;
  let first_head = (id.x % params.parts) * HEADS;
  let heads = min(HEADS, params.group - first_head);
  let head0 = kv_head * params.group + first_head;
  let pos = token_position(id.y);
  let start = select(0u, pos + 1u - params.window, params.window > 0u && pos >= params.window);
  let base = (token_sequence(id.y) * params.kv_heads + kv_head) * params.context * D4;
  let d = in.lane % D4;
  let slice = in.lane / D4;
  load_q(id.y * params.q_stride + head0 * HEAD_DIM, heads, in.lane);
  workgroupBarrier();

  var top: array<vec4<f32>, GV>;     // running maximum per head, the same in all invocations
  var total: array<vec4<f32>, GV>;   // this invocation's share of the softmax denominator
  var acc: array<vec4<f32>, HEADS>;  // four output elements per head, this slice's share
  for (var g = 0u; g < GV; g++) { top[g] = vec4<f32>(LOWEST); total[g] = vec4<f32>(); }
  for (var h = 0u; h < HEADS; h++) { acc[h] = vec4<f32>(); }

  for (var tile = start; tile <= pos; tile += WG) {
    let p = tile + in.lane;
    var score: array<vec4<f32>, GV>;
    for (var g = 0u; g < GV; g++) { score[g] = vec4<f32>(); }
    if (p <= pos) {
      for (var i = 0u; i < D4; i++) {
        let k = kv_unpack(k_cache[base + p * D4 + i]);
        for (var g = 0u; g < GV; g++) {
          let h = g * 4u;
          score[g] += vec4<f32>(dot(q_tile[h * D4 + i], k), dot(q_tile[(h + 1u) * D4 + i], k),
                                dot(q_tile[(h + 2u) * D4 + i], k), dot(q_tile[(h + 3u) * D4 + i], k));
        }
      }
    }
    for (var g = 0u; g < GV; g++) {
      let s = select(vec4<f32>(LOWEST), score[g] * params.scale, p <= pos);
      let new_top = max(top[g], wg_max4(s, in));
      let shrink = exp(top[g] - new_top);
      let weight = select(vec4<f32>(), exp(s - new_top), p <= pos);
      top[g] = new_top;
      total[g] = total[g] * shrink + weight;
      p_tile[in.lane * GV + g] = weight;
      acc[g * 4u] *= shrink.x;
      acc[g * 4u + 1u] *= shrink.y;
      acc[g * 4u + 2u] *= shrink.z;
      acc[g * 4u + 3u] *= shrink.w;
    }
    workgroupBarrier();
    if (slice < SLICES) {
      for (var j = slice; j < min(WG, pos + 1u - tile); j += SLICES) {
        let v = kv_unpack(v_cache[base + (tile + j) * D4 + d]);
        for (var g = 0u; g < GV; g++) {
          let w = p_tile[j * GV + g];
          acc[g * 4u] += w.x * v;
          acc[g * 4u + 1u] += w.y * v;
          acc[g * 4u + 2u] += w.z * v;
          acc[g * 4u + 3u] += w.w * v;
        }
      }
    }
    workgroupBarrier();
  }

  for (var g = 0u; g < GV; g++) {
    let sum = wg_sum4(total[g], in);
    for (var j = 0u; j < 4u; j++) {
      let h = g * 4u + j;
      o_tile[in.lane] = acc[h];
      workgroupBarrier();
      if (in.lane < D4 && h < heads) {
        var o = vec4<f32>();
        for (var s = 0u; s < SLICES; s++) { o += o_tile[s * D4 + in.lane]; }
        o /= sum[j];
        let e = in.lane * 4u;
        for (var c = 0u; c < min(4u, HEAD_DIM - e); c++) {
          out[id.y * params.out_stride + (head0 + h) * HEAD_DIM + e + c] = o[c];
        }
      }
      workgroupBarrier();
    }
  }
}
