// Q8_0: weight = q * d, q signed bytes as they are, d one f16 per block, two per word.
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks * 2u; }

fn load_quants(row: u32, block: u32) -> Quants {
  let p = quad(row, block * 2u); let q = quad(row, block * 2u + 1u);
  let d = half_at(scale_word(row, block >> 1u), block);
  return Quants(Codes(p.x, p.y, p.z, p.w, q.x, q.y, q.z, q.w, d), 0.0);
}
