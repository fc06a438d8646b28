// A team is one subgroup, whatever its size. No workgroup memory, no barrier.
struct TeamInput {
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) lanes: u32,
}
struct Team { id: u32, lane: u32, lanes: u32 }

fn team_of(in: TeamInput, workgroup: u32) -> Team {
  return Team(workgroup * (WG / in.lanes) + in.subgroup, in.lane, in.lanes);
}
fn team_sum(v: f32, lane: u32) -> f32 { return subgroupAdd(v); }
