//! Perplexity of a text: exp of the mean negative log likelihood per predicted token.

use crate::engine::{EngineError, Session};

/// How the text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Windows {
    /// Windows of `n` tokens without the text's own BOS; BOS is put in front of each and all `n` tokens are
    /// predicted. A last window that is not full is dropped.
    Plain(usize),
    /// As `llama-perplexity -c n`: chunks of `n` tokens of the text with its BOS, the first token of each
    /// replaced by BOS, and only the predictions of the second half counted (n/2 … n-2).
    Half(usize),
}

/// Sum over a text.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Perplexity {
    /// exp(nll)
    pub ppl: f64,
    /// Mean negative log likelihood, nats per token.
    pub nll: f64,
    /// Standard error of `nll`.
    pub nll_error: f64,
    /// Tokens predicted.
    pub tokens: usize,
    /// Windows.
    pub windows: usize,
}

/// Computes it over `ids`, the encoded text with BOS first if the model uses one. At most `limit` windows.
/// `progress` gets the running result after each window and returns false to stop there.
pub fn perplexity(
    session: &mut Session<'_>,
    ids: &[u32],
    bos: Option<u32>,
    windows: Windows,
    limit: usize,
    progress: &mut dyn FnMut(Perplexity, usize) -> bool,
) -> Result<Perplexity, EngineError> {
    if windows == Windows::Plain(0) || matches!(windows, Windows::Half(0..3)) {
        let (expected, found) =
            ("windows that predict something: 3 or more".to_owned(), format!("{windows:?}"));
        return Err(EngineError::BadOption { option: "--ctx", expected, found });
    }
    let cut = cut(ids, bos, windows);
    let total = cut.len().min(limit);
    let mut sums = [0.0f64; 2];
    let mut result = Perplexity::default();
    for (tokens, first) in cut.into_iter().take(limit) {
        session.truncate(0);
        let mut at = 0;
        while at + 1 < tokens.len() {
            let end = (at + session.chunk()).min(tokens.len() - 1);
            let from = first.saturating_sub(at).min(end - at);
            session.feed_all_logits(&tokens[at..end], from, &mut |i, logits| {
                let nll = nll(logits, tokens[at + i + 1]);
                sums[0] += nll;
                sums[1] += nll * nll;
                result.tokens += 1;
            })?;
            at = end;
        }
        result.windows += 1;
        let n = result.tokens as f64;
        result.nll = sums[0] / n;
        result.ppl = result.nll.exp();
        result.nll_error = ((sums[1] / n - result.nll * result.nll).max(0.0) / (n - 1.0).max(1.0)).sqrt();
        if !progress(result, total) {
            break;
        }
    }
    if result.tokens == 0 {
        let (Windows::Plain(n) | Windows::Half(n)) = windows;
        return Err(EngineError::BadOption {
            option: "--file",
            expected: format!("a text of at least one window of {n} tokens (--ctx makes windows shorter)"),
            found: format!("{} tokens", ids.len()),
        });
    }
    Ok(result)
}

/// (tokens of a window, index of the first token whose prediction counts)
pub(crate) fn cut(ids: &[u32], bos: Option<u32>, windows: Windows) -> Vec<(Vec<u32>, usize)> {
    match windows {
        Windows::Plain(n) => {
            let text = match (bos, ids.first()) {
                (Some(bos), Some(first)) if bos == *first => &ids[1..],
                _ => ids,
            };
            let with_bos = |window: &[u32]| match bos {
                Some(bos) => (std::iter::once(bos).chain(window.iter().copied()).collect(), 0),
                None => (window.to_vec(), 0),
            };
            text.chunks_exact(n.max(1)).map(with_bos).collect()
        }
        Windows::Half(n) => ids
            .chunks_exact(n.max(2))
            .map(|chunk| {
                let mut tokens = chunk.to_vec();
                if let Some(bos) = bos {
                    tokens[0] = bos;
                }
                (tokens, n / 2)
            })
            .collect(),
    }
}

/// Negative log likelihood of `id`: log Σ exp(logits) - `logits[id]`, in f64.
pub fn nll(logits: &[f32], id: u32) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|v| (f64::from(*v) - f64::from(top)).exp()).sum();
    sum.ln() + f64::from(top) - logits.get(id as usize).map_or(f64::NEG_INFINITY, |v| f64::from(*v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_cut_as_described() {
        let ids: Vec<u32> = [1].into_iter().chain(10..20).collect();
        let plain = cut(&ids, Some(1), Windows::Plain(4));
        assert_eq!(plain, vec![(vec![1, 10, 11, 12, 13], 0), (vec![1, 14, 15, 16, 17], 0)]);
        let half = cut(&ids, Some(1), Windows::Half(4));
        assert_eq!(half, vec![(vec![1, 10, 11, 12], 2), (vec![1, 14, 15, 16], 2)]);
        assert_eq!(cut(&ids[1..], None, Windows::Plain(6)), vec![((10..16).collect(), 0)]);
    }

    #[test]
    fn likelihood_of_a_uniform_choice() {
        assert!((nll(&[3.0; 8], 5) - 8.0f64.ln()).abs() < 1e-12);
        assert!(nll(&[1e4, 0.0], 1) > 9999.0);
    }
}
