// Q4_0: weight = (q - 8) * d, d one f16 per block, two per word.
// Flipping a nibble's high bit makes it two's complement of q - 8.
const SCALED: bool = true;
const OFFSET: bool = false;

fn load_quants(row: u32, block: u32) -> Quants {
  let d = half_at(scales[row * params.scale_words + (block >> 1u)], block);
  return Quants(signed_nibbles(quants[row * params.blocks + block] ^ vec4<u32>(0x88888888u)), d, 0.0);
}
