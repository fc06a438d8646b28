// A block of 32 consecutive weights of one row. Contract of every load_*.wgsl:
//   fn load_quants(row: u32, block: u32) -> Quants
//   fn row_quads() -> u32: vec4 of `quants` per row
// reading what planes_*.wgsl offer: quad(row, i), the row's i-th vec4 of quants, scale_word(row, i) and scale_quad(row, i),
// and params.blocks (blocks per row), and
//   const SCALED, OFFSET: bool — whether weights are q * scale, and + offset; else they are q itself.
struct Quants { q: Block32, scale: f32, offset: f32 }
alias Xs = Block32; // activations that a team shares
alias Sum = f32;    // Σ q * x

// Σ weight * x over the block; x_sum is Σ x, which only formats with an offset need. Scale and offset are the same for
// all 32: applied to the sums, they cost once.
fn quants_dot(w: Quants, x: Block32, x_sum: f32) -> f32 { return quants_scaled(w, block_dot(w.q, x), x, x_sum); }

// The same, of Σ q * x.
fn quants_scaled(w: Quants, q_dot: f32, x: Block32, x_sum: f32) -> f32 {
  var dot = q_dot;
  if (SCALED) { dot *= w.scale; }
  if (OFFSET) { dot = fma(w.offset, x_sum, dot); }
  return dot;
}

// s + Σ w * x
fn dot4(w: vec4<f32>, x: vec4<f32>, s: f32) -> f32 {
  return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, s))));
}

// The weights themselves.
fn load_weights(row: u32, block: u32) -> Block32 {
  let w = load_quants(row, block);
  if (SCALED || OFFSET) { return block_affine(w.q, w.scale, w.offset); }
  return w.q;
}

// w * scale + offset
fn block_affine(w: Block32, scale: f32, offset: f32) -> Block32 {
  return Block32(
    w.a * scale + offset, w.b * scale + offset, w.c * scale + offset, w.d * scale + offset,
    w.e * scale + offset, w.f * scale + offset, w.g * scale + offset, w.h * scale + offset);
}

// Four bytes as floats. Through i32, because CPUs convert signed numbers in one instruction and unsigned ones in many.
fn bytes4(word: u32) -> vec4<f32> { return vec4<f32>(vec4<i32>(unpack4xU8(word))); }

// 32 nibbles in two's complement, placed as in `nibbles`.
fn signed_nibbles(q: vec4<u32>) -> Block32 {
  return Block32(
    nibbles4(q.x, vec4<u32>(28u, 20u, 12u, 4u)), nibbles4(q.x, vec4<u32>(24u, 16u, 8u, 0u)),
    nibbles4(q.y, vec4<u32>(28u, 20u, 12u, 4u)), nibbles4(q.y, vec4<u32>(24u, 16u, 8u, 0u)),
    nibbles4(q.z, vec4<u32>(28u, 20u, 12u, 4u)), nibbles4(q.z, vec4<u32>(24u, 16u, 8u, 0u)),
    nibbles4(q.w, vec4<u32>(28u, 20u, 12u, 4u)), nibbles4(q.w, vec4<u32>(24u, 16u, 8u, 0u)));
}
fn nibbles4(word: u32, up: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << up) >> vec4<u32>(28u));
}

// 32 nibbles: byte i of word j holds weight 8j+i in its low and weight 8j+4+i in its high nibble.
fn nibbles(q: vec4<u32>) -> Block32 {
  let lo = q & vec4<u32>(0x0F0F0F0Fu);
  let hi = (q >> vec4<u32>(4u)) & vec4<u32>(0x0F0F0F0Fu);
  return Block32(
    bytes4(lo.x), bytes4(hi.x), bytes4(lo.y), bytes4(hi.y),
    bytes4(lo.z), bytes4(hi.z), bytes4(lo.w), bytes4(hi.w));
}

// Bits 0..3 of `bits`, each as 0 or 16.
fn fifth4(bits: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(bits) << vec4<u32>(4u, 3u, 2u, 1u)) & vec4<u32>(16u)));
}

// Adds the fifth bits: bit i of `bits` belongs to weight i.
fn add_fifth_bits(w: Block32, bits: u32) -> Block32 {
  return Block32(
    w.a + fifth4(bits), w.b + fifth4(bits >> 4u), w.c + fifth4(bits >> 8u), w.d + fifth4(bits >> 12u),
    w.e + fifth4(bits >> 16u), w.f + fifth4(bits >> 20u), w.g + fifth4(bits >> 24u), w.h + fifth4(bits >> 28u));
}
