// A team is one invocation: no reduction. Best on CPU adapters.
struct TeamInput { @builtin(local_invocation_index) index: u32 }
struct Team { id: u32, lane: u32, lanes: u32 }

fn team_of(in: TeamInput, workgroup: u32) -> Team { return Team(workgroup * WG + in.index, 0u, 1u); }
fn team_sum(v: f32, lane: u32) -> f32 { return v; }
