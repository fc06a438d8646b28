// The header of a Q4_K or Q5_K superblock (256 weights): word 0 holds the f16 pair (d, dmin), words 1..3
// the 6-bit scales and mins of its eight blocks. Returns (scale, min) of a block:
// weight = q * scale - min.
fn k_scale_min(row: u32, block: u32) -> vec2<f32> {
  let header = scale_quad(row, block >> 3u);
  let j = block & 7u;
  let dm = unpack2x16float(header.x);
  let shift = 8u * (j & 3u);
  let p = header.y >> shift;
  let q = header.z >> shift;
  let r = header.w >> shift;
  let low = vec2<u32>(p & 63u, q & 63u);
  let high = vec2<u32>((r & 15u) | ((p >> 2u) & 48u), ((r >> 4u) & 15u) | ((q >> 2u) & 48u));
  return dm * vec2<f32>(select(low, high, j >= 4u));
}
