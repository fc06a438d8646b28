//! Text from a model in a dozen lines, and two conversations on one device.
//!
//! `cargo run --release --example generate [MODEL] [PROMPT]`; without arguments the built-in demo model.

use std::io::Write;
use std::path::Path;

use anygpu::engine::{GenerateOptions, LoadOptions, Model, SamplerOptions, Session, first_use};
use anygpu::gpu::{AdapterChoice, Gpu, GpuOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (path, prompt) = (arguments.next(), arguments.next());
    let prompt = prompt.unwrap_or_else(|| "Once upon a time".to_owned());

    // The best adapter there is. From now on sessions verify the kernels that they run: those that compute wrongly there
    // are not used, the others run at full speed, without runtime checks. It takes a moment once, and is remembered.
    let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default())?;
    first_use::begin(&gpu);
    // A model on it. The last argument reports progress and can cancel.
    let options = LoadOptions::default();
    let model = match path {
        Some(path) => Model::load(&gpu, Path::new(&path), &options, &mut |_, _| true)?,
        None => Model::demo(&gpu, &options)?,
    };
    let spec = model.spec();
    println!(
        "{}, {} layers, vocabulary {}, on {}",
        spec.architecture,
        spec.n_layers,
        spec.vocab,
        gpu.facts().id()
    );

    // A session is one conversation: its KV cache and how far it is filled.
    let mut session = Session::new(&model)?;
    let ids = model.tokenizer()?.encode(&prompt, true, false)?;
    let sampler = SamplerOptions { seed: 1, ..SamplerOptions::default() };
    let generate = GenerateOptions { sampler, max_tokens: Some(60), ..GenerateOptions::default() };
    print!("\n{prompt}");
    let done = session.generate(&ids, &generate, &mut |piece| {
        print!("{piece}");
        std::io::stdout().flush().is_ok() // false stops the text
    })?;
    println!("\n\n{} tokens at {:.1} tok/s, because: {:?}", done.ids.len(), done.decode_rate(), done.finish);

    // Going back: everything behind the prompt is forgotten, and another seed tells another story.
    session.truncate(ids.len() - 1);
    let sampler = SamplerOptions { seed: 2, ..SamplerOptions::default() };
    let generate = GenerateOptions { sampler, max_tokens: Some(20), ..GenerateOptions::default() };
    let other = session.generate(&ids[ids.len() - 1..], &generate, &mut |_| true)?;
    println!("\nor: {prompt}{} …", other.text);

    // A second session of the same model shares its weights; several models may share the device, too.
    let second = Session::new(&model)?;
    println!("\n{} tokens cached here, {} in a second session", session.position(), second.position());
    Ok(())
}
