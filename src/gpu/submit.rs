//! Runs graphs: records them, submits them, reads what they leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::gpu::buffer::Readback;
use crate::gpu::graph::{Graph, State, Step};
use crate::gpu::pace::piece;
use crate::gpu::{Gpu, GpuError, Slice};

/// When a run was handed to the driver, when the host saw that it was done, and what it cost the host.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Its first submit began.
    pub begun: Instant,
    /// That submit returned.
    pub handed: Instant,
    /// The host heard that its result was there: later than it was, if the host was late.
    pub done: Instant,
    /// What it took of the host.
    pub host: HostWork,
}

/// What graphs take of the host, whoever runs them on the device.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostWork {
    /// Seconds of recording commands.
    pub record_s: f64,
    /// Seconds in the driver's submit. Some (Mesa's on the CPU) let it wait for the submit before.
    pub submit_s: f64,
    /// Submits.
    pub submits: u64,
    /// Dispatches.
    pub dispatches: u64,
}

impl std::ops::Sub for HostWork {
    type Output = HostWork;

    fn sub(self, earlier: HostWork) -> HostWork {
        HostWork {
            record_s: self.record_s - earlier.record_s,
            submit_s: self.submit_s - earlier.submit_s,
            submits: self.submits - earlier.submits,
            dispatches: self.dispatches - earlier.dispatches,
        }
    }
}

impl std::ops::AddAssign for HostWork {
    fn add_assign(&mut self, more: HostWork) {
        self.record_s += more.record_s;
        self.submit_s += more.submit_s;
        self.submits += more.submits;
        self.dispatches += more.dispatches;
    }
}

/// Submitted work whose result will be read.
pub struct Pending {
    submission: wgpu::SubmissionIndex,
    host: HostWork,
    /// When its first submit began and returned.
    pub(crate) first: [Instant; 2],
    /// When its last submit began.
    pub(crate) last: Instant,
}

/// A submit.
struct Submitted {
    submission: wgpu::SubmissionIndex,
    begun: Instant,
    returned: Instant,
}

/// What is recorded of a run and not submitted yet.
struct Rest {
    encoder: wgpu::CommandEncoder,
    /// The run's first submit, if there was one.
    first: Option<Submitted>,
}

impl Gpu {
    /// Runs the graph for `state`. Does not wait.
    pub fn run(&self, graph: &Graph, state: State) -> Result<(), GpuError> {
        let rest = self.all_but_the_last_submit(&[graph], std::iter::once(state))?;
        self.submit(rest.encoder);
        self.check()
    }

    /// Runs the graphs one after the other and reads the first `bytes` of `output`.
    pub fn run_and_read(
        &self,
        graphs: &[&Graph],
        state: State,
        output: &Slice,
        bytes: u64,
        readback: &Readback,
    ) -> Result<(Vec<u8>, Times), GpuError> {
        let before = self.host_work();
        let mut rest = self.all_but_the_last_submit(graphs, std::iter::once(state))?;
        rest.encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &readback.buffer, 0, bytes);
        let last = self.submit(rest.encoder);
        let host = self.host_work() - before;
        readback.map(bytes);
        let waited = self.wait();
        let mut read = vec![0; bytes as usize];
        let copied = waited.and_then(|()| self.copy_mapped(readback, &mut read));
        readback.buffer.unmap();
        let done = copied?;
        let first = rest.first.unwrap_or(last);
        if let Some(graph) = graphs.first() {
            graph.took(state, done.saturating_duration_since(first.begun));
        }
        Ok((read, Times { begun: first.begun, handed: first.returned, done, host }))
    }

    /// Runs the graphs `count` times, at this state's position and those that follow, in one submit if that is not too long, and
    /// does not wait. They move the position on themselves and leave, for each run at its position, `bytes` in `output`, of which
    /// [`Gpu::finish`] gives all, one after the other.
    pub fn run_ahead(
        &self,
        graphs: &[&Graph],
        (state, count): (State, u32),
        (output, bytes): (&Slice, u64),
        readback: &Readback,
    ) -> Result<Pending, GpuError> {
        let before = self.host_work();
        let states = (0..count).map(|i| state.ahead(i));
        let Rest { mut encoder, first } = self.all_but_the_last_submit(graphs, states)?;
        let (from, bytes) = (output.offset + u64::from(state.pos) * bytes, u64::from(count) * bytes);
        encoder.copy_buffer_to_buffer(&output.buffer, from, &readback.buffer, 0, bytes);
        let Submitted { submission, begun, returned } = self.submit(encoder);
        let host = self.host_work() - before;
        readback.map(bytes);
        self.check()?;
        let first = first.map_or([begun, returned], |first| [first.begun, first.returned]);
        Ok(Pending { submission, host, first, last: begun })
    }

    /// Waits for one submission, not for what was submitted after it, and reads what it left in `readback`.
    pub fn finish(
        &self,
        pending: Pending,
        readback: &Readback,
        result: &mut [u8],
    ) -> Result<Times, GpuError> {
        let Pending { submission, host, first: [begun, handed], .. } = pending;
        self.wait_for(submission)?;
        let done = self.copy_mapped(readback, result)?;
        readback.buffer.unmap();
        Ok(Times { begun, handed, done, host })
    }

    /// Copies what is mapped, and tells when that was so.
    fn copy_mapped(&self, readback: &Readback, result: &mut [u8]) -> Result<Instant, GpuError> {
        let view = readback
            .buffer
            .get_mapped_range(0..result.len() as u64)
            .map_err(|e| GpuError::Internal { adapter: self.facts().id(), cause: e.to_string() })?;
        result.copy_from_slice(&view);
        Ok(readback.done().unwrap_or_else(Instant::now))
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.inner().device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// Records the graphs for one state after the other, and submits all of it that is too long for one submit.
    fn all_but_the_last_submit(
        &self,
        graphs: &[&Graph],
        states: impl Iterator<Item = State>,
    ) -> Result<Rest, GpuError> {
        self.compile(graphs.iter().flat_map(|graph| graph.kernels()))?;
        let mut states = states.peekable();
        let first = states.peek().zip(graphs.first());
        let most = first.map_or(0.0, |(state, graph)| graph.work_per_submit(*state));
        let steps = |state| graphs.iter().flat_map(|graph| &graph.steps).map(move |step| (step, state));
        let mut steps = states.flat_map(steps).peekable();
        let mut rest = Rest { encoder: self.encoder(), first: None };
        loop {
            self.record(&mut rest.encoder, piece(&mut steps, most));
            if steps.peek().is_none() {
                return Ok(rest);
            }
            let submitted = self.submit(std::mem::replace(&mut rest.encoder, self.encoder()));
            rest.first.get_or_insert(submitted);
        }
    }

    fn submit(&self, encoder: wgpu::CommandEncoder) -> Submitted {
        let inner = self.inner();
        let commands = note(&inner.record_ns, || encoder.finish());
        // Tells readbacks what is done by now.
        let _ = inner.device.poll(wgpu::PollType::Poll);
        inner.submits.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let submission = note(&inner.submit_ns, || inner.queue.submit([commands]));
        Submitted { submission, begun, returned: Instant::now() }
    }

    /// Records steps whose kernels are compiled.
    fn record<'s>(&self, encoder: &mut wgpu::CommandEncoder, steps: impl Iterator<Item = (&'s Step, State)>) {
        note(&self.inner().record_ns, || {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            let (mut bound, mut dispatches) = (None, 0);
            for (step, state) in steps {
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
                dispatches += 1;
            }
            self.inner().dispatches.fetch_add(dispatches, Ordering::Relaxed);
        });
    }

    /// Steps whose kernels are compiled, in one pass, for [`Gpu::time`].
    pub(super) fn recorded<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step>,
        state: State,
    ) -> wgpu::CommandBuffer {
        let mut encoder = self.encoder();
        self.record(&mut encoder, steps.map(|step| (step, state)));
        encoder.finish()
    }

    /// What graphs have taken of the host so far.
    pub fn host_work(&self) -> HostWork {
        let inner = self.inner();
        let seconds = |ns: &AtomicU64| ns.load(Ordering::Relaxed) as f64 / 1e9;
        HostWork {
            record_s: seconds(&inner.record_ns),
            submit_s: seconds(&inner.submit_ns),
            submits: inner.submits.load(Ordering::Relaxed),
            dispatches: inner.dispatches.load(Ordering::Relaxed),
        }
    }
}

/// Adds the time that `work` takes.
fn note<T>(ns: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}
