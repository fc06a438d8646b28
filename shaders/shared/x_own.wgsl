// Every team goes its own way through the blocks, and every invocation loads the activations that it needs.
fn block_begin(team: Team) -> u32 { return team.lane; }
// A team past the last row does nothing but take part in the reductions.
fn block_end(row: u32) -> u32 { return select(0u, params.blocks, row < params.rows); }
fn block_stride(team: Team) -> u32 { return team.lanes; }

struct Activations { v: Block32, squares: f32 }
struct Gains { v: Block32 }

fn load_gains(team: Team, block: u32) -> Gains {
  var g = Gains();
  if (NORM) {
    let i = block * 8u;
    g.v = Block32(vectors[i], vectors[i + 1u], vectors[i + 2u], vectors[i + 3u], vectors[i + 4u], vectors[i + 5u], vectors[i + 6u], vectors[i + 7u]);
  }
  return g;
}

fn load_x(team: Team, col: u32, block: u32, gains: Gains) -> Activations {
  let i = col * params.x_stride + block * 8u;
  let v = Block32(x[i], x[i + 1u], x[i + 2u], x[i + 3u], x[i + 4u], x[i + 5u], x[i + 6u], x[i + 7u]);
  if (!NORM) { return Activations(v, 0.0); }
  let g = gains.v;
  let scaled = Block32(v.a * g.a, v.b * g.b, v.c * g.c, v.d * g.d, v.e * g.e, v.f * g.f, v.g * g.g, v.h * g.h);
  return Activations(scaled, block_dot(v, v));
}

fn team_squares(own: f32, team: Team) -> f32 { return team_sum(own, team.lane); }
