// What the KV cache's octets (see kv_q8_0.wgsl) look like to kernels. The kernel defines D4, vec4 per head.
const OCTETS: u32 = (D4 + 7u) / 8u;
const D8: u32 = OCTETS * 8u;                                        // D4, padded
const SCALE_WORDS: u32 = select(0u, (OCTETS + 1u) / 2u, KV_SCALED);  // per position
const HEAD_WORDS: u32 = D4 + SCALE_WORDS;                           // per position, of elements and scales

// NaN, told by its bits: comparing and clamping may hide it, and it must show in the logits.
fn kv_nan(v: vec4<f32>) -> vec4<bool> {
  return (bitcast<vec4<u32>>(v) & vec4<u32>(0x7FFFFFFFu)) > vec4<u32>(0x7F800000u);
}
