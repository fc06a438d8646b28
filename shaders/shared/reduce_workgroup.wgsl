// wg_sum4 and wg_max4 over the workgroup through workgroup memory. Call in uniform control flow.
struct ReduceInput { lane: u32 }

const_assert((WG & (WG - 1u)) == 0u);
var<workgroup> wg_partial: array<vec4<f32>, WG>;

fn wg_sum4(v: vec4<f32>, in: ReduceInput) -> vec4<f32> {
  wg_partial[in.lane] = v;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s >>= 1u) {
    if (in.lane < s) { wg_partial[in.lane] += wg_partial[in.lane + s]; }
    workgroupBarrier();
  }
  let sum = wg_partial[0];
  workgroupBarrier();
  return sum;
}

fn wg_max4(v: vec4<f32>, in: ReduceInput) -> vec4<f32> {
  wg_partial[in.lane] = v;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s >>= 1u) {
    if (in.lane < s) { wg_partial[in.lane] = max(wg_partial[in.lane], wg_partial[in.lane + s]); }
    workgroupBarrier();
  }
  let top = wg_partial[0];
  workgroupBarrier();
  return top;
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  body(id, groups, ReduceInput(lane));
}
