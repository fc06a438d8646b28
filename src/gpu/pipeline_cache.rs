//! Compiled pipelines as bytes, so that the next process need not compile them again. Of wgpu's backends only
//! Vulkan has that; many drivers keep a cache of their own as well. What is damaged or from elsewhere is not used.

use std::sync::{Mutex, PoisonError};

use crate::gpu::Gpu;

/// The driver's cache, and the hash of what is kept of it already.
pub(super) type Pipelines = (wgpu::PipelineCache, Mutex<Option<u64>>);

/// What the bytes begin with; then comes [`hash`] of the rest.
const MAGIC: [u8; 8] = *b"anygpuPC";

impl Gpu {
    /// Pipelines compiled from now on are looked up in and added to a cache that begins with `kept`, which
    /// [`Gpu::pipelines_to_keep`] gave earlier. To be called once, before anything is compiled. Tells whether `kept` is
    /// accepted: it is not when it is damaged, from another adapter or driver, or when this adapter has no such cache.
    pub fn use_pipelines(&self, kept: Option<&[u8]>) -> bool {
        if !self.inner().device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return false;
        }
        let kept = kept.and_then(unwrap);
        let accepted = kept.and_then(|(hash, data)| Some((hash, self.pipeline_cache(Some(data))?)));
        let (hash, cache) = match accepted {
            Some((hash, cache)) => (Some(hash), Some(cache)),
            None => (None, self.pipeline_cache(None)),
        };
        let fresh = cache.is_some_and(|cache| self.inner().pipelines.set((cache, Mutex::new(hash))).is_ok());
        fresh && hash.is_some()
    }

    /// The cache's bytes, to be kept; `None` when there is no cache, and when it is as [`Gpu::use_pipelines`] got it or as
    /// this returned it last.
    pub fn pipelines_to_keep(&self) -> Option<Vec<u8>> {
        let (cache, known) = self.inner().pipelines.get()?;
        let data = cache.get_data()?;
        let hash = hash(&data);
        let before = known.lock().unwrap_or_else(PoisonError::into_inner).replace(hash);
        (before != Some(hash)).then(|| [&MAGIC[..], &hash.to_le_bytes(), &data].concat())
    }

    /// `None` when wgpu refuses the data, or there is no memory.
    fn pipeline_cache(&self, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
        let device = &self.inner().device;
        let memory = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let rules = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor =
            wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: data.is_none() };
        // SAFETY: the hash tells that the data are what `get_data` returned, whoever has them since; wgpu compares the
        // adapter and the driver's own key, drivers compare theirs.
        #[expect(unsafe_code, reason = "wgpu cannot know where the data come from")]
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        let refused = [rules, memory].map(|scope| pollster::block_on(scope.pop()).is_some());
        (refused == [false; 2]).then_some(cache)
    }
}

/// (hash, data) of bytes as they were kept; `None` when they are damaged.
fn unwrap(kept: &[u8]) -> Option<(u64, &[u8])> {
    let (magic, rest) = kept.split_first_chunk()?;
    let (found, data) = rest.split_first_chunk()?;
    let hash = hash(data);
    (*magic == MAGIC && u64::from_le_bytes(*found) == hash).then_some((hash, data))
}

/// Against damage, not against malice: whoever may write a user's cache may run programs there anyway. FNV-1a, eight
/// bytes at a time.
fn hash(data: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325 ^ data.len() as u64;
    for chunk in data.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        state = (state ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::compose::{Access, KernelSpec, Shader};
    use crate::gpu::graph::State;
    use crate::gpu::{Extent, GpuOptions, Graph, adapters};

    const HEADER: usize = MAGIC.len() + 8;

    static TWICE: KernelSpec = KernelSpec {
        name: "twice",
        wgsl: "struct Params { n: u32 }\n@group(0) @binding(0) var<storage, read_write> y: array<u32>;
            @compute @workgroup_size(1) fn main() { y[0] = 2u * params.n; }",
        bindings: &[("y", Access::Write)],
        params: &["n"],
    };

    fn works(gpu: &Gpu) {
        let shader = Shader {
            spec: &TWICE,
            consts: vec![],
            snippets: vec![],
            bound_as: vec![],
            f16: false,
            subgroups: false,
        };
        let y = gpu.buffer("y", 16).expect("small");
        let step = gpu.step("twice", &shader, &[&y], 21u32, [Extent::Fixed(1); 3]).expect("valid");
        gpu.run(&Graph::new(vec![step]), State::default()).expect("runs");
        assert_eq!(gpu.read(&y).expect("read")[0], 42);
    }

    fn wrap(data: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &hash(data).to_le_bytes(), data].concat()
    }

    #[test]
    fn pipelines_are_kept_and_whatever_is_damaged_or_foreign_is_harmless() {
        let adapters = adapters();
        assert!(!adapters.is_empty(), "no adapter: `make test` installs a software one");
        for i in 0..adapters.len() {
            let open = || {
                let adapter = super::super::adapters().swap_remove(i);
                Gpu::open_adapter(adapter, GpuOptions::default(), String::new()).expect("device")
            };
            let first = open();
            assert!(!first.use_pipelines(None));
            works(&first);
            let Some(kept) = first.pipelines_to_keep() else {
                assert_ne!(first.facts().backend, "vulkan", "Vulkan has pipeline caches");
                let other = open();
                assert!(!other.use_pipelines(Some(&wrap(b"of another adapter"))));
                works(&other);
                continue;
            };
            println!("{}: {} bytes", first.facts().id(), kept.len());
            assert_eq!(first.pipelines_to_keep(), None, "nothing new");
            let second = open();
            assert!(second.use_pipelines(Some(&kept)), "accepted");
            works(&second);
            let data = &kept[HEADER..];
            let spoilt = |at: usize, bit: u8| {
                let mut spoilt = kept.clone();
                spoilt[at] ^= bit;
                spoilt
            };
            // wgpu's own header: magic, versions, adapter, driver's key. Right by our hash, foreign by wgpu.
            let foreign = |at: usize| {
                let mut data = data.to_vec();
                data[at] ^= 1;
                wrap(&data)
            };
            let bad = [
                vec![],
                kept[..7].to_vec(),
                kept[..HEADER].to_vec(),
                kept[..kept.len() - 1].to_vec(),
                [&kept[..], &[0]].concat(),
                spoilt(0, 1),
                spoilt(9, 1),
                spoilt(HEADER + 3, 128),
                spoilt(kept.len() - 1, 4),
                vec![0xA5; 1000],
                wrap(&[]),
                wrap(&[0xA5; 1000]),
                wrap(&data[..data.len() - 1]),
                foreign(0),
                foreign(8),
                foreign(16),
                foreign(18),
                foreign(34),
            ];
            for (i, bad) in bad.iter().enumerate() {
                let gpu = open();
                assert!(!gpu.use_pipelines(Some(bad)), "case {i}");
                gpu.check().expect("no error is left behind");
                works(&gpu);
                assert!(gpu.pipelines_to_keep().is_some(), "case {i}: what replaces it");
            }
        }
    }
}
