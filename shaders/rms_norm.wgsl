// y[i, :] = x[t, :] / sqrt(mean(x[t, :]²) + eps) * weight, one workgroup per row.
// t = i, or first_logit + i when of_logits: then only rows whose logits are wanted are written, compacted.
struct Params {
  cols: u32,       // floats that count
  stride: u32,     // vec4 per row of x and y; the tail of x is zero and the tail of y becomes zero
  eps: f32,
  of_logits: u32,
  unit: f32,       // of the weights
}
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;       // [n_tokens, stride]
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;  // [stride] · unit, tail zero
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [n_tokens, stride]
@group(0) @binding(3) var<uniform> state: State;

// `main` is in reduce_*.wgsl: what it takes of an invocation differs.
fn body(id: vec3<u32>, groups: vec3<u32>, in: ReduceInput) {
  let begin = (id.x + select(0u, state.first_logit, params.of_logits == 1u)) * params.stride;
  var squares = vec4<f32>();
  for (var i = in.lane; i < params.stride; i += WG) {
    let v = x[begin + i];
    squares += v * v;
  }
  let s = wg_sum4(squares, in);
  let scale = inverseSqrt(((s.x + s.y) + (s.z + s.w)) / f32(params.cols) + params.eps);
  for (var i = in.lane; i < params.stride; i += WG) {
    y[id.x * params.stride + i] = x[begin + i] * scale * weight[i] * params.unit;
  }
}
