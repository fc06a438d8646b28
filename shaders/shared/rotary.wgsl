// `tables` holds pairs of floats: per layer the weights of the q and the k norm [2, HEAD_DIM], from params.norms_at on, and
// [context, ROTARY / 2] (cos, sin), from params.rope_at on.
// Rotation of the first ROTARY elements of a head by a table of (cos, sin): Su et al. 2021, eq. 34, with pairs
// (i, i + ROTARY/2) or, when INTERLEAVED, (2i, 2i + 1). Elements from ROTARY on pass unchanged.
struct RotaryPair {
  other: u32,    // the element that e turns with
  angle: u32,    // their column of the table
  second: bool,  // e is the second of the two
}

fn rotary_pair(e: u32) -> RotaryPair {
  let half = ROTARY / 2u;
  let angle = select(e % half, e / 2u, INTERLEAVED);
  let second = select(e >= half, (e & 1u) == 1u, INTERLEAVED);
  let reach = select(half, 1u, INTERLEAVED);
  return RotaryPair(select(e + reach, e - reach, second), angle, second);
}

fn angle_at(pos: u32, column: u32) -> vec2<f32> {
  return tables[params.rope_at + pos * (ROTARY / 2u) + column];
}

// Weight i of the two norms.
fn head_norm(i: u32) -> f32 { return tables[params.norms_at + i / 2u][i % 2u]; }

fn turned(v: f32, other: f32, angle: vec2<f32>, second: bool) -> f32 {
  if (second) { return v * angle.x + other * angle.y; }
  return v * angle.x - other * angle.y;
}
