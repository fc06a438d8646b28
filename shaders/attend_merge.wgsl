// Joins what attend_decode's splits left: out = sum of exp(top_s - top) * o_s over that of exp(top_s - top) * total_s
// (Dao et al. 2023, flash-decoding). One workgroup per query head (x) of one token (y); an invocation is an element.
struct Params {
  splits: u32,
  heads: u32,
  out_stride: u32,  // floats per row of out
  partial_at: u32,  // floats of out before the parts
}
// [n_tokens, out_stride]; from partial_at on [n_tokens, splits, heads, HEAD_DIM + 2]: o, top, total
@group(0) @binding(0) var<storage, read_write> out: array<f32>;

fn row_of(token: u32, split: u32, head: u32) -> u32 {
  return params.partial_at + ((token * params.splits + split) * params.heads + head) * (HEAD_DIM + 2u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var top = -3.0e38;
  for (var s = 0u; s < params.splits; s++) { top = max(top, out[row_of(id.y, s, id.x) + HEAD_DIM]); }
  for (var e = lane; e < HEAD_DIM; e += WG) {
    var sum = 0.0;
    var total = 0.0;
    for (var s = 0u; s < params.splits; s++) {
      let row = row_of(id.y, s, id.x);
      let share = exp(out[row + HEAD_DIM] - top);
      sum += share * out[row + e];
      total += share * out[row + HEAD_DIM + 1u];
    }
    out[id.y * params.out_stride + id.x * HEAD_DIM + e] = sum / total;
  }
}
