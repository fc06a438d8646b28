//! From one step that is decoded ahead to the next without the host: `shaders/advance.wgsl`.

use crate::gpu::graph::State;
use crate::gpu::{Access, Extent, Gpu, GpuError, Graph, KernelSpec, Shader, Slice, Step};
use crate::kernels::argmax::Best;
use crate::kernels::check::{self, Check, Want};
use crate::kernels::penalize::{self, Penalize};

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

/// Positions that there is room for in the checks.
const ROOM: u32 = 79;

/// What it writes to each of its buffers, and that it writes to nothing else there; beyond the last position nothing at all.
/// And that the next step in the same pass, which reads the state as uniform, sees the position.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for pos in [0, 1, ROOM - 1, ROOM] {
        let run = move |gpu: &Gpu| run_case(gpu, pos);
        checks.push(Check::new("advance", "advance", format!("at {pos} of {ROOM}"), run).quick(pos == 1));
    }
    checks.push(
        Check::new("advance", "advance", "twice, and a step after that".to_owned(), run_twice).quick(true),
    );
    checks
}

/// What the kernel has to pass before a session runs it.
pub fn checks_of() -> Vec<Check> {
    check::quick(checks())
}

/// Words of a buffer, each as two halves, which f32 holds exactly.
fn halves(words: &[u32]) -> impl Iterator<Item = f32> {
    words.iter().flat_map(|bits| [(bits >> 16) as f32, (bits & 0xFFFF) as f32])
}

fn exactly(got: &[Vec<u32>], want: &[Vec<u32>]) -> (Vec<f32>, Vec<Want>) {
    let exact = |value: f32| Want::Near { value: f64::from(value), tolerance: 0.0 };
    let want = want.iter().flat_map(|words| halves(words)).map(exact).collect();
    (got.iter().flat_map(|words| halves(words)).collect(), want)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytemuck::pod_collect_to_vec::<u8, u32>(bytes)
}

const CHOICE: Best = Best { index: 4321, value: -2.5, bad: 3, pad: 0 };

fn run_case(gpu: &Gpu, pos: u32) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let state = State { pos, n_tokens: 1, first_logit: 5, sequence: 6, positions: [9; State::MAX_SEQUENCES] };
    let before = [vec![88; 4 * ROOM as usize], vec![77; 4], words(bytemuck::bytes_of(&state))];
    let mut after = before.clone();
    if pos < ROOM {
        after[0][4 * pos as usize..][..4].copy_from_slice(&words(bytemuck::bytes_of(&CHOICE)));
        after[1][0] = CHOICE.index;
        after[2][0] = pos + 1;
    }
    let best = gpu.upload("check best", bytemuck::bytes_of(&CHOICE))?;
    let upload = |words: &Vec<u32>| gpu.upload("check words", bytemuck::cast_slice(words));
    let slices = before.iter().map(upload).collect::<Result<Vec<_>, _>>()?;
    let buffers = Advance { best: &best, choices: &slices[0], tokens: &slices[1], state: &slices[2] };
    gpu.run(&Graph::new(vec![step(gpu, buffers)?]), state)?;
    let read = |(slice, words): (&Slice, &Vec<u32>)| {
        Ok(self::words(&gpu.read(&slice.first(4 * words.len() as u64))?))
    };
    let got = slices.iter().zip(&before).map(read).collect::<Result<Vec<_>, GpuError>>()?;
    Ok(exactly(&got, &after))
}

/// `penalize` notes the token at the position that its uniform state has.
fn run_twice(gpu: &Gpu) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    let state = State { pos: 5, n_tokens: 1, ..State::default() };
    let best = gpu.upload("check best", bytemuck::bytes_of(&CHOICE))?;
    let [choices, tokens, said, logits] =
        [4 * ROOM as usize, 4, ROOM as usize + 1, 8].map(|n| check::marked(gpu, n));
    let (choices, tokens, said, logits) = (choices?, tokens?, said?, logits?);
    let noted = gpu.read(&said)?;
    let state_slice = gpu.upload("check state", bytemuck::bytes_of(&state))?;
    let advance =
        || step(gpu, Advance { best: &best, choices: &choices, tokens: &tokens, state: &state_slice });
    let params = penalize::Params { window: 1, vocab: 8, penalty: 1.0 };
    let buffers = Penalize { tokens: &tokens, said: &said, logits: &logits, state: &state_slice };
    let steps = vec![advance()?, advance()?, penalize::step(gpu, buffers, params)?];
    gpu.run(&Graph::new(steps), state)?;
    let mut want = words(&noted);
    want[7] = CHOICE.index;
    Ok(exactly(&[words(&gpu.read(&said)?)], &[want]))
}
