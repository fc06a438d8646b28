// Two planes in buffers, row after row.
@group(0) @binding(0) var<storage, read> quants: array<vec4<u32>>;  // [rows, row_quads()]
@group(0) @binding(1) var<storage, read> scales: array<u32>;        // [rows, params.scale_words]

fn quad(row: u32, i: u32) -> vec4<u32> { return quants[row * row_quads() + i]; }
fn scale_word(row: u32, i: u32) -> u32 { return scales[row * params.scale_words + i]; }
fn scale_quad(row: u32, i: u32) -> vec4<u32> {
  let first = row * params.scale_words + i * 4u;
  return vec4<u32>(scales[first], scales[first + 1u], scales[first + 2u], scales[first + 3u]);
}
