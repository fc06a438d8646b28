//! [`Model`]: a model on a device, ready for sessions.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::base::{Activations, AdapterKind, DType};
use crate::engine::EngineError;
use crate::engine::forward::Sizes;
use crate::engine::key_range;
use crate::engine::loader::Loader;
use crate::engine::memory::{self, Needs};
use crate::engine::opened::{self, Opened};
use crate::engine::random::Random;
use crate::engine::weights::Weights;
use crate::formats::{Archive, Metadata};
use crate::gpu::{Gpu, Staging};
use crate::kernels::kv::KvType;
use crate::kernels::weights::{Part, Store};
use crate::model::ModelSpec;
use crate::plan::memory as plan_memory;
use crate::plan::weights::{Matrices, output_type};
use crate::tokenizer::{ChatTemplate, Tokenizer, TokenizerError};

/// Context when none is asked for, if the model was trained for more.
pub const DEFAULT_CONTEXT: usize = 4096;
/// Most prompt tokens per run.
pub const MOST_CHUNK: usize = 4096;
/// Seed of weights without files: the same numbers everywhere.
const RANDOM_SEED: u32 = 42;

/// How to load a model.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Type for float weights; `None` keeps what the file has.
    pub quant: Option<DType>,
    /// Positions of a session's KV cache; `None`: what the model was trained for, at most
    /// [`DEFAULT_CONTEXT`].
    pub context: Option<usize>,
    /// Element type of the KV cache.
    pub kv: KvType,
    /// How the matrices of decoding steps read activations: rounded is faster on some adapters, and a little less exact.
    pub activations: Activations,
    /// Prompt tokens per run; `None`: by adapter.
    pub chunk: Option<usize>,
    /// Pretend that the adapter has this many bytes.
    pub memory: Option<u64>,
    /// Allow more positions than the model was trained for: for measuring speed only.
    pub stretch: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            quant: None,
            context: None,
            kv: KvType::F16,
            activations: Activations::F32,
            chunk: None,
            memory: None,
            stretch: false,
        }
    }
}

/// A model on a device.
pub struct Model {
    gpu: Gpu,
    spec: ModelSpec,
    weights: Weights,
    tokenizer: Result<Tokenizer, TokenizerError>,
    template: Option<ChatTemplate>,
    /// `None` for random weights.
    metadata: Option<Metadata>,
    sizes: Sizes,
    needs: Needs,
    store: Store,
    notices: Vec<String>,
    load_time: Duration,
}

/// Files of the demo model: name and contents.
pub const DEMO_FILES: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../../examples/demo-model/model/config.json")),
    ("generation_config.json", include_bytes!("../../examples/demo-model/model/generation_config.json")),
    ("tokenizer.json", include_bytes!("../../examples/demo-model/model/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../../examples/demo-model/model/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../../examples/demo-model/model/model.safetensors")),
];

impl Model {
    /// Loads a model file or folder. `progress` gets (bytes done, bytes in all) and returns false to cancel.
    pub fn load(
        gpu: &Gpu,
        path: &Path,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Model, EngineError> {
        Model::from_archive(gpu, Archive::open(path)?, options, progress)
    }

    /// Loads the model that is built into this library.
    pub fn demo(gpu: &Gpu, options: &LoadOptions) -> Result<Model, EngineError> {
        Model::from_archive(gpu, Archive::from_memory(DEMO_FILES)?, options, &mut |_, _| true)
    }

    /// Loads an opened archive.
    pub fn from_archive(
        gpu: &Gpu,
        archive: Archive,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Model, EngineError> {
        Model::from_opened(gpu, Opened::of(archive)?, options, progress)
    }

    /// Loads a model whose files were opened, and looked at, before the adapter was.
    pub fn from_opened(
        gpu: &Gpu,
        opened: Opened,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Model, EngineError> {
        let started = Instant::now();
        let Opened { archive, spec, tokenizer, template, notices: noticed } = opened;
        let (kv, kv_notice) = key_range::cache_type(&archive, &spec, options.kv)?;
        let options = &LoadOptions { kv, ..options.clone() };
        let sizes = sizes(gpu, &spec, options)?;
        crate::engine::forward::check_cache(gpu, &spec, sizes)?;
        let needs = memory::needs(&archive, &spec, options.quant, sizes)?;
        memory::check(&needs, memory::available(gpu.facts(), options.memory).as_ref(), gpu.facts())?;
        let mut notices = notices(&archive, &spec, options);
        notices.extend(kv_notice);
        notices.extend(noticed);
        let total: u64 = (spec.expected_tensors().iter())
            .filter_map(|(name, _)| archive.tensors.get(*name))
            .map(|tensor| tensor.range.len() as u64)
            .sum();
        let mut done = 0;
        let mut report = |bytes: u64| {
            done += bytes;
            progress(done, total)
        };
        let staging = Staging::new(gpu);
        let mut loader =
            Loader { archive: &archive, gpu, quant: options.quant, staging, progress: &mut report };
        let weights = Weights::load(&mut loader, &spec)?;
        gpu.flush()?;
        let metadata = Some(archive.metadata);
        let (gpu, store, load_time) = (gpu.clone(), Store::of(gpu), started.elapsed());
        Ok(Model {
            gpu,
            spec,
            weights,
            tokenizer,
            template,
            metadata,
            sizes,
            needs,
            store,
            notices,
            load_time,
        })
    }

    /// A model of this shape with pseudo-random weights made on the GPU: computes at the speed of a real one,
    /// and nonsense. `options.quant` is the type of its weights, F16 when there is none.
    pub fn random(
        gpu: &Gpu,
        spec: ModelSpec,
        options: &LoadOptions,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Model, EngineError> {
        let started = Instant::now();
        let sizes = sizes(gpu, &spec, options)?;
        crate::engine::forward::check_cache(gpu, &spec, sizes)?;
        let matrices = Matrices::of(&spec, &|_| DType::F16, Some(options.quant.unwrap_or(DType::F16)));
        let needs = memory::needs_of(&spec, &matrices, sizes);
        memory::check(&needs, memory::available(gpu.facts(), options.memory).as_ref(), gpu.facts())?;
        let (mut done, total) = (0, matrices.bytes());
        let mut report = |bytes: u64| {
            done += bytes;
            progress(done, total)
        };
        let weights = Random::new(gpu, RANDOM_SEED, &mut report).weights(&spec, &matrices)?;
        let tokenizer = Err(TokenizerError::Missing { key: "tokenizer.json", model: "random" });
        let (gpu, store, load_time) = (gpu.clone(), Store::of(gpu), started.elapsed());
        let (template, metadata, notices) = (None, None, Vec::new());
        Ok(Model {
            gpu,
            spec,
            weights,
            tokenizer,
            template,
            metadata,
            sizes,
            needs,
            store,
            notices,
            load_time,
        })
    }

    /// Refuses to go on with weights that are stored as verification forbids by now.
    pub(super) fn check_store(&self) -> Result<(), EngineError> {
        match Store::of(&self.gpu) == self.store {
            true => Ok(()),
            false => Err(EngineError::StoredWrong { adapter: self.gpu.facts().id() }),
        }
    }

    /// The device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// What the model is.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Sizes of a session's buffers.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The memory sum.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Bytes of weights that one decode step reads.
    pub fn step_weight_bytes(&self) -> u64 {
        let layers = self.weights.layers.iter().flat_map(|l| [&l.qkv, &l.o, &l.gate_up, &l.down]);
        layers.chain([&self.weights.output]).flatten().map(Part::bytes).sum()
    }

    /// The type that most weights of the layers have.
    pub fn main_dtype(&self) -> DType {
        let mut bytes = std::collections::BTreeMap::<DType, u64>::new();
        let layers = self.weights.layers.iter().flat_map(|l| [&l.qkv, &l.o, &l.gate_up, &l.down]);
        layers.flatten().for_each(|part| *bytes.entry(part.dtype).or_default() += part.bytes());
        bytes.into_iter().max_by_key(|(_, n)| *n).map_or(DType::F32, |(dtype, _)| dtype)
    }

    /// Things worth telling the user, one line each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Time from opened files to weights on the device.
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// The tokenizer, or why there is none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, EngineError> {
        self.tokenizer.as_ref().map_err(opened::no_tokenizer)
    }

    /// The chat template, if the model has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// Sampling settings that the model's makers recommend (`generation_config.json`); true is 1, false 0.
    pub fn recommended(&self, key: &str) -> Option<f64> {
        opened::recommended(self.metadata.as_ref()?, key)
    }
}

/// Tokens of a prompt at once when no number is asked for.
pub fn default_chunk(kind: AdapterKind) -> usize {
    if kind == AdapterKind::Discrete { 256 } else { 64 }
}

/// Sizes of a session's buffers for these options.
pub(crate) fn sizes(gpu: &Gpu, spec: &ModelSpec, options: &LoadOptions) -> Result<Sizes, EngineError> {
    sizes_on(gpu.facts().kind, spec, options)
}

/// As [`sizes`], on an adapter of which only the kind is known.
pub(crate) fn sizes_on(
    kind: AdapterKind,
    spec: &ModelSpec,
    options: &LoadOptions,
) -> Result<Sizes, EngineError> {
    let context = options.context.unwrap_or(spec.max_context.min(DEFAULT_CONTEXT));
    let bad = |option, expected: String, found: usize| {
        Err(EngineError::BadOption { option, expected, found: found.to_string() })
    };
    if context == 0 || context > spec.max_context && !options.stretch {
        let trained = spec.max_context;
        return bad("--ctx", format!("1 to {trained}, the positions the model was trained for"), context);
    }
    let chunk = options.chunk.unwrap_or(default_chunk(kind));
    if !(1..=MOST_CHUNK).contains(&chunk) {
        return bad("--chunk", format!("1 to {MOST_CHUNK} tokens"), chunk);
    }
    let chunk = chunk.min(context);
    let logits = plan_memory::logits_rows(spec.vocab, chunk);
    Ok(Sizes { context, chunk, logits, kv: options.kv, activations: options.activations, sequences: 1 })
}

/// What is transcoded or quantized otherwise than asked.
fn notices(archive: &Archive, spec: &ModelSpec, options: &LoadOptions) -> Vec<String> {
    let mut kinds = std::collections::BTreeMap::new();
    for (name, shape) in spec.expected_tensors().iter().filter(|(_, shape)| shape.len() == 2) {
        let Some(info) = archive.tensors.get(*name) else { continue };
        let is_output = *name == spec.tensors.embedding || *name == spec.tensors.output;
        let quant = if is_output { options.quant.map(output_type) } else { options.quant };
        let target = super::loader::target(info.dtype, shape[1], quant, archive.bytes(info));
        if target.dtype != target.stored && Some(target.dtype) != quant {
            *kinds.entry((target.stored, target.dtype)).or_insert(0) += 1;
        }
    }
    let mut notices = file_notices(archive, spec);
    let transcoded = kinds.iter().map(|((stored, dtype), n)| {
        format!("{n} {stored} matrices are computed as {dtype} (next native type{})", growth(*stored, *dtype))
    });
    notices.extend(transcoded);
    let quantized = archive.tensors.values().any(|t| !t.dtype.is_float());
    if let (Some(quant), true) = (options.quant, quantized) {
        notices.push(format!("--quant {quant} applies to float weights; quantized ones stay as they are"));
    }
    notices
}

/// How much more memory a matrix takes in its other type, if it does.
fn growth(stored: DType, dtype: DType) -> String {
    let bits = |dtype: DType| dtype.block_bytes() as f64 * 8.0 / dtype.block_len() as f64;
    let times = bits(dtype) / bits(stored);
    if times > 1.05 { format!(", {times:.1} times the memory") } else { String::new() }
}

/// Where a Hugging Face folder's configuration and its tensors say different things.
fn file_notices(archive: &Archive, spec: &ModelSpec) -> Vec<String> {
    let Metadata::HuggingFace(folder) = &archive.metadata else { return Vec::new() };
    let mut notices = Vec::new();
    let stated = folder.config.get("tie_word_embeddings").and_then(|value| value.as_bool());
    if stated == Some(true) && !spec.is_tied() {
        notices.push(format!(
            "config.json says tie_word_embeddings, but a different {} is stored: both are used, as stored",
            spec.tensors.output
        ));
    }
    let class = folder.config.get("architectures").and_then(|list| list.get(0)?.as_str());
    if let Some(class) = class.filter(|class| *class != spec.architecture) {
        notices.push(format!(
            "architecture {} is computed as {}, by model_type",
            crate::base::quote::clip(class),
            spec.architecture
        ));
    }
    notices
}
