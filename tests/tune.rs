//! The tuner: what it finds is used, what computes wrongly is not chosen however fast, and what a file says is not
//! believed.

#[path = "common/engine.rs"]
mod engine;

use anygpu::base::DType;
use anygpu::engine::{Model, Session};
use anygpu::gpu::device::Fault;
use anygpu::gpu::{Gpu, GpuError, GpuOptions};
use anygpu::kernels::matvec::Variant;
use anygpu::kernels::variants::{Class, MatvecClass, Variants};
use anygpu::probe::tune::{self, Choice, Layer};
use engine::{exact, last_logits, max_difference};

const CLASS: Class = Class::Matvec(MatvecClass { dtype: DType::F16, columns: 1 });
const LAYER: Layer = Layer { hidden: 256, qkv: 512, heads: 256, inter: 512, prompt: 48 };

#[test]
fn the_fastest_variant_is_not_chosen_when_it_is_wrong() {
    // Teams of two rows skip all the work. Nothing else is wrong, and nothing is as fast.
    let gpu = engine::gpu();
    gpu.sabotage(Fault {
        kernel: "matvec",
        find: "b < block_end(row0)",
        replace: "b < select(block_end(row0), 0u, ROWS == 2u)",
    });
    let choice = tune::tune(&gpu, LAYER, CLASS, None, &mut || true).expect("the device stays");
    assert!(choice.wrong.iter().any(|what| what.contains("elements wrong")), "{choice:?}");
    assert!(!choice.tuned.ends_with("× 2"), "{choice:?}");
    assert!(choice.candidates > 5 && choice.gain.is_finite() && choice.default_ms > 0.0, "{choice:?}");
    // Held against the default later, such a variant would be seen to be fast.
    gpu.prefer(&CLASS.name(), "lane 16 × 2");
    let held = tune::compare(&gpu, LAYER, CLASS).expect("the device stays");
    assert_eq!((held.tuned.as_str(), held.is_slower()), ("lane 16 × 2", false), "{held:?}");
    let slower = |gain: f64| Choice { gain, ..held.clone() }.is_slower();
    assert_eq!([1.2, 0.99, 0.9, f64::NAN].map(slower), [false, false, true, true]);
    let stopped = tune::tune(&gpu, LAYER, CLASS, None, &mut || false);
    assert!(matches!(stopped, Err(GpuError::Stopped)));
    // No time at all: the default stays.
    let none =
        tune::tune(&gpu, LAYER, CLASS, Some(std::time::Instant::now()), &mut || true).expect("a choice");
    assert_eq!((none.tuned, none.gain), (none.default, 1.0));
}

#[test]
fn what_was_tuned_runs_and_gives_the_same_logits() {
    let gpu = engine::gpu();
    let ids: Vec<u32> = (5..40).collect();
    let logits = |gpu: &Gpu| last_logits(&Model::demo(gpu, &exact()).expect("model"), &ids, true);
    let kernels = |gpu: &Gpu| {
        let model = Model::demo(gpu, &exact()).expect("model");
        let session = Session::new(&model).expect("session");
        session.graphs().decode.kernels().map(|kernel| kernel.label.clone()).collect::<Vec<_>>()
    };
    let (before, by_default) = (logits(&gpu), kernels(&gpu));
    let dtype = Model::demo(&gpu, &exact()).expect("model").main_dtype();
    let class = MatvecClass { dtype, columns: 1 };
    let default = Variants::of(&gpu).matvec(dtype, 1);
    for (name, used) in [("workgroup 64 × 1", true), ("workgroup 63 × 1", false), ("nonsense", false)] {
        gpu.prefer(&class.name(), name);
        let variant = Variants::of(&gpu).matvec(dtype, 1);
        assert_eq!(variant == default, !used, "{name}");
        assert_eq!(kernels(&gpu) == by_default, !used, "{name}");
        let before: Vec<f64> = before.iter().map(|v| f64::from(*v)).collect();
        let worst = max_difference(&logits(&gpu), &before);
        assert!(worst <= 1e-3, "{name}: off by {worst}");
    }
    // Up to 4 columns are one class, 9 are none; a class found wrong is not used, tuned or not.
    gpu.prefer("matvec f32 × 4", "workgroup 64 × 2");
    let variants = Variants::of(&gpu);
    let four = Variant::named("workgroup 64 × 2", DType::F32, 3, gpu.facts());
    assert_eq!(Some(variants.matvec(DType::F32, 3)), four);
    assert_eq!(variants.matvec(DType::F32, 9), variants.matvec_untuned(DType::F32, 9));
    assert!(variants.uses("matvec/workgroup"));
    assert!(variants.is_tuned());
    let untuned = engine::gpu_with(GpuOptions { untuned: true, ..GpuOptions::default() });
    untuned.prefer("matvec f32 × 4", "workgroup 64 × 2");
    assert!(!Variants::of(&untuned).is_tuned());
    gpu.ban("matvec/workgroup");
    assert!(!Variants::of(&gpu).uses("matvec/workgroup"));
    assert_ne!(Some(Variants::of(&gpu).matvec(DType::F32, 3)), four);
}

#[test]
fn prompts_and_attention_are_tuned_too_and_give_the_same_logits() {
    let gpu = engine::gpu();
    // Long enough for several parts of attention and several chunks.
    let ids: Vec<u32> = (5..325).map(|i| i % 200 + 5).collect();
    let logits = |gpu: &Gpu| last_logits(&Model::demo(gpu, &exact()).expect("model"), &ids, true);
    let before: Vec<f64> = logits(&gpu).iter().map(|v| f64::from(*v)).collect();
    let dtype = Model::demo(&gpu, &exact()).expect("model").main_dtype();
    for class in [Class::Attention, Class::Prompt(dtype)] {
        let candidates = Variants::of(&gpu).candidates(gpu.facts(), class);
        assert!(candidates.len() >= 3, "{candidates:?}");
        for way in candidates {
            gpu.prefer(&class.name(), &way.name());
            let variants = Variants::of(&gpu);
            assert_eq!(variants.way(class), way);
            assert_eq!(variants.is_tuned(), way != variants.way_untuned(class), "{}", way.name());
            let worst = max_difference(&logits(&gpu), &before);
            assert!(worst <= 1e-3, "{} {}: off by {worst}", class.name(), way.name());
        }
        gpu.prefer(&class.name(), "7 parts of nonsense");
        let variants = Variants::of(&gpu);
        assert_eq!(variants.way(class), variants.way_untuned(class));
        assert!(!variants.is_tuned());
        let choice = tune::tune(&gpu, LAYER, class, None, &mut || true).expect("the device stays");
        assert!(choice.wrong.is_empty() && choice.candidates >= 3 && choice.default_ms > 0.0, "{choice:?}");
        assert!(choice.gain >= 1.0 && choice.tuned.len() > 3, "{choice:?}");
    }
}
