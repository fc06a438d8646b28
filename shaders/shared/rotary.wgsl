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

fn turned(v: f32, other: f32, angle: vec2<f32>, second: bool) -> f32 {
  if (second) { return v * angle.x + other * angle.y; }
  return v * angle.x - other * angle.y;
}
