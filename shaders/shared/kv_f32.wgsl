// KV cache in f32: four elements of one position of one head.
alias kv4 = vec4<f32>;
const KV_SCALED: bool = false;  // the functions with scales are for kv_q8_0
fn kv_unpack(v: kv4, scale: f32) -> vec4<f32> { return v; }
fn kv_pack(v: vec4<f32>, scale: f32) -> kv4 { return v; }
fn kv_scale(word: kv4, octet: u32) -> f32 { return 1.0; }
fn kv_half(most: f32, bad: bool) -> u32 { return 0u; }
// Not kv4(): naga 30 writes the zero of every type that an alias makes into HLSL, and under the same name.
fn kv_halves(low: u32, high: u32) -> kv4 { return vec4<f32>(); }
