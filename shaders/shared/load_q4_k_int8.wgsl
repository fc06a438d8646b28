// Q4_K: weight = q * scale - min; quants in row order, one header of 4 words per superblock.
const OFFSET: bool = true;

fn row_quads() -> u32 { return params.blocks; }

fn load_quants(row: u32, block: u32) -> Quants {
  let q = quad(row, block);
  let lo = q & vec4<u32>(0x0F0F0F0Fu);
  let hi = (q >> vec4<u32>(4u)) & vec4<u32>(0x0F0F0F0Fu);
  let sm = k_scale_min(row, block);
  return Quants(Codes(lo.x, hi.x, lo.y, hi.y, lo.z, hi.z, lo.w, hi.w, sm.x), -sm.y);
}
