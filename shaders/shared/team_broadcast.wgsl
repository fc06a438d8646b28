// A team is one invocation, but activations, which all teams need alike, are loaded once per subgroup and broadcast.
// Best on CPU adapters: there an invocation is a vector lane, a load costs as much as it has lanes, and a broadcast is one
// instruction. Subgroups have at least 4 invocations, and at least 8 when EIGHT.
struct TeamInput {
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) within: u32,
}
struct Team { id: u32, lane: u32, lanes: u32, within: u32 }

fn team_of(in: TeamInput, workgroup: u32) -> Team { return Team(workgroup * WG + in.index, 0u, 1u, in.within); }
fn team_sum(v: f32, lane: u32) -> f32 { return v; }

// All go through the blocks together, also those past the last row: broadcasts need everyone.
fn block_begin(team: Team) -> u32 { return 0u; }
fn block_end(row: u32) -> u32 { return params.blocks; }
fn block_stride(team: Team) -> u32 { return 1u; }

fn load_x(team: Team, col: u32, block: u32) -> Block32 {
  let i = col * params.x_stride + block * 8u;
  if (EIGHT) {
    let v = x[i + (team.within & 7u)];
    return Block32(
      subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
      subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u));
  }
  let v = x[i + (team.within & 3u)];
  let w = x[i + 4u + (team.within & 3u)];
  return Block32(
    subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
    subgroupBroadcast(w, 0u), subgroupBroadcast(w, 1u), subgroupBroadcast(w, 2u), subgroupBroadcast(w, 3u));
}
