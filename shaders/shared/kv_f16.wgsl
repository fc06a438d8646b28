// KV cache in f16, packed without needing shader-f16: four elements of one position of one head.
alias kv4 = vec2<u32>;
fn kv_unpack(v: kv4) -> vec4<f32> { return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn kv_pack(v: vec4<f32>) -> kv4 {
  let w = clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0)); // what f16 can hold
  return vec2<u32>(pack2x16float(w.xy), pack2x16float(w.zw));
}
