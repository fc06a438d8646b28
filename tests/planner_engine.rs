//! The planner counts what the engine does: dispatches, bytes of weights, memory; and several sequences decoded
//! together give what each gives alone.

use anygpu::base::DType;
use anygpu::engine::{Batch, LoadOptions, Model, Session};
use anygpu::gpu::graph::State;
use anygpu::kernels::kv::KvType;
use anygpu::model::{ModelSpec, shapes};
use anygpu::plan::machine::{self, Load};
use anygpu::plan::memory::{self, Sizes};
use anygpu::plan::weights::Matrices;

#[path = "common/engine.rs"]
#[expect(dead_code, reason = "shared with tests that use all of it")]
mod engine;

/// A small shape of every family, so that biases, QK norms and untied outputs occur.
fn small(name: &str) -> ModelSpec {
    let mut config = shapes::config(name).expect("a known shape");
    for (key, value) in [
        ("hidden_size", 256),
        ("intermediate_size", 512),
        ("num_hidden_layers", 3),
        ("num_attention_heads", 4),
        ("num_key_value_heads", 2),
        ("head_dim", 64),
        ("vocab_size", 1000),
        ("max_position_embeddings", 128),
        ("max_window_layers", 3),
    ] {
        config[key] = value.into();
    }
    anygpu::model::hf::parse(&config, &|_| true).expect("a valid configuration")
}

#[test]
fn the_planner_counts_what_the_engine_does() {
    let gpu = engine::gpu();
    for name in ["Llama-2-7B", "SmolLM2-135M", "Qwen2.5-0.5B", "Qwen3-0.6B"] {
        for quant in [DType::F16, DType::Q4K, DType::Q4_0] {
            let spec = small(name);
            let options = LoadOptions { quant: Some(quant), chunk: Some(32), ..LoadOptions::default() };
            let model =
                Model::random(&gpu, spec.clone(), &options, &mut |_, _| true).expect("random weights");
            let matrices = Matrices::of(&spec, &|_| DType::F16, Some(quant));
            let load = Load { spec: &spec, matrices: &matrices, kv: KvType::F16, chunk: 32 };
            for sequences in [1, 3, 8, 16] {
                let batch = Batch::new(&model, sequences).expect("a batch");
                let graph = batch.step_graph();
                let what = format!("{name} {quant} × {sequences}");
                assert_eq!(
                    machine::decode_dispatches(&load) as usize,
                    graph.dispatches(batch.state()),
                    "{what}"
                );
                let weights = matrices.active_bytes();
                assert_eq!(model.step_weight_bytes(), weights, "{what}");
                // Beside the matrices the engine states norms, biases and the embedded row.
                let table = matrices.embedding.unwrap_or(matrices.output);
                let row = table.bytes().expect("whole blocks") / table.rows as u64;
                assert_eq!(graph.bytes(), weights + 4 * matrices.vector_floats + row, "{what}");
                let kv = memory::kv_bytes_per_token(&spec, KvType::F16);
                let stated: u64 = graph.steps.iter().map(|step| step.kv.per_position).sum();
                assert_eq!(stated, kv, "{what}");
                // And reads them once: no more workgroups for all sequences than for one.
                let one = State { n_tokens: 1, ..batch.state() };
                let mut products = graph.steps.iter().filter(|step| step.kernel.label.starts_with("mat"));
                assert!(products.clone().count() > 4 * spec.n_layers, "{what}");
                assert!(products.all(|step| step.groups(batch.state()) == step.groups(one)), "{what}: again");
                // Of parameters there is another, where adapters have no immediates.
                assert!(graph.steps.iter().all(|step| step.kernel.n_bindings <= 6), "{what}: bindings");
            }
            let mut batch = Batch::new(&model, 3).expect("a batch");
            batch.feed(1, &[1, 2, 3, 4]).expect("fed");
            let (graph, state) = (batch.step_graph(), batch.state());
            // The next token sees itself too.
            let kv = (1 + 5 + 1) * memory::kv_bytes_per_token(&spec, KvType::F16);
            assert_eq!(graph.bytes_moved(state), graph.bytes() + kv, "{name} {quant}");
            let sizes = Sizes { context: 128, chunk: 32, sequences: 1, kv: KvType::F16 };
            assert_eq!(memory::needs(&spec, &matrices, sizes), model.needs(), "{name} {quant}");
        }
        for kv in KvType::ALL {
            let spec = small(name);
            let options = LoadOptions { kv, chunk: Some(32), ..LoadOptions::default() };
            let model =
                Model::random(&gpu, spec.clone(), &options, &mut |_, _| true).expect("random weights");
            let matrices = Matrices::of(&spec, &|_| DType::F16, None);
            let sizes = Sizes { context: 128, chunk: 32, sequences: 1, kv };
            assert_eq!(memory::needs(&spec, &matrices, sizes).kv, model.needs().kv, "{name} {}", kv.name());
        }
    }
}

#[test]
fn sequences_decoded_together_say_what_each_says_alone() {
    let gpu = engine::gpu();
    let options = LoadOptions { kv: KvType::F32, ..LoadOptions::default() };
    let model = Model::demo(&gpu, &options).expect("the demo model");
    let prompts: [&[u32]; 3] = [&[5, 6, 7], &[100, 200, 300, 400, 500, 600, 700], &[42]];
    const TOKENS: usize = 12;
    let alone: Vec<Vec<u32>> = prompts
        .iter()
        .map(|prompt| {
            let mut session = Session::new(&model).expect("session");
            session.feed(prompt, anygpu::engine::Logits::Last, &mut |_| true).expect("fed");
            let mut ids = vec![session.greedy().expect("a choice")];
            while ids.len() < TOKENS {
                ids.push(session.step_greedy(ids[ids.len() - 1]).expect("a step"));
            }
            ids
        })
        .collect();
    let mut batch = Batch::new(&model, prompts.len()).expect("a batch");
    let mut last: Vec<u32> =
        prompts.iter().enumerate().map(|(i, prompt)| batch.feed(i, prompt).expect("fed")).collect();
    assert_eq!(batch.positions(), [3, 7, 1], "every sequence has its own position");
    let mut together: Vec<Vec<u32>> = last.iter().map(|id| vec![*id]).collect();
    while together[0].len() < TOKENS {
        last = batch.step(&last).expect("a step");
        together.iter_mut().zip(&last).for_each(|(ids, id)| ids.push(*id));
    }
    assert_eq!(together, alone);
    assert_ne!(together[0], together[1], "different prompts: a mix-up would show");
}

#[test]
fn impossible_batches_are_refused() {
    let gpu = engine::gpu();
    let model = Model::demo(&gpu, &LoadOptions::default()).expect("the demo model");
    assert!(Batch::new(&model, 0).is_err());
    assert!(Batch::new(&model, 17).is_err());
    let mut batch = Batch::new(&model, 2).expect("a batch");
    assert!(batch.step(&[1]).is_err(), "one token for two sequences");
    assert!(batch.step(&[1, 1_000_000]).is_err(), "a token beyond the vocabulary");
    assert!(batch.feed(2, &[1]).is_err(), "a sequence that is not there");
    assert!(batch.feed(0, &[]).is_err(), "nothing");
    assert_eq!(batch.positions(), [0, 0], "what is refused changes nothing");
    batch.rewind(model.sizes().context);
    assert!(batch.step(&[1, 1]).is_err(), "a full cache");
}
