// wg_sum4 and wg_max4 over the workgroup: subgroups first, then their results through workgroup memory.
struct ReduceInput { lane: u32, subgroup: u32, subgroups: u32 }

var<workgroup> wg_partial: array<vec4<f32>, WG>;

fn wg_sum4(v: vec4<f32>, in: ReduceInput) -> vec4<f32> {
  wg_partial[in.subgroup] = subgroupAdd(v);
  workgroupBarrier();
  var sum = wg_partial[0];
  for (var i = 1u; i < in.subgroups; i++) { sum += wg_partial[i]; }
  workgroupBarrier();
  return sum;
}

fn wg_max4(v: vec4<f32>, in: ReduceInput) -> vec4<f32> {
  wg_partial[in.subgroup] = subgroupMax(v);
  workgroupBarrier();
  var top = wg_partial[0];
  for (var i = 1u; i < in.subgroups; i++) { top = max(top, wg_partial[i]); }
  workgroupBarrier();
  return top;
}

// Arguments one by one: naga 30 writes subgroup builtins in a struct into HLSL without semantics.
@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
) {
  body(id, groups, ReduceInput(lane, subgroup, subgroups));
}
