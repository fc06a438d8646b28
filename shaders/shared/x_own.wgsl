// Every team goes its own way through the blocks, and every invocation loads the activations that it needs.
fn block_begin(team: Team) -> u32 { return team.lane; }
// A team past the last row does nothing but take part in the reductions.
fn block_end(row: u32) -> u32 { return select(0u, params.blocks, row < params.rows); }
fn block_stride(team: Team) -> u32 { return team.lanes; }

fn load_x(team: Team, col: u32, block: u32) -> Block32 {
  let i = col * params.x_stride + block * 8u;
  return Block32(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
}
