// Wrong on purpose: invocations that return early never reach the barrier. naga accepts it, browsers do not.
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane >= arrayLength(&y)) { return; }
  tile[lane] = y[lane];
  workgroupBarrier();
  y[lane] = tile[63u - lane];
}
