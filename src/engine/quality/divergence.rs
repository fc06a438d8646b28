//! [`Divergence`]: how far one model's predictions are from another's, token by token, in f64.

use crate::engine::EngineError;

/// One predicted token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// -log of the probability that the reference gave to the token that came, nats.
    pub nll_reference: f64,
    /// The same of the other model.
    pub nll: f64,
    /// D(reference ‖ other) = Σ p · (log p - log q), nats (Kullback & Leibler 1951).
    pub kl: f64,
    /// Do both find the same token most likely? The lowest id counts among equals.
    pub same_top: bool,
}

/// Compares two predictions for the token `next`: `reference` and `logits` are `[vocab]`. `position` is for
/// messages. NaN and infinite logits are errors.
pub fn token(reference: &[f32], logits: &[f32], next: u32, position: usize) -> Result<Token, EngineError> {
    let vocab = reference.len();
    if logits.len() != vocab {
        let (expected, found) = (format!("{vocab}, as the reference has"), logits.len().to_string());
        return Err(EngineError::BadOption { option: "logits", expected, found });
    }
    let bad = reference.iter().chain(logits).filter(|x| !x.is_finite()).count();
    if bad > 0 {
        return Err(EngineError::NotFinite { bad, vocab, position });
    }
    let ix = usize::try_from(next).ok().filter(|ix| *ix < vocab);
    let ix = ix.ok_or(EngineError::BadToken { id: next, vocab })?;
    let (p, q) = (LogSoftmax::of(reference), LogSoftmax::of(logits));
    let kl = |(r, x): (&f32, &f32)| {
        let log_p = f64::from(*r) - p.log_sum;
        log_p.exp() * (log_p - (f64::from(*x) - q.log_sum))
    };
    Ok(Token {
        nll_reference: p.log_sum - f64::from(reference[ix]),
        nll: q.log_sum - f64::from(logits[ix]),
        kl: reference.iter().zip(logits).map(kl).sum(),
        same_top: p.top == q.top,
    })
}

/// What turns finite logits into log probabilities.
struct LogSoftmax {
    /// log Σ exp(logit)
    log_sum: f64,
    /// Index of the largest, the first among equals.
    top: usize,
}

impl LogSoftmax {
    fn of(logits: &[f32]) -> LogSoftmax {
        let (mut top, mut largest) = (0, f32::NEG_INFINITY);
        for (ix, &logit) in logits.iter().enumerate() {
            if logit > largest {
                (top, largest) = (ix, logit);
            }
        }
        let largest = f64::from(largest);
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
        LogSoftmax { log_sum: largest + sum.ln(), top }
    }
}

/// Sums over the tokens of a text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Divergence {
    nll_reference: f64,
    nll: f64,
    /// One per token: percentiles need them all.
    kl: Vec<f64>,
    same_top: usize,
}

/// What the sums say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Tokens predicted.
    pub tokens: usize,
    /// exp of the reference's mean `nll`.
    pub ppl_reference: f64,
    /// exp of the other model's mean `nll`.
    pub ppl: f64,
    /// `ppl / ppl_reference`
    pub ppl_ratio: f64,
    /// Mean of the divergences, nats per token.
    pub kl_mean: f64,
    /// The least divergence that 99 % of the tokens do not exceed.
    pub kl_p99: f64,
    /// Share of the tokens whose most likely prediction is the same, 0 to 1.
    pub top1: f64,
}

impl Divergence {
    /// Compares two predictions for the token `next` and adds the result.
    pub fn push(&mut self, reference: &[f32], logits: &[f32], next: u32) -> Result<(), EngineError> {
        self.add(token(reference, logits, next, self.tokens())?);
        Ok(())
    }

    /// Adds a token compared elsewhere.
    pub fn add(&mut self, token: Token) {
        self.nll_reference += token.nll_reference;
        self.nll += token.nll;
        self.kl.push(token.kl);
        self.same_top += usize::from(token.same_top);
    }

    /// Tokens so far.
    pub fn tokens(&self) -> usize {
        self.kl.len()
    }

    /// Means and percentile; `None` of no tokens.
    pub fn summary(&self) -> Option<Summary> {
        let tokens = self.tokens();
        let mean = |sum: f64| sum / tokens as f64;
        let mut sorted = self.kl.clone();
        sorted.sort_by(f64::total_cmp);
        // Nearest rank: the smallest value with at least 99 % of all at or below it.
        let kl_p99 = *sorted.get((tokens * 99).div_ceil(100).checked_sub(1)?)?;
        Some(Summary {
            tokens,
            ppl_reference: mean(self.nll_reference).exp(),
            ppl: mean(self.nll).exp(),
            ppl_ratio: mean(self.nll - self.nll_reference).exp(),
            kl_mean: mean(self.kl.iter().sum()),
            kl_p99,
            top1: mean(self.same_top as f64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, want: f64) {
        let error = (got - want).abs();
        assert!(error <= 1e-12 * want.abs().max(1.0), "{got}, not {want}");
    }

    /// Logits of these probabilities; any constant may be added.
    fn logits(probabilities: &[f64], constant: f64) -> Vec<f32> {
        probabilities.iter().map(|p| (p.ln() + constant) as f32).collect()
    }

    #[test]
    fn identical_predictions_do_not_diverge() {
        let row = [3.0, -1.0, 0.5, 1e4, -1e30];
        let same = token(&row, &row, 2, 0).expect("finite");
        assert_eq!((same.kl, same.same_top), (0.0, true));
        assert_eq!(same.nll, same.nll_reference);
        // Nor do predictions that differ by a constant.
        let shifted: Vec<f32> = [1.0, 2.0, 4.0].map(|x| x + 8.0).into();
        near(token(&[1.0, 2.0, 4.0], &shifted, 0, 0).expect("finite").kl, 0.0);
    }

    #[test]
    fn two_classes_by_hand() {
        // 1/2 against 1/4: KL = ½ ln 2 + ½ ln ⅔ = ½ ln 4/3. Powers of two: the logits' rounding counts.
        let (reference, other) = ([0.0, 0.0], [0.0, 3f32.ln()]);
        let got = token(&reference, &other, 0, 0).expect("finite");
        assert!((got.kl - 0.5 * (4.0f64 / 3.0).ln()).abs() <= 1e-8, "{}", got.kl);
        near(got.nll_reference, 2f64.ln());
        assert!((got.nll - 4f64.ln()).abs() <= 1e-7 && !got.same_top);
        // The other way round it is another number: ¼ ln ½ + ¾ ln 3/2.
        let back = token(&other, &reference, 1, 0).expect("finite").kl;
        assert!((back - (0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln())).abs() <= 1e-7, "{back}");
    }

    #[test]
    fn sums_over_tokens() {
        let mut sums = Divergence::default();
        assert_eq!(sums.summary(), None);
        let reference = logits(&[0.5, 0.25, 0.25], 7.0);
        let other = logits(&[0.25, 0.5, 0.25], -3.0);
        sums.push(&reference, &other, 0).expect("finite"); // nll: ln 2 and ln 4; another top
        sums.push(&reference, &reference, 1).expect("finite"); // nll: ln 4 twice
        let got = sums.summary().expect("two tokens");
        let close = |got: f64, want: f64| assert!((got - want).abs() <= 1e-6, "{got}, not {want}");
        assert_eq!((got.tokens, got.top1), (2, 0.5));
        close(got.ppl_reference, 8f64.sqrt());
        close(got.ppl, 4.0);
        close(got.ppl_ratio, 2f64.sqrt());
        // ½ ln 2 - ¼ ln 2 of the first, nothing of the second.
        close(got.kl_mean, 0.125 * 2f64.ln());
        close(got.kl_p99, 0.25 * 2f64.ln());
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        for (tokens, expected) in
            [(1usize, 1.0), (2, 2.0), (99, 99.0), (100, 99.0), (101, 100.0), (200, 198.0)]
        {
            let mut sums = Divergence::default();
            for ix in 0..tokens {
                let kl = ((ix * 7919) % tokens + 1) as f64; // 1 to `tokens` in some order
                sums.add(Token { nll_reference: 1.0, nll: 1.0, kl, same_top: true });
            }
            let got = sums.summary().expect("tokens");
            assert_eq!(got.kl_p99, expected, "{tokens}");
            near(got.kl_mean, (tokens as f64 + 1.0) / 2.0);
        }
    }

    #[test]
    fn what_is_no_prediction_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for (reference, other) in [([0.0, bad], [0.0, 1.0]), ([0.0, 1.0], [bad, 0.0])] {
                let mut sums = Divergence::default();
                let error = sums.push(&reference, &other, 0).expect_err("not finite");
                assert!(matches!(error, EngineError::NotFinite { bad: 1, vocab: 2, .. }), "{error}");
                assert_eq!(sums.tokens(), 0);
            }
        }
        let error = token(&[0.0; 4], &[0.0; 4], 4, 0).expect_err("no such token");
        assert!(matches!(error, EngineError::BadToken { id: 4, vocab: 4 }), "{error}");
        let error = token(&[0.0; 4], &[0.0; 5], 0, 0).expect_err("other vocabularies").to_string();
        assert!(error.contains("4, as the reference has") && error.contains('5'), "{error}");
    }
}
