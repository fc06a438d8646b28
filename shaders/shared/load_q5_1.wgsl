// Q5_1: weight = q * d + m; per row first (d, m) in one word per block, then a word of fifth bits per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn load_quants(row: u32, block: u32) -> Quants {
  let first = row * params.scale_words;
  let dm = unpack2x16float(scales[first + block]);
  let q = add_fifth_bits(nibbles(quants[row * params.blocks + block]), scales[first + params.blocks + block]);
  return Quants(q, dm.x, dm.y);
}
