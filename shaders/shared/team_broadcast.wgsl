// A team is one invocation, but activations, which all teams need alike, are loaded once per subgroup and broadcast.
// Best on CPU adapters: there an invocation is a vector lane, a load costs as much as it has lanes, and a broadcast is one
// instruction. Subgroups have at least 4 invocations, and at least 8 when EIGHT.
struct TeamInput { index: u32, within: u32 }
struct Team { id: u32, lane: u32, lanes: u32, within: u32 }

fn team_of(in: TeamInput, workgroup: u32) -> Team { return Team(workgroup * WG + in.index, 0u, 1u, in.within); }
fn team_sum(v: f32, lane: u32) -> f32 { return v; }

// All go through the blocks together, also those past the last row: broadcasts need everyone.
fn block_begin(team: Team) -> u32 { return 0u; }
fn block_end(row: u32) -> u32 { return params.blocks; }
fn block_stride(team: Team) -> u32 { return 1u; }

struct Activations { v: Xs, squares: f32 }
struct Gains { v: vec4<f32>, w: vec4<f32> }

fn load_gains(team: Team, block: u32) -> Gains {
  var g = Gains();
  if (NORM) {
    let i = block * 8u;
    if (EIGHT) {
      g.v = vectors[i + (team.within & 7u)];
    } else {
      g.v = vectors[i + (team.within & 3u)];
      g.w = vectors[i + 4u + (team.within & 3u)];
    }
  }
  return g;
}

fn load_x(team: Team, col: u32, block: u32, gains: Gains) -> Activations {
  let i = col * params.x_stride + block * 8u;
  var squares = 0.0;
  if (EIGHT) {
    var v = x[i + (team.within & 7u)];
    if (NORM) { squares = dot(v, v); v *= gains.v; }
    return Activations(broadcast8(v), squares);
  }
  var v = x[i + (team.within & 3u)];
  var w = x[i + 4u + (team.within & 3u)];
  if (NORM) { squares = dot(v, v) + dot(w, w); v *= gains.v; w *= gains.w; }
  return Activations(broadcast4(v, w), squares);
}

// Every invocation has squared what it loaded; those beyond the first 8 (or 4) loaded the same again.
fn team_squares(own: f32, team: Team) -> f32 {
  return subgroupAdd(select(0.0, own, team.within < select(4u, 8u, EIGHT)));
}

// Arguments one by one: naga 30 writes subgroup builtins in a struct into HLSL without semantics.
@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) within: u32,
) {
  body(id, groups, TeamInput(index, within));
}
