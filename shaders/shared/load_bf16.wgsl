// BF16 rows, padded to whole blocks with zeros: 4 vec4 per block, two numbers per word.
fn brains4(lo: u32, hi: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(lo << 16u, lo & 0xFFFF0000u, hi << 16u, hi & 0xFFFF0000u));
}

const SCALED: bool = false;
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks * 4u; }

fn load_quants(row: u32, block: u32) -> Quants {
  let i = block * 4u;
  let p = quad(row, i); let q = quad(row, i + 1u); let r = quad(row, i + 2u); let s = quad(row, i + 3u);
  return Quants(Block32(
    brains4(p.x, p.y), brains4(p.z, p.w), brains4(q.x, q.y), brains4(q.z, q.w),
    brains4(r.x, r.y), brains4(r.z, r.w), brains4(s.x, s.y), brains4(s.z, s.w)), 1.0, 0.0);
}
