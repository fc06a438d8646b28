// KV cache in q8_0: a word holds four elements of one position of one head as signed bytes. Eight words, an octet, share a
// scale in f16; two scales are a word. Of each head come the elements of all positions first, then all scales:
// [context, D4] words, [context, (octets + 1) / 2] words.
alias kv4 = u32;
const KV_SCALED: bool = true;
fn kv_unpack(v: kv4, scale: f32) -> vec4<f32> { return vec4<f32>(unpack4xI8(v)) * scale; }
fn kv_pack(v: vec4<f32>, scale: f32) -> kv4 {
  let steps = select(vec4<f32>(), round(v / scale), scale > 0.0);
  return pack4xI8(vec4<i32>(clamp(steps, vec4<f32>(-127.0), vec4<f32>(127.0))));
}
// Scale of an octet, from the word that holds it.
fn kv_scale(word: kv4, octet: u32) -> f32 { return unpack2x16float(word >> (16u * (octet & 1u))).x; }
// The scale of an octet whose largest magnitude is `most`, as 16 bits. NaN stays NaN, in all of the octet.
fn kv_half(most: f32, bad: bool) -> u32 {
  return select(pack2x16float(vec2<f32>(min(most / 127.0, 65504.0), 0.0)), 0x7E00u, bad);
}
fn kv_halves(low: u32, high: u32) -> kv4 { return low | (high << 16u); }
