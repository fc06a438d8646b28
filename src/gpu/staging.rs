//! Host memory that the device copies from, a few pieces in turn: while one is copied, the next is filled. Unlike writes
//! through the queue this costs neither fresh memory per write nor a wait.

use std::collections::VecDeque;
use std::ops::Range;

use crate::gpu::{Gpu, GpuError, Slice, Texture};

/// Pieces in turn.
const PIECES: usize = 3;

/// Pieces of host memory in turn.
pub struct Staging<'g> {
    gpu: &'g Gpu,
    pieces: VecDeque<Piece>,
}

/// A piece that is the host's.
pub struct Piece {
    buffer: wgpu::Buffer,
    /// The submission that copied from it last.
    copied: Option<wgpu::SubmissionIndex>,
    /// For errors.
    adapter: String,
}

/// What becomes of a filled piece.
pub struct Copies<'p> {
    encoder: wgpu::CommandEncoder,
    buffer: &'p wgpu::Buffer,
}

impl<'g> Staging<'g> {
    /// Allocates nothing yet.
    pub fn new(gpu: &'g Gpu) -> Staging<'g> {
        Staging { gpu, pieces: VecDeque::new() }
    }

    /// Lets `fill` write the first `bytes` of the next piece, once it is free, and submits the copies that `copy` asks for.
    pub fn send<E: From<GpuError>>(
        &mut self,
        bytes: u64,
        fill: impl FnOnce(&Piece) -> Result<(), E>,
        copy: impl FnOnce(&mut Copies<'_>),
    ) -> Result<(), E> {
        let mut piece = self.next(bytes)?;
        let inner = self.gpu.inner();
        fill(&piece)?;
        piece.buffer.unmap();
        let encoder = inner.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut copies = Copies { encoder, buffer: &piece.buffer };
        copy(&mut copies);
        let commands = copies.encoder.finish();
        piece.copied = Some(inner.queue.submit([commands]));
        piece.buffer.map_async(wgpu::MapMode::Write, .., |_| {});
        self.gpu.check()?;
        self.pieces.push_back(piece);
        Ok(())
    }

    /// The piece that has waited for longest, mapped; a new one as long as there are few, or when it is too small.
    fn next(&mut self, bytes: u64) -> Result<Piece, GpuError> {
        if self.pieces.len() >= PIECES
            && let Some(mut piece) = self.pieces.pop_front()
        {
            if let Some(copied) = piece.copied.take() {
                self.gpu.wait_for(copied)?;
            }
            if piece.buffer.size() >= bytes {
                return Ok(piece);
            }
        }
        let buffer = self.gpu.allocate("staging", bytes, || {
            self.gpu.inner().device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: bytes.next_multiple_of(wgpu::MAP_ALIGNMENT),
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            })
        })?;
        Ok(Piece { buffer, copied: None, adapter: self.gpu.facts().id() })
    }
}

impl Piece {
    /// A part of it to write, by any thread. The range is new, its start a multiple of 8, its length one of 4 and not 0.
    pub fn part(&self, range: Range<usize>) -> Result<wgpu::BufferViewMut, GpuError> {
        let part = self.buffer.get_mapped_range_mut(range.start as u64..range.end as u64);
        part.map_err(|e| GpuError::Internal { adapter: self.adapter.clone(), cause: e.to_string() })
    }
}

impl Copies<'_> {
    /// Copies `bytes`, a multiple of 4, from offset `from` of the piece to offset `at` of the slice.
    pub fn to_slice(&mut self, from: u64, to: &Slice, at: u64, bytes: u64) {
        self.encoder.copy_buffer_to_buffer(self.buffer, from, &to.buffer, to.offset + at, bytes);
    }

    /// Copies texels from offset `from` of the piece, a multiple of a texel, to those from `first` on.
    pub fn to_texture(&mut self, from: u64, to: &Texture, first: u64, texels: u64) {
        let mut from = from;
        for region in to.regions(first, texels) {
            self.encoder.copy_buffer_to_texture(
                wgpu::TexelCopyBufferInfo {
                    buffer: self.buffer,
                    layout: wgpu::TexelCopyBufferLayout {
                        offset: from,
                        bytes_per_row: Some((Texture::WIDTH * Texture::TEXEL_BYTES) as u32),
                        rows_per_image: None,
                    },
                },
                to.at(&region),
                region.extent(),
            );
            from += region.texels() * Texture::TEXEL_BYTES;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, GpuOptions};

    /// More pieces than there are in turn, some larger than the ones before.
    #[test]
    fn pieces_arrive_whole_and_in_order() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
        let to = gpu.buffer("target", 40_000).expect("small");
        let mut staging = Staging::new(&gpu);
        let mut want = Vec::new();
        for (i, n) in [400usize, 12, 4000, 8, 16_000, 4, 256, 1024].into_iter().enumerate() {
            let data: Vec<u8> = (0..n).map(|k| (k * 7 + i * 31) as u8).collect();
            let (at, skip) = (want.len() as u64, 8);
            let fill = |piece: &Piece| {
                piece.part(skip..skip + n)?.copy_from_slice(&data);
                Ok::<(), GpuError>(())
            };
            let bytes = (n + skip) as u64;
            staging
                .send(bytes, fill, |copies| copies.to_slice(skip as u64, &to, at, n as u64))
                .expect("sent");
            want.extend_from_slice(&data);
        }
        let got = gpu.read(&to).expect("read");
        assert_eq!(got[..want.len()], want[..]);
        assert!(got[want.len()..].iter().all(|byte| *byte == 0));
    }
}
