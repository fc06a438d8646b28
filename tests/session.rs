//! Sessions on the demo model: chunks, the end of the context, split matrices, and what goes wrong.

#[path = "common/engine.rs"]
mod engine;

use std::time::{Duration, Instant};

use anygpu::base::{Activations, AdapterKind, DType};
use anygpu::engine::model::DEMO_FILES;
use anygpu::engine::{
    EngineError, FinishReason, GenerateOptions, LoadOptions, Logits, Model, SamplerOptions, Session,
};
use anygpu::formats::Archive;
use anygpu::gpu::graph::State;
use anygpu::gpu::{AdapterChoice, Gpu, GpuError, GpuOptions};
use anygpu::kernels::variants::Variants;
use engine::{exact, last_logits, max_difference};

fn f64s(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// Seeded token ids that need not make sense.
fn ids(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| 5 + i.wrapping_mul(2_654_435_761) % 2000).collect()
}

fn feed(session: &mut Session<'_>, ids: &[u32]) -> Result<(), EngineError> {
    session.feed(ids, Logits::Last, &mut |_| true)
}

#[test]
fn a_long_prompt_in_chunks_equals_token_by_token() {
    let gpu = engine::gpu();
    let ids = ids(300);
    let single = last_logits(&Model::demo(&gpu, &exact()).expect("model"), &ids, true);
    for chunk in [7, 64, 256] {
        let options = LoadOptions { chunk: Some(chunk), ..exact() };
        let model = Model::demo(&gpu, &options).expect("model");
        let worst = max_difference(&last_logits(&model, &ids, false), &f64s(&single));
        println!("chunks of {chunk}: {worst:.1e}");
        assert!(worst <= 2e-3, "chunks of {chunk}: off by {worst}");
        let other = last_logits(&model, &ids[..299], false);
        assert!(max_difference(&other, &f64s(&single)) > 2e-3, "another prompt gives other logits");
    }
}

#[test]
fn shaders_with_and_without_runtime_checks_give_the_same_logits() {
    let gpus = [engine::gpu(), engine::gpu_with(GpuOptions { checked: true, ..GpuOptions::default() })];
    assert_eq!(gpus.each_ref().map(Gpu::is_checked), [false, true]);
    let ids = ids(70);
    for quant in [None, Some(anygpu::base::DType::Q4_0)] {
        let options = LoadOptions { quant, context: Some(80), ..exact() };
        for one_by_one in [false, true] {
            let [bare, checked] = gpus.each_ref().map(|gpu| {
                let model = Model::demo(gpu, &options).expect("model");
                (last_logits(&model, &ids, one_by_one), last_logits(&model, &ids[..69], one_by_one))
            });
            let worst = max_difference(&bare.0, &f64s(&checked.0));
            println!("{quant:?}, one by one {one_by_one}: {worst:.1e}");
            assert!(worst <= 1e-3, "{quant:?}, one by one {one_by_one}: off by {worst}");
            assert!(max_difference(&bare.1, &f64s(&checked.0)) > 1e-3, "another prompt gives other logits");
        }
    }
}

#[test]
fn the_end_of_the_context_is_an_error_and_a_finish_reason() {
    let model = Model::demo(&engine::gpu(), &LoadOptions { context: Some(32), ..exact() }).expect("model");
    let mut session = Session::new(&model).expect("session");
    match feed(&mut session, &ids(33)) {
        Err(EngineError::ContextFull { tokens: 33, used: 0, context: 32, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(session.position(), 0);
    feed(&mut session, &ids(32)).expect("fits exactly");
    let at_end = session.logits().expect("logits of the last position");
    assert!(matches!(feed(&mut session, &[5]), Err(EngineError::ContextFull { used: 32, .. })));
    session.truncate(31);
    feed(&mut session, &ids(32)[31..]).expect("the last token again");
    assert!(max_difference(&session.logits().expect("logits"), &f64s(&at_end)) <= 2e-3);
    session.truncate(0);
    let options = GenerateOptions {
        sampler: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let generation = session.generate(&ids(30), &options, &mut |_| true).expect("generates");
    assert_eq!(generation.finish, FinishReason::ContextFull);
    // Tokens 31 and 32 fill the cache; the one after them is still known.
    assert_eq!(generation.ids.len(), 3);
}

#[test]
fn steps_ahead_say_the_same_as_one_at_a_time() {
    let model = Model::demo(&engine::gpu(), &LoadOptions { context: Some(96), ..exact() }).expect("model");
    let [mut ahead, mut single] = [(); 2].map(|()| Session::new(&model).expect("session"));
    let greedy = |one_at_a_time: bool, most: Option<usize>, stop: Vec<String>| GenerateOptions {
        sampler: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        max_tokens: most,
        stop,
        one_at_a_time,
        ..GenerateOptions::default()
    };
    let say = |session: &mut Session<'_>, prompt: &[u32], options: &GenerateOptions| {
        pretend(session, 1e-6); // so that steps go together
        let done = session.generate(prompt, options, &mut |_| true).expect("generates");
        assert_eq!(done.ahead, !options.one_at_a_time && options.max_tokens.is_none_or(|n| n > 1));
        (done.ids, done.text, done.finish, session.position(), session.tokens().to_vec())
    };
    // One after the other in one conversation: what was submitted beyond an end must not show in the next answer.
    let mut finishes = Vec::new();
    for (n, most) in [(3, Some(1)), (1, Some(2)), (5, Some(7)), (1, Some(0)), (2, Some(20)), (1, None)] {
        let prompt = &ids(40)[..n];
        let got = say(&mut ahead, prompt, &greedy(false, most, Vec::new()));
        let want = say(&mut single, prompt, &greedy(true, most, Vec::new()));
        assert_eq!(got, want, "{n} tokens, at most {most:?}");
        finishes.push(got.2);
    }
    assert!(finishes.contains(&FinishReason::Length), "{finishes:?}");
    // A stop string in the middle, with steps on the way; then other words follow.
    let tokenizer = model.tokenizer().expect("tokenizer");
    let prompt = tokenizer.encode("A fox", true, false).expect("ids");
    ahead.truncate(0);
    let (_, text, ..) = say(&mut ahead, &prompt, &greedy(false, Some(24), Vec::new()));
    let stop: String = text.chars().skip(text.chars().count() / 2).take(4).collect();
    for session in [&mut ahead, &mut single] {
        session.truncate(0);
    }
    let got = say(&mut ahead, &prompt, &greedy(false, Some(24), vec![stop.clone()]));
    assert_eq!(got, say(&mut single, &prompt, &greedy(true, Some(24), vec![stop])));
    assert_eq!(got.2, FinishReason::StopString);
    let more = &ids(9)[..];
    let got = say(&mut ahead, more, &greedy(false, Some(12), Vec::new()));
    assert_eq!(got, say(&mut single, more, &greedy(true, Some(12), Vec::new())));
    // Sampled: the same draws, whether host or GPU choose.
    for (top_k, min_p, seed) in [(40, 0.0, 1), (64, 0.05, 2), (3, 0.0, 3)] {
        let sampled = |one_at_a_time| GenerateOptions {
            sampler: SamplerOptions { temperature: 1.3, top_k, min_p, seed, ..SamplerOptions::default() },
            max_tokens: Some(40),
            ignore_eos: true,
            one_at_a_time,
            ..GenerateOptions::default()
        };
        for session in [&mut ahead, &mut single] {
            session.truncate(0);
        }
        let got = say(&mut ahead, &prompt, &sampled(false));
        assert_eq!(got, say(&mut single, &prompt, &sampled(true)), "top-k {top_k}");
        single.truncate(0);
        let likely = say(&mut single, &prompt, &greedy(true, Some(40), Vec::new()));
        assert_ne!(got.0, likely.0, "sampling at 1.3 says something else");
    }
    // With a penalty that looks back over the conversation, greedy and sampled; further than the GPU can, the host does it.
    let mut said = Vec::new();
    for (temperature, repeat_last, repeat_penalty) in
        [(0.0, 64, 1.3), (0.0, 5, 1.5), (1.1, 64, 1.3), (0.0, 300, 1.3), (0.0, 0, 1.3)]
    {
        let penalized = |one_at_a_time| GenerateOptions {
            sampler: SamplerOptions { temperature, repeat_last, repeat_penalty, ..SamplerOptions::default() },
            max_tokens: Some(40),
            ignore_eos: true,
            one_at_a_time,
            ..GenerateOptions::default()
        };
        let answers = [(&mut ahead, false), (&mut single, true)].map(|(session, one_at_a_time)| {
            session.truncate(0);
            pretend(session, 1e-6);
            let options = penalized(one_at_a_time);
            let done = session.generate(&prompt, &options, &mut |_| true).expect("generates");
            assert_eq!(done.ahead, !one_at_a_time && repeat_last <= 256, "{repeat_last}");
            // Once more: what was said counts, too.
            let more = session.generate(&more[..2], &options, &mut |_| true).expect("generates");
            (done.ids, more.ids)
        });
        assert_eq!(answers[0], answers[1], "the last {repeat_last} at {temperature}");
        said.push(answers[0].clone());
    }
    assert!(said[0] != said[1] && said[0] != said[4] && said[1] != said[4], "a penalty changes what is said");
    assert_eq!(said[0].0, said[3].0, "in the first 64 tokens it does not matter how much further one looks");
    // Another prompt gives another text: the comparison can fail.
    ahead.truncate(0);
    assert_ne!(say(&mut ahead, &ids(12), &greedy(false, Some(12), Vec::new())).0, got.0);
}

#[test]
fn what_an_adapter_computes_wrongly_the_host_does() {
    let text = |class: Option<&str>, temperature| {
        let gpu = engine::gpu();
        class.iter().for_each(|class| gpu.ban(class));
        let model = Model::demo(&gpu, &exact()).expect("model");
        let mut session = Session::new(&model).expect("session");
        let sampler = SamplerOptions { temperature, repeat_penalty: 1.3, ..SamplerOptions::default() };
        let options =
            GenerateOptions { sampler, max_tokens: Some(12), ignore_eos: true, ..GenerateOptions::default() };
        let done = session.generate(&ids(5), &options, &mut |_| true).expect("generates");
        assert!(done.ahead || class.is_some());
        (done.ids, done.ahead)
    };
    for (temperature, without) in
        [(0.0, &["advance", "penalize"][..]), (1.1, &["advance", "sample", "penalize"])]
    {
        let (want, _) = text(None, temperature);
        for class in without {
            assert_eq!(
                text(Some(class), temperature),
                (want.clone(), false),
                "without {class} at {temperature}"
            );
        }
    }
}

/// Has the session believe that its steps take so long. What seems faster is believed by and by, a factor of two at a time.
fn pretend(session: &Session<'_>, step_s: f64) {
    let state = State { n_tokens: 1, ..State::default() };
    (0..128).for_each(|_| session.graphs().decode.took(state, Duration::from_secs_f64(step_s)));
}

#[test]
fn steps_of_one_submit_say_the_same_as_each_in_its_own() {
    let options = LoadOptions { context: Some(24), ..exact() };
    let model = Model::demo(&engine::gpu(), &options).expect("model");
    let mut session = Session::new(&model).expect("session");
    let greedy = SamplerOptions { temperature: 0.0, ..SamplerOptions::default() };
    let sampled = SamplerOptions { temperature: 1.3, ..SamplerOptions::default() };
    // Flights of eight fit what is asked for, or are cut to it, or to the context.
    for (sampler, max_tokens, flights) in
        [(&greedy, Some(17), 2), (&sampled, Some(15), 2), (&greedy, None, 3)]
    {
        let mut run = |one_at_a_time, step_s| {
            session.truncate(0);
            pretend(&session, step_s);
            let sampler = sampler.clone();
            let options = GenerateOptions {
                sampler,
                max_tokens,
                ignore_eos: true,
                one_at_a_time,
                ..GenerateOptions::default()
            };
            let mut done = session.generate(&[5, 6, 7], &options, &mut |_| true).expect("generates");
            done.timeline.dedup();
            let steps = done.step_s.len();
            (
                (done.ids, done.finish, session.tokens().to_vec()),
                steps,
                done.timeline.len(),
                done.host.submits,
            )
        };
        let [one, short, long] = [run(true, 1e-6), run(false, 1e-6), run(false, 1e15)];
        assert_eq!(one.0, short.0, "together or one at a time");
        assert_eq!(one.0, long.0, "ahead, each in several submits, or one at a time");
        assert_eq!((one.1, one.2), (short.1, long.1));
        assert_eq!((short.2, short.3), (flights, flights as u64), "of {} steps", short.1);
        assert!(long.2 == long.1 && long.3 > long.1 as u64, "long steps go alone, in parts: {long:?}");
    }
}

#[test]
fn a_gpu_that_waits_for_the_host_is_counted() {
    let gpu = engine::gpu();
    let model = Model::demo(&gpu, &exact()).expect("model");
    let mut session = Session::new(&model).expect("session");
    let options = GenerateOptions { max_tokens: Some(41), ignore_eos: true, ..GenerateOptions::default() };
    session.generate(&[4], &options, &mut |_| true).expect("generates");
    assert!(session.graphs().decode.has_pace(), "submits of later tokens are cut by what these took");
    let busy = session.generate(&[5, 6, 7], &options, &mut |_| true).expect("generates");
    assert_eq!((busy.timeline.len(), busy.step_s.len()), (40, 40));
    for [begun, handed, done] in &busy.timeline {
        assert!(0.0 <= *begun && begun <= handed && handed <= done, "{begun} {handed} {done}");
    }
    let late = |timeline: &[[f64; 3]]| {
        let mut flights = timeline.to_vec();
        flights.dedup();
        (flights.windows(2).filter(|pair| pair[1][0] >= pair[0][2]).count(), flights.len())
    };
    let (after, of) = late(&busy.timeline);
    assert_eq!(after == 0, busy.idle_s == 0.0, "{after} of {of} submits came late, {} s idle", busy.idle_s);
    // A GPU may be through with so small a model before the host is.
    assert!(gpu.facts().kind != AdapterKind::Cpu || after + 1 < of, "{after} of {of} submits came late");
    // A slow reader: all that was submitted ahead is done long before the next step comes.
    let mut slow = |_: &str| {
        std::thread::sleep(Duration::from_millis(50));
        true
    };
    let starved = session.generate(&[8], &options, &mut slow).expect("generates");
    assert!(starved.ahead && starved.idle_s > 0.01, "{} s idle per step", starved.idle_s);
    let one = GenerateOptions { one_at_a_time: true, ..options };
    let waiting = session.generate(&[9], &one, &mut slow).expect("generates");
    assert!(!waiting.ahead && waiting.idle_s > 0.04, "{} s idle per step", waiting.idle_s);
    assert!(busy.idle_s < starved.idle_s, "{} s and {} s idle", busy.idle_s, starved.idle_s);
}

/// Whatever the reader does: steps that came together are done with when they came, and processors rest in their sleep.
#[test]
fn time_of_steps_and_of_processors_is_told_apart() {
    let model = Model::demo(&engine::gpu(), &exact()).expect("model");
    let mut session = Session::new(&model).expect("session");
    let options = GenerateOptions { max_tokens: Some(41), ignore_eos: true, ..GenerateOptions::default() };
    let each = Duration::from_millis(20);
    let mut processor = |work: &mut dyn FnMut(&str) -> bool| {
        session.truncate(0);
        let done = session.generate(&[5, 6, 7], &options, work).expect("generates");
        let (steps, all) = (done.step_s.iter().sum::<f64>(), done.decode_time.as_secs_f64());
        assert!(steps > 0.5 * all && steps <= all, "steps {steps} s of {all} s");
        done.processor_s
    };
    let mut spin = |_: &str| {
        let begun = Instant::now();
        while begun.elapsed() < each {
            std::hint::spin_loop();
        }
        true
    };
    let mut sleep = |_: &str| {
        std::thread::sleep(each);
        true
    };
    let [Some(spinning), Some(sleeping)] = [processor(&mut spin), processor(&mut sleep)] else {
        panic!("Linux, macOS and Windows tell");
    };
    // Other processes may take half of the processor.
    assert!(spinning > 0.005, "{spinning} s per step");
    assert!(sleeping < 0.5 * spinning, "{sleeping} s and {spinning} s per step");
}

#[test]
fn matrices_beyond_the_binding_limit_are_split() {
    let whole = Model::demo(&engine::gpu(), &exact()).expect("model");
    let options = GpuOptions { max_binding_bytes: Some(192 << 10), ..GpuOptions::default() };
    let gpu = Gpu::open(&AdapterChoice::Auto, options).expect("device");
    let context = Some(64);
    for quant in [None, Some(anygpu::base::DType::Q8_0)] {
        let small = LoadOptions { context, quant, chunk: Some(8), ..exact() };
        let whole = match quant {
            None => last_logits(&whole, &ids(20), false),
            _ => last_logits(&Model::demo(whole.gpu(), &small).expect("model"), &ids(20), false),
        };
        let split = Model::demo(&gpu, &small).expect("split model");
        for one_by_one in [false, true] {
            let worst = max_difference(&last_logits(&split, &ids(20), one_by_one), &f64s(&whole));
            assert!(worst <= 1e-4, "{quant:?}: off by {worst}");
        }
        let (n_split, n_whole) = (steps(&split), steps(&Model::demo(&engine::gpu(), &small).expect("model")));
        assert!(n_split > n_whole + 8, "{n_split} dispatches where unsplit has {n_whole}");
    }
}

#[test]
fn a_cache_beyond_the_binding_limit_is_refused_with_what_fits() {
    let options = GpuOptions { max_binding_bytes: Some(192 << 10), ..GpuOptions::default() };
    let gpu = Gpu::open(&AdapterChoice::Auto, options).expect("device");
    let error = Model::demo(&gpu, &LoadOptions { context: Some(512), ..exact() }).err().expect("refused");
    // 4 heads × 64 × 4 bytes = 1 KiB per position.
    assert!(error.to_string().contains("--ctx 192"), "{error}");
}

fn steps(model: &Model) -> usize {
    Session::new(model).expect("session").graphs().decode.steps.len()
}

#[test]
fn stated_bytes_are_the_weights_that_a_token_reads() {
    let model = Model::demo(&engine::gpu(), &exact()).expect("model");
    let session = Session::new(&model).expect("session");
    let (graph, spec) = (&session.graphs().decode, model.spec());
    // Tied: the output matrix is read whole, the embedding's row again, in bf16.
    assert_eq!(graph.bytes(), model.needs().weights + 2 * spec.hidden as u64);
    let kv = (2 * spec.n_layers * spec.n_kv_heads * spec.head_dim * 4) as u64;
    let state = State { pos: 9, n_tokens: 1, ..State::default() };
    assert_eq!(graph.bytes_moved(state), graph.bytes() + 10 * kv);
}

#[test]
fn too_little_memory_is_refused_with_the_sum() {
    let options = LoadOptions { memory: Some(1 << 20), ..exact() };
    let error = Model::demo(&engine::gpu(), &options).err().expect("refused").to_string();
    for part in ["weights", "KV cache", "activations", "headroom", "1 MiB", "--memory"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn nan_weights_are_found() {
    let files = DEMO_FILES.map(|(name, bytes)| {
        let mut bytes = bytes.to_vec();
        if name == "model.safetensors" {
            let n = bytes.len();
            bytes[n - 2..].copy_from_slice(&0x7fc0u16.to_le_bytes()); // the last bf16 of the data
        }
        (name, bytes)
    });
    let archive = Archive::from_memory(files).expect("still well-formed");
    let model = Model::from_archive(&engine::gpu(), archive, &exact(), &mut |_, _| true).expect("loads");
    let mut session = Session::new(&model).expect("session");
    feed(&mut session, &ids(40)).expect("runs");
    assert!(matches!(session.greedy(), Err(EngineError::NotFinite { .. })), "{:?}", session.greedy());
    assert!(matches!(session.logits(), Err(EngineError::NotFinite { .. })));
    assert!(matches!(session.step_greedy(7), Err(EngineError::NotFinite { position: 40, .. })));
}

#[test]
fn a_lost_device_is_an_error() {
    let gpu = engine::gpu();
    let model = Model::demo(&gpu, &exact()).expect("model");
    let mut session = Session::new(&model).expect("session");
    feed(&mut session, &ids(4)).expect("runs");
    gpu.destroy();
    let error = feed(&mut session, &ids(4)).and_then(|()| session.greedy()).expect_err("the device is gone");
    assert!(matches!(error, EngineError::Gpu(GpuError::Lost { .. })), "{error}");
}

#[test]
fn absurd_requests_are_refused() {
    let gpu = engine::gpu();
    for options in [
        LoadOptions { context: Some(0), ..exact() },
        LoadOptions { context: Some(1 << 40), ..exact() },
        LoadOptions { chunk: Some(0), ..exact() },
    ] {
        assert!(matches!(Model::demo(&gpu, &options), Err(EngineError::BadOption { .. })), "{options:?}");
    }
    let model = Model::demo(&gpu, &exact()).expect("model");
    let mut session = Session::new(&model).expect("session");
    assert!(matches!(feed(&mut session, &[]), Err(EngineError::EmptyPrompt { .. })));
    assert!(matches!(feed(&mut session, &[1 << 30]), Err(EngineError::BadToken { .. })));
    let mut asked = 0;
    let cancelled = session.feed(&ids(300), Logits::Last, &mut |_| {
        asked += 1;
        asked < 3
    });
    assert!(matches!(cancelled, Err(EngineError::Cancelled)));
    assert_eq!(session.position(), 2 * session.chunk());
}

/// Rounding shows where the adapter does it and weights are of a type for it, and does not matter much.
#[test]
fn rounded_activations_give_nearly_the_same_logits() {
    let gpu = engine::gpu();
    let ids = ids(40);
    let logits = |quant, activations, ids: &[u32]| {
        let options = LoadOptions { quant, activations, context: Some(64), ..exact() };
        last_logits(&Model::demo(&gpu, &options).expect("model"), ids, true)
    };
    let rounds = Variants::of(&gpu).int8;
    for (quant, has_bytes) in
        [(DType::Q8_0, true), (DType::Q4_0, true), (DType::Q4K, true), (DType::Q5K, false)]
    {
        let exact = f64s(&logits(Some(quant), Activations::F32, &ids));
        let worst = max_difference(&logits(Some(quant), Activations::Int8, &ids), &exact);
        println!("{quant}: {worst:.1e}");
        // Measured: 0.09 to 0.10 on llvmpipe, of logits whose standard deviation is 5.
        assert!(worst <= 0.4, "{quant}: off by {worst}");
        assert_eq!(worst > 0.0, rounds && has_bytes, "{quant}: off by {worst}");
        let other = logits(Some(quant), Activations::Int8, &ids[..39]);
        assert!(max_difference(&other, &exact) > 0.4, "another prompt gives other logits");
    }
}

#[test]
fn two_models_share_a_device_and_sampling_repeats() {
    let gpu = engine::gpu();
    let one = Model::demo(&gpu, &exact()).expect("model");
    let quant = Some(anygpu::base::DType::Q8_0);
    let two = Model::demo(&gpu, &LoadOptions { quant, ..exact() }).expect("model");
    let mut sessions = [Session::new(&one).expect("session"), Session::new(&two).expect("session")];
    // Kernels of steps compile in the background until the first step waits for them.
    for session in &mut sessions {
        session.step_greedy(9).expect("a step");
    }
    let compiled = gpu.kernels_compiled();
    assert!(compiled > 0 && gpu.compile_seconds() > 0.0);
    for top_k in [40, 0] {
        let sampler = SamplerOptions { seed: 9, top_k, temperature: 1.0, ..SamplerOptions::default() };
        let options = GenerateOptions { sampler, max_tokens: Some(12), ..GenerateOptions::default() };
        for session in &mut sessions {
            let mut run = || {
                session.truncate(0);
                let mut streamed = String::new();
                let generation = session
                    .generate(&ids(9), &options, &mut |text| {
                        streamed += text;
                        true
                    })
                    .expect("generates");
                assert_eq!(streamed, generation.text);
                generation.ids
            };
            assert_eq!(run(), run(), "the same seed gives the same tokens");
        }
    }
    assert_eq!(gpu.kernels_compiled(), compiled, "a session compiles what it needs before it steps");
}
