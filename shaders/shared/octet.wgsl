// Eight vec4 at a time.
struct Octet {
  a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
  e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

fn octet_dot(x: Octet, y: Octet) -> f32 {
  var s = x.a * y.a;
  s = fma(x.b, y.b, s); s = fma(x.c, y.c, s); s = fma(x.d, y.d, s); s = fma(x.e, y.e, s);
  s = fma(x.f, y.f, s); s = fma(x.g, y.g, s); s = fma(x.h, y.h, s);
  return (s.x + s.y) + (s.z + s.w);
}

// Sum of the vectors of v, each times component c of its w.
fn weighted(w: Octet, v: Octet, c: u32) -> vec4<f32> {
  var s = w.a[c] * v.a;
  s += w.b[c] * v.b; s += w.c[c] * v.c; s += w.d[c] * v.d; s += w.e[c] * v.e;
  s += w.f[c] * v.f; s += w.g[c] * v.g; s += w.h[c] * v.h;
  return s;
}
