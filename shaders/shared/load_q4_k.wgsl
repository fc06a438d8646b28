// Q4_K: weight = q * scale - min; quants in row order, one header of 4 words per superblock.
const SCALED: bool = true;
const OFFSET: bool = true;

fn load_quants(row: u32, block: u32) -> Quants {
  let sm = k_scale_min(row * params.scale_words + (block >> 3u) * 4u, block & 7u);
  return Quants(nibbles(quants[row * params.blocks + block]), sm.x, -sm.y);
}
