// Multiplies and adds without touching memory: how fast the adapter computes. Eight independent chains per
// invocation, each `rounds` steps of `mad` (see arithmetic_*.wgsl); result[i] = their sum.
struct Params {
  rounds: u32,
}
@group(0) @binding(0) var<storage, read_write> result: array<f32>;  // [workgroups * WG]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let x = start(lane);
  var a = x; var b = x + x; var c = b + x; var d = c + x;
  var e = d + x; var f = e + x; var g = f + x; var h = g + x;
  for (var i = 0u; i < params.rounds; i++) {
    a = mad(a, x); b = mad(b, x); c = mad(c, x); d = mad(d, x);
    e = mad(e, x); f = mad(f, x); g = mad(g, x); h = mad(h, x);
  }
  result[id.x * WG + lane] = finish(((a + b) + (c + d)) + ((e + f) + (g + h)));
}
