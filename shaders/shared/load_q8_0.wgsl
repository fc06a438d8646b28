// Q8_0: weight = q * d, q signed bytes (2 vec4 per block), d one f16 per block, two per word.
fn signed4(word: u32) -> vec4<f32> { return vec4<f32>(unpack4xI8(word)); }

const SCALED: bool = true;
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks * 2u; }

fn load_quants(row: u32, block: u32) -> Quants {
  let i = block * 2u;
  let p = quad(row, i); let q = quad(row, i + 1u);
  let d = half_at(scale_word(row, block >> 1u), block);
  let w = Block32(
    signed4(p.x), signed4(p.y), signed4(p.z), signed4(p.w),
    signed4(q.x), signed4(q.y), signed4(q.z), signed4(q.w));
  return Quants(w, d, 0.0);
}
