// Q6_K: weight = (q - 32) * d * scale, one signed byte scale per 16 weights, one f16 d per superblock.
// A superblock is 12 vec4: 8 of low nibbles, then 4 with two words of high bit pairs per block.
// Scales, per row: 4 words of byte scales per superblock, then the d, two per word.
// Bit pairs 0..3 of `bits`, each times 16.
fn sixth4(bits: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(((vec4<u32>(bits) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) << vec4<u32>(4u)));
}

const SCALED: bool = false;
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks / 8u * 12u; }

fn load_quants(row: u32, block: u32) -> Quants {
  let superblock = block >> 3u;
  let j = block & 7u;
  let supers = params.blocks >> 3u;
  let i = superblock * 12u;
  let pair = quad(row, i + 8u + (j >> 1u));
  let high = select(pair.xy, pair.zw, (j & 1u) == 1u);
  let d = half_at(scale_word(row, supers * 4u + (superblock >> 1u)), superblock);
  let word = scale_word(row, superblock * 4u + (j >> 1u));
  let both = vec4<f32>(unpack4xI8(word));
  let s = d * select(both.xy, both.zw, (j & 1u) == 1u);
  let w = nibbles(quad(row, i + j));
  return Quants(Block32(
    (w.a + sixth4(high.x) - 32.0) * s.x, (w.b + sixth4(high.x >> 8u) - 32.0) * s.x,
    (w.c + sixth4(high.x >> 16u) - 32.0) * s.x, (w.d + sixth4(high.x >> 24u) - 32.0) * s.x,
    (w.e + sixth4(high.y) - 32.0) * s.y, (w.f + sixth4(high.y >> 8u) - 32.0) * s.y,
    (w.g + sixth4(high.y >> 16u) - 32.0) * s.y, (w.h + sixth4(high.y >> 24u) - 32.0) * s.y), 1.0, 0.0);
}
