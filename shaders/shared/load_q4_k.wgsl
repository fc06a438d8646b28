// Q4_K: weight = q * scale - min; quants in row order, one header of 4 words per superblock.
const SCALED: bool = true;
const OFFSET: bool = true;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let sm = k_scale_min(row, block);
  return Quants(nibbles(quad(row, block)), sm.x, -sm.y);
}
