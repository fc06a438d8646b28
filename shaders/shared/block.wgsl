// 32 consecutive numbers: weights of one row, activations, or eight vec4 of a head.
struct Block32 {
  a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
  e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

fn block_dot(w: Block32, x: Block32) -> f32 {
  var s = w.a * x.a;
  s = fma(w.b, x.b, s); s = fma(w.c, x.c, s); s = fma(w.d, x.d, s); s = fma(w.e, x.e, s);
  s = fma(w.f, x.f, s); s = fma(w.g, x.g, s); s = fma(w.h, x.h, s);
  return (s.x + s.y) + (s.z + s.w);
}

fn block_sum(x: Block32) -> f32 {
  let s = ((x.a + x.b) + (x.c + x.d)) + ((x.e + x.f) + (x.g + x.h));
  return (s.x + s.y) + (s.z + s.w);
}
