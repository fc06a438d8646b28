//! Weights of odd sizes: norms so large that products overflow, key biases that caches hold badly.
//! Tiny models of `tests/data/families`, with some tensors changed.

#[path = "common/engine.rs"]
mod engine;

use std::path::Path;

use anygpu::engine::{LoadOptions, Model};
use anygpu::formats::Archive;
use anygpu::kernels::kv::KvType;
use engine::{exact, last_logits, max_difference};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// A family's model after `edit` of every tensor, as f32, by name.
fn edited(family: &str, edit: impl Fn(&str, &mut [f32])) -> Archive {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families").join(family);
    let read = |name: &str| std::fs::read(folder.join(name)).expect("fixtures");
    let stored = read("model.safetensors");
    let stored = SafeTensors::deserialize(&stored).expect("safetensors");
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = stored
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let mut values: Vec<f32> = match tensor.dtype() {
                Dtype::F16 => tensor
                    .data()
                    .chunks_exact(2)
                    .map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32())
                    .collect(),
                Dtype::F32 => bytemuck::pod_collect_to_vec(tensor.data()),
                other => panic!("{family}: {name} is {other:?}"),
            };
            edit(&name, &mut values);
            (name, tensor.shape().to_vec(), bytemuck::cast_slice(&values).to_vec())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the same shape"))
    });
    let weights = safetensors::serialize(views, None).expect("serializes");
    let files = [("config.json", read("config.json")), ("model.safetensors", weights)];
    Archive::from_memory(files).expect("a folder")
}

fn logits_of(archive: Archive, options: &LoadOptions, one_by_one: bool) -> Vec<f32> {
    let gpu = engine::gpu();
    let model = Model::from_archive(&gpu, archive, options, &mut |_, _| true).expect("loads");
    let ids: Vec<u32> = (0..24).map(|i| 3 + (i * 37) % 90).collect();
    last_logits(&model, &ids, one_by_one)
}

/// Largest difference of two models' logits, fed token by token and as a prompt.
fn difference(a: &dyn Fn() -> Archive, b: &dyn Fn() -> Archive, scale: f32, kv: KvType) -> f64 {
    let options = LoadOptions { kv, ..LoadOptions::default() };
    let mut worst: f64 = 0.0;
    for one_by_one in [false, true] {
        let want = logits_of(a(), &exact(), one_by_one);
        let got = logits_of(b(), &options, one_by_one);
        let got: Vec<f32> = got.iter().map(|v| v * scale).collect();
        let want: Vec<f64> = want.iter().map(|v| f64::from(*v)).collect();
        worst = max_difference(&got, &want).max(worst);
    }
    worst
}

/// Powers of two moved from one factor to another change nothing, as long as nothing overflows: x
/// times the weights of the norm does here, x / sqrt(mean x²) times the weights does not.
#[test]
fn huge_norm_weights_overflow_no_earlier_than_they_have_to() {
    const NORM: f32 = 1.0e38; // about 2^126
    let power = 2.0f32.powi(126);
    assert!((0.5..2.0).contains(&(power / NORM)));
    // x is large: the embedding is multiplied by 2^10 in both models.
    let loud = |name: &str, values: &mut [f32]| {
        if name.ends_with("embed_tokens.weight") {
            values.iter_mut().for_each(|v| *v *= 1024.0);
        }
    };
    let plain = || edited("llama-bias", loud);
    let huge = || {
        edited("llama-bias", |name, values| {
            loud(name, values);
            let factor = match name {
                "model.norm.weight" => power,
                "lm_head.weight" => 2.0f32.powi(-120),
                _ => 1.0,
            };
            values.iter_mut().for_each(|v| *v *= factor);
        })
    };
    let off = difference(&plain, &huge, 2.0f32.powi(-6), KvType::F32);
    assert!(off <= 1e-3, "off by {off}"); // false for NaN
}

/// Logits are linear in a weight of the last norm: two small ones tell what a huge one must give.
#[test]
fn one_huge_weight_of_the_last_norm_gives_finite_logits() {
    let with = |weight: f32| {
        let archive = edited("llama-bias", |name, values| {
            if name == "model.norm.weight" {
                values[3] = weight;
            }
        });
        logits_of(archive, &exact(), true)
    };
    let (zero, one) = (with(0.0), with(1.0));
    for weight in [1e20f32, 1e38, -1e38] {
        let line = |(a, b): (&f32, &f32)| f64::from(*a) + f64::from(weight) * f64::from(b - a);
        let want: Vec<f64> = zero.iter().zip(&one).map(line).collect();
        let largest = want.iter().fold(0.0, |most: f64, v| most.max(v.abs()));
        assert!(largest > f64::from(weight.abs()) / 10.0, "the weight matters");
        let off = max_difference(&with(weight), &want);
        assert!(off <= 1e-4 * largest, "{weight}: off by {off} of {largest}"); // false for NaN
    }
}

/// A bias of keys that an element type holds badly raises the cache to one that holds it, with a
/// word.
#[test]
fn key_biases_choose_the_cache() {
    let biased = |bias: f32| {
        move || {
            edited("qwen2", |name, values| {
                if name.ends_with("layers.1.self_attn.k_proj.bias") {
                    values[1] = bias;
                }
            })
        }
    };
    let gpu = engine::gpu();
    for (bias, asked, used) in [
        (5.0f32, KvType::Q8_0, KvType::Q8_0),
        (60.0, KvType::Q8_0, KvType::Q8_0),
        (-100.0, KvType::Q8_0, KvType::F16),
        (100.0, KvType::F16, KvType::F16),
        (3000.0, KvType::F16, KvType::F32),
        (3000.0, KvType::Q8_0, KvType::F32),
        (-1e5, KvType::F16, KvType::F32),
        (1e5, KvType::F32, KvType::F32),
    ] {
        let options = LoadOptions { kv: asked, ..LoadOptions::default() };
        let model = Model::from_archive(&gpu, biased(bias)(), &options, &mut |_, _| true).expect("loads");
        assert_eq!(model.sizes().kv, used, "{bias}, {asked:?}");
        let notices = model.notices().iter().filter(|n| n.contains("KV cache")).collect::<Vec<_>>();
        assert_eq!(notices.len(), usize::from(used != asked), "{bias}, {asked:?}: {notices:?}");
        if let [notice] = notices.as_slice() {
            let size = format!("{:.0} in layer 1", bias.abs());
            assert!(notice.contains(&size) && notice.contains(used.name()), "{notice}");
        }
    }
    // What is chosen computes what an exact cache does: without the choice f16 is off by 15 at 1e5.
    for (bias, asked, most) in [(1e5, KvType::F16, 1e-3), (300.0, KvType::Q8_0, 0.1)] {
        let off = difference(&biased(bias), &biased(bias), 1.0, asked);
        assert!(off <= most, "{bias}, {asked:?}: off by {off}");
    }
}

/// Weights of the norm of keys tell how large keys can be.
#[test]
fn key_norms_choose_the_cache() {
    let gpu = engine::gpu();
    for (weight, used) in [(50.0f32, KvType::F16), (1e5, KvType::F32)] {
        let archive = edited("qwen3", |name, values| {
            if name.ends_with("layers.0.self_attn.k_norm.weight") {
                values[0] = weight;
            }
        });
        let model =
            Model::from_archive(&gpu, archive, &LoadOptions::default(), &mut |_, _| true).expect("loads");
        assert_eq!(model.sizes().kv, used, "{weight}");
    }
}
