// As broadcast.wgsl, rounded: the 32 numbers become signed bytes times the largest magnitude / 127.
// Numbers below this are nothing: their reciprocal might be infinite.
const LEAST: f32 = 1e-35;

// As bits: order and largest are those of the magnitudes, and NaN is above all.
fn most4(v: vec4<f32>) -> u32 {
  let a = bitcast<vec4<u32>>(v) & vec4<u32>(0x7FFFFFFFu);
  return max(max(a.x, a.y), max(a.z, a.w));
}
fn codes4(v: vec4<f32>, inverse: f32) -> u32 { return pack4xI8(vec4<i32>(round(v * inverse))); }
fn inverse_of(most: f32) -> f32 { return select(0.0, 127.0 / most, most > LEAST); }

fn broadcast8(v: vec4<f32>) -> Codes {
  let m = most4(v);
  let most = bitcast<f32>(max(
    max(max(subgroupBroadcast(m, 0u), subgroupBroadcast(m, 1u)), max(subgroupBroadcast(m, 2u), subgroupBroadcast(m, 3u))),
    max(max(subgroupBroadcast(m, 4u), subgroupBroadcast(m, 5u)), max(subgroupBroadcast(m, 6u), subgroupBroadcast(m, 7u)))));
  let q = codes4(v, inverse_of(most));
  return Codes(
    subgroupBroadcast(q, 0u), subgroupBroadcast(q, 1u), subgroupBroadcast(q, 2u), subgroupBroadcast(q, 3u),
    subgroupBroadcast(q, 4u), subgroupBroadcast(q, 5u), subgroupBroadcast(q, 6u), subgroupBroadcast(q, 7u),
    most * (1.0 / 127.0));
}

fn broadcast4(v: vec4<f32>, w: vec4<f32>) -> Codes {
  let m = max(most4(v), most4(w));
  let most = bitcast<f32>(max(
    max(subgroupBroadcast(m, 0u), subgroupBroadcast(m, 1u)), max(subgroupBroadcast(m, 2u), subgroupBroadcast(m, 3u))));
  let inverse = inverse_of(most);
  let q = codes4(v, inverse);
  let r = codes4(w, inverse);
  return Codes(
    subgroupBroadcast(q, 0u), subgroupBroadcast(q, 1u), subgroupBroadcast(q, 2u), subgroupBroadcast(q, 3u),
    subgroupBroadcast(r, 0u), subgroupBroadcast(r, 1u), subgroupBroadcast(r, 2u), subgroupBroadcast(r, 3u),
    most * (1.0 / 127.0));
}
