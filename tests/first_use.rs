//! Before a session runs a kernel, that very pipeline is verified: no other is compiled for it, and none runs without.

use std::collections::BTreeSet;

use anygpu::base::{Activations, DType};
use anygpu::engine::{
    Batch, EngineError, GenerateOptions, LoadOptions, Logits, Model, SamplerOptions, Session, first_use,
};
use anygpu::gpu::device::Fault;
use anygpu::gpu::{Gpu, GpuOptions, Graph, adapters};
use anygpu::kernels::kv::KvType;
use anygpu::kernels::matvec::Team;
use anygpu::kernels::variants::Variants;
use anygpu::kernels::weights::Store;
use anygpu::model::ModelSpec;
use anygpu::model::shapes;
use anygpu::model::spec::RopeStyle;

/// Changes nothing. Of a device with a fault nothing is kept.
const NONE: Fault = Fault { kernel: "", find: "", replace: "" };

/// Every adapter, as the program opens it, with this fault and without what earlier processes kept.
fn gpus(fault: Fault) -> impl Iterator<Item = Gpu> {
    let adapters = adapters();
    assert!(!adapters.is_empty(), "no adapter: `make test` installs a software one");
    adapters.into_iter().map(move |adapter| {
        let gpu = Gpu::open_adapter(adapter, GpuOptions::default(), String::new()).expect("a device");
        gpu.sabotage(fault);
        assert_eq!(first_use::begin(&gpu), first_use::Verdict::default());
        gpu
    })
}

/// One layer of this published model, with fewer tokens.
fn one_layer(name: &str) -> ModelSpec {
    let mut spec = shapes::find(name).expect("a published model");
    (spec.n_layers, spec.vocab) = (1, 300);
    spec.intermediate = 512;
    spec.tensors.layers.truncate(1);
    spec.sliding_layers.truncate(1);
    spec
}

fn labels(graphs: &[&Graph]) -> BTreeSet<String> {
    graphs.iter().flat_map(|graph| graph.kernels()).map(|kernel| kernel.label.clone()).collect()
}

/// Runs everything that a session runs, and several sequences together.
fn everything(model: &Model) {
    let gpu = model.gpu();
    let before = gpu.kernels_compiled();
    let mut session = Session::new(model).expect("a session");
    let graphs = session.graphs();
    let prompt = [&graphs.prefill, &graphs.head].into_iter().chain(&graphs.top).collect::<Vec<_>>();
    let mut expected = labels(&prompt);
    assert_eq!(gpu.verified(), expected, "{}: before the first word", gpu.facts().id());
    expected.extend(labels(&[&graphs.decode, &graphs.head_many]));
    let sampler = SamplerOptions { repeat_penalty: 1.1, seed: 3, ..SamplerOptions::default() };
    let options = GenerateOptions { sampler, max_tokens: Some(3), ..GenerateOptions::default() };
    if model.tokenizer().is_ok() {
        session.generate(&[5, 6, 7], &options, &mut |_| true).expect("generates");
    } else {
        session.feed(&[5, 6, 7], Logits::Last, &mut |_| true).expect("feeds");
        session.step_logits(8).expect("logits");
    }
    session.feed_all_logits(&[9, 10, 11], 0, &mut |_, _| {}).expect("logits of all");
    let mut batch = Batch::new(model, 3).expect("a batch");
    let chosen = (0..3).map(|i| batch.feed(i, &[5, 6]).expect("feeds")).collect::<Vec<_>>();
    batch.step(&chosen).expect("steps");
    expected.extend(labels(&[batch.step_graph()]));
    let mut verified = gpu.verified();
    verified.retain(|label| !CHOOSING.iter().any(|kernel| label.starts_with(kernel)));
    assert_eq!(verified, expected, "{}", gpu.facts().id());
    // Compiled ahead, and not run without a tokenizer.
    let idle = if model.tokenizer().is_ok() || !gpu.takes_threads() { 0 } else { 2 };
    assert_eq!(
        gpu.kernels_compiled() - before,
        gpu.verified().len() + idle,
        "{}: no others",
        gpu.facts().id()
    );
}

/// Kernels of samplers, which stand in no graph of the session.
const CHOOSING: [&str; 3] = ["sample[", "advance[", "penalize["];

#[test]
fn what_is_verified_is_what_runs() {
    for gpu in gpus(NONE) {
        everything(&Model::demo(&gpu, &LoadOptions::default()).expect("the demo model"));
    }
}

/// Other types, caches and heads: norms of q and k, biases, windows, heads of 64 and 128 in groups of 2, 3 and 7.
#[test]
fn so_it_is_for_other_models() {
    let [mut windowed, biased, mut interleaved] =
        ["Qwen3-0.6B", "Qwen2.5-0.5B", "SmolLM2-135M"].map(one_layer);
    (windowed.sliding_window, windowed.sliding_layers) = (Some(20), vec![true]);
    interleaved.rope.style = RopeStyle::Interleaved;
    let models = [
        (windowed, DType::Q4_0, KvType::F16, Activations::F32),
        (biased, DType::Q8_0, KvType::F32, Activations::Int8),
        (interleaved, DType::Q4_1, KvType::Q8_0, Activations::F32),
    ];
    for (spec, quant, kv, activations) in models {
        for gpu in gpus(NONE) {
            let (quant, context) = (Some(quant), Some(64));
            let options = LoadOptions { quant, kv, activations, context, ..LoadOptions::default() };
            let model = Model::random(&gpu, spec.clone(), &options, &mut |_, _| true);
            everything(&model.expect("random weights"));
        }
    }
}

/// The greedy text of the demo model, and what the session says.
fn text(gpu: &Gpu) -> Result<(Vec<u32>, Vec<String>), EngineError> {
    let model = Model::demo(gpu, &LoadOptions::default())?;
    let mut session = Session::new(&model)?;
    let sampler = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    let options = GenerateOptions { sampler, max_tokens: Some(6), ..GenerateOptions::default() };
    let done = session.generate(&[5, 6, 7, 8], &options, &mut |_| true)?;
    Ok((done.ids, session.take_notices()))
}

#[test]
fn what_computes_wrongly_does_not_write() {
    let (right, told) = text(&gpus(NONE).next().expect("an adapter")).expect("a text");
    assert!(told.is_empty(), "{told:?}");
    // The first is found after the first word, the second before it.
    for (kernel, find, replace, notice) in [
        ("attend_decode_subgroup", "* shrink + weight", "* shrink - weight", "not used"),
        (
            "glu",
            "act(x[begin])",
            "f32(1u / (params.inter - params.inter)) * act(x[begin])",
            "when shaders lack runtime checks",
        ),
    ] {
        for gpu in gpus(Fault { kernel, find, replace }) {
            // Mesa's GL divides by zero with and without them.
            if kernel == "glu" && gpu.facts().backend != "vulkan" {
                continue;
            }
            let runs = kernel != "attend_decode_subgroup" || Variants::of(&gpu).attention_subgroup.is_some();
            let (found, told) = text(&gpu).expect("another form is right");
            assert_eq!(found, right, "{}: {kernel}", gpu.facts().id());
            assert_eq!(told.iter().any(|told| told.contains(notice)), runs, "{}: {told:?}", gpu.facts().id());
        }
    }
}

/// Weights lie in the wrong way then: another load puts it right.
#[test]
fn weights_stored_for_a_kernel_that_fails_are_to_be_loaded_again() {
    let (right, _) = text(&gpus(NONE).next().expect("an adapter")).expect("a text");
    let fault =
        Fault { kernel: "matvec", find: "subgroupBroadcast(v, 0u)", replace: "-subgroupBroadcast(v, 0u)" };
    for gpu in gpus(fault) {
        let before = Variants::of(&gpu);
        let found = text(&gpu);
        if before.store == Store::Tiles && matches!(before.team, Team::Broadcast { .. }) {
            let error = found.expect_err("tiles are read wrongly");
            assert!(matches!(error, EngineError::StoredWrong { .. }), "{error}");
            assert_eq!(Store::of(&gpu), Store::Rows);
            assert_eq!(text(&gpu).expect("rows are read rightly").0, right);
        } else {
            assert_eq!(found.expect("a text").0, right, "{}", gpu.facts().id());
        }
    }
}
