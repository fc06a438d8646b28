// x * Phi(x) with erf by Abramowitz & Stegun 7.1.26 (absolute error 1.5e-7).
fn act(x: f32) -> f32 {
  let z = abs(x) * 0.7071067812;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * poly * exp(-z * z); // 1 - Phi(|x|)
  return select(x * tail, x * (1.0 - tail), x >= 0.0);
}
