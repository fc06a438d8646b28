// Q5_K: weight = q * scale - min; per row first the headers (4 words per superblock, that is half a word
// per block), then a word of fifth bits per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn load_quants(row: u32, block: u32) -> Quants {
  let first = row * params.scale_words;
  let sm = k_scale_min(first + (block >> 3u) * 4u, block & 7u);
  let bits = scales[first + (params.blocks >> 1u) + block];
  let q = add_fifth_bits(nibbles(quants[row * params.blocks + block]), bits);
  return Quants(q, sm.x, -sm.y);
}
