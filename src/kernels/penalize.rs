//! The repetition penalty on the GPU, so that steps can be submitted ahead with it, too. `shaders/penalize.wgsl`; the same as
//! [`crate::engine::Sampler`] does on the CPU.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::reduce;

/// Most tokens that it looks back.
pub const MOST: usize = 256;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in penalize.wgsl")]
pub struct Params {
    pub window: u32,
    pub vocab: u32,
    pub penalty: f32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "penalize",
    wgsl: include_str!("../../shaders/penalize.wgsl"),
    bindings: &[
        ("tokens", Access::Read),
        ("said", Access::Write),
        ("logits", Access::Write),
        ("state", Access::Uniform),
    ],
    params: &["window", "vocab", "penalty"],
};

/// The buffers of one step.
#[derive(Clone, Copy)]
pub struct Penalize<'a> {
    /// u32; the first one is what was fed.
    pub tokens: &'a Slice,
    /// `[context]` u32, known below the state's position.
    pub said: &'a Slice,
    /// `[vocab]` f32
    pub logits: &'a Slice,
    /// [`State`]
    pub state: &'a Slice,
}

/// The only variant.
pub fn shader() -> Shader {
    let consts = vec![("WG", Const::U32(MOST as u32))];
    let snippets = vec![reduce::state()];
    Shader { spec: &SPEC, consts, snippets, bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch.
pub fn step(gpu: &Gpu, buffers: Penalize<'_>, params: Params) -> Result<Step, GpuError> {
    let Penalize { tokens, said, logits, state } = buffers;
    gpu.step("penalize", &shader(), &[tokens, said, logits, state], params, [Extent::Fixed(1); 3])
}

/// Windows shorter and longer than what was said, tokens said again, NaN; the logits, and what was said.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (window, pos) in [(1, 0), (64, 0), (64, 10), (64, 300), (7, 300), (MOST, 300), (MOST, MOST - 1)] {
        for penalty in [1.3f32, 0.5, 2e-38] {
            for of_logits in [true, false] {
                let of = if of_logits { "logits" } else { "what was said" };
                let label = format!("{of}, factor {penalty}, the last {window} at {pos}");
                let run = move |gpu: &Gpu| run_case(gpu, window, pos, penalty, of_logits);
                checks.push(Check::new("penalize", "penalize", label, run).quick(window == 7 && of_logits));
            }
        }
    }
    checks
}

/// What the kernel has to pass before a session runs it.
pub fn checks_of() -> Vec<Check> {
    check::quick(checks())
}

fn run_case(
    gpu: &Gpu,
    window: usize,
    pos: usize,
    penalty: f32,
    of_logits: bool,
) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    const VOCAB: usize = 97;
    // Every token but the rarest many times; one id is none.
    let mut ids: Vec<u32> = (0..=pos as u32).map(|i| i * i * 31 % VOCAB as u32).collect();
    if pos > 5 {
        ids[pos - 3] = VOCAB as u32 + 5;
    }
    let mut logits: Vec<f32> = check::uniform(67, VOCAB).iter().map(|v| v * 10.0).collect();
    logits[ids[pos] as usize] = f32::NAN;
    let mut said: Vec<f32> = ids.iter().map(|id| f32::from_bits(*id)).collect();
    said[pos] = f32::from_bits(1234); // of an earlier run
    said.push(f32::from_bits(77));
    let slices = [
        gpu.upload("check tokens", bytemuck::bytes_of(&[ids[pos], 3, 3, 3]))?,
        check::floats(gpu, &said)?,
        check::floats(gpu, &logits)?,
    ];
    let state = State { pos: pos as u32, n_tokens: 1, ..State::default() };
    let state_slice = check::state(gpu, state)?;
    let [tokens, said_slice, logits_slice] = &slices;
    let buffers = Penalize { tokens, said: said_slice, logits: logits_slice, state: &state_slice };
    let step = step(gpu, buffers, Params { window: window as u32, vocab: VOCAB as u32, penalty })?;
    let exact = |value: f64| Want::Near { value, tolerance: 0.0 };
    if !of_logits {
        let raw = check::finish(gpu, step, state, said_slice)?;
        let got = raw[..said.len()].iter().map(|v| v.to_bits() as f32).collect();
        let want = ids.iter().chain(&[77]).map(|id| exact(f64::from(*id))).collect();
        return Ok((got, want));
    }
    let mut got = check::finish(gpu, step, state, logits_slice)?[..VOCAB].to_vec();
    let recent = &ids[(pos + 1).saturating_sub(window)..];
    let mut want = Vec::new();
    for (id, logit) in logits.iter().map(|v| f64::from(*v)).enumerate() {
        let penalty = f64::from(penalty);
        let value = match recent.contains(&(id as u32)) {
            true if logit > 0.0 => (logit / penalty).min(3.4e38),
            true => logit * penalty,
            false => logit,
        };
        // Division may err by 2.5 ulp (WGSL §15.7.4); subnormal results may become 0.
        want.push(Want::Near { value, tolerance: value.abs() * 4.0 * f64::from(f32::EPSILON) + 1e-37 });
    }
    // NaN must stay NaN; it cannot be compared as a number, and 7 stands for it on both sides.
    let own = ids[pos] as usize;
    if got[own].is_nan() {
        (got[own], want[own]) = (7.0, exact(7.0));
    }
    Ok((got, want))
}
