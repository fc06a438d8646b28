//! Writes a GGUF model of any Llama shape with random weights, streamed: for trying sizes, memory and speed
//! without a download. Without arguments: a tiny one in the temporary folder.
//!
//!     cargo run --release --example random_model -- tiny1b.gguf q4_0 2048 22 32 4 5632 32000
//!
//! The numbers: hidden, layers, heads, KV heads, intermediate, vocabulary. There is no tokenizer in the file:
//! `anygpu logits tiny1b.gguf --ids 1,2,3`.

use std::io::BufWriter;
use std::path::PathBuf;

use anygpu::base::DType;
use anygpu::formats::gguf::GgufWriter;
use rand::{Rng, SeedableRng};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let path = args.first().map_or_else(|| std::env::temp_dir().join("anygpu-tiny.gguf"), PathBuf::from);
    let dtype = args.get(1).map_or("q4_0", String::as_str);
    let dtype = DType::from_name(dtype).ok_or(format!("unknown type {dtype}"))?;
    let mut dims = [256usize, 2, 4, 2, 512, 512];
    for (dim, arg) in dims.iter_mut().zip(args.iter().skip(2)) {
        *dim = arg.parse()?;
    }
    let [hidden, layers, heads, kv_heads, inter, vocab] = dims;
    let kv = hidden / heads * kv_heads;
    let mut tensors =
        vec![("token_embd".to_owned(), vec![vocab, hidden]), ("output".to_owned(), vec![vocab, hidden])];
    tensors.push(("output_norm".to_owned(), vec![hidden]));
    for i in 0..layers {
        let shapes: [(&str, Vec<usize>); 9] = [
            ("attn_norm", vec![hidden]),
            ("attn_q", vec![hidden, hidden]),
            ("attn_k", vec![kv, hidden]),
            ("attn_v", vec![kv, hidden]),
            ("attn_output", vec![hidden, hidden]),
            ("ffn_norm", vec![hidden]),
            ("ffn_gate", vec![inter, hidden]),
            ("ffn_up", vec![inter, hidden]),
            ("ffn_down", vec![hidden, inter]),
        ];
        tensors.extend(shapes.map(|(name, shape)| (format!("blk.{i}.{name}"), shape)));
    }

    let mut header = GgufWriter::new();
    header.set("general.architecture", "llama");
    header.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32);
    let numbers = [
        ("block_count", layers),
        ("context_length", 2048),
        ("embedding_length", hidden),
        ("feed_forward_length", inter),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
    ];
    for (key, n) in numbers {
        header.set(&format!("llama.{key}"), n as u32);
    }
    let type_of = |shape: &[usize]| if shape.len() == 1 { DType::F32 } else { dtype };
    for (name, shape) in &tensors {
        header.tensor(&format!("{name}.weight"), type_of(shape), shape)?;
    }
    let mut body = header.begin(BufWriter::new(std::fs::File::create(&path)?))?;
    let mut rng = rand::rngs::StdRng::seed_from_u64(1);
    for (_, shape) in &tensors {
        let cols = shape[shape.len() - 1];
        let mut bytes = vec![0; type_of(shape).row_bytes(cols).ok_or("rows are whole blocks")?];
        for _ in 0..shape.iter().product::<usize>() / cols {
            let spread = (3.0 / cols as f32).sqrt(); // keeps the size of activations
            let values: Vec<f32> = (0..cols).map(|_| rng.random_range(-spread..spread)).collect();
            let values = if shape.len() == 1 { vec![1.0; cols] } else { values };
            anygpu::quant::encode(type_of(shape), &values, &mut bytes)?;
            body.write(&bytes)?;
        }
    }
    body.finish()?;
    println!("{}: {:.0} MiB", path.display(), std::fs::metadata(&path)?.len() as f64 / f64::from(1 << 20));
    Ok(())
}
