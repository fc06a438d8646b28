//! anygpu runs language models on any GPU adapter, through WGSL compute shaders and wgpu. This page is the
//! architecture: what happens, where it stands in the code, and what must stay true.
//!
//! # Bird's eye
//!
//! A model file goes in, text comes out. Loading turns the file into a [`ModelSpec`](model::ModelSpec) (what the
//! model is, as data) and weights on the GPU; a [`Session`](engine::Session) turns both into a static list of
//! dispatches. One list runs one token, another runs a chunk of a prompt. Per token there is one compute pass and one
//! submit (more where a token takes longer than a tenth of a second), and only what the sampler needs is read back.
//!
//! ```no_run
//! use anygpu::engine::{GenerateOptions, LoadOptions, Model, Session, first_use};
//! use anygpu::gpu::{AdapterChoice, Gpu, GpuOptions};
//!
//! let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default())?;
//! first_use::begin(&gpu); // right results, and full speed: see "How a shader is made"
//! let model = Model::demo(&gpu, &LoadOptions::default())?;
//! let mut session = Session::new(&model)?;
//! let prompt = model.tokenizer()?.encode("Once upon a time", true, false)?;
//! session.generate(&prompt, &GenerateOptions::default(), &mut |text| {
//!     print!("{text}");
//!     true // false stops
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Data flow
//!
//! ```text
//! files ──▶ formats::Archive ─┬─▶ model::ModelSpec ──────────────┐
//!           (memory-mapped)   ├─▶ tokenizer: Tokenizer, template │
//!                             └─▶ quant: planes ─▶ engine::Weights
//!                                                     │
//!           gpu::Gpu (adapter, kernels) ──────────────┤
//!                                                     ▼
//!                      engine::forward: Graphs of Steps (kernels::*) ─▶ Session
//!                                                     │
//!   text ◀── DecodeStream ◀── choice, by kernels::sample or Sampler
//!
//! gpu::Gpu ──▶ probe ──▶ plan::Profile ─┐
//!              plan::Hardware ──────────┴▶ plan::Machine ─┐
//! model::ModelSpec ──▶ plan::Matrices ────────────────────┴▶ plan::Table ──▶ Choice ──▶ LoadOptions
//!                                                               │
//!              plan::History ◀── achieved ÷ predicted ◀── run
//! ```
//!
//! # Code map
//!
//! In the order of the data. A layer may use those named behind it, and nothing else (`tests/layers.rs`).
//!
//! | layer | what it does | uses |
//! |---|---|---|
//! | [`base`] | element types with their block sizes; what is known of an adapter, as plain data | |
//! | [`formats`] | Hugging Face folders and GGUF → named tensors with checked byte ranges, and metadata | base |
//! | [`quant`] | blocks ↔ numbers, transcoding, quantizing; the planes that kernels read | base |
//! | [`tokenizer`] | text ↔ ids, streamed decoding, stop strings, chat templates | base, formats |
//! | [`model`] | a family's configuration and tensor names → `ModelSpec`; published models' shapes by name | base, formats |
//! | [`plan`] | a machine's rates and a model's counts → memory, speed of light, predicted times, cost, a choice | base, quant, model |
//! | [`convert`] | a model's files → one GGUF file, quantized; needs no adapter | base, formats, quant, tokenizer, model, plan |
//! | [`gpu`] | adapters, devices, shader composition, pipelines, buffers, graphs; the only place that names wgpu | base |
//! | [`kernels`] | one file per kernel, named as its WGSL file (decode attention has two): parameters, variants, step, f64 reference, checks | base, quant, gpu |
//! | [`probe`] | an open device → its profile, measured with the kernels that run models | base, quant, plan, gpu, kernels |
//! | [`engine`] | loading, the memory sum, the order of operations, sessions, sampling, generation, perplexity, what quantizing costs; several sequences at once | all above but probe |
//! | [`mod@bench`] | whole steps, a grid of them against the planner, single kernels against the bandwidth | all above |
//! | `cli` | arguments in any spelling, progress, output; a file or a few per command | all above |
//!
//! What can be refused without a GPU is refused before one is opened: [`engine::Opened`] holds a model's files,
//! understood and checked, and becomes a model once there is an adapter. A panic of a library that reads files
//! is caught in one place, `tokenizer/guard.rs`; text from files reaches a terminal through one place,
//! `cli/printable.rs`.
//!
//! Beside `src`: `shaders/` (one entry point `main` per file; `shaders/shared/` holds pieces without one),
//! `examples/` with the demo model and how it was trained, `tests/`, and `.ci/` with the gates of a change.
//!
//! ## Where to begin
//!
//! - A new model family: a file in [`model`] that fills a `ModelSpec`. There is one forward pass, [`engine::forward`].
//! - A new weight format: [`base::DType`], [`quant`], and one `shaders/shared/load_*.wgsl`.
//! - A kernel: its `.wgsl`, its `.rs` with parameters, reference and checks, and [`kernels::ALL`].
//! - A wrong answer: `anygpu verify`, then [`kernels::check`].
//! - A wrong prediction: `anygpu bench plan`, then [`plan::machine`], which prices every step, and [`probe`].
//!
//! ## How a shader is made
//!
//! [`gpu::compose`] concatenates: directives, constants of the variant, pieces, the kernel file. A variant is a choice of
//! files that define the same functions (sum through subgroups or through workgroup memory; load Q4_0 or F16), so every
//! composed text is ordinary WGSL. Parameters come as an immediate or as a uniform buffer; a kernel does not notice.
//! [`kernels::variants`] chooses by adapter and leaves out what failed verification there. What [`probe::tune`] found faster
//! ([`engine::tuned`] keeps it) goes before those defaults, by name: a name that the adapter cannot run is no choice.
//!
//! A step of a graph names its kernel; pipelines come later ([`gpu::Gpu::compile`]): a session compiles those of prompts
//! together and on all cores, those of steps meanwhile, and any other when it first runs. The time is counted apart from
//! loading. Where the driver hands out what it compiled (Vulkan), that is kept for the next process ([`engine::pipelines`]).
//!
//! wgpu puts checks into shaders: indices are clamped, loops bounded, divisors tested. Our kernels do without, because they
//! compare every index that comes from data with a size themselves; unclamped loops unroll, which is much of the speed on
//! software adapters. But only where [`engine::first_use`] found them right in that form, on this adapter and driver and with
//! these kernels, of which `build.rs` takes a hash. Each pipeline is verified before a session first runs it, by checks of
//! its very variant: whoever adds a step to a graph says which ([`engine::steps::Steps`]). The kernels of prompts come
//! before the first word, those of steps after it. Elsewhere ([`gpu::Gpu::leave_checks_out`]), for shaders that are not in
//! [`kernels::ALL`], and with [`gpu::GpuOptions::checked`] (`--checked`), wgpu's checks stay.
//!
//! ## How a token runs
//!
//! [`engine::forward`] lists five dispatches per layer: Q K V as one matrix, attention with RoPE and the KV write, output
//! projection onto the residual stream, gate and up as one matrix, down projection. Over a long context attention is split
//! between workgroups, and a sixth joins their parts ([`kernels::attend_merge`]). Norms are done by the matrix that reads
//! their result, the activation by the one that writes its input ([`kernels::matvec::Fused`]). Around the layers the
//! embedding, the output matrix and the greedy choice. What changes from token to token stands in one
//! small uniform buffer ([`gpu::graph::State`]), so the list itself never changes. Asked to ([`base::Activations`]), the matrix
//! kernel rounds what it reads to bytes on the way and multiplies bytes, where that pays. Prompts take the same operations with
//! norms, RoPE and activations apart, a chunk of tokens at a time, and matrices by tiles in workgroup memory or, on CPU
//! adapters that like it better, a few tokens at a time ([`kernels::variants::Many`]). A matrix that is larger than the
//! adapter can bind is several parts by rows, each with a dispatch of its own; how parts are stored, as rows in buffers or as
//! tiles in textures, is the adapter's matter, too ([`kernels::weights::Store`]). [`engine::Batch`] runs the same list for one
//! token of each of several sequences: the weights are read once for all of them, every sequence has a KV cache and a position
//! of its own.
//!
//! Text is generated without waiting ([`engine::ahead`]): the choice, greedy or sampled ([`kernels::sample`]), with a penalty
//! for what was said lately ([`kernels::penalize`]) or without, is fed to the next step on the GPU ([`kernels::advance`]), a few
//! steps are submitted before the first is read, short ones up to eight together, and the host reads along. Samplers that need
//! more than the 64 best, or look back over more than 256 tokens, run one step at a time on the host. A graph notes how long it
//! took, and what is longer than a tenth of a second is cut into several submits ([`gpu::Graph::took`]): drivers take a GPU for
//! hung that works on one for seconds, and a screen stands still meanwhile. While a chat waits, [`engine::heartbeat`] keeps a
//! Mac from taking weights away.
//!
//! ## How a speed is predicted
//!
//! One form, [`plan::form`], gives the seconds of a step: submit + dispatches + √(bytes² + arithmetic²) of the matrices +
//! latency per position + KV bytes. Its constants come from a data sheet ([`plan::hardware`]), from a fit to published
//! measurements ([`plan::fit`], with which the form is tested), or from a profile: there every step of the forward pass
//! is priced with what its kernel was measured to cost, per dispatch and per byte ([`plan::machine`]). Readings come
//! in rounds of few short samples, of which the fastest count ([`probe::Clock`]), because machines are shared; `bench plan`
//! takes them in turn with what it holds against them ([`probe::Probe`]). What runs achieve corrects
//! later predictions ([`plan::history`]), visibly.
//!
//! # What must stay true
//!
//! 1. Data flows one way through the layers. `formats`, `quant`, `tokenizer`, `model` and `plan` know neither GPU nor threads nor clock.
//! 2. Everything runs within WebGPU's default limits, without `shader-f16`, subgroups or immediates; these only make it
//!    faster. Barriers stand in uniform control flow only.
//! 3. GPU work is data ([`gpu::Graph`]) before it is commands. Every [`gpu::Step`] states the bytes of weights that it must
//!    move and what it reads of KV caches: rates in reports are computed from that.
//! 4. A kernel, its parameters, its f64 reference and its checks change together. `tests/shaders.rs` compares WGSL and Rust
//!    by reflection, `tests/kernels.rs` the results.
//! 5. No number from a file sizes an allocation unchecked, and nothing from a file or a user panics: errors say what,
//!    where, expected and found. The memory sum is made before anything is loaded.
//! 6. A file is streamed to the GPU in pieces; the weights never stand in the process's own memory a second time.
//! 7. A model family is data, not a second forward pass.
//! 8. The same seed, adapter and build give the same text.
//! 9. The planner counts what the engine does: dispatches, bytes, memory (`tests/planner_engine.rs`). A figure that was
//!    not measured is an error or says so; none is guessed silently.
//! 10. Only `cli` writes for people; only `main.rs` ends the process; `unsafe` stands only where files are mapped,
//!     where the APIs below wgpu are asked for the size of device memory, where pipelines that an earlier process kept
//!     are taken over, and where verified kernels are compiled without runtime checks. So a new kernel tests every index
//!     that comes from an id or from a buffer.

pub mod base;
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
pub mod convert;
pub mod engine;
pub mod formats;
pub mod gpu;
pub mod kernels;
pub mod model;
pub mod plan;
pub mod probe;
pub mod quant;
pub mod tokenizer;
