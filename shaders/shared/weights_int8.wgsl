// As weights.wgsl, for activations that are rounded to signed bytes (broadcast_int8.wgsl): four products at a time are
// summed in 32 bits. Contract of every load_*_int8.wgsl: as there, with weights as bytes.

// 32 consecutive numbers: signed bytes, four to a word, times step.
struct Codes { a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, step: f32 }
struct Quants { q: Codes, offset: f32 }
alias Xs = Codes;
alias Sum = i32;

// Σ weight * x over the block; x_sum is Σ x, which only formats with an offset need.
fn quants_dot(w: Quants, x: Codes, x_sum: f32) -> f32 { return quants_scaled(w, codes_dot(w.q, x), x, x_sum); }

// The same, of Σ code * code.
fn quants_scaled(w: Quants, q_dot: i32, x: Codes, x_sum: f32) -> f32 {
  let dot = f32(q_dot) * (w.q.step * x.step);
  if (OFFSET) { return fma(w.offset, x_sum, dot); }
  return dot;
}

fn codes_dot(w: Codes, x: Codes) -> i32 {
  return dot4(w.h, x.h, dot4(w.g, x.g, dot4(w.f, x.f, dot4(w.e, x.e, dot4(w.d, x.d, dot4(w.c, x.c, dot4(w.b, x.b, dot4(w.a, x.a, 0))))))));
}

// s + Σ w * x
fn dot4(w: u32, x: u32, s: i32) -> i32 { return s + dot4I8Packed(w, x); }

fn block_sum(x: Codes) -> f32 {
  const ONES: u32 = 0x01010101u;
  return f32(codes_dot(Codes(ONES, ONES, ONES, ONES, ONES, ONES, ONES, ONES, 1.0), x)) * x.step;
}
