//! Runs graphs: records them, submits them, reads what they leave.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::gpu::buffer::Readback;
use crate::gpu::graph::{Graph, State, Step};
use crate::gpu::pace::piece;
use crate::gpu::{Gpu, GpuError, Slice};

/// When a run was handed to the driver, and when the host saw that it was done.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Its last submit began.
    pub begun: Instant,
    /// That submit returned.
    pub submitted: Instant,
    /// Its result was there to be read.
    pub done: Instant,
}

/// Seconds of the host per part.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostTime {
    /// Recording commands.
    pub record_s: f64,
    /// In the driver's submit. Some (Mesa's on the CPU) let it wait for the submit before.
    pub submit_s: f64,
}

impl std::ops::Sub for HostTime {
    type Output = HostTime;

    fn sub(self, earlier: HostTime) -> HostTime {
        HostTime { record_s: self.record_s - earlier.record_s, submit_s: self.submit_s - earlier.submit_s }
    }
}

/// Submitted work whose result will be read.
pub struct Pending {
    submission: wgpu::SubmissionIndex,
    /// When its last submit began and returned.
    pub(crate) submit: [Instant; 2],
}

impl Gpu {
    /// Runs the graph for `state`. Does not wait.
    pub fn run(&self, graph: &Graph, state: State) -> Result<(), GpuError> {
        let encoder = self.all_but_the_last_submit(&[graph], state)?;
        self.submit(encoder);
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
        let started = Instant::now();
        let mut encoder = self.all_but_the_last_submit(graphs, state)?;
        encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &readback.buffer, 0, bytes);
        let (_, [begun, submitted]) = self.submit(encoder);
        readback.map(bytes);
        let waited = self.wait();
        let mut read = vec![0; bytes as usize];
        let copied = waited.and_then(|()| self.copy_mapped(readback, &mut read));
        readback.buffer.unmap();
        let done = copied?;
        if let Some(first) = graphs.first() {
            first.took(state, done - started);
        }
        Ok((read, Times { begun, submitted, done }))
    }

    /// Runs the graphs, copies the first bytes of `output` to `next` and to `readback`, and does not wait.
    /// [`Gpu::finish`] gives what was read.
    pub fn run_ahead(
        &self,
        graphs: &[&Graph],
        state: State,
        output: &Slice,
        (next, next_bytes): (&Slice, u64),
        (readback, bytes): (&Readback, u64),
    ) -> Result<Pending, GpuError> {
        let mut encoder = self.all_but_the_last_submit(graphs, state)?;
        encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &next.buffer, next.offset, next_bytes);
        encoder.copy_buffer_to_buffer(&output.buffer, output.offset, &readback.buffer, 0, bytes);
        // Tells those who wait what is done by now.
        self.is_done()?;
        let (submission, submit) = self.submit(encoder);
        readback.map(bytes);
        self.check()?;
        Ok(Pending { submission, submit })
    }

    /// Waits for one submission, not for what was submitted after it, and reads what it left in `readback`.
    pub fn finish(
        &self,
        pending: Pending,
        readback: &Readback,
        result: &mut [u8],
    ) -> Result<Times, GpuError> {
        self.wait_for(pending.submission)?;
        let done = self.copy_mapped(readback, result)?;
        readback.buffer.unmap();
        let [begun, submitted] = pending.submit;
        Ok(Times { begun, submitted, done })
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

    /// Records the graphs, submits all of it that is too long for one submit, and returns the rest, of which there is some.
    fn all_but_the_last_submit(
        &self,
        graphs: &[&Graph],
        state: State,
    ) -> Result<wgpu::CommandEncoder, GpuError> {
        self.compile(graphs.iter().flat_map(|graph| graph.kernels()))?;
        let most = graphs.first().map_or(0.0, |graph| graph.work_per_submit());
        let mut steps = graphs.iter().flat_map(|graph| &graph.steps).peekable();
        loop {
            let encoder = self.record(piece(&mut steps, most, state), state);
            if steps.peek().is_none() {
                return Ok(encoder);
            }
            self.submit(encoder);
        }
    }

    /// What was submitted, and when that began and returned.
    fn submit(&self, encoder: wgpu::CommandEncoder) -> (wgpu::SubmissionIndex, [Instant; 2]) {
        let commands = note(&self.inner().record_ns, || encoder.finish());
        let begun = Instant::now();
        let submission = note(&self.inner().submit_ns, || self.inner().queue.submit([commands]));
        (submission, [begun, Instant::now()])
    }

    /// Records steps whose kernels are compiled.
    pub(super) fn record<'s>(
        &self,
        steps: impl Iterator<Item = &'s Step>,
        state: State,
    ) -> wgpu::CommandEncoder {
        let inner = self.inner();
        note(&inner.record_ns, || {
            let mut encoder = inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                let mut bound = None;
                for step in steps {
                    let Some([x, y, z]) = step.groups(state) else { continue };
                    if !bound.is_some_and(|kernel| std::sync::Arc::ptr_eq(kernel, &step.kernel)) {
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
        })
    }

    /// Seconds that the host has spent so far on recording and submitting graphs.
    pub fn host_time(&self) -> HostTime {
        let seconds = |ns: &AtomicU64| ns.load(Ordering::Relaxed) as f64 / 1e9;
        HostTime { record_s: seconds(&self.inner().record_ns), submit_s: seconds(&self.inner().submit_ns) }
    }
}

/// Adds the time that `work` takes.
fn note<T>(ns: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
}
