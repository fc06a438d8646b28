//! What quantizing costs: the same text through a model in 16 bits and through each of its quantizations,
//! their predictions compared token by token. Two models are on the device at a time; of their logits
//! only a chunk's are held.

mod divergence;
mod report;

pub use divergence::{Divergence, Summary, Token, token};
pub use report::{QualityReport, QualityRow, fingerprint, keep, kept};

use rayon::prelude::*;

use crate::base::{DType, counted};
use crate::engine::memory::{self, Available, Needs};
use crate::engine::perplexity::{self, Windows};
use crate::engine::{EngineError, LoadOptions, Model, Session, model};
use crate::formats::Archive;
use crate::gpu::Gpu;
use crate::model::ModelSpec;
use crate::tokenizer::Tokenizer;

/// What quantizations are compared with.
pub const REFERENCE: DType = DType::F16;
/// Quantizations that are measured, most bits first.
pub const QUANTS: [DType; 5] = [DType::Q8_0, DType::Q6K, DType::Q5K, DType::Q4K, DType::Q4_0];
/// Most bytes of logits held of each model.
const HELD_BYTES: usize = 64 << 20;

/// How far a measurement is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Being measured.
    pub quant: DType,
    /// Which of the quantizations that is, from 0, and how many there are.
    pub quant_ix: usize,
    /// See `quant_ix`.
    pub n_quants: usize,
    /// Windows done of this quantization, at least one.
    pub windows: usize,
    /// Windows in all.
    pub n_windows: usize,
    /// Over the windows done.
    pub so_far: Summary,
}

/// The text, and what of it is used.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// What to predict.
    pub text: &'a str,
    /// File name, for the report.
    pub name: &'a str,
    /// Most windows.
    pub limit: usize,
}

/// Refuses models whose weights are quantized in the file: there is nothing to compare with.
pub fn check_float(archive: &Archive, spec: &ModelSpec) -> Result<(), EngineError> {
    let matrices = spec.expected_tensors().into_iter().filter(|(_, shape)| shape.len() == 2);
    for (name, _) in matrices {
        let tensor = archive.tensor(name)?;
        if !tensor.dtype.is_float() {
            let (model, tensor, dtype) = (archive.name.clone(), name.to_owned(), tensor.dtype);
            return Err(EngineError::NoReference { model, tensor, dtype });
        }
    }
    Ok(())
}

/// Refuses what does not fit twice: the reference beside the largest of `quants`. Nothing is loaded.
pub fn check_memory(
    gpu: &Gpu,
    archive: &Archive,
    spec: &ModelSpec,
    quants: &[DType],
    options: &LoadOptions,
) -> Result<(), EngineError> {
    let sizes = model::sizes(gpu, spec, options)?;
    let needs = |quant| memory::needs(archive, spec, Some(quant), sizes);
    let reference = needs(REFERENCE)?;
    let quants = quants.iter().map(|quant| Ok((*quant, needs(*quant)?)));
    let quants = quants.collect::<Result<Vec<_>, EngineError>>()?;
    let Some((quant, other)) = quants.into_iter().max_by_key(|(_, needs)| needs.weights) else {
        return Ok(());
    };
    let both = Needs {
        weights: reference.weights + other.weights,
        kv: reference.kv + other.kv,
        activations: reference.activations + other.activations,
        headroom: reference.headroom,
    };
    let available = memory::available(gpu.facts(), options.memory).map(|found| Available {
        source: format!("{}; {REFERENCE} and {quant} are compared side by side", found.source),
        ..found
    });
    memory::check(&both, available.as_ref(), gpu.facts())
}

/// Measures each of `quants` against the reference. `load` loads the model with its weights in the type
/// given; options other than that must not differ. `progress` is called after each window and returns
/// false to cancel.
pub fn measure<E: From<EngineError>>(
    load: &mut dyn FnMut(DType) -> Result<Model, E>,
    text: &Text<'_>,
    quants: &[DType],
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<QualityReport, E> {
    let reference = load(REFERENCE)?;
    let mut reference_session = Session::new(&reference)?;
    let (windows, window) = windows(reference.tokenizer()?, text, reference.sizes().context)?;
    let mut rows: Vec<QualityRow> = Vec::new();
    let mut tokens = 0;
    for (quant_ix, &quant) in quants.iter().enumerate() {
        let model = load(quant)?;
        let mut session = Session::new(&model)?;
        let mut step = |windows, n_windows, so_far| {
            progress(&Progress { quant, quant_ix, n_quants: quants.len(), windows, n_windows, so_far })
        };
        let sums = compare(&mut reference_session, &mut session, &windows, &mut step)?;
        let found = sums.summary().ok_or_else(|| too_short(text, window))?;
        if rows.is_empty() {
            tokens = found.tokens;
            let weight_bytes = reference.needs().weights;
            rows.push(QualityRow::reference(REFERENCE, found.ppl_reference, weight_bytes));
        }
        rows.push(QualityRow::of(quant, &found, model.needs().weights));
    }
    Ok(QualityReport { text: text.name.to_owned(), tokens, window, rows })
}

/// Refuses a text in which nothing is predicted within a context of that many tokens.
pub fn check_text(tokenizer: &Tokenizer, text: &Text<'_>, context: usize) -> Result<(), EngineError> {
    windows(tokenizer, text, context).map(|_| ())
}

/// The text cut for a model's context, and how many tokens of a window are predicted.
fn windows(
    tokenizer: &Tokenizer,
    text: &Text<'_>,
    context: usize,
) -> Result<(Vec<Vec<u32>>, usize), EngineError> {
    let ids = tokenizer.encode(text.text, true, false)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let n = context - usize::from(bos.is_some() && context > 1);
    // Without a BOS the first token of a window is not predicted.
    let predicted = n - usize::from(bos.is_none());
    let cut = perplexity::cut(&ids, bos, Windows::Plain(n));
    let windows: Vec<_> = cut.into_iter().take(text.limit).map(|(tokens, _)| tokens).collect();
    if windows.is_empty() || predicted == 0 {
        return Err(too_short(text, n));
    }
    Ok((windows, predicted))
}

fn too_short(text: &Text<'_>, window: usize) -> EngineError {
    EngineError::BadOption {
        option: "--file",
        expected: format!(
            "a text of at least one window of {} (--ctx makes windows shorter)",
            counted(window, "token")
        ),
        found: format!("{} with {}", text.name, counted(text.text.len(), "byte")),
    }
}

/// Feeds `windows` of tokens to both sessions, each from the start of its cache, and compares the
/// predictions of every token but the first. `progress` gets (windows done, all of them, result so far).
pub fn compare(
    reference: &mut Session<'_>,
    other: &mut Session<'_>,
    windows: &[Vec<u32>],
    progress: &mut dyn FnMut(usize, usize, Summary) -> bool,
) -> Result<Divergence, EngineError> {
    let mut sums = Divergence::default();
    let vocab = reference.model().spec().vocab;
    let held = HELD_BYTES / (vocab * size_of::<f32>());
    let chunk = reference.chunk().min(other.chunk()).min(held).max(1);
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    for (ix, window) in windows.iter().enumerate() {
        reference.truncate(0);
        other.truncate(0);
        let mut at = 0;
        while at + 1 < window.len() {
            let end = (at + chunk).min(window.len() - 1);
            read(reference, &window[at..end], &mut expected)?;
            read(other, &window[at..end], &mut found)?;
            let pairs = expected.par_chunks_exact(vocab).zip(found.par_chunks_exact(vocab));
            let tokens = pairs.zip(&window[at + 1..=end]).enumerate();
            let tokens = tokens.map(|(i, ((p, q), next))| token(p, q, *next, at + i));
            // Added in order, so that the sums do not depend on the number of threads.
            for token in tokens.collect::<Result<Vec<Token>, EngineError>>()? {
                sums.add(token);
            }
            at = end;
        }
        if let Some(so_far) = sums.summary()
            && !progress(ix + 1, windows.len(), so_far)
        {
            return Err(EngineError::Cancelled);
        }
    }
    Ok(sums)
}

/// Feeds `ids` and puts the logits of each, [ids, vocab], into `rows`.
fn read(session: &mut Session<'_>, ids: &[u32], rows: &mut Vec<f32>) -> Result<(), EngineError> {
    rows.clear();
    session.feed_all_logits(ids, 0, &mut |_, row| rows.extend_from_slice(row))
}
