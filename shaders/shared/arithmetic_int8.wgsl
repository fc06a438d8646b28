// A step is chain + chain · x on four words of four signed bytes: 4 · 8 operations.
fn start(lane: u32) -> vec4<u32> { return vec4<u32>(0x01020304u, 0x7F80FF01u, 0x11223344u, 0x55AA55AAu) + vec4<u32>(lane % 8u); }
fn mad(chain: vec4<u32>, x: vec4<u32>) -> vec4<u32> {
  let sums = bitcast<vec4<i32>>(chain);
  return bitcast<vec4<u32>>(vec4<i32>(
    dot4(chain.x, x.x, sums.x), dot4(chain.y, x.y, sums.y), dot4(chain.z, x.z, sums.z), dot4(chain.w, x.w, sums.w)));
}
// s + Σ a * b. Its own function: naga 30 hands DXC a literal 0 to add to, of which DXC 1.7 makes 64 bits in a vector.
fn dot4(a: u32, b: u32, s: i32) -> i32 { return s + dot4I8Packed(a, b); }
fn finish(v: vec4<u32>) -> f32 { return f32((v.x ^ v.y ^ v.z ^ v.w) & 0xFFFFu); }
