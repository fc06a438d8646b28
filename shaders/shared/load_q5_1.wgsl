// Q5_1: weight = q * d + m; per row first (d, m) in one word per block, then a word of fifth bits per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let dm = unpack2x16float(scale_word(row, block));
  let q = add_fifth_bits(nibbles(quad(row, block)), scale_word(row, params.blocks + block));
  return Quants(q, dm.x, dm.y);
}
