//! What matvec and matmul have in common: `y[col, y_first + row] (+)= bias[row] + Σ_k w[row, k] · x[col, k]`.
//! The same reference and checks, and most parameters; they differ in how many columns they are good at, and in what
//! matvec does on the way.

use bytemuck::{Pod, Zeroable};
use half::f16;

use crate::base::{Activations, DType};
use crate::gpu::graph::State;
use crate::gpu::{Access, Bind, Gpu, GpuError, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::glu::Act;
use crate::kernels::matvec::{Fused, Norm};
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::weights::{self, BLOCK, Part, Store};
use crate::quant::{self, PlaneLayout};

/// Parameters of both kernels; see `matvec.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented where they are used, in matvec.wgsl")]
pub struct Params {
    pub rows: u32,
    pub blocks: u32,
    pub scale_words: u32,
    pub x_stride: u32,
    pub y_stride: u32,
    pub y_first: u32,
    pub accumulate: u32,
    pub has_bias: u32,
    pub of_logits: u32,
}

/// Field names of [`Params`]; matvec has more.
pub const PARAMS: &[&str] = &[
    "rows",
    "blocks",
    "scale_words",
    "x_stride",
    "y_stride",
    "y_first",
    "accumulate",
    "has_bias",
    "of_logits",
];

/// Bindings of matmul; matvec has one more.
pub const BINDINGS: &[(&str, Access)] = &[
    ("quants", Access::Read),
    ("scales", Access::Read),
    ("x", Access::Read),
    ("bias", Access::Read),
    ("y", Access::Write),
    ("state", Access::Uniform),
];

/// One matrix part applied to the rows of `x`.
#[derive(Clone, Copy)]
pub struct Linear<'a> {
    /// The weights.
    pub part: &'a Part,
    /// [n_cols, cols rounded up to a multiple of 32] f32, tail zero.
    pub x: &'a Slice,
    /// [n_cols, y_stride] f32.
    pub y: &'a Slice,
    /// Floats per row of y.
    pub y_stride: usize,
    /// Column of y where this part's first row goes.
    pub y_first: usize,
    /// `[rows]` f32.
    pub bias: Option<&'a Slice>,
    /// Add to y instead of replacing it.
    pub accumulate: bool,
    /// Columns are the tokens whose logits are wanted, not all tokens.
    pub of_logits: bool,
    /// [`State`].
    pub state: &'a Slice,
}

impl Linear<'_> {
    /// Parameters for the kernels.
    pub fn params(&self) -> Params {
        Params {
            rows: self.part.rows as u32,
            blocks: self.part.blocks(),
            scale_words: self.part.scale_words(),
            x_stride: self.part.blocks() * (BLOCK / 4) as u32,
            y_stride: self.y_stride as u32,
            y_first: self.y_first as u32,
            accumulate: u32::from(self.accumulate),
            has_bias: u32::from(self.bias.is_some()),
            of_logits: u32::from(self.of_logits),
        }
    }

    /// Bytes of the bias.
    pub fn bias_bytes(&self) -> u64 {
        if self.bias.is_some() { self.part.rows as u64 * 4 } else { 0 }
    }

    /// The slices in the order of [`BINDINGS`]. `empty` stands where there is no bias.
    pub fn bindings<'b>(&'b self, empty: &'b Slice) -> [&'b dyn Bind; 6] {
        let part = self.part;
        [&part.quants, &part.scales, self.x, self.bias.unwrap_or(empty), self.y, self.state]
    }
}

/// The shape of one check.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Rows of the part.
    pub rows: usize,
    /// Weights per row.
    pub cols: usize,
    /// Columns of x.
    pub n: usize,
    /// What is done beside the product.
    pub form: Form,
    /// How weights are stored.
    pub store: Store,
    /// x may be bound as a uniform buffer, by those who like that.
    pub few: bool,
    /// How x is read.
    pub activations: Activations,
}

impl Case {
    /// The class of checks it belongs to: weights in tiles are one, else it is that of the kernel's variant.
    pub fn class(self, variant: &str) -> String {
        if self.store == Store::Tiles { Store::TILES_CLASS.into() } else { variant.into() }
    }
}

/// What a check does beside the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing.
    Plain,
    /// Add to y, with a bias, at an offset in y.
    Epilogue,
    /// x is normed first.
    Norm,
    /// As `Norm`, of a large x and with weights such that their products overflow, but what is normed does not.
    HugeNorm,
    /// As `Norm`, of an x whose squares overflow: nothing is left of it, as of x / sqrt(infinity).
    VanishingNorm,
    /// As `Norm`; rows are gate and up, with a bias, at an offset in y.
    NormGlu(Act),
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Form::Plain | Form::Epilogue => Ok(()),
            Form::Norm => write!(f, ", normed"),
            Form::HugeNorm => write!(f, ", normed by huge weights"),
            Form::VanishingNorm => write!(f, ", normed to nothing"),
            Form::NormGlu(act) => write!(f, ", normed, {act}"),
        }
    }
}

impl Form {
    fn bias(self) -> bool {
        matches!(self, Form::Epilogue | Form::NormGlu(_))
    }

    fn norm(self) -> bool {
        matches!(self, Form::Norm | Form::HugeNorm | Form::VanishingNorm | Form::NormGlu(_))
    }

    /// What x and the norm's weights, in ±1, are multiplied with.
    fn sizes(self) -> [f32; 2] {
        match self {
            Form::HugeNorm => [1e6, 1e35],
            Form::VanishingNorm => [1e35, 1e35],
            _ => [1.0, 1.0],
        }
    }

    fn glu(self) -> Option<Act> {
        if let Form::NormGlu(act) = self { Some(act) } else { None }
    }
}

/// ε of the norms in checks.
const EPS: f32 = 1e-5;

/// Numbers of one case.
struct Data {
    file: Vec<u8>,
    x: Vec<f32>,
    bias: Vec<f32>,
    y: Vec<f32>,
    gains: Vec<f32>,
}

/// Reference of one case: decodes the file bytes and sums in f64.
fn reference(dtype: DType, case: Case, data: &Data) -> Vec<Want> {
    let Data { file, x, bias, y, gains } = data;
    let mut w = vec![0.0; case.rows * case.cols];
    quant::decode(dtype, file, &mut w).expect("checks make whole blocks");
    let (stride, first) = placement(case);
    let mut want = vec![Want::Untouched; case.n * stride];
    for col in 0..case.n {
        let xs: Vec<f64> = x[col * case.cols..][..case.cols].iter().map(|x| f64::from(*x)).collect();
        let (xs, doubts) = match (case.activations, case.form.norm()) {
            (Activations::F32, false) => (xs, None),
            (Activations::F32, true) => (normed(&xs, gains), None),
            (Activations::Int8, norm) => {
                let (gains, unit) = NormWeights::in_units(gains);
                let gained = |(x, gain): (&f64, &f32)| f64::from(*x as f32 * gain) * f64::from(unit);
                let scale = if norm { norm_scale(&xs) } else { 1.0 };
                let xs = if norm { xs.iter().zip(&gains).map(gained).collect() } else { xs };
                let (rounded, doubts) = rounded(&xs);
                let scaled = |v: Vec<f64>| v.into_iter().map(|v| v * scale).collect::<Vec<f64>>();
                (scaled(rounded), Some(scaled(doubts)))
            }
        };
        let sums: Vec<(f64, f64)> = (0..case.rows)
            .map(|row| {
                let weights = &w[row * case.cols..][..case.cols];
                let (mut value, mut magnitude) = (0.0, 0.0);
                for (weights, xs) in weights.chunks(BLOCK).zip(xs.chunks(BLOCK)) {
                    // q·scale + offset may cancel: its rounding error follows the block's largest weight.
                    let largest = weights.iter().fold(0.0f32, |a, w| a.max(w.abs()));
                    for (w, x) in weights.iter().zip(xs) {
                        value += f64::from(*w) * x;
                        magnitude += 2.0 * f64::from(largest) * x.abs();
                    }
                }
                let doubt =
                    doubts.iter().flatten().zip(weights).map(|(d, w)| d * f64::from(w.abs())).sum::<f64>();
                if case.form.bias() {
                    value += f64::from(bias[row]);
                    magnitude += f64::from(bias[row].abs());
                }
                if case.form == Form::Epilogue {
                    let before = f64::from(y[col * stride + first + row]);
                    value += before;
                    magnitude += before.abs();
                }
                (value, check::sum_tolerance(case.cols, magnitude) + doubt)
            })
            .collect();
        let wanted: Vec<Want> = match case.form.glu() {
            None => sums.into_iter().map(|(value, tolerance)| Want::Near { value, tolerance }).collect(),
            Some(act) => {
                let (gates, ups) = sums.split_at(case.rows / 2);
                gates.iter().zip(ups).map(|(gate, up)| gated(act, *gate, *up)).collect()
            }
        };
        want[col * stride + first..][..wanted.len()].copy_from_slice(&wanted);
    }
    want
}

/// x as signed bytes times the largest magnitude of its block / 127; and of each number the step where it lies so near the
/// middle between two bytes that a division within WGSL's 2.5 ulp (§15.7.4) may round it either way, else 0.
fn rounded(x: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut out = (Vec::new(), Vec::new());
    for block in x.chunks(BLOCK) {
        let step = block.iter().fold(0.0f64, |most, v| most.max(v.abs())) / 127.0;
        for v in block {
            let steps = if step > 0.0 { v / step } else { 0.0 };
            let is_middle = (steps.fract().abs() - 0.5).abs() < 127.0 * 4.0 * f64::from(f32::EPSILON);
            out.0.push(steps.round() * step);
            out.1.push(if is_middle { step } else { 0.0 });
        }
    }
    out
}

/// 1 / √(mean x² + ε), and 0 where the sum is infinite in f32.
fn norm_scale(x: &[f64]) -> f64 {
    let sum = x.iter().map(|x| x * x).sum::<f64>();
    if sum > f64::from(f32::MAX) { 0.0 } else { 1.0 / (sum / x.len() as f64 + f64::from(EPS)).sqrt() }
}

/// x · weight / √(mean x² + ε).
fn normed(x: &[f64], weight: &[f32]) -> Vec<f64> {
    let scale = norm_scale(x);
    x.iter().zip(weight).map(|(x, w)| x * scale * f64::from(*w)).collect()
}

/// act(gate) · up of two (value, tolerance). No activation is steeper than 1.13.
fn gated(act: Act, (gate, gate_error): (f64, f64), (up, up_error): (f64, f64)) -> Want {
    let value = act.eval(gate) * up;
    let reach = up.abs() + up_error;
    let tolerance = 1.13 * gate_error * reach + act.eval(gate).abs() * up_error + act.tolerance(gate, reach);
    Want::Near { value, tolerance }
}

/// (y_stride, y_first) of a case.
fn placement(case: Case) -> (usize, usize) {
    match case.form {
        Form::Plain | Form::Norm | Form::HugeNorm | Form::VanishingNorm => (case.rows, 0),
        Form::Epilogue => (case.rows + 9, 5),
        Form::NormGlu(_) => (case.rows / 2 + 9, 5),
    }
}

/// A check of `step` on random weights of `dtype`. `widen` multiplies the tolerance's unit when a variant
/// rounds weights to a narrower type (relative error per weight).
pub fn check(
    kernel: &'static str,
    class: String,
    case_label: String,
    dtype: DType,
    case: Case,
    weight_rounding: f64,
    step: impl Fn(&Gpu, Linear<'_>, Fused<'_>) -> Result<Step, GpuError> + Send + Sync + 'static,
) -> Check {
    Check::new(kernel, class, case_label, move |gpu| {
        let (y_stride, y_first) = placement(case);
        let mut data = Data {
            file: random_rows(dtype, case.rows, case.cols, 7),
            x: check::uniform(11, case.n * case.cols),
            bias: check::uniform(13, case.rows),
            y: check::uniform(17, case.n * y_stride),
            gains: check::uniform(19, case.cols),
        };
        data.x[case.cols / 2] = 300.0; // one outlier, as real activations have
        let [x_size, gain_size] = case.form.sizes();
        data.x.iter_mut().for_each(|v| *v *= x_size);
        data.gains.iter_mut().for_each(|v| *v *= gain_size);
        let layout = PlaneLayout::new(dtype, case.cols).expect("checks use native types and whole blocks");
        let (quants, scales) = weights::repack(&layout, &data.file).expect("whole rows");
        let part = Part::allocate(gpu, "check weights", case.store, 0, case.rows, layout)?;
        part.write(gpu, 0, &quants, &scales)?;
        let padded = |rows: &[f32]| check::padded(rows, case.cols, case.cols.next_multiple_of(BLOCK));
        let gains = NormWeights::upload(gpu, "check norm", &data.gains)?;
        let x_slice = match case.few {
            true => check::few_floats(gpu, &padded(&data.x))?,
            false => check::floats(gpu, &padded(&data.x))?,
        };
        let bias_slice = check::floats(gpu, &data.bias)?;
        let y_slice = check::marked(gpu, case.n * y_stride)?;
        let accumulate = case.form == Form::Epilogue;
        if accumulate {
            for col in 0..case.n {
                let from = col * y_stride + y_first;
                gpu.write(&y_slice, from as u64 * 4, bytemuck::cast_slice(&data.y[from..from + case.rows]));
            }
        }
        let state = State { n_tokens: case.n as u32, ..State::default() };
        let state_slice = check::state(gpu, state)?;
        let linear = Linear {
            part: &part,
            x: &x_slice,
            y: &y_slice,
            y_stride,
            y_first,
            bias: case.form.bias().then_some(&bias_slice),
            accumulate,
            of_logits: false,
            state: &state_slice,
        };
        let norm = Norm { weight: &gains, cols: case.cols, eps: EPS };
        let (norm, activations) = (case.form.norm().then_some(norm), case.activations);
        let fused = Fused { norm, glu: case.form.glu(), activations, few: case.few };
        let got = check::finish(gpu, step(gpu, linear, fused)?, state, &y_slice)?;
        let mut want = reference(dtype, case, &data);
        for item in &mut want {
            if let Want::Near { tolerance, .. } = item {
                *tolerance += weight_rounding * *tolerance / f64::from(f32::EPSILON);
            }
        }
        Ok((got, want))
    })
}

/// Widths worth testing for a type: one block, odd numbers of blocks, and for floats ragged ones.
pub fn widths(dtype: DType) -> &'static [usize] {
    match dtype.block_len() {
        1 => &[1, 31, 172, 257],
        32 => &[32, 96, 352],
        _ => &[256, 768],
    }
}

/// Random rows in file layout whose scales are sane. Row 1 has tiny scales (f16 subnormals), row 2 zeros.
pub fn random_rows(dtype: DType, rows: usize, cols: usize, seed: u64) -> Vec<u8> {
    let values = check::uniform(seed, rows * cols);
    match dtype {
        DType::F32 => return bytemuck::cast_slice(&values).to_vec(),
        DType::F16 => return values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        DType::BF16 => return values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
        _ => {}
    }
    let scale_offsets: &[usize] = match dtype {
        DType::Q4_1 | DType::Q5_1 | DType::Q4K | DType::Q5K | DType::Q2K => &[0, 2],
        DType::Q6K => &[208],
        _ => &[0],
    };
    let blocks = cols / dtype.block_len();
    let noise = check::uniform(seed + 1, rows * blocks * dtype.block_bytes());
    let mut bytes: Vec<u8> = noise.iter().map(|v| (v.to_bits() >> 9) as u8).collect();
    for (i, block) in bytes.chunks_exact_mut(dtype.block_bytes()).enumerate() {
        for (j, at) in scale_offsets.iter().enumerate() {
            let size = match i / blocks {
                1 => 3e-6,
                2 => 0.0,
                _ => 0.02,
            };
            let scale = f16::from_f32(values[(2 * i + j) % values.len()] * size);
            block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    bytes
}
