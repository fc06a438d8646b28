// Q5_1: weight = q * d + m; per row first (d, m) in one word per block, then a word of fifth bits per block.
fn load_weights(row: u32, block: u32) -> Block32 {
  let first = row * params.scale_words;
  let dm = unpack2x16float(scales[first + block]);
  let q = add_fifth_bits(nibbles(quants[row * params.blocks + block]), scales[first + params.blocks + block]);
  return block_affine(q, dm.x, dm.y);
}
