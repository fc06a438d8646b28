// Q5_0: weight = (q - 16) * d; per row first the f16 d, two per word, then a word of fifth bits per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn load_quants(row: u32, block: u32) -> Quants {
  let first = row * params.scale_words;
  let d = half_at(scales[first + (block >> 1u)], block);
  let bits = scales[first + ((params.blocks + 1u) >> 1u) + block];
  let q = add_fifth_bits(nibbles(quants[row * params.blocks + block]), bits);
  return Quants(q, d, -16.0 * d);
}
