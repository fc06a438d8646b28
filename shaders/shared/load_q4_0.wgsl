// Q4_0: weight = (q - 8) * d, d one f16 per block, two per word.
// Flipping a nibble's high bit makes it two's complement of q - 8.
const SCALED: bool = true;
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let d = half_at(scale_word(row, block >> 1u), block);
  return Quants(signed_nibbles(quad(row, block) ^ vec4<u32>(0x88888888u)), d, 0.0);
}
