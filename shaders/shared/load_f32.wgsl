// F32 rows, padded to whole blocks with zeros: 8 vec4 per block.
const SCALED: bool = false;
const OFFSET: bool = false;

fn row_quads() -> u32 { return params.blocks * 8u; }

fn load_quants(row: u32, block: u32) -> Quants {
  let i = block * 8u;
  return Quants(Block32(
    bitcast<vec4<f32>>(quad(row, i)), bitcast<vec4<f32>>(quad(row, i + 1u)),
    bitcast<vec4<f32>>(quad(row, i + 2u)), bitcast<vec4<f32>>(quad(row, i + 3u)),
    bitcast<vec4<f32>>(quad(row, i + 4u)), bitcast<vec4<f32>>(quad(row, i + 5u)),
    bitcast<vec4<f32>>(quad(row, i + 6u)), bitcast<vec4<f32>>(quad(row, i + 7u))), 1.0, 0.0);
}
