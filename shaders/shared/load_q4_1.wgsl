// Q4_1: weight = q * d + m, (d, m) two f16 in one word per block.
const SCALED: bool = true;
const OFFSET: bool = true;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let dm = unpack2x16float(scale_word(row, block));
  return Quants(nibbles(quad(row, block)), dm.x, dm.y);
}
