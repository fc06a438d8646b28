// y[t, i] = act(x[t, i]) * x[t, inter + i]: the gate and up halves of one row. One invocation per element.
struct Params {
  inter: u32,     // width of a half
  x_stride: u32,  // floats per row of x
  y_stride: u32,  // floats per row of y
}
@group(0) @binding(0) var<storage, read> x: array<f32>;        // [n_tokens, x_stride]
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [n_tokens, y_stride]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = id.x * WG + lane;
  if (i >= params.inter) { return; }
  let begin = id.y * params.x_stride + i;
  y[id.y * params.y_stride + i] = act(x[begin]) * x[begin + params.inter];
}
