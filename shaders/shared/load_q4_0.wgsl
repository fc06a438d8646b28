// Q4_0: weight = (q - 8) * d, d one f16 per block, two per word.
fn load_weights(row: u32, block: u32) -> Block32 {
  let d = half_at(scales[row * params.scale_words + (block >> 1u)], block);
  return block_affine(nibbles(quants[row * params.blocks + block]), d, -8.0 * d);
}
