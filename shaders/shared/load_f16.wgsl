// F16 rows, padded to whole blocks with zeros: 4 vec4 per block, two halves per word.
fn halves4(lo: u32, hi: u32) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(lo), unpack2x16float(hi));
}

const SCALED: bool = false;
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks * 4u; }

fn load_quants(row: u32, block: u32) -> Quants {
  let i = block * 4u;
  let p = quad(row, i); let q = quad(row, i + 1u); let r = quad(row, i + 2u); let s = quad(row, i + 3u);
  return Quants(Block32(
    halves4(p.x, p.y), halves4(p.z, p.w), halves4(q.x, q.y), halves4(q.z, q.w),
    halves4(r.x, r.y), halves4(r.z, r.w), halves4(s.x, s.y), halves4(s.z, s.w)), 1.0, 0.0);
}
