//! Encoders of the superblocks Q4_K, Q5_K and Q6_K; layouts: [`k_quants`](super::k_quants).
//!
//! First each block's own best scale (and minimum); then, for the superblock's f16 factors, the nearest
//! integer scales and their neighbours, chosen by the error they really make; then the factors are
//! solved for given all codes (least squares), and the choice is made once more with them.

use half::f16;

use super::fit::{
    Affine, ENDS_32, Line, MARGINS_15, MARGINS_31, REFINEMENTS, Symmetric, around_f16, extreme, inverse,
    round_within, scale_f16,
};

/// Largest 6-bit scale.
const MAX_6_BIT: f32 = 63.0;

/// Largest i8 scale.
const MAX_I8: f32 = 127.0;

/// First tries for a superblock's factor near `v`: `v` as f16; its neighbours, too, where f16 is coarse.
fn first_tries(v: f32) -> impl Iterator<Item = f32> + Clone {
    // 128 units of the smallest f16 numbers: above, rounding moves a factor by less than 0.4 %.
    const COARSE: f32 = 1.0 / (1 << 17) as f32;
    let near = around_f16(v);
    let all = near[1] < COARSE;
    near.into_iter().enumerate().filter(move |(i, _)| all || *i == 1).map(|(_, near)| near)
}

/// Best factors found for a superblock, and the integer scales that go with them. From each of `starts`:
/// `choose` gives the best integer scales for the factors and their squared error, `solve` the best
/// factors for these scales and their codes, as long as the error falls.
fn settle<F: Copy + PartialEq, C>(
    starts: impl Iterator<Item = F>,
    choose: impl Fn(F) -> (C, f32),
    solve: impl Fn(&C, F) -> F,
) -> Option<(F, C)> {
    let mut best: Option<(F, C, f32)> = None;
    for start in starts {
        let (mut factors, (mut choice, mut error)) = (start, choose(start));
        for _ in 0..REFINEMENTS {
            let solved = solve(&choice, factors);
            if solved == factors {
                break;
            }
            let (next, next_error) = choose(solved);
            if next_error >= error {
                break;
            }
            (factors, choice, error) = (solved, next, next_error);
        }
        if best.as_ref().is_none_or(|best| error < best.2) {
            best = Some((factors, choice, error));
        }
    }
    best.map(|(factors, choice, _)| (factors, choice))
}

pub(super) fn q4_k(x: &[f32; 256], out: &mut [u8; 144]) {
    let encoded = with_minimums(x, 15.0, &MARGINS_15);
    encoded.put_head(&mut out[..16]);
    encoded.put_nibbles(&mut out[16..]);
}

pub(super) fn q5_k(x: &[f32; 256], out: &mut [u8; 176]) {
    let encoded = with_minimums(x, 31.0, &MARGINS_31);
    encoded.put_head(&mut out[..16]);
    for (l, high) in out[16..48].iter_mut().enumerate() {
        *high = (0..8).fold(0, |bits, sub| bits | (encoded.codes[sub][l] >> 4 & 1) << sub);
    }
    encoded.put_nibbles(&mut out[48..]);
}

/// A Q4_K or Q5_K superblock before packing.
struct Encoded {
    d: f32,
    dmin: f32,
    scales: [Pair; 8],
    codes: [[u8; 32]; 8],
}

/// Integer scale and minimum of one block, 0 … 63.
#[derive(Clone, Copy, Default)]
struct Pair {
    scale: f32,
    min: f32,
}

impl Pair {
    /// What the decoder computes with: w = d·scale·q − dmin·min.
    fn line(self, d: f32, dmin: f32) -> Line {
        Line { scale: d * self.scale, min: -(dmin * self.min) }
    }
}

fn with_minimums(x: &[f32; 256], top: f32, margins: &[(f32, f32)]) -> Encoded {
    let grid = Affine { top, max_min: 0.0 };
    let (blocks, _) = x.as_chunks::<32>();
    let lines: [Line; 8] = std::array::from_fn(|b| grid.fit(&blocks[b], margins));
    let means: [f32; 8] = std::array::from_fn(|b| blocks[b].iter().sum::<f32>() / 32.0);
    let largest = lines.iter().fold((0.0, 0.0), |(s, m): (f32, f32), l| (s.max(l.scale), m.max(-l.min)));

    let starts = first_tries(largest.0 / MAX_6_BIT)
        .flat_map(|d| first_tries(largest.1 / MAX_6_BIT).map(move |dmin| (d, dmin)));
    let choose = |(d, dmin): (f32, f32)| {
        let mut error = 0.0;
        let pairs: [Pair; 8] = std::array::from_fn(|b| {
            let (pair, block_error) = choose_pair(grid, &blocks[b], lines[b], means[b], d, dmin);
            error += block_error;
            pair
        });
        (pairs, error)
    };
    let solve = |pairs: &[Pair; 8], factors| solve_factors(grid, blocks, pairs, factors);
    let ((d, dmin), scales) = settle(starts, choose, solve).unwrap_or_default();
    let codes = std::array::from_fn(|b| grid.codes(&blocks[b], scales[b].line(d, dmin)));
    Encoded { d, dmin, scales, codes }
}

/// The integer pair near `line` with the least squared error, and that error. A scale beside the
/// nearest one wants the minimum which keeps the block's mean.
#[inline]
fn choose_pair(grid: Affine, x: &[f32; 32], line: Line, mean: f32, d: f32, dmin: f32) -> (Pair, f32) {
    let (to_scale, to_min) = (inverse(d), inverse(dmin));
    let nearest = round_within(line.scale * to_scale, 0.0, MAX_6_BIT);
    let mut best = (Pair::default(), f32::INFINITY);
    for step in [-1.0, 0.0, 1.0] {
        let scale = round_within(nearest + step, 0.0, MAX_6_BIT);
        // line.scale · mean code = mean − line.min.
        let growth = scale * d * inverse(line.scale);
        let min = ((mean - line.min) * growth - mean) * to_min;
        let below = round_within(min - 0.5, 0.0, MAX_6_BIT);
        for min in [below, round_within(below + 1.0, 0.0, MAX_6_BIT)] {
            let pair = Pair { scale, min };
            let error = grid.error(x, pair.line(d, dmin));
            if error < best.1 {
                best = (pair, error);
            }
        }
    }
    best
}

/// The (d, dmin), as f16, of least squared error given all integer scales and the codes which they make
/// with the present factors.
fn solve_factors(grid: Affine, x: &[[f32; 32]], pairs: &[Pair; 8], (d, dmin): (f32, f32)) -> (f32, f32) {
    // w = d·a − dmin·b with a = scale·q, b = min: normal equations of the two factors.
    let (mut aa, mut ab, mut bb, mut xa, mut xb) = (0.0_f64, 0.0, 0.0, 0.0, 0.0);
    for (x, pair) in x.iter().zip(pairs) {
        let [q, qq, xq] = grid.moments(x, pair.line(d, dmin)).map(f64::from);
        let (scale, min) = (f64::from(pair.scale), f64::from(pair.min));
        let x_sum = f64::from(x.iter().sum::<f32>());
        aa += scale * scale * qq;
        ab += scale * min * q;
        bb += min * min * 32.0;
        xa += scale * xq;
        xb += min * x_sum;
    }
    let determinant = aa * bb - ab * ab;
    let solved = if determinant > 1e-9 * aa * bb {
        ((xa * bb - xb * ab) / determinant, (xa * ab - xb * aa) / determinant)
    } else if aa > 0.0 {
        (xa / aa, 0.0)
    } else if bb > 0.0 {
        (0.0, -xb / bb)
    } else {
        return (d, dmin);
    };
    // Narrowing: the factors are rounded to f16 anyway. Negative ones would be legal but not usual.
    (scale_f16(solved.0.max(0.0) as f32), scale_f16(solved.1.max(0.0) as f32))
}

impl Encoded {
    /// `d`, `dmin` and the 12 bytes of 6-bit pairs (the inverse of `k_quants::six_bit_pair`).
    fn put_head(&self, out: &mut [u8]) {
        out[..2].copy_from_slice(&f16::from_f32(self.d).to_le_bytes());
        out[2..4].copy_from_slice(&f16::from_f32(self.dmin).to_le_bytes());
        // 0 … 63: nothing is cut off.
        let scales = self.scales.map(|pair| pair.scale as u8);
        let mins = self.scales.map(|pair| pair.min as u8);
        for i in 0..4 {
            out[4 + i] = scales[i] | scales[i + 4] >> 4 << 6;
            out[8 + i] = mins[i] | mins[i + 4] >> 4 << 6;
            out[12 + i] = scales[i + 4] & 15 | mins[i + 4] << 4;
        }
    }

    /// Low nibbles of blocks 2p and 2p + 1 in 32-byte part p.
    fn put_nibbles(&self, out: &mut [u8]) {
        for (part, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (l, out) in out.iter_mut().enumerate() {
                *out = self.codes[2 * part][l] & 15 | self.codes[2 * part + 1][l] << 4;
            }
        }
    }
}

const Q6: Symmetric = Symmetric { lo: -32.0, hi: 31.0 };

pub(super) fn q6_k(x: &[f32; 256], out: &mut [u8; 210]) {
    let (blocks, _) = x.as_chunks::<16>();
    let fits: [f32; 16] = std::array::from_fn(|b| Q6.fit(&blocks[b], &ENDS_32));
    let choose = |d: f32| {
        let mut error = 0.0;
        let scales: [f32; 16] = std::array::from_fn(|b| {
            let nearest = round_within(fits[b] * inverse(d), -MAX_I8, MAX_I8);
            let mut best = (0.0, f32::INFINITY);
            for step in [0.0, -1.0, 1.0] {
                let scale = round_within(nearest + step, -MAX_I8, MAX_I8);
                let error = Q6.error(&blocks[b], d * scale);
                if error < best.1 {
                    best = (scale, error);
                }
            }
            error += best.1;
            best.0
        });
        (scales, error)
    };
    let solve = |scales: &[f32; 16], d| solve_q6_factor(blocks, scales, d);
    let starts = first_tries(extreme(&fits).abs() / MAX_I8);
    let (d, scales) = settle(starts, choose, solve).unwrap_or_default();
    let codes: [[u8; 16]; 16] = std::array::from_fn(|b| {
        let inverse = inverse(d * scales[b]);
        // 0 … 63: nothing is cut off.
        blocks[b].map(|v| (round_within(v * inverse, Q6.lo, Q6.hi) - Q6.lo) as u8)
    });
    // Within ±127: nothing is cut off.
    put_q6(f16::from_f32(d).to_le_bytes(), scales.map(|scale| scale as i8), &codes, out);
}

/// The f16 factor of least squared error given the integer scales and the codes they make with `d`.
fn solve_q6_factor(blocks: &[[f32; 16]], scales: &[f32; 16], d: f32) -> f32 {
    let (mut aa, mut xa) = (0.0_f64, 0.0_f64);
    for (x, scale) in blocks.iter().zip(scales) {
        let [qq, xq] = Q6.moments(x, inverse(d * scale)).map(f64::from);
        aa += f64::from(*scale) * f64::from(*scale) * qq;
        xa += f64::from(*scale) * xq;
    }
    // Narrowing: rounded to f16 anyway.
    if aa > 0.0 { scale_f16((xa / aa) as f32) } else { d }
}

/// Packs a Q6_K superblock; `codes` are 0 … 63.
pub(super) fn put_q6(d: [u8; 2], scales: [i8; 16], codes: &[[u8; 16]; 16], out: &mut [u8; 210]) {
    let code = |i: usize| codes[i / 16][i % 16];
    for half in 0..2 {
        for l in 0..32 {
            let [a, b, c, e] = [0, 32, 64, 96].map(|k| code(128 * half + k + l));
            out[64 * half + l] = a & 15 | c << 4;
            out[64 * half + 32 + l] = b & 15 | e << 4;
            out[128 + 32 * half + l] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6;
        }
    }
    for (out, scale) in out[192..208].iter_mut().zip(scales) {
        *out = scale.cast_unsigned();
    }
    out[208..].copy_from_slice(&d);
}
