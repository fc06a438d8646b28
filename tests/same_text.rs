//! The same greedy text in f32, whichever way it is computed: with steps ahead or one at a time, sequences together or each
//! alone, by default or by other variants, and with decode attention in one piece or split over positions.
//!
//! Ids are compared exactly. Sums in another order move logits a little, and where two tokens are as close the choice
//! between them might turn. [`Reference::of`] makes sure that they never are: what differs is a fault, no tie.

#[path = "common/engine.rs"]
mod engine;
#[path = "common/ways.rs"]
mod ways;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use anygpu::base::DType;
use anygpu::engine::{Batch, GenerateOptions, LoadOptions, Logits, Model, SamplerOptions, Session};
use anygpu::gpu::graph::State;
use anygpu::gpu::{Gpu, GpuOptions};
use anygpu::kernels;
use anygpu::kernels::sabotage::FAULTS;
use anygpu::kernels::variants::Variants;
use engine::{exact, last_logits, max_difference};
use ways::{SETS, prefer_others};

/// Tokens of every text.
const TOKENS: usize = 8;
/// Of the prompts.
const LENGTHS: [usize; State::MAX_SEQUENCES] = [270, 253, 3, 40, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 30];
/// Four of them, of which the first has decode attention split from the start.
const SPLIT: Range<usize> = 0..4;
/// Three, of which the first comes to that.
const CROSSING: Range<usize> = 1..4;
/// Eight that remain below.
const WHOLE: Range<usize> = 4..12;
/// Most by which an order of sums may move a logit, as in `tests/tune.rs`. Measured on llvmpipe: 4e-6; the closest two
/// tokens in these texts are 4.8e-3 apart.
const MOVED: f64 = 1e-3;

/// Ids of a text.
type Text = Vec<u32>;

/// Seeded ids that need not make sense.
fn prompts(lengths: &[usize]) -> Vec<Text> {
    let id = |seed: u32, i: u32| 5 + (seed * 7919 + i).wrapping_mul(2_654_435_761) % 2000;
    lengths.iter().zip(1..).map(|(n, seed)| (0..*n as u32).map(|i| id(seed, i)).collect()).collect()
}

fn model(gpu: &Gpu) -> Model {
    Model::demo(gpu, &LoadOptions { context: Some(288), ..exact() }).expect("the demo model")
}

/// A session that was fed all of the prompt but the last token.
fn fed<'s, 'm>(session: &'s mut Session<'m>, prompt: &[u32]) -> &'s mut Session<'m> {
    session.truncate(0);
    session.feed(&prompt[..prompt.len() - 1], Logits::None, &mut |_| true).expect("fed");
    session
}

/// What follows each prompt, one after the other in one session: one step at a time, and ahead.
fn alone(model: &Model, prompts: &[Text]) -> [Vec<Text>; 2] {
    let mut session = Session::new(model).expect("a session");
    let mut texts = [Vec::new(), Vec::new()];
    for prompt in prompts {
        let n = fed(&mut session, prompt).position();
        for (texts, one_at_a_time) in texts.iter_mut().zip([true, false]) {
            session.truncate(n);
            let options = GenerateOptions {
                sampler: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
                max_tokens: Some(TOKENS),
                ignore_eos: true,
                one_at_a_time,
                ..GenerateOptions::default()
            };
            let done = session.generate(&prompt[n..], &options, &mut |_| true).expect("generates");
            assert_eq!(done.ahead, !one_at_a_time);
            texts.push(done.ids);
        }
    }
    texts
}

/// What follows each prompt, a token of each per step.
fn together(model: &Model, prompts: &[Text]) -> Vec<Text> {
    let mut batch = Batch::new(model, prompts.len()).expect("a batch");
    let feed = |(i, prompt): (usize, &Text)| batch.feed(i, prompt).expect("fed");
    let mut last: Vec<u32> = prompts.iter().enumerate().map(feed).collect();
    let mut texts: Vec<Text> = last.iter().map(|id| vec![*id]).collect();
    for _ in 1..TOKENS {
        last = batch.step(&last).expect("a step");
        texts.iter_mut().zip(&last).for_each(|(text, id)| text.push(*id));
    }
    texts
}

/// What everything is held against: one sequence, one step at a time, default variants.
struct Reference {
    prompts: Vec<Text>,
    texts: Vec<Text>,
}

impl Reference {
    fn get() -> &'static Reference {
        static REFERENCE: OnceLock<Reference> = OnceLock::new();
        REFERENCE.get_or_init(|| Reference::of(&model(&engine::gpu())))
    }

    fn of(model: &Model) -> Reference {
        let prompts = prompts(&LENGTHS);
        let [texts, ahead] = alone(model, &prompts);
        assert_eq!(ahead, texts);
        for i in 0..texts.len() {
            assert!(!texts[..i].contains(&texts[i]), "another prompt gives another text: {texts:?}");
        }
        let mut session = Session::new(model).expect("a session");
        for (prompt, text) in prompts.iter().zip(&texts) {
            let session = fed(&mut session, prompt);
            for (fed, chosen) in prompt.last().into_iter().chain(text).zip(text) {
                let top = session.step_top(*fed).expect("logits").expect("more than a few tokens");
                let (at, lead) = (session.position(), f64::from(top[0].1 - top[1].1));
                assert_eq!(top[0].0, *chosen, "position {at} after {} tokens", prompt.len());
                assert!(
                    lead > 2.0 * MOVED,
                    "{lead} apart at {at} after {} tokens: change them",
                    prompt.len()
                );
            }
        }
        Reference { prompts, texts }
    }

    /// Held against another model's: texts of the longer prompts, alone and together, and of eight shorter ones.
    fn check(&self, model: &Model, what: &str) {
        assert_eq!(alone(model, &self.prompts[SPLIT]), [&self.texts[SPLIT]; 2], "{what}");
        for sequences in [SPLIT, WHOLE] {
            let texts = together(model, &self.prompts[sequences.clone()]);
            assert_eq!(texts, self.texts[sequences.clone()], "{what}, sequences {sequences:?} together");
        }
    }

    /// Logits after the first text, all at once, and after the third, token by token.
    fn logits(&self, model: &Model) -> [Vec<f32>; 2] {
        let read = |i: usize| [&self.prompts[i][..], &self.texts[i]].concat();
        [last_logits(model, &read(0), false), last_logits(model, &read(2), true)]
    }
}

/// Where the longest decides, attention of all is split, also of those with three positions.
#[test]
fn split_attention_says_the_same_ahead_and_together() {
    let reference = Reference::get();
    let default = model(&engine::gpu());
    let split = Variants::of(default.gpu()).split(default.spec().n_kv_heads);
    assert!(split.above == 256 && split.splits > 1, "{split:?}: the lengths are chosen for 256");
    assert_eq!(together(&default, &reference.prompts[SPLIT]), reference.texts[SPLIT]);
    assert_eq!(together(&default, &reference.prompts[CROSSING]), reference.texts[CROSSING]);
    // With a fault in what joins the parts, everything that was split says something else, and nothing that was not.
    let gpu = engine::gpu();
    let of_merge = FAULTS.iter().find(|fault| fault.kernel == "attend_merge");
    gpu.sabotage(*of_merge.expect("a fault of every kernel"));
    let faulty = model(&gpu);
    let same = |texts: &[Text]| texts.iter().zip(&reference.texts).map(|(a, b)| a == b).collect::<Vec<_>>();
    let [single, ahead] = alone(&faulty, &reference.prompts[SPLIT]);
    assert_eq!(single, ahead);
    assert_eq!(same(&single), [false, false, true, true]);
    assert_eq!(same(&together(&faulty, &reference.prompts[SPLIT])), [false; 4]);
    // What the prompts give, and what three steps give: the fourth feeds position 256.
    let whole = 1 + 3;
    for (got, want) in together(&faulty, &reference.prompts[CROSSING]).iter().zip(&reference.texts[CROSSING])
    {
        assert_eq!(got[..whole], want[..whole]);
        assert_ne!(got, want, "it is split in the end");
    }
}

#[test]
fn eight_and_sixteen_sequences_say_what_each_says_alone() {
    let Reference { prompts, texts } = Reference::get();
    let model = model(&engine::gpu());
    assert_eq!(together(&model, prompts), *texts);
    // Each says its own, wherever it is; held against those of others, none is right.
    let backwards: Vec<Text> = prompts[WHOLE].iter().rev().cloned().collect();
    let mut got = together(&model, &backwards);
    assert!(got.iter().zip(&texts[WHOLE]).all(|(got, of_another)| got != of_another));
    got.reverse();
    assert_eq!(got, texts[WHOLE]);
}

/// As the tuner might find: for every class of work another way than the default.
#[test]
fn tuned_variants_say_the_same() {
    let reference = Reference::get();
    let untuned = model(&engine::gpu());
    let want = reference.logits(&untuned).map(|row| row.into_iter().map(f64::from).collect::<Vec<_>>());
    // Kernels of the matrices of one, four and eight sequences and of prompts, and how attention of a token is split.
    let ways = |model: &Model| {
        let [four, eight] = [4, 8].map(|sequences| Batch::new(model, sequences).expect("a batch"));
        let graphs = [&four.graphs().decode, four.step_graph(), eight.step_graph(), &four.graphs().prefill];
        let matrices = graphs.map(|graph| {
            let labels = graph.kernels().map(|kernel| kernel.label.clone());
            labels.filter(|label| label.starts_with("mat")).collect::<BTreeSet<_>>()
        });
        let state = State { pos: 270, n_tokens: 1, ..State::default() };
        let attention = graphs[0].steps.iter().filter(|step| step.kernel.label.starts_with("attend_decode"));
        (matrices, attention.map(|step| step.groups(state)).collect::<Vec<_>>())
    };
    let by_default = ways(&untuned);
    for set in 0..SETS {
        let gpu = engine::gpu();
        prefer_others(&gpu, set);
        let tuned = model(&gpu);
        let now = ways(&tuned);
        for (now, before) in now.0.iter().zip(&by_default.0) {
            assert!(!now.is_empty() && now.is_disjoint(before), "set {set}: {now:?} and {before:?}");
        }
        assert!(now.1.iter().zip(&by_default.1).all(|(now, before)| now != before), "set {set}: {now:?}");
        let got = reference.logits(&tuned);
        let worst = got.iter().zip(&want).map(|(got, want)| max_difference(got, want)).fold(0.0, f64::max);
        println!("set {set}: logits off by {worst:.1e}");
        assert!(worst <= MOVED, "set {set}: off by {worst}");
        reference.check(&tuned, &format!("set {set}"));
    }
}

/// Ahead, one at a time and together with weights of other types, whose texts are their own.
#[test]
fn quantized_weights_say_the_same_ahead_and_together() {
    let Reference { prompts, texts } = Reference::get();
    let gpu = engine::gpu();
    for dtype in [DType::F16, DType::Q8_0, DType::Q4_0, DType::Q4K] {
        let options = LoadOptions { quant: Some(dtype), context: Some(288), ..exact() };
        let model = Model::demo(&gpu, &options).expect("the demo model");
        assert_eq!(model.main_dtype(), dtype);
        let [single, ahead] = alone(&model, &prompts[SPLIT]);
        assert_eq!(single, ahead, "{dtype}");
        assert_eq!(together(&model, &prompts[SPLIT]), single, "{dtype}");
        let [single, ahead] = alone(&model, &prompts[WHOLE]);
        assert_eq!(single, ahead, "{dtype}");
        assert_eq!(together(&model, &prompts[WHOLE]), single, "{dtype}");
        let same = single.iter().zip(&texts[WHOLE]).filter(|(a, b)| a == b).count();
        println!("{dtype}: {same} of {} texts as in bf16", single.len());
        assert!(dtype != DType::Q4_0 || same < single.len(), "{dtype}: is it quantized?");
    }
}

#[test]
fn poorer_adapters_say_the_same() {
    let options = GpuOptions { subgroups: false, immediates: false, f16: false, ..GpuOptions::default() };
    let gpu = engine::gpu_with(options);
    gpu.leave_checks_out(&kernels::ALL);
    Reference::get().check(&model(&gpu), "without subgroups and immediates");
}
