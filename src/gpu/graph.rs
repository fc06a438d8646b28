//! GPU work as data: a [`Graph`] is a static list of [`Step`]s. `submit` runs it.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::gpu::buffer::Bind;
use crate::gpu::compose::{ParamsForm, Shader};
use crate::gpu::pace::Pace;
use crate::gpu::pipeline::Kernel;
use crate::gpu::{Gpu, GpuError, Slice};

/// What changes from run to run of one graph. Bound as a uniform buffer to the kernels that need it, so that the steps
/// themselves stay static. Where runs follow each other without the host, a kernel moves the position on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct State {
    /// Position of the first token of this run.
    pub pos: u32,
    /// Tokens in this run.
    pub n_tokens: u32,
    /// First token (of this run) whose logits are wanted.
    pub first_logit: u32,
    /// The sequence that all tokens belong to, or [`State::EACH`].
    pub sequence: u32,
    /// Positions of the tokens when each belongs to a sequence of its own.
    pub positions: [u32; State::MAX_SEQUENCES],
}

impl State {
    /// As [`State::sequence`]: token `i` is the next one of sequence `i`, at `positions[i]`.
    pub const EACH: u32 = u32::MAX;
    /// Most sequences that one run can continue.
    pub const MAX_SEQUENCES: usize = 16;

    /// The same `n` positions later.
    pub(super) fn ahead(self, n: u32) -> State {
        State { pos: self.pos + n, ..self }
    }

    /// Positions that sequences have at the end of this run.
    fn ends(&self) -> impl Iterator<Item = u32> {
        let each = self.sequence == State::EACH;
        let n = if each { (self.n_tokens as usize).min(State::MAX_SEQUENCES) } else { 0 };
        let run = (!each).then_some(self.pos + self.n_tokens);
        self.positions[..n].iter().map(|pos| pos + 1).chain(run)
    }

    /// Cached positions that sequences see at the end of this run, in all; of each the last `window`, or all where that is 0.
    pub fn positions_seen(&self, window: u32) -> u64 {
        let window = if window == 0 { u32::MAX } else { window };
        self.ends().map(|end| u64::from(end.min(window))).sum()
    }
}

/// Number of workgroups along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Always this many.
    Fixed(u32),
    /// One workgroup for this many tokens of the run, rounded up.
    TokensPer(u32),
    /// One workgroup for this many tokens whose logits are wanted, rounded up.
    LogitsPer(u32),
    /// One workgroup for `per_group` rows, rounded up, when every token has `rows_per_token` of them.
    TokenRowsPer {
        /// Rows that a token has.
        rows_per_token: u32,
        /// Rows that a workgroup does.
        per_group: u32,
    },
    /// As many as there are splits, or one.
    Splits(Split),
    /// This many where the work is split, else none.
    IfSplit(Split, u32),
}

/// When work over the positions that a token sees is split between workgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// More positions than this are split.
    pub above: u32,
    /// Into this many.
    pub splits: u32,
    /// A token sees the last `window` positions; 0: all.
    pub window: u32,
}

impl Split {
    /// Is the work of this run split?
    fn applies(self, state: State) -> bool {
        let longest = state.ends().max().unwrap_or(0);
        let window = if self.window == 0 { u32::MAX } else { self.window };
        self.splits > 1 && longest.min(window) > self.above
    }
}

/// Workgroups along x, y, z.
pub type Grid = [Extent; 3];

/// WebGPU's default limit on workgroups per dimension.
const MAX_GROUPS: u32 = 65535;

/// Grid for `n` workgroups numbered `id.y * num_workgroups.x + id.x` in the kernel, with `z` on top.
/// Numbers ≥ `n` may occur: kernels test their row.
pub fn linear_grid(n: u32, z: Extent) -> Grid {
    let y = n.div_ceil(MAX_GROUPS).max(1);
    [Extent::Fixed(n.div_ceil(y)), Extent::Fixed(y), z]
}

/// One dispatch, complete: what runs, on which buffers, with which parameters, over which grid.
pub struct Step {
    /// What it does, for people: `layer 3 qkv`.
    pub label: String,
    /// The kernel.
    pub kernel: Arc<Kernel>,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) params: Vec<u8>,
    /// Workgroups.
    pub grid: Grid,
    /// Bytes of weights that must move between memory and GPU in this step, however many tokens share them.
    pub bytes: u64,
    /// What it reads of KV caches beside them.
    pub kv: KvBytes,
}

/// Bytes of a KV cache that a step reads for every token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvBytes {
    /// Per position that the token sees.
    pub per_position: u64,
    /// A token sees the last `window` positions; 0: all.
    pub window: u32,
}

/// Steps in order.
#[derive(Default)]
pub struct Graph {
    /// The steps.
    pub steps: Vec<Step>,
    /// See [`Graph::took`].
    pub(super) pace: Pace,
}

impl Gpu {
    /// Builds a step: makes its bind group, and leaves the kernel to [`Gpu::compile`].
    /// `bindings` are in the order of the kernel's spec, `params` is the kernel's `Params`.
    pub fn step<B: Bind + ?Sized, P: Pod>(
        &self,
        label: impl Into<String>,
        shader: &Shader,
        bindings: &[&B],
        params: P,
        grid: Grid,
    ) -> Result<Step, GpuError> {
        let kernel = self.kernel(shader)?;
        let label = label.into();
        let params = bytemuck::bytes_of(&params).to_vec();
        assert_eq!(bindings.len(), kernel.n_bindings, "{label}: bindings follow the kernel's spec");
        assert_eq!(params.len(), kernel.params_bytes, "{label}: params follow the kernel's spec");
        let uniform = match self.params_form() {
            ParamsForm::Uniform if !params.is_empty() => Some(self.uniform(&label, &params)?),
            _ => None,
        };
        let resources =
            bindings.iter().map(|bound| bound.resource()).chain(uniform.as_ref().map(Slice::resource));
        let entries: Vec<_> = resources
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let device = &self.inner().device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&label),
            layout: &kernel.layout,
            entries: &entries,
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            let (adapter, cause) = (self.facts().id(), error.to_string());
            return Err(GpuError::Kernel { adapter, kernel: format!("{label}: {}", kernel.label), cause });
        }
        Ok(Step { label, kernel, bind_group, params, grid, bytes: 0, kv: KvBytes::default() })
    }
}

impl Step {
    /// Workgroups in this state; `None` when there is nothing to do.
    pub fn groups(&self, state: State) -> Option<[u32; 3]> {
        let groups = self.grid.map(|extent| extent.resolve(state));
        (!groups.contains(&0)).then_some(groups)
    }

    /// States the bytes of weights this step must move.
    pub fn moving(mut self, bytes: u64) -> Step {
        self.bytes = bytes;
        self
    }

    /// States what it reads of KV caches.
    pub fn reading(mut self, kv: KvBytes) -> Step {
        self.kv = kv;
        self
    }

    /// Bytes of weights and KV caches that must move in this state: weights once, caches of all sequences.
    pub fn bytes_moved(&self, state: State) -> u64 {
        self.bytes + self.kv.per_position * state.positions_seen(self.kv.window)
    }
}

impl Graph {
    /// These steps, of which nobody knows yet how long they take.
    pub fn new(steps: Vec<Step>) -> Graph {
        Graph { steps, pace: Pace::default() }
    }

    /// Bytes of weights that one run must move.
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).sum()
    }

    /// As [`Step::bytes_moved`], of all steps.
    pub fn bytes_moved(&self, state: State) -> u64 {
        self.steps.iter().map(|step| step.bytes_moved(state)).sum()
    }

    /// Dispatches of a run in this state.
    pub fn dispatches(&self, state: State) -> usize {
        self.steps.iter().filter(|step| step.groups(state).is_some()).count()
    }

    /// Kernels of all steps, those of several steps several times.
    pub fn kernels(&self) -> impl Iterator<Item = &Arc<Kernel>> {
        self.steps.iter().map(|step| &step.kernel)
    }
}

impl Extent {
    /// How often the work of one token's workgroups is done.
    pub(super) fn repeats(self, state: State) -> f64 {
        let one = match self {
            Extent::Fixed(_) | Extent::Splits(_) | Extent::IfSplit(..) => return 1.0,
            Extent::TokensPer(_) | Extent::LogitsPer(_) => 1,
            Extent::TokenRowsPer { rows_per_token, per_group } => rows_per_token.div_ceil(per_group),
        };
        f64::from(self.resolve(state)) / f64::from(one)
    }

    /// Workgroups for this state.
    pub fn resolve(self, state: State) -> u32 {
        match self {
            Extent::Fixed(n) => n,
            Extent::TokensPer(n) => state.n_tokens.div_ceil(n),
            Extent::LogitsPer(n) => state.n_tokens.saturating_sub(state.first_logit).div_ceil(n),
            Extent::TokenRowsPer { rows_per_token, per_group } => {
                (state.n_tokens * rows_per_token).div_ceil(per_group)
            }
            Extent::Splits(split) => {
                if split.applies(state) {
                    split.splits
                } else {
                    1
                }
            }
            Extent::IfSplit(split, n) => {
                if split.applies(state) {
                    n
                } else {
                    0
                }
            }
        }
    }
}
