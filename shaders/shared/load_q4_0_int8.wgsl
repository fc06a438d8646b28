// Q4_0: weight = (q - 8) * d, d one f16 per block, two per word.
// Flipping a nibble's high bit makes it two's complement of q - 8; as the high nibble of a byte it counts 16 times.
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let q = quad(row, block) ^ vec4<u32>(0x88888888u);
  let lo = (q << vec4<u32>(4u)) & vec4<u32>(0xF0F0F0F0u);
  let hi = q & vec4<u32>(0xF0F0F0F0u);
  let d = half_at(scale_word(row, block >> 1u), block) * (1.0 / 16.0);
  return Quants(Codes(lo.x, hi.x, lo.y, hi.y, lo.z, hi.z, lo.w, hi.w, d), 0.0);
}
