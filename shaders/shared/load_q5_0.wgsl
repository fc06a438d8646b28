// Q5_0: weight = (q - 16) * d; per row first the f16 d, two per word, then a word of fifth bits per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let d = half_at(scale_word(row, block >> 1u), block);
  let bits = scale_word(row, ((params.blocks + 1u) >> 1u) + block);
  let q = add_fifth_bits(nibbles(quad(row, block)), bits);
  return Quants(q, d, -16.0 * d);
}
