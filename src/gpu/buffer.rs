//! Buffers: allocation that reports instead of aborting, upload in pieces, read back.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::gpu::device::lock;
use crate::gpu::{Gpu, GpuError};

/// A part of a buffer, as bound to a kernel. Offsets are multiples of 256.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The buffer.
    pub buffer: wgpu::Buffer,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// What can be bound to a kernel.
pub trait Bind {
    /// As wgpu wants it.
    fn resource(&self) -> Resource<'_>;
}

/// wgpu's word for it.
pub type Resource<'a> = wgpu::BindingResource<'a>;

impl Bind for Slice {
    fn resource(&self) -> Resource<'_> {
        debug_assert!(self.offset.is_multiple_of(BINDING_ALIGNMENT));
        Resource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.bytes),
        })
    }
}

/// Host-visible memory that results are copied to.
pub struct Readback {
    pub(super) buffer: wgpu::Buffer,
    /// When the host saw what it was mapped for the last time.
    done: Arc<Mutex<Option<Instant>>>,
}

impl Readback {
    /// Asks for the first `bytes`, as what was submitted before leaves them.
    pub(super) fn map(&self, bytes: u64) {
        *lock(&self.done) = None;
        let done = Arc::clone(&self.done);
        self.buffer.map_async(wgpu::MapMode::Read, 0..bytes, move |mapped| {
            if mapped.is_ok() {
                *lock(&done) = Some(Instant::now());
            }
        });
    }

    /// When what was asked for last was there; `None`: the host has not seen it yet.
    pub fn done(&self) -> Option<Instant> {
        *lock(&self.done)
    }
}

/// Offsets of bindings are multiples of this (the largest alignment WebGPU allows an adapter to ask).
pub const BINDING_ALIGNMENT: u64 = 256;

/// Most bytes that are written in one go: bounds wgpu's own staging copies.
const UPLOAD_PIECE: usize = 16 << 20;

impl Slice {
    /// What WebGPU lets an adapter bind as a uniform buffer; a few adapters, below WebGPU, less.
    pub const UNIFORM_BYTES: u64 = 64 << 10;

    /// The slice as kernels with [`Access::Constants`](crate::gpu::Access) want it: exactly [`Slice::UNIFORM_BYTES`], some
    /// of them behind the slice. `None` when it is longer, the buffer shorter, or the adapter binds less.
    pub fn as_constants(&self, gpu: &Gpu) -> Option<Slice> {
        let fits = gpu.inner().device.limits().max_uniform_buffer_binding_size >= Slice::UNIFORM_BYTES
            && self.bytes <= Slice::UNIFORM_BYTES
            && self.buffer.size() >= self.offset + Slice::UNIFORM_BYTES
            && self.buffer.usage().contains(wgpu::BufferUsages::UNIFORM);
        fits.then(|| Slice { bytes: Slice::UNIFORM_BYTES, ..self.clone() })
    }

    /// The first `bytes` of the slice.
    pub fn first(&self, bytes: u64) -> Slice {
        Slice { bytes: bytes.min(self.bytes), ..self.clone() }
    }

    /// A whole buffer.
    pub fn whole(buffer: wgpu::Buffer) -> Slice {
        let bytes = buffer.size();
        Slice { buffer, offset: 0, bytes }
    }
}

impl Gpu {
    /// Largest buffer that can be bound whole.
    pub fn max_bound_bytes(&self) -> u64 {
        let facts = self.facts();
        // Metal allows more, but shaders there learn a binding's size as 32 bits.
        facts.max_binding_bytes.min(facts.max_buffer_bytes).min(i32::MAX as u64) & !(BINDING_ALIGNMENT - 1)
    }

    /// A zeroed storage buffer of at least `bytes`, rounded up to 16.
    pub fn buffer(&self, what: &str, bytes: u64) -> Result<Slice, GpuError> {
        let copies = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::UNIFORM | copies;
        let limit = self.max_bound_bytes();
        if bytes > limit {
            let (adapter, what, hint) = (self.facts().id(), what.to_owned(), String::new());
            return Err(GpuError::TooLarge { adapter, what, bytes, limit, hint });
        }
        self.raw_buffer(what, bytes, usage)
    }

    /// A uniform buffer holding `data`.
    pub fn uniform(&self, what: &str, data: &[u8]) -> Result<Slice, GpuError> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let slice = self.raw_buffer(what, data.len() as u64, usage)?;
        self.write(&slice, 0, data);
        Ok(slice)
    }

    /// A storage buffer holding `data`.
    pub fn upload(&self, what: &str, data: &[u8]) -> Result<Slice, GpuError> {
        let slice = self.buffer(what, data.len().max(16) as u64)?;
        self.write(&slice, 0, data);
        Ok(slice)
    }

    /// A small buffer to bind where a kernel variant ignores the binding.
    pub fn empty(&self) -> Slice {
        Slice::whole(self.inner().empty.clone())
    }

    fn raw_buffer(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Slice, GpuError> {
        let device = &self.inner().device;
        let size = bytes.max(16).next_multiple_of(16);
        let buffer = self.allocate(what, size, || {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size,
                usage,
                mapped_at_creation: false,
            })
        })?;
        Ok(Slice { buffer, offset: 0, bytes: size })
    }

    /// What `create` makes of `bytes`, unless the driver refuses.
    pub(super) fn allocate<T>(
        &self,
        what: &str,
        bytes: u64,
        create: impl FnOnce() -> T,
    ) -> Result<T, GpuError> {
        let device = &self.inner().device;
        let scope_memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let scope_rules = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = create();
        let rules = pollster::block_on(scope_rules.pop());
        let memory = pollster::block_on(scope_memory.pop());
        self.check()?;
        if let Some(error) = memory.or(rules) {
            let (adapter, what, cause) = (self.facts().id(), what.to_owned(), error.to_string());
            return Err(GpuError::OutOfMemory { adapter, what, bytes, cause });
        }
        Ok(made)
    }

    /// Writes `data` at `offset` of the slice; both multiples of 4 (a ragged tail is zero-padded).
    pub fn write(&self, slice: &Slice, offset: u64, data: &[u8]) {
        let whole = data.len() / 4 * 4;
        let start = slice.offset + offset;
        if whole > 0 {
            self.inner().queue.write_buffer(&slice.buffer, start, &data[..whole]);
        }
        if whole < data.len() {
            let mut tail = [0u8; 4];
            tail[..data.len() - whole].copy_from_slice(&data[whole..]);
            self.inner().queue.write_buffer(&slice.buffer, start + whole as u64, &tail);
        }
    }

    /// As [`Gpu::write`], in pieces, each flushed before the next so that staging memory stays bounded.
    pub fn write_large(&self, slice: &Slice, offset: u64, data: &[u8]) -> Result<(), GpuError> {
        for (i, piece) in data.chunks(UPLOAD_PIECE).enumerate() {
            self.write(slice, offset + (i * UPLOAD_PIECE) as u64, piece);
            self.flush()?;
        }
        Ok(())
    }

    /// Copies `to.bytes` bytes from `offset` of one slice to the start of another; multiples of 4.
    pub fn copy(&self, from: &Slice, offset: u64, to: &Slice) -> Result<(), GpuError> {
        let inner = self.inner();
        let mut encoder = inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&from.buffer, from.offset + offset, &to.buffer, to.offset, to.bytes);
        inner.queue.submit([encoder.finish()]);
        self.check()
    }

    /// A buffer to read results back through, again and again.
    pub fn readback(&self, bytes: u64) -> Readback {
        let buffer = self.inner().device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: bytes.max(16),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Readback { buffer, done: Arc::default() }
    }

    /// Hands pending writes to the GPU and waits, freeing their staging memory.
    pub fn flush(&self) -> Result<(), GpuError> {
        self.inner().queue.submit([]);
        self.wait()
    }

    /// Reads the slice back; waits for everything submitted before.
    pub fn read(&self, slice: &Slice) -> Result<Vec<u8>, GpuError> {
        self.read_many(&[slice]).map(|mut parts| parts.swap_remove(0))
    }

    /// Reads several slices back with one wait.
    pub fn read_many(&self, slices: &[&Slice]) -> Result<Vec<Vec<u8>>, GpuError> {
        let inner = self.inner();
        let mut encoder = inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let staging: Vec<wgpu::Buffer> = slices
            .iter()
            .map(|slice| {
                let buffer = inner.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("read back"),
                    size: slice.bytes,
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                encoder.copy_buffer_to_buffer(&slice.buffer, slice.offset, &buffer, 0, slice.bytes);
                buffer
            })
            .collect();
        inner.queue.submit([encoder.finish()]);
        for buffer in &staging {
            buffer.map_async(wgpu::MapMode::Read, .., |_| {});
        }
        self.wait()?;
        let adapter = || self.facts().id();
        staging
            .iter()
            .map(|buffer| {
                let view = buffer
                    .get_mapped_range(..)
                    .map_err(|e| GpuError::Internal { adapter: adapter(), cause: e.to_string() })?;
                Ok(view.to_vec())
            })
            .collect()
    }
}
