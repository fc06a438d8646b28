//! Rotary frequencies: base, partial rotation and the published context-extension scalings.

use std::f64::consts::TAU;

use super::check::limits;
use super::spec::{Rope, RopeStyle};

/// How the plain frequencies θ^(-2i/d) are changed to reach longer contexts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scaling {
    /// Plain frequencies (Su et al. 2021, eq. 15).
    None,
    /// Position interpolation: every frequency ÷ factor (Chen et al. 2023, §3.2).
    Linear { factor: f64 },
    /// Llama 3.1: wavelengths above `original / low` are divided by `factor`, below `original / high`
    /// kept, between them blended (Llama 3.1 model card and config.json).
    Llama3 { factor: f64, low: f64, high: f64, original: f64 },
    /// YaRN, "NTK by parts" (Peng et al. 2023, §3.2): dimensions that turn more than `beta_fast` times
    /// within `original` positions are kept, less than `beta_slow` divided by `factor`.
    Yarn { factor: f64, original: f64, beta_fast: f64, beta_slow: f64, truncate: bool },
}

/// The [`Rope`] of `rotary_dim` (even) rotated elements per head with base `theta` (above 1); cos and
/// sin will be multiplied by `scale`.
pub(crate) fn build(style: RopeStyle, theta: f64, rotary_dim: usize, scaling: Scaling, scale: f64) -> Rope {
    let dim = rotary_dim as f64;
    let plain = (0..rotary_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / dim));
    let inv_freq = match scaling {
        Scaling::None => plain.collect(),
        Scaling::Linear { factor } => plain.map(|f| f / factor).collect(),
        Scaling::Llama3 { factor, low, high, original } => {
            plain.map(|f| f * llama3_weight(f, factor, low, high, original)).collect()
        }
        Scaling::Yarn { factor, original, beta_fast, beta_slow, truncate } => {
            let (start, end) = yarn_range(dim, theta, original, beta_fast, beta_slow, truncate);
            // Division by zero when both ends coincide: any small width gives the same step.
            let width = if start == end { 1e-3 } else { end - start };
            let ramp = |i: usize| ((i as f64 - start) / width).clamp(0.0, 1.0);
            plain.enumerate().map(|(i, f)| f * (1.0 - ramp(i) + ramp(i) / factor)).collect()
        }
    };
    Rope { style, inv_freq, scale }
}

/// Positions within reach when `original` ones are stretched by `factor`: at least the `trained` ones.
pub(crate) fn reach(original: usize, factor: f64, trained: usize) -> usize {
    ((original as f64 * factor) as usize).clamp(trained, limits::CONTEXT.max(trained))
}

/// Factor on frequency `f`, from 1 (short waves) down to 1/factor (long waves).
fn llama3_weight(f: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let turns = original * f / TAU; // original context ÷ wavelength
    let keep = ((turns - low) / (high - low)).clamp(0.0, 1.0);
    keep + (1.0 - keep) / factor
}

/// Pair indices (as real numbers) where the YaRN ramp starts and ends: the pair that turns `beta`
/// times in `original` positions has index d·ln(original / (2π·beta)) / (2·ln θ).
fn yarn_range(dim: f64, theta: f64, original: f64, fast: f64, slow: f64, truncate: bool) -> (f64, f64) {
    let pair = |beta: f64| dim * (original / (beta * TAU)).ln() / (2.0 * theta.ln());
    let (start, end) = match truncate {
        true => (pair(fast).floor(), pair(slow).ceil()),
        false => (pair(fast), pair(slow)),
    };
    (start.max(0.0), end.min(dim - 1.0))
}

/// YaRN's factor on cos and sin, √(1/t) = 0.1·m·ln(factor) + 1 (Peng et al. 2023, eq. 15; `m` is the
/// `mscale` of later configurations, 1 in the paper).
pub(crate) fn yarn_mscale(factor: f64, m: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row: scaling → expected inverse frequencies for base 10000, 8 rotated elements.
    /// The plain ones are 1, 0.1, 0.01, 0.001.
    #[track_caller]
    fn check(scaling: Scaling, expected: [f64; 4]) {
        let rope = build(RopeStyle::Half, 10000.0, 8, scaling, 1.0);
        for (got, want) in rope.inv_freq.iter().zip(expected) {
            let err = (got - want).abs() / want;
            assert!(err <= 1e-12, "{scaling:?}: {:?} is not {expected:?}", rope.inv_freq);
        }
        assert_eq!(rope.inv_freq.len(), 4);
    }

    #[test]
    fn scalings_by_hand() {
        check(Scaling::None, [1.0, 0.1, 0.01, 0.001]);
        check(Scaling::Linear { factor: 4.0 }, [0.25, 0.025, 0.0025, 0.00025]);
        // turns in 200π positions: 100, 10, 1, 0.1; blend between 4 and 1 turns
        let original = 100.0 * TAU;
        check(
            Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original },
            [1.0, 0.1, 0.01 / 8.0, 0.001 / 8.0],
        );
        // 10 turns are 3/4 between 2.5 and 12.5
        let mid = 0.1 * (0.75 + 0.25 / 8.0);
        check(
            Scaling::Llama3 { factor: 8.0, low: 2.5, high: 12.5, original },
            [1.0, mid, 0.01 / 8.0, 0.001 / 8.0],
        );
        // Pair i turns 10^(2-i) times: 50 turns at pair 0.30 → 0, 0.5 turns at 2.30 → 3: ramp 0, 1/3, 2/3, 1
        let yarn =
            |truncate| Scaling::Yarn { factor: 2.0, original, beta_fast: 50.0, beta_slow: 0.5, truncate };
        check(yarn(true), [1.0, 0.1 * 5.0 / 6.0, 0.01 * 4.0 / 6.0, 0.0005]);
        let ramp = |i: f64| (i - (2.0 - 50f64.log10())) / 2.0;
        let at = |i: f64, f: f64| f * (1.0 - ramp(i) / 2.0);
        check(yarn(false), [1.0, at(1.0, 0.1), at(2.0, 0.01), 0.0005]);
    }

    #[test]
    #[should_panic(expected = "is not")]
    fn the_check_can_fail() {
        check(Scaling::None, [1.0, 0.1, 0.01, 0.0011]);
    }

    #[test]
    fn mscale_is_one_without_extension() {
        assert_eq!(yarn_mscale(1.0, 1.0), 1.0);
        assert!((yarn_mscale(4.0, 1.0) - 1.138_629_436_111_989).abs() <= 1e-15);
    }
}
