//! GPU work as data: a [`Graph`] is a static list of [`Step`]s, recorded into one pass and one submit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytemuck::{Pod, Zeroable};

use crate::gpu::buffer::{Bind, Readback};
use crate::gpu::compose::{ParamsForm, Shader};
use crate::gpu::pipeline::Kernel;
use crate::gpu::{Gpu, GpuError, Slice};

/// What changes from run to run of one graph. Bound as a uniform buffer to the kernels that need it,
/// so that the steps themselves stay static.
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
        let last = match state.sequence {
            State::EACH => {
                let n = (state.n_tokens as usize).min(State::MAX_SEQUENCES);
                state.positions[..n].iter().copied().max().unwrap_or(0)
            }
            _ => state.pos + state.n_tokens.saturating_sub(1),
        };
        let window = if self.window == 0 { u32::MAX } else { self.window };
        self.splits > 1 && (last + 1).min(window) > self.above
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
    bind_group: wgpu::BindGroup,
    params: Vec<u8>,
    /// Workgroups.
    pub grid: Grid,
    /// Bytes that must move between memory and GPU for one token (weights) in this step; the KV cache
    /// is accounted for apart because it grows with the position.
    pub bytes: u64,
}

/// Steps in order.
#[derive(Default)]
pub struct Graph {
    /// The steps.
    pub steps: Vec<Step>,
}

/// Submitted work whose result will be read.
pub struct Pending {
    submission: wgpu::SubmissionIndex,
    bytes: u64,
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
        Ok(Step { label, kernel, bind_group, params, grid, bytes: 0 })
    }

    /// Runs the graph for `state`: one compute pass, one submit. Does not wait.
    pub fn run(&self, graph: &Graph, state: State) -> Result<(), GpuError> {
        self.run_steps(&graph.steps, state)
    }

    /// As [`Gpu::run`], for a part of a graph.
    pub fn run_steps(&self, steps: &[Step], state: State) -> Result<(), GpuError> {
        self.compile(steps.iter().map(|step| &step.kernel))?;
        let started = Instant::now();
        let encoder = self.record(steps.iter(), state);
        self.inner().queue.submit([encoder.finish()]);
        self.note_host_time(started);
        self.check()
    }

    /// Runs the graphs one after the other and reads the first `bytes` of `output`: still one pass and one
    /// submit.
    pub fn run_and_read(
        &self,
        graphs: &[&Graph],
        state: State,
        output: &Slice,
        bytes: u64,
        readback: &Readback,
    ) -> Result<Vec<u8>, GpuError> {
        self.compile(graphs.iter().flat_map(|graph| graph.kernels()))?;
        let started = Instant::now();
        let mut encoder = self.record(graphs.iter().flat_map(|graph| &graph.steps), state);
        encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &readback.buffer, 0, bytes);
        self.inner().queue.submit([encoder.finish()]);
        self.note_host_time(started);
        readback.buffer.map_async(wgpu::MapMode::Read, 0..bytes, |_| {});
        let waited = self.wait();
        let result = waited.and_then(|()| {
            let view = readback
                .buffer
                .get_mapped_range(0..bytes)
                .map_err(|e| GpuError::Internal { adapter: self.facts().id(), cause: e.to_string() })?;
            Ok(view.to_vec())
        });
        readback.buffer.unmap();
        result
    }

    /// Runs the graphs, copies the first bytes of `output` to `next` and to `readback`, and does not wait: one submit.
    /// [`Gpu::finish`] gives what was read.
    pub fn run_ahead(
        &self,
        graphs: &[&Graph],
        state: State,
        output: &Slice,
        (next, next_bytes): (&Slice, u64),
        (readback, bytes): (&Readback, u64),
    ) -> Result<Pending, GpuError> {
        self.compile(graphs.iter().flat_map(|graph| graph.kernels()))?;
        let started = Instant::now();
        let mut encoder = self.record(graphs.iter().flat_map(|graph| &graph.steps), state);
        encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &next.buffer, next.offset, next_bytes);
        encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &readback.buffer, 0, bytes);
        let commands = encoder.finish();
        // Without the submit: some drivers (Mesa's on the CPU) let it wait for the one before.
        self.note_host_time(started);
        let submission = self.inner().queue.submit([commands]);
        readback.buffer.map_async(wgpu::MapMode::Read, 0..bytes, |_| {});
        self.check()?;
        Ok(Pending { submission, bytes })
    }

    /// Waits for one submission, not for what was submitted after it, and reads what it left in `readback`.
    pub fn finish(&self, pending: Pending, readback: &Readback) -> Result<Vec<u8>, GpuError> {
        let Pending { submission, bytes } = pending;
        self.wait_for(submission)?;
        let view = readback
            .buffer
            .get_mapped_range(0..bytes)
            .map_err(|e| GpuError::Internal { adapter: self.facts().id(), cause: e.to_string() })?;
        let result = view.to_vec();
        drop(view);
        readback.buffer.unmap();
        Ok(result)
    }

    fn note_host_time(&self, started: Instant) {
        self.inner().host_ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// Records steps whose kernels are compiled.
    pub(super) fn record<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step>,
        state: State,
    ) -> wgpu::CommandEncoder {
        let inner = self.inner();
        let mut encoder = inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let mut bound: Option<&Arc<Kernel>> = None;
            for step in steps {
                let Some([x, y, z]) = step.groups(state) else { continue };
                if !bound.is_some_and(|kernel| Arc::ptr_eq(kernel, &step.kernel)) {
                    pass.set_pipeline(step.kernel.pipeline());
                    bound = Some(&step.kernel);
                }
                pass.set_bind_group(0, &step.bind_group, &[]);
                if self.facts().immediates && !step.params.is_empty() {
                    pass.set_immediates(0, &step.params);
                }
                pass.dispatch_workgroups(x, y, z);
            }
        }
        encoder
    }
}

impl Step {
    /// Workgroups in this state; `None` when there is nothing to do.
    pub fn groups(&self, state: State) -> Option<[u32; 3]> {
        let groups = self.grid.map(|extent| extent.resolve(state));
        (!groups.contains(&0)).then_some(groups)
    }

    /// States the bytes this step must move per token.
    pub fn moving(mut self, bytes: u64) -> Step {
        self.bytes = bytes;
        self
    }
}

impl Graph {
    /// Bytes one token must move, KV cache aside.
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(|step| step.bytes).sum()
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
