// Attention of a chunk of tokens over the KV cache, causal, the same result as attend_decode token by token.
// A workgroup serves one KV head (x) and the ROWS query rows number y * ROWS … of it, where query row r is
// head r % group of token r / group: tiles of COLS positions of K, then V, are staged in workgroup memory
// and used by all ROWS rows. Online softmax.
struct Params {
  group: u32, kv_heads: u32, q_stride: u32, out_stride: u32, context: u32, window: u32, scale: f32,  // as in shared/decode.wgsl
}
@group(0) @binding(0) var<storage, read> q: array<f32>;          // [n_tokens, q_stride]
@group(0) @binding(1) var<storage, read> k_cache: array<kv4>;    // [sequences, kv_heads, context, HEAD_WORDS]
@group(0) @binding(2) var<storage, read> v_cache: array<kv4>;    // as k_cache
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [n_tokens, out_stride]
@group(0) @binding(4) var<uniform> state: State;

const D4: u32 = (HEAD_DIM + 3u) / 4u;
const SHARE: u32 = (ROWS * D4 + WG - 1u) / WG;  // vec4 of output per invocation
const LOWEST: f32 = -3.0e38;
var<workgroup> q_tile: array<vec4<f32>, ROWS * D4>;   // [row, d4]
var<workgroup> kv_tile: array<vec4<f32>, COLS * D4>;  // [position, d4], K then V
var<workgroup> s_tile: array<f32, ROWS * COLS>;       // [row, position] scores, then weights
var<workgroup> top: array<f32, ROWS>;
var<workgroup> total: array<f32, ROWS>;
var<workgroup> shrink: array<f32, ROWS>;

// Element e of a head whose first float is q[row]; 0 where there is none. (Storing to v[j] in a loop is what
// Direct3D's older compiler refuses.)
fn q_at(row: u32, e: u32, exists: bool) -> f32 {
  if (exists && e < HEAD_DIM) { return q[row + e]; }
  return 0.0;
}

fn load_q(kv_head: u32, row0: u32, lane: u32) {
  for (var i = lane; i < ROWS * D4; i += WG) {
    let r = row0 + i / D4;
    let e = (i % D4) * 4u;
    let token = r / params.group;
    let head = kv_head * params.group + r % params.group;
    let at = token * params.q_stride + head * HEAD_DIM;
    let ok = token < state.n_tokens;
    q_tile[i] = vec4<f32>(q_at(at, e, ok), q_at(at, e + 1u, ok), q_at(at, e + 2u, ok), q_at(at, e + 3u, ok));
  }
}

// First position that the token at `pos` sees.
fn first_seen(pos: u32) -> u32 {
  return select(0u, pos + 1u - params.window, params.window > 0u && pos >= params.window);
}

// One row's pass over its scores: masks, updates the running maximum and sum, leaves weights.
fn soften(r: u32, row: u32, tile: u32, cols: u32) {
  let pos = state.pos + row / params.group;
  var new_top = top[r];
  for (var c = 0u; c < cols; c++) {
    if (tile + c <= pos && tile + c >= first_seen(pos)) { new_top = max(new_top, s_tile[r * COLS + c]); }
  }
  let factor = exp(top[r] - new_top);
  var sum = total[r] * factor;
  for (var c = 0u; c < cols; c++) {
    var w = 0.0;
    if (tile + c <= pos && tile + c >= first_seen(pos)) { w = exp(s_tile[r * COLS + c] - new_top); }
    s_tile[r * COLS + c] = w;
    sum += w;
  }
  top[r] = new_top;
  total[r] = sum;
  shrink[r] = factor;
}

// Where the scale of the i-th vec4 from position `tile` on is, of the head that begins at `base`.
fn scale_at(base: u32, tile: u32, i: u32) -> u32 {
  return base + params.context * D4 + (tile + i / D4) * SCALE_WORDS + octet(i) / 2u;
}
fn octet(i: u32) -> u32 { return i % D4 / 8u; }

// K and V there.
fn key(base: u32, tile: u32, i: u32) -> vec4<f32> {
  var scale = 1.0;
  if (KV_SCALED) { scale = kv_scale(k_cache[scale_at(base, tile, i)], octet(i)); }
  return kv_unpack(k_cache[base + tile * D4 + i], scale);
}
fn value(base: u32, tile: u32, i: u32) -> vec4<f32> {
  var scale = 1.0;
  if (KV_SCALED) { scale = kv_scale(v_cache[scale_at(base, tile, i)], octet(i)); }
  return kv_unpack(v_cache[base + tile * D4 + i], scale);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row0 = id.y * ROWS;
  let n_rows = state.n_tokens * params.group;
  let last_row = min(row0 + ROWS, n_rows) - 1u;  // the grid has no empty workgroup
  let last_pos = state.pos + last_row / params.group;
  let start = first_seen(state.pos + row0 / params.group);
  let base = (state.sequence * params.kv_heads + id.x) * params.context * HEAD_WORDS;
  load_q(id.x, row0, lane);
  for (var r = lane; r < ROWS; r += WG) { top[r] = LOWEST; total[r] = 0.0; }
  var acc: array<vec4<f32>, SHARE>;
  for (var i = 0u; i < SHARE; i++) { acc[i] = vec4<f32>(); }

  for (var tile = start; tile <= last_pos; tile += COLS) {
    let cols = min(COLS, last_pos + 1u - tile);
    workgroupBarrier();
    for (var i = lane; i < cols * D4; i += WG) { kv_tile[i] = key(base, tile, i); }
    workgroupBarrier();
    for (var i = lane; i < ROWS * cols; i += WG) {
      let r = i % ROWS;
      let c = i / ROWS;
      var s = 0.0;
      for (var j = 0u; j < D4; j++) { s += dot(q_tile[r * D4 + j], kv_tile[c * D4 + j]); }
      s_tile[r * COLS + c] = s * params.scale;
    }
    workgroupBarrier();
    for (var r = lane; r < ROWS; r += WG) { soften(r, row0 + r, tile, cols); }
    for (var i = lane; i < cols * D4; i += WG) { kv_tile[i] = value(base, tile, i); }
    workgroupBarrier();
    for (var i = 0u; i < SHARE; i++) {
      let at = lane + i * WG;
      if (at < ROWS * D4) {
        let r = at / D4;
        var o = acc[i] * shrink[r];
        for (var c = 0u; c < cols; c++) { o += s_tile[r * COLS + c] * kv_tile[c * D4 + at % D4]; }
        acc[i] = o;
      }
    }
  }
  workgroupBarrier();
  for (var i = 0u; i < SHARE; i++) {
    let at = lane + i * WG;
    let r = at / D4;
    let row = row0 + r;
    if (at < ROWS * D4 && row < n_rows) {
      let e = (at % D4) * 4u;
      let o = acc[i] / total[r];
      let to = (row / params.group) * params.out_stride
             + (id.x * params.group + row % params.group) * HEAD_DIM + e;
      for (var j = 0u; j < min(4u, HEAD_DIM - e); j++) { out[to + j] = o[j]; }
    }
  }
}
