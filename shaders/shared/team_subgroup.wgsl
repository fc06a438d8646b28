// A team is one subgroup, whatever its size. No workgroup memory, no barrier.
struct TeamInput { subgroup: u32, lane: u32, lanes: u32, teams: u32 }
struct Team { id: u32, lane: u32, lanes: u32 }

fn team_of(in: TeamInput, workgroup: u32) -> Team {
  // A subgroup larger than the workgroup is only partly filled.
  return Team(workgroup * in.teams + in.subgroup, in.lane, min(in.lanes, WG));
}
fn team_sum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }

// Arguments one by one: naga 30 writes subgroup builtins in a struct into HLSL without semantics.
@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) lanes: u32,
  @builtin(num_subgroups) teams: u32,
) {
  body(id, groups, TeamInput(subgroup, lane, lanes, teams));
}
