//! Pseudo-random words, masked into sane numbers of a format. `shaders/fill.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::base::KvType;
use crate::gpu::graph::{State, linear_grid};
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in fill.wgsl")]
pub struct Params {
    pub n: u32,
    pub seed: u32,
    pub period: u32,
    pub first: u32,
    pub end: u32,
    pub keep_a: u32,
    pub set_a: u32,
    pub keep_b: u32,
    pub set_b: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "fill",
    wgsl: include_str!("../../shaders/fill.wgsl"),
    bindings: &[("data", Access::Write)],
    params: &["n", "seed", "period", "first", "end", "keep_a", "set_a", "keep_b", "set_b"],
};

/// Invocations per workgroup.
const WG: u32 = 256;

/// Bits of a word that are random, and bits that are always set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Random bits.
    pub keep: u32,
    /// Set bits.
    pub set: u32,
}

impl Mask {
    /// Any word at all: packed integers.
    pub const ANY: Mask = Mask { keep: u32::MAX, set: 0 };
    /// f32 of either sign, 2⁻⁶ ≤ |v| < 2⁻⁵.
    pub const F32: Mask = Mask { keep: 0x807F_FFFF, set: 0x3C80_0000 };
    /// Two f16 of either sign, 2⁻⁶ ≤ |v| < 2⁻⁵.
    pub const F16: Mask = Mask { keep: 0x83FF_83FF, set: 0x2400_2400 };
    /// Two bf16 of either sign, 2⁻⁶ ≤ |v| < 2⁻⁵.
    pub const BF16: Mask = Mask { keep: 0x807F_807F, set: 0x3C80_3C80 };
    /// Two positive f16, 2⁻⁹ ≤ v < 2⁻⁸: scales of 4- and 5-bit blocks.
    pub const SCALE: Mask = Mask { keep: 0x03FF_03FF, set: 0x1800_1800 };
    /// Two positive f16, 2⁻¹² ≤ v < 2⁻¹¹: scales of 8-bit blocks.
    pub const SMALL_SCALE: Mask = Mask { keep: 0x03FF_03FF, set: 0x0C00_0C00 };
    /// Two positive f16, 2⁻¹⁴ ≤ v < 2⁻¹³: scales of scales.
    pub const TINY_SCALE: Mask = Mask { keep: 0x03FF_03FF, set: 0x0400_0400 };

    /// For a KV cache. In q8_0 elements and scales are words like each other: both are sane numbers.
    pub fn of_cache(kv: KvType) -> Mask {
        match kv {
            KvType::F16 => Mask::F16,
            KvType::F32 => Mask::F32,
            KvType::Q8_0 => Mask::SMALL_SCALE,
        }
    }
}

/// What a buffer holds: words of one kind, and of every `period` those of another kind at `words`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Most words.
    pub mask: Mask,
    /// Words after which the pattern repeats.
    pub period: u32,
    /// The words of a period that have the other mask.
    pub other_words: std::ops::Range<u32>,
    /// The other mask.
    pub other: Mask,
}

impl Pattern {
    /// One kind of words only.
    pub fn plain(mask: Mask) -> Pattern {
        Pattern { mask, period: 1, other_words: 0..0, other: mask }
    }
}

/// The only variant.
pub fn shader() -> Shader {
    let consts = vec![("WG", Const::U32(WG))];
    Shader { spec: &SPEC, consts, snippets: vec![], bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch over all words of `data`.
pub fn step(gpu: &Gpu, data: &Slice, pattern: &Pattern, seed: u32) -> Result<Step, GpuError> {
    let n = (data.bytes / 4) as u32;
    let params = Params {
        n,
        seed,
        // The shader divides by it.
        period: pattern.period.max(1),
        first: pattern.other_words.start,
        end: pattern.other_words.end,
        keep_a: pattern.mask.keep,
        set_a: pattern.mask.set,
        keep_b: pattern.other.keep,
        set_b: pattern.other.set,
    };
    let grid = linear_grid(n.div_ceil(WG), Extent::Fixed(1));
    Ok(gpu.step("fill", &shader(), &[data], params, grid)?.moving(data.bytes))
}

/// What the kernel writes at `i`.
pub fn word(pattern: &Pattern, seed: u32, i: u32) -> u32 {
    let mut x = seed.wrapping_add(i);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^= x >> 16;
    let mask =
        if pattern.other_words.contains(&(i % pattern.period.max(1))) { pattern.other } else { pattern.mask };
    (x & mask.keep) | mask.set
}

/// Odd lengths, plain and with a period.
pub fn checks() -> Vec<Check> {
    let header = Pattern { mask: Mask::ANY, period: 5, other_words: 1..3, other: Mask::SCALE };
    let mut checks = Vec::new();
    for (n, pattern) in [(4, Pattern::plain(Mask::F32)), (1028, header), (256, Pattern::plain(Mask::ANY))] {
        let label = format!("{n} words, period {}", pattern.period);
        let run = move |gpu: &Gpu| run_case(gpu, n, &pattern);
        checks.push(Check::new("fill", "fill", label, run));
    }
    checks
}

fn run_case(gpu: &Gpu, n: usize, pattern: &Pattern) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    const SEED: u32 = 77;
    let output = check::marked(gpu, n)?;
    let data = Slice { bytes: n as u64 * 4, ..output.clone() };
    let raw = check::finish(gpu, step(gpu, &data, pattern, SEED)?, State::default(), &output)?;
    // Words are compared as two numbers of 16 bits each: a float would hide some bits.
    let halves = |word: u32| [(word & 0xFFFF) as f32, (word >> 16) as f32];
    let mut got: Vec<f32> = raw[..n].iter().flat_map(|v| halves(v.to_bits())).collect();
    got.extend(&raw[n..]);
    let want = (0..n as u32).flat_map(|i| halves(word(pattern, SEED, i)));
    let want = want.map(|half| Want::Near { value: f64::from(half), tolerance: 0.0 }).collect();
    Ok((got, want))
}
