//! From one step that is decoded ahead to the next without the host: `shaders/advance.wgsl`.

use crate::gpu::graph::State;
use crate::gpu::{Access, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::argmax::Best;
use crate::kernels::check::{self, Check, Want};

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "advance",
    wgsl: include_str!("../../shaders/advance.wgsl"),
    bindings: &[
        ("best", Access::Read),
        ("choices", Access::Write),
        ("tokens", Access::Write),
        ("state", Access::Write),
    ],
    params: &[],
};

/// The buffers of the step.
#[derive(Clone, Copy)]
pub struct Advance<'a> {
    /// [`Best`] of the step before.
    pub best: &'a Slice,
    /// `[positions]` of [`Best`].
    pub choices: &'a Slice,
    /// u32; the first one is fed next.
    pub tokens: &'a Slice,
    /// [`State`] in a storage buffer.
    pub state: &'a Slice,
}

/// The only variant.
pub fn shader() -> Shader {
    Shader { spec: &SPEC, consts: vec![], snippets: vec![], bound_as: vec![], f16: false, subgroups: false }
}

/// One dispatch.
pub fn step(gpu: &Gpu, buffers: Advance<'_>) -> Result<Step, GpuError> {
    let Advance { best, choices, tokens, state } = buffers;
    gpu.step("advance", &shader(), &[best, choices, tokens, state], (), [Extent::Fixed(1); 3])
}

/// What it writes to each of its buffers, and that it writes to nothing else there.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for pos in [0, 1, 77] {
        for (output, of) in ["choices", "tokens", "state"].into_iter().enumerate() {
            let run = move |gpu: &Gpu| run_case(gpu, pos, output);
            checks.push(Check::new("advance", "advance", format!("{of} at {pos}"), run).quick(pos == 77));
        }
    }
    checks
}

fn run_case(gpu: &Gpu, pos: u32, output: usize) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let best = Best { index: 4321, value: -2.5, bad: 3, pad: 0 };
    let state = State { pos, n_tokens: 1, first_logit: 5, sequence: 6, positions: [9; State::MAX_SEQUENCES] };
    let words = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, u32>(bytes);
    let before = [vec![88; 4 * 79], vec![77; 4], words(bytemuck::bytes_of(&state))];
    let mut after = before.clone();
    after[0][4 * pos as usize..][..4].copy_from_slice(&words(bytemuck::bytes_of(&best)));
    after[1][0] = best.index;
    after[2][0] = pos + 1;
    let upload = |words: &Vec<u32>| gpu.upload("check words", bytemuck::cast_slice(words));
    let best = gpu.upload("check best", bytemuck::bytes_of(&best))?;
    let slices = before.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
    let [choices, tokens, state_slice] = [&slices[0], &slices[1], &slices[2]];
    let step = step(gpu, Advance { best: &best, choices, tokens, state: state_slice })?;
    let raw = check::finish(gpu, step, state, &slices[output])?;
    // Bits as halves, which f32 holds exactly.
    let halves = |bits: u32| [(bits >> 16) as f32, (bits & 0xFFFF) as f32];
    let got = raw[..after[output].len()].iter().flat_map(|v| halves(v.to_bits())).collect();
    let exact = |value: f32| Want::Near { value: f64::from(value), tolerance: 0.0 };
    Ok((got, after[output].iter().flat_map(|bits| halves(*bits)).map(exact).collect()))
}
