// Q5_0: weight = (q - 16) * d; per row first the f16 d, two per word, then a word of fifth bits per block.
fn load_weights(row: u32, block: u32) -> Block32 {
  let first = row * params.scale_words;
  let d = half_at(scales[first + (block >> 1u)], block);
  let bits = scales[first + ((params.blocks + 1u) >> 1u) + block];
  let q = add_fifth_bits(nibbles(quants[row * params.blocks + block]), bits);
  return block_affine(q, d, -16.0 * d);
}
