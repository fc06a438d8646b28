// A team is the whole workgroup; sums go through workgroup memory. Call in uniform control flow.
struct TeamInput { index: u32 }
struct Team { id: u32, lane: u32, lanes: u32 }

const_assert((WG & (WG - 1u)) == 0u);
var<workgroup> team_partial: array<f32, WG>;

fn team_of(in: TeamInput, workgroup: u32) -> Team { return Team(workgroup, in.index, WG); }

fn team_sum(v: f32, lane: u32) -> f32 {
  team_partial[lane] = v;
  workgroupBarrier();
  for (var s = WG / 2u; s > 0u; s >>= 1u) {
    if (lane < s) { team_partial[lane] += team_partial[lane + s]; }
    workgroupBarrier();
  }
  let sum = team_partial[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  body(id, groups, TeamInput(index));
}
