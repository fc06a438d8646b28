// result[i] = (index of the largest of x[i, :], its bits, how many elements are NaN or infinite, 0),
// the lowest index on ties. One workgroup per row. Non-finite numbers are told by their bits, because
// shader compilers may assume that there are none.
struct Params {
  cols: u32,
  stride: u32,  // floats per row of x
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<u32>>;

struct Best { value: f32, index: u32, bad: u32 }
var<workgroup> best: array<Best, WG>;

fn better(a: Best, b: Best) -> Best {
  let bad = a.bad + b.bad;
  if (b.value > a.value || (b.value == a.value && b.index < a.index)) { return Best(b.value, b.index, bad); }
  return Best(a.value, a.index, bad);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var mine = Best(-3.4e38, 0xFFFFFFFFu, 0u);
  for (var i = lane; i < params.cols; i += WG) {
    let v = x[id.x * params.stride + i];
    if ((bitcast<u32>(v) & 0x7F800000u) == 0x7F800000u) {
      mine.bad += 1u;
    } else {
      mine = better(mine, Best(v, i, 0u));
    }
  }
  best[lane] = mine;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s >>= 1u) {
    if (lane < s) { best[lane] = better(best[lane], best[lane + s]); }
    workgroupBarrier();
  }
  if (lane == 0u) {
    result[id.x] = vec4<u32>(best[0].index, bitcast<u32>(best[0].value), best[0].bad, 0u);
  }
}
