// A team is one invocation: no reduction. Best on CPU adapters.
struct TeamInput { index: u32 }
struct Team { id: u32, lane: u32, lanes: u32 }

fn team_of(in: TeamInput, workgroup: u32) -> Team { return Team(workgroup * WG + in.index, 0u, 1u); }
fn team_sum(v: f32, lane: u32) -> f32 { return v; }

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  body(id, groups, TeamInput(index));
}
