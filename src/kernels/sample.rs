//! Choosing among the candidates of `top_k` on the GPU, so that the next step need not wait for the host.
//! `shaders/sample.wgsl`; the same choice as [`crate::engine::Sampler`] makes on the CPU.

use bytemuck::{Pod, Zeroable};

use crate::gpu::graph::State;
use crate::gpu::{Access, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::{reduce, top_k};

/// Most candidates.
pub const MOST: usize = 64;

/// Largest inverse temperature.
pub const COLDEST: f32 = 1e30;

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in sample.wgsl")]
pub struct Params {
    pub k: u32,
    pub top_p: f32,
    pub min_p: f32,
    pub inv_temperature: f32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "sample",
    wgsl: include_str!("../../shaders/sample.wgsl"),
    bindings: &[
        ("top", Access::Read),
        ("draws", Access::Read),
        ("best", Access::Write),
        ("state", Access::Uniform),
    ],
    params: &["k", "top_p", "min_p", "inv_temperature"],
};

/// The buffers of one step.
#[derive(Clone, Copy)]
pub struct Sample<'a> {
    /// What `top_k` wrote for at most [`MOST`] elements.
    pub top: &'a Slice,
    /// Random numbers in [0, 1), one per position, f32.
    pub draws: &'a Slice,
    /// [`crate::kernels::argmax::Best`] of the choice.
    pub best: &'a Slice,
    /// [`State`]; its position says which draw is used.
    pub state: &'a Slice,
}

/// The only variant.
pub fn shader() -> Shader {
    let consts = vec![("WG", Const::U32(MOST as u32))];
    Shader {
        spec: &SPEC,
        consts,
        snippets: vec![reduce::state()],
        bound_as: vec![],
        f16: false,
        subgroups: false,
    }
}

/// One dispatch.
pub fn step(gpu: &Gpu, sample: Sample<'_>, params: Params) -> Result<Step, GpuError> {
    let Sample { top, draws, best, state } = sample;
    gpu.step("sample", &shader(), &[top, draws, best, state], params, [Extent::Fixed(1); 3])
}

/// Every cut, and every candidate that it leaves: draws from the middle of each one's share.
pub fn checks() -> Vec<Check> {
    let open = Params { k: MOST as u32, top_p: 1.0, min_p: 0.0, inv_temperature: 1.0 };
    let cuts = [
        ("all", open),
        ("1 best", Params { k: 1, ..open }),
        ("7 best", Params { k: 7, ..open }),
        ("top-p 0.6", Params { top_p: 0.6, ..open }),
        ("min-p 0.2", Params { min_p: 0.2, ..open }),
        ("cold", Params { inv_temperature: 50.0, ..open }),
        ("coldest", Params { inv_temperature: COLDEST, ..open }),
        ("hot", Params { inv_temperature: 0.1, k: 40, top_p: 0.9, min_p: 0.01 }),
    ];
    let mut checks = Vec::new();
    for (name, params) in cuts {
        for n in [1usize, 5, MOST] {
            for data in ["distinct", "ties", "nan"] {
                let run = move |gpu: &Gpu| run_case(gpu, params, n, data);
                let label = format!("{name} of {n}, {data}");
                checks.push(Check::new("sample", "sample", label, run).quick(n == 5 && name == "hot"));
            }
        }
    }
    checks
}

/// What the kernel has to pass before a session runs it.
pub fn checks_of() -> Vec<Check> {
    check::quick(checks())
}

fn run_case(gpu: &Gpu, params: Params, n: usize, data: &str) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let mut logits: Vec<f32> = check::uniform(53, n).iter().map(|v| v * 3.0).collect();
    if data == "ties" {
        logits.iter_mut().for_each(|v| *v = v.round());
    }
    // Candidates come in any order; here by no order at all.
    let mut words = vec![n as u32, if data == "nan" { 3 } else { 0 }, 0, 0];
    for (i, logit) in logits.iter().enumerate() {
        words.extend([1000 - 7 * i as u32, logit.to_bits()]);
    }
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    let (items, bad) = top_k::read(&bytes);
    let shares = shares(&items, params);
    let mass: f64 = shares.iter().sum();
    let as_floats: Vec<f32> = words.iter().map(|w| f32::from_bits(*w)).collect();
    let top = check::floats(gpu, &as_floats)?;
    let mut before = 0.0;
    let (mut got, mut want) = (Vec::new(), Vec::new());
    for (share, (id, logit)) in shares.iter().zip(&items) {
        let draw = (before + share / 2.0) / mass;
        before += share;
        // Shares so thin that rounding moves them away prove nothing.
        if share / mass < 1e-4 {
            continue;
        }
        let mut draws = vec![f32::NAN; 3];
        draws.push(draw as f32);
        let draws = check::floats(gpu, &draws)?;
        let best = check::marked(gpu, 4)?;
        let state = State { pos: 3, n_tokens: 1, ..State::default() };
        let state_slice = check::state(gpu, state)?;
        let sample = Sample { top: &top, draws: &draws, best: &best, state: &state_slice };
        let raw = check::finish(gpu, step(gpu, sample, params)?, state, &best)?;
        let exact = |value: f64| Want::Near { value, tolerance: 0.0 };
        got.extend([raw[0].to_bits() as f32, raw[1], raw[2].to_bits() as f32, raw[3].to_bits() as f32]);
        want.extend([exact(f64::from(*id)), exact(f64::from(*logit)), exact(f64::from(bad)), exact(0.0)]);
        got.extend(&raw[4..]);
        want.extend(vec![Want::Untouched; raw.len() - 4]);
    }
    Ok((got, want))
}

/// Unnormalised probabilities of the candidates that are left, best first, in f64.
fn shares(items: &[(u32, f32)], params: Params) -> Vec<f64> {
    let items = &items[..items.len().min(params.k as usize)];
    let weight =
        |logit: f32| ((f64::from(logit) - f64::from(items[0].1)) * f64::from(params.inv_temperature)).exp();
    let all: Vec<f64> = items.iter().map(|item| weight(item.1)).collect();
    let total: f64 = all.iter().sum();
    let mut mass = 0.0;
    let mut kept = Vec::new();
    for w in all {
        if !kept.is_empty() && (mass >= f64::from(params.top_p) * total || w < f64::from(params.min_p)) {
            break;
        }
        mass += w;
        kept.push(w);
    }
    kept
}
