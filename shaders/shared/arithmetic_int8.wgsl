// A step is chain + chain · x on four words of four signed bytes: 4 · 8 operations.
fn start(lane: u32) -> vec4<u32> { return vec4<u32>(0x01020304u, 0x7F80FF01u, 0x11223344u, 0x55AA55AAu) + vec4<u32>(lane % 8u); }
fn mad(chain: vec4<u32>, x: vec4<u32>) -> vec4<u32> {
  return chain + bitcast<vec4<u32>>(vec4<i32>(
    dot4I8Packed(chain.x, x.x), dot4I8Packed(chain.y, x.y), dot4I8Packed(chain.z, x.z), dot4I8Packed(chain.w, x.w)));
}
fn finish(v: vec4<u32>) -> f32 { return f32((v.x ^ v.y ^ v.z ^ v.w) & 0xFFFFu); }
