// Q5_K: weight = q * scale - min; per row first the headers (4 words per superblock, that is half a word
// per block), then a word of fifth bits per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let sm = k_scale_min(row, block);
  let bits = scale_word(row, (params.blocks >> 1u) + block);
  let q = add_fifth_bits(nibbles(quad(row, block)), bits);
  return Quants(q, sm.x, -sm.y);
}
