// Q4_1: weight = q * d + m, (d, m) two f16 in one word per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn load_quants(row: u32, block: u32) -> Quants {
  let dm = unpack2x16float(scales[row * params.scale_words + block]);
  return Quants(nibbles(quants[row * params.blocks + block]), dm.x, dm.y);
}
