// Q5_K: weight = q * scale - min; per row first the headers (4 words per superblock, that is half a word
// per block), then a word of fifth bits per block.
fn load_weights(row: u32, block: u32) -> Block32 {
  let first = row * params.scale_words;
  let sm = k_scale_min(first + (block >> 3u) * 4u, block & 7u);
  let bits = scales[first + (params.blocks >> 1u) + block];
  let q = add_fifth_bits(nibbles(quants[row * params.blocks + block]), bits);
  return block_affine(q, sm.x, -sm.y);
}
