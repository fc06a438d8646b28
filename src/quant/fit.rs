//! Search for the scales of one small group of values: what the encoders share.
//!
//! Everywhere the same three steps, all minimising the plain sum of squared errors: try a few scales
//! around the one that just covers the group (clipping the largest value a little, or leaving room, is
//! often better for the rest), solve for the best scale given the resulting codes (linear least
//! squares), and repeat with that scale as long as it helps.

use half::f16;

/// Σq, Σq² and Σxq for q = code(x), in eight lanes and in short loops, so that the compiler uses vector
/// registers.
#[inline(always)]
fn moments<const N: usize>(x: &[f32; N], code: impl Fn(f32) -> f32) -> [f32; 3] {
    let mut lanes = [[0.0_f32; 8]; 3];
    for v in x.as_chunks::<8>().0 {
        let q = v.map(&code);
        for l in 0..8 {
            lanes[0][l] += q[l];
        }
        for l in 0..8 {
            lanes[1][l] += q[l] * q[l];
        }
        for l in 0..8 {
            lanes[2][l] += v[l] * q[l];
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// Σ rest(x)².
#[inline(always)]
fn sum_squares<const N: usize>(x: &[f32; N], rest: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 8];
    for v in x.as_chunks::<8>().0 {
        let rest = v.map(&rest);
        for l in 0..8 {
            lanes[l] += rest[l] * rest[l];
        }
    }
    lanes.iter().sum()
}

/// `v` limited to `lo..=hi` and rounded to the nearest whole number, halves to even.
#[inline(always)]
pub(super) fn round_within(v: f32, lo: f32, hi: f32) -> f32 {
    // 1.5·2^23: sums in this range have a unit of one in the last place. Holds for |v| < 2^22.
    const WHOLE: f32 = 12_582_912.0;
    // Comparisons instead of clamp(): one instruction each, as NaN needs no care here.
    let v = if v > lo { v } else { lo };
    let v = if v < hi { v } else { hi };
    (v + WHOLE) - WHOLE
}

/// 1/v, or 0 for 0: with a scale of 0 every code is 0.
#[inline(always)]
pub(super) fn inverse(v: f32) -> f32 {
    if v == 0.0 { 0.0 } else { 1.0 / v }
}

/// The value of largest magnitude, with its sign.
pub(super) fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |best: f32, v| if v.abs() > best.abs() { *v } else { best })
}

/// Nearest f16 to `v`, but the smallest one instead of 0 unless `v` is 0, and the largest finite one
/// instead of infinity.
pub(super) fn scale_f16(v: f32) -> f32 {
    const SMALLEST: f32 = 1.0 / (1 << 24) as f32;
    if v == 0.0 {
        return 0.0;
    }
    let limit = f16::MAX.to_f32();
    let near = f16::from_f32(v.clamp(-limit, limit)).to_f32();
    if near == 0.0 { SMALLEST.copysign(v) } else { near }
}

/// The f16 values around `v`: itself rounded, and its two neighbours. They matter where f16 is coarse.
pub(super) fn around_f16(v: f32) -> [f32; 3] {
    let near = f16::from_f32(scale_f16(v));
    [-1, 0, 1].map(|step: i16| {
        let bits = near.to_bits().wrapping_add_signed(step);
        let other = f16::from_bits(bits);
        if other.is_finite() && other.is_sign_negative() == near.is_sign_negative() { other } else { near }
            .to_f32()
    })
}

/// Tries for codes −8 … 7 (see [`Symmetric::fit`]). This and the lists below were chosen greedily, each
/// entry as the one that lowers the squared error over a sample of trained and normally distributed
/// weights most; the first ones matter most, and the lists end where little is left to gain.
pub(super) const ENDS_8: [f32; 8] = [-8.1, -8.6, 7.2, -7.8, -8.3, -8.9, 6.9, 6.2];

/// Tries for codes −16 … 15.
pub(super) const ENDS_16: [f32; 10] = [-16.1, 15.1, -16.5, -15.8, 14.1, 14.8, 15.3, -16.8, -16.3, 13.8];

/// Tries for codes −32 … 31 and 16 values.
pub(super) const ENDS_32: [f32; 9] = [-32.0, 31.0, 30.0, -32.4, -31.7, 30.3, 29.6, 31.3, 30.7];

/// Tries for codes 0 … 15 with an offset (see [`Affine::fit`]).
pub(super) const MARGINS_15: [(f32, f32); 14] = [
    (0.2, 0.2),
    (0.4, -0.2),
    (-0.1, 0.4),
    (0.3, 0.0),
    (-0.6, 0.3),
    (-0.1, 0.1),
    (0.2, 0.4),
    (0.0, -0.6),
    (-0.2, 0.6),
    (0.0, -0.1),
    (0.6, 0.3),
    (-0.6, 0.0),
    (0.7, 0.0),
    (0.3, -0.6),
];

/// Tries for codes 0 … 31 with an offset.
pub(super) const MARGINS_31: [(f32, f32); 14] = [
    (0.1, 0.1),
    (0.4, -0.2),
    (-0.1, 0.3),
    (0.2, -0.6),
    (0.2, 0.0),
    (-0.6, 0.1),
    (-0.2, -0.2),
    (-0.6, -0.6),
    (-0.1, -0.6),
    (-0.2, 0.5),
    (0.2, 0.4),
    (-0.6, -0.2),
    (0.3, -0.1),
    (-0.3, 0.0),
];

/// Codes `lo..=hi`, all scaled by one factor: w = d·q.
#[derive(Clone, Copy)]
pub(super) struct Symmetric {
    pub(super) lo: f32,
    pub(super) hi: f32,
}

impl Symmetric {
    /// Best scale found for `x`. `ends`: what the value of largest magnitude would be in codes, for each
    /// try; the sign decides which end of the codes it gets.
    #[inline]
    pub(super) fn fit<const N: usize>(self, x: &[f32; N], ends: &[f32]) -> f32 {
        let extreme = extreme(x);
        if extreme == 0.0 {
            return 0.0;
        }
        let mut best = (0.0, extreme / self.lo);
        for end in ends {
            self.improve(x, end / extreme, &mut best);
        }
        for _ in 0..REFINEMENTS {
            let inverse = inverse(best.1);
            if !self.improve(x, inverse, &mut best) {
                break;
            }
        }
        best.1
    }

    /// Takes the least-squares scale for the codes of x·inverse if it explains more of x than
    /// `best.0`: with d = Σxq/Σq² the squared error is Σx² − (Σxq)²/Σq².
    #[inline(always)]
    fn improve<const N: usize>(self, x: &[f32; N], inverse: f32, best: &mut (f32, f32)) -> bool {
        let [qq, xq] = self.moments(x, inverse);
        let better = qq > 0.0 && xq * xq > best.0 * qq;
        if better {
            *best = (xq * xq / qq, xq / qq);
        }
        better
    }

    /// Σq² and Σxq for the codes q of x·inverse.
    #[inline(always)]
    pub(super) fn moments<const N: usize>(self, x: &[f32; N], inverse: f32) -> [f32; 2] {
        let [_, qq, xq] = moments(x, |v| round_within(v * inverse, self.lo, self.hi));
        [qq, xq]
    }

    /// Squared error of encoding `x` with scale `d`.
    #[inline(always)]
    pub(super) fn error<const N: usize>(self, x: &[f32; N], d: f32) -> f32 {
        let inverse = inverse(d);
        sum_squares(x, |v| v - d * round_within(v * inverse, self.lo, self.hi))
    }
}

/// Most rounds of codes → scales → codes. Later ones hardly ever change a code.
pub(super) const REFINEMENTS: usize = 2;

/// Codes `0..=top` with a factor and an offset: w = scale·q + min.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    pub(super) top: f32,
    /// Largest admissible `min`: infinity, or 0 where the format stores −min without a sign.
    pub(super) max_min: f32,
}

/// One candidate of [`Affine::fit`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) scale: f32,
    pub(super) min: f32,
}

impl Affine {
    /// Best line found for `x`. `margins`: by how many codes the range of x exceeds that of the codes
    /// at its (lower, upper) end, for each try.
    #[inline]
    pub(super) fn fit<const N: usize>(self, x: &[f32; N], margins: &[(f32, f32)]) -> Line {
        let low = x.iter().copied().fold(self.max_min, f32::min);
        let high = x.iter().copied().fold(low, f32::max);
        let range = high - low;
        if range <= 0.0 {
            return Line { scale: 0.0, min: low };
        }
        // All in y = x − low ≥ 0: no cancellation for values far from 0.
        let y = x.map(|v| v - low);
        let y1 = y.iter().sum();
        let mut best = (f32::INFINITY, Line { scale: range / self.top, min: 0.0 });
        for (below, above) in margins {
            let inverse = (self.top + below + above) / range;
            self.improve((&y, y1), self.max_min - low, inverse, -below, &mut best);
        }
        for _ in 0..REFINEMENTS {
            let inverse = inverse(best.1.scale);
            let shift = -best.1.min * inverse;
            if !self.improve((&y, y1), self.max_min - low, inverse, shift, &mut best) {
                break;
            }
        }
        Line { scale: best.1.scale, min: best.1.min + low }
    }

    /// Solves for the best line given the codes of y·inverse + shift (`y1`: Σy); `best.0` is its squared error
    /// without Σy², which all candidates share.
    #[inline(always)]
    fn improve<const N: usize>(
        self,
        (y, y1): (&[f32; N], f32),
        max_min: f32,
        inverse: f32,
        shift: f32,
        best: &mut (f32, Line),
    ) -> bool {
        let [q1, qq, yq] = moments(y, |v| round_within(v * inverse + shift, 0.0, self.top));
        let n = N as f32; // 16 or 32
        let determinant = n * qq - q1 * q1;
        if determinant <= 0.0 {
            return false;
        }
        let mut line =
            Line { scale: (n * yq - q1 * y1) / determinant, min: (qq * y1 - q1 * yq) / determinant };
        if line.min > max_min {
            line = Line { scale: (yq - max_min * q1) / qq, min: max_min };
        }
        let Line { scale, min } = line;
        let error = scale * (scale * qq - 2.0 * yq + 2.0 * min * q1) + min * (n * min - 2.0 * y1);
        let better = scale > 0.0 && error < best.0;
        if better {
            *best = (error, line);
        }
        better
    }

    /// Σq, Σq² and Σxq for the codes of `x` on `line`.
    #[inline(always)]
    pub(super) fn moments<const N: usize>(self, x: &[f32; N], line: Line) -> [f32; 3] {
        let inverse = inverse(line.scale);
        moments(x, |v| round_within((v - line.min) * inverse, 0.0, self.top))
    }

    /// Squared error of encoding `x` on `line`.
    #[inline(always)]
    pub(super) fn error<const N: usize>(self, x: &[f32; N], line: Line) -> f32 {
        let inverse = inverse(line.scale);
        sum_squares(x, |v| {
            let v = v - line.min;
            v - line.scale * round_within(v * inverse, 0.0, self.top)
        })
    }

    /// The codes of `x` on `line`.
    #[inline]
    pub(super) fn codes<const N: usize>(self, x: &[f32; N], line: Line) -> [u8; N] {
        let inverse = inverse(line.scale);
        // At most 31: nothing is cut off.
        x.map(|v| round_within((v - line.min) * inverse, 0.0, self.top) as u8)
    }
}

/// The candidate of least error; the first of equals.
pub(super) fn best_of<T: Copy>(
    candidates: impl IntoIterator<Item = T>,
    error: impl Fn(T) -> f32,
) -> Option<T> {
    let mut best: Option<(T, f32)> = None;
    for candidate in candidates {
        let error = error(candidate);
        if best.is_none_or(|(_, least)| error < least) {
            best = Some((candidate, error));
        }
    }
    best.map(|(candidate, _)| candidate)
}
