// KV cache in f16, packed without needing shader-f16: four elements of one position of one head.
alias kv4 = vec2<u32>;
const KV_SCALED: bool = false;  // the functions with scales are for kv_q8_0
fn kv_unpack(v: kv4, scale: f32) -> vec4<f32> { return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn kv_pack(v: vec4<f32>, scale: f32) -> kv4 {
  let w = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0)); // what f16 can hold
  let nan = select(vec4<u32>(), vec4<u32>(0x7E00u), kv_nan(v));  // NaN stays NaN
  return vec2<u32>(pack2x16float(w.xy) | nan.x | (nan.y << 16u), pack2x16float(w.zw) | nan.z | (nan.w << 16u));
}
fn kv_scale(word: kv4, octet: u32) -> f32 { return 1.0; }
fn kv_half(most: f32, bad: bool) -> u32 { return 0u; }
fn kv_halves(low: u32, high: u32) -> kv4 { return vec2<u32>(); }  // as in kv_f32.wgsl
