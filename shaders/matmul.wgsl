// y[col, y_first + row] (+)= bias[row] + sum_k weights[row, k] * x[col, k]: the same sums as matvec for many
// columns. A workgroup computes a tile of BM rows × BN columns, an invocation 4 × 4 of it; per step one
// block of 32 k is staged in workgroup memory, weights already as numbers of type `tile`.
struct Params {
  rows: u32, blocks: u32, scale_words: u32, x_stride: u32, y_stride: u32, y_first: u32,
  accumulate: u32, has_bias: u32, of_logits: u32,  // as in matvec.wgsl
}
// bindings 0 and 1, quants and scales: see planes_*.wgsl
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;       // [n_cols, x_stride]
@group(0) @binding(3) var<storage, read> bias: array<f32>;          // [rows]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;       // [n_cols, y_stride]
@group(0) @binding(5) var<uniform> state: State;

const RT: u32 = BM / 4u;  // invocations along rows; an invocation's rows are RT apart
const CT: u32 = BN / 4u;  // invocations along columns; columns CT apart
const WG: u32 = RT * CT;
var<workgroup> w_tile: array<tile, 32u * BM>;  // [k, row]
var<workgroup> x_tile: array<f32, 32u * BN>;   // [k, col]

fn put(r: u32, k: u32, v: vec4<f32>) {
  w_tile[k * BM + r] = tile(v.x);
  w_tile[(k + 1u) * BM + r] = tile(v.y);
  w_tile[(k + 2u) * BM + r] = tile(v.z);
  w_tile[(k + 3u) * BM + r] = tile(v.w);
}

fn store(row: u32, col: u32, v: f32, n_cols: u32) {
  if (row >= params.rows || col >= n_cols) { return; }
  let i = col * params.y_stride + params.y_first + row;
  var out = v;
  if (params.has_bias == 1u) { out += bias[row]; }
  if (params.accumulate == 1u) { out += y[i]; }
  y[i] = out;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row0 = (id.y * groups.x + id.x) * BM;
  let col0 = id.z * BN;
  let n_cols = state.n_tokens - select(0u, state.first_logit, params.of_logits == 1u);
  let r = lane % RT;
  let c = lane / RT;
  // acc_j: column c + j·CT, rows r + {0, 1, 2, 3}·RT
  var acc0 = vec4<f32>(); var acc1 = vec4<f32>(); var acc2 = vec4<f32>(); var acc3 = vec4<f32>();
  for (var b = 0u; b < params.blocks; b++) {
    for (var i = lane; i < BM; i += WG) {
      let w = load_weights(min(row0 + i, params.rows - 1u), b);
      put(i, 0u, w.a); put(i, 4u, w.b); put(i, 8u, w.c); put(i, 12u, w.d);
      put(i, 16u, w.e); put(i, 20u, w.f); put(i, 24u, w.g); put(i, 28u, w.h);
    }
    for (var i = lane; i < BN * 8u; i += WG) {
      let col = i / 8u;
      let k = (i % 8u) * 4u;
      let v = x[min(col0 + col, n_cols - 1u) * params.x_stride + b * 8u + i % 8u];
      x_tile[k * BN + col] = v.x;
      x_tile[(k + 1u) * BN + col] = v.y;
      x_tile[(k + 2u) * BN + col] = v.z;
      x_tile[(k + 3u) * BN + col] = v.w;
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let i = k * BM + r;
      let w = vec4<f32>(f32(w_tile[i]), f32(w_tile[i + RT]), f32(w_tile[i + 2u * RT]), f32(w_tile[i + 3u * RT]));
      let j = k * BN + c;
      acc0 += w * x_tile[j];
      acc1 += w * x_tile[j + CT];
      acc2 += w * x_tile[j + 2u * CT];
      acc3 += w * x_tile[j + 3u * CT];
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 4u; i++) {
    let row = row0 + r + i * RT;
    store(row, col0 + c, acc0[i], n_cols);
    store(row, col0 + c + CT, acc1[i], n_cols);
    store(row, col0 + c + 2u * CT, acc2[i], n_cols);
    store(row, col0 + c + 3u * CT, acc3[i], n_cols);
  }
}
