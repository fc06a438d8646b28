//! Textures as another way to read plain data. Software adapters load a texel of 16 bytes at once, but 16 bytes of a storage
//! buffer word by word, each with a test of its bounds. As storage textures, not sampled ones: those go through the
//! arithmetic of mip levels.

use crate::gpu::buffer::{Bind, Resource};
use crate::gpu::{Gpu, GpuError};

/// Most rows that are written in one go.
const PIECE_ROWS: u64 = 1024;

/// Texels of 16 bytes (`vec4<u32>`) in one row after the other of [`Texture::WIDTH`]. Shaders compute with that.
#[derive(Clone, Debug)]
pub struct Texture {
    texture: wgpu::Texture,
    view: wgpu::TextureView,
}

impl Texture {
    /// Texels in a row.
    pub const WIDTH: u64 = 1024;
    /// Of a texel.
    pub(super) const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Uint;
    /// Bytes of a texel.
    pub const TEXEL_BYTES: u64 = 16;
}

impl Texture {
    /// `n` texels from `first` on as rectangles: the rest of a row, whole rows, the beginning of one.
    pub(super) fn regions(&self, first: u64, n: u64) -> impl Iterator<Item = Region> + use<> {
        let (mut at, end) = (first, first + n);
        std::iter::from_fn(move || {
            let (x, y) = (at % Texture::WIDTH, at / Texture::WIDTH);
            let left = end - at;
            let (columns, rows) = match x {
                0 if left >= Texture::WIDTH => (Texture::WIDTH, (left / Texture::WIDTH).min(PIECE_ROWS)),
                _ => (left.min(Texture::WIDTH - x), 1),
            };
            at += columns * rows;
            (left > 0).then_some(Region { x, y, columns, rows })
        })
    }

    /// Where a region lies, as wgpu wants it.
    pub(super) fn at(&self, region: &Region) -> wgpu::TexelCopyTextureInfo<'_> {
        wgpu::TexelCopyTextureInfo {
            texture: &self.texture,
            mip_level: 0,
            origin: wgpu::Origin3d { x: region.x as u32, y: region.y as u32, z: 0 },
            aspect: wgpu::TextureAspect::All,
        }
    }
}

/// A rectangle of texels that follow one another.
pub(super) struct Region {
    x: u64,
    y: u64,
    columns: u64,
    rows: u64,
}

impl Region {
    pub(super) fn texels(&self) -> u64 {
        self.columns * self.rows
    }

    pub(super) fn extent(&self) -> wgpu::Extent3d {
        wgpu::Extent3d { width: self.columns as u32, height: self.rows as u32, depth_or_array_layers: 1 }
    }
}

/// Textures that a shader on this adapter may read.
pub(super) fn readable(adapter: &wgpu::Adapter, limits: &wgpu::Limits) -> u32 {
    let features = adapter.get_texture_format_features(Texture::FORMAT);
    let read = features.flags.contains(wgpu::TextureFormatFeatureFlags::STORAGE_READ_ONLY)
        && features.allowed_usages.contains(wgpu::TextureUsages::STORAGE_BINDING);
    if read { limits.max_storage_textures_per_shader_stage } else { 0 }
}

/// Rows of a texture that holds `rows`: no power of two. Mesa's software driver compiles a kernel once for textures
/// whose height is one and once for others, each time for seconds.
fn height(rows: u64) -> u64 {
    match rows.max(3) {
        rows if rows.is_power_of_two() => rows + 1,
        rows => rows,
    }
}

impl Bind for Texture {
    fn resource(&self) -> Resource<'_> {
        Resource::TextureView(&self.view)
    }
}

impl Gpu {
    /// Bytes of the largest texture; at most those of a binding, so that plans count parts rightly.
    pub fn max_texture_bytes(&self) -> u64 {
        let rows = u64::from(self.inner().device.limits().max_texture_dimension_2d);
        ((rows - 1) * Texture::WIDTH * Texture::TEXEL_BYTES).min(self.facts().max_binding_bytes)
    }

    /// A zeroed texture of at least `bytes`.
    pub fn texture(&self, what: &str, bytes: u64) -> Result<Texture, GpuError> {
        let rows = height(bytes.div_ceil(Texture::WIDTH * Texture::TEXEL_BYTES));
        let device = &self.inner().device;
        let limit = self.max_texture_bytes();
        if bytes > limit {
            let (adapter, what, hint) = (self.facts().id(), what.to_owned(), String::new());
            return Err(GpuError::TooLarge { adapter, what, bytes, limit, hint });
        }
        let texture = self.allocate(what, bytes, || {
            device.create_texture(&wgpu::TextureDescriptor {
                label: Some(what),
                size: wgpu::Extent3d {
                    width: Texture::WIDTH as u32,
                    height: rows as u32,
                    depth_or_array_layers: 1,
                },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: Texture::FORMAT,
                usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            })
        })?;
        let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
        Ok(Texture { texture, view })
    }

    /// Writes `data`, whole texels, from texel `first` on, in pieces that are flushed one by one so that staging memory stays
    /// bounded.
    pub fn write_texels(&self, to: &Texture, first: u64, data: &[u8]) -> Result<(), GpuError> {
        let mut rest = data;
        for region in to.regions(first, data.len() as u64 / Texture::TEXEL_BYTES) {
            let (piece, later) = rest.split_at((region.texels() * Texture::TEXEL_BYTES) as usize);
            let layout = wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some((region.columns * Texture::TEXEL_BYTES) as u32),
                rows_per_image: None,
            };
            self.inner().queue.write_texture(to.at(&region), piece, layout, region.extent());
            rest = later;
            if region.rows == PIECE_ROWS {
                self.flush()?;
            }
        }
        self.flush()
    }
}
