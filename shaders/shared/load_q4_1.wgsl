// Q4_1: weight = q * d + m, (d, m) two f16 in one word per block.
fn load_weights(row: u32, block: u32) -> Block32 {
  let dm = unpack2x16float(scales[row * params.scale_words + block]);
  return block_affine(nibbles(quants[row * params.blocks + block]), dm.x, dm.y);
}
