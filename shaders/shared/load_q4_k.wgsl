// Q4_K: weight = q * scale - min; quants in row order, one header of 4 words per superblock.
fn load_weights(row: u32, block: u32) -> Block32 {
  let sm = k_scale_min(row * params.scale_words + (block >> 3u) * 4u, block & 7u);
  return block_affine(nibbles(quants[row * params.blocks + block]), sm.x, -sm.y);
}
