// Two planes in textures, as tiles of 8 rows: the first vec4 of each row, then the second of each, … A texel is one load
// on CPU adapters, where a storage buffer takes one for every word of every invocation.
@group(0) @binding(0) var quants: texture_storage_2d<rgba32uint, read>;  // [rows / 8, row_quads(), 8] texels, 1024 to a row
@group(0) @binding(1) var scales: texture_storage_2d<rgba32uint, read>;  // [rows / 8, params.scale_words / 4, 8]

fn quad(row: u32, i: u32) -> vec4<u32> {
  let at = (row / 8u * row_quads() + i) * 8u + row % 8u;
  return textureLoad(quants, vec2<u32>(at % 1024u, at / 1024u));
}
fn scale_quad(row: u32, i: u32) -> vec4<u32> {
  let at = (row / 8u * ((params.scale_words + 3u) / 4u) + i) * 8u + row % 8u;
  return textureLoad(scales, vec2<u32>(at % 1024u, at / 1024u));
}
fn scale_word(row: u32, i: u32) -> u32 { return scale_quad(row, i / 4u)[i % 4u]; }
