// tanh form of GELU (Hendrycks & Gimpel 2016). tanh is clamped by hand: some drivers overflow in exp.
fn act(x: f32) -> f32 {
  let t = clamp(0.7978845608 * (x + 0.044715 * x * x * x), -15.0, 15.0);
  return 0.5 * x * (1.0 + tanh(t));
}
