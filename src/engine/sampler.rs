//! Logits → token. Pure CPU, seeded: the same logits, options and seed give the same tokens.

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::engine::EngineError;

/// How to choose the next token. Applied in this order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// 0: always the most likely token; the rest is then ignored but for the penalty.
    pub temperature: f32,
    /// Only the k most likely; 0: all.
    pub top_k: usize,
    /// Only the most likely that together reach this probability; 1: all, 0: the most likely one
    /// (Holtzman et al. 2020).
    pub top_p: f32,
    /// Only those at least this fraction as likely as the most likely; 0: all, 1: the most likely
    /// one and its equals (Nguyen et al. 2024).
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of recent tokens; 1: none (Keskar et al. 2019, §4.1).
    pub repeat_penalty: f32,
    /// How many recent tokens the penalty looks at.
    pub repeat_last: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        SamplerOptions {
            temperature: 0.7,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last: 64,
            seed: 0,
        }
    }
}

/// The sampler's state: random numbers and recent tokens.
pub struct Sampler {
    options: SamplerOptions,
    rng: StdRng,
    recent: VecDeque<u32>,
}

impl Sampler {
    /// Checks the options.
    pub fn new(options: SamplerOptions) -> Result<Sampler, EngineError> {
        let o = &options;
        for (option, value, good, expected) in [
            ("--temperature", o.temperature, o.temperature >= 0.0 && o.temperature.is_finite(), "0 or more"),
            ("--top-p", o.top_p, (0.0..=1.0).contains(&o.top_p), "0 to 1"),
            ("--min-p", o.min_p, (0.0..=1.0).contains(&o.min_p), "0 to 1"),
            (
                "--repeat-penalty",
                o.repeat_penalty,
                o.repeat_penalty > 0.0 && o.repeat_penalty.is_finite(),
                "more than 0",
            ),
        ] {
            if !good {
                let (expected, found) = (expected.to_owned(), value.to_string());
                return Err(EngineError::BadOption { option, expected, found });
            }
        }
        let rng = StdRng::seed_from_u64(options.seed);
        Ok(Sampler { options, rng, recent: VecDeque::new() })
    }

    /// Notes a token of the prompt or the answer for the penalty.
    pub fn note(&mut self, id: u32) {
        self.recent.push_back(id);
        while self.recent.len() > self.options.repeat_last {
            self.recent.pop_front();
        }
    }

    /// Does the penalty change anything?
    pub fn penalizes(&self) -> bool {
        self.options.repeat_penalty != 1.0 && self.options.repeat_last > 0
    }

    /// True when the most likely token is always chosen, so that the GPU can do it.
    pub fn is_greedy(&self) -> bool {
        self.options.temperature == 0.0 && !self.penalizes()
    }

    /// True when the `k` most likely tokens are all that is needed.
    pub fn fits_top(&self, k: usize) -> bool {
        !self.penalizes() && (1..=k).contains(&self.options.top_k)
    }

    /// The next `n` random numbers in [0, 1), for choosing elsewhere.
    pub fn draws(&mut self, n: usize) -> Vec<f32> {
        // The largest f64 below 1 would round to 1.
        let below_one = |draw: f64| (draw as f32).min(1.0f32.next_down());
        (0..n).map(|_| below_one(self.rng.random())).collect()
    }

    /// The options.
    pub fn options(&self) -> &SamplerOptions {
        &self.options
    }

    /// Chooses from all logits: `[vocab]`.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let mut items: Vec<(u32, f32)> = logits.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
        let penalty = self.options.repeat_penalty;
        if penalty != 1.0 {
            let mut seen: Vec<u32> = self.recent.iter().copied().collect();
            seen.sort_unstable();
            seen.dedup();
            for id in seen {
                if let Some((_, logit)) = items.get_mut(id as usize) {
                    *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
                }
            }
        }
        let by_rank = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if self.options.temperature == 0.0 {
            return items.iter().copied().min_by(by_rank).map_or(0, |item| item.0);
        }
        let k = self.options.top_k;
        if k > 0 && k < items.len() {
            items.select_nth_unstable_by(k - 1, by_rank);
            items.truncate(k);
        }
        items.sort_unstable_by(by_rank);
        self.sample_sorted(&items)
    }

    /// Chooses from candidates, best first: (id, logit). Looks at no more than top-k of them.
    pub fn sample_sorted(&mut self, items: &[(u32, f32)]) -> u32 {
        let k = if self.options.top_k == 0 { items.len() } else { self.options.top_k };
        let items = &items[..k.min(items.len())];
        let Some((first, top)) = items.first().copied() else { return 0 };
        if self.options.temperature == 0.0 {
            return first;
        }
        let temperature = f64::from(self.options.temperature);
        let weight = |logit: f32| ((f64::from(logit) - f64::from(top)) / temperature).exp();
        let weights: Vec<f64> = items.iter().map(|item| weight(item.1)).collect();
        let total: f64 = weights.iter().sum();
        let mut kept = 0;
        let mut mass = 0.0;
        for w in &weights {
            if kept > 0
                && (mass >= f64::from(self.options.top_p) * total || *w < f64::from(self.options.min_p))
            {
                break;
            }
            mass += w;
            kept += 1;
        }
        let mut left = self.rng.random::<f64>() * mass;
        for (item, w) in items[..kept].iter().zip(&weights) {
            left -= w;
            if left < 0.0 {
                return item.0;
            }
        }
        items[kept - 1].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(options: SamplerOptions) -> Sampler {
        Sampler::new(options).expect("good options")
    }

    /// Ids that come up in 200 draws from logits ln(4), ln(3), ln(2), ln(1).
    fn drawn(options: SamplerOptions) -> Vec<u32> {
        let logits: Vec<f32> = [4.0f32, 3.0, 2.0, 1.0].iter().map(|p| p.ln()).collect();
        let mut sampler = sampler(options);
        let mut ids: Vec<u32> = (0..200).map(|_| sampler.sample(&logits)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn every_option_cuts_what_it_should() {
        let open = SamplerOptions { temperature: 1.0, top_k: 0, top_p: 1.0, ..SamplerOptions::default() };
        let row = |options: SamplerOptions, expected: &[u32]| {
            assert_eq!(drawn(options.clone()), expected, "{options:?}")
        };
        row(open.clone(), &[0, 1, 2, 3]);
        row(SamplerOptions { temperature: 0.0, ..open.clone() }, &[0]);
        row(SamplerOptions { top_k: 2, ..open.clone() }, &[0, 1]);
        row(SamplerOptions { top_p: 0.39, ..open.clone() }, &[0]); // 0.4 reached by the first
        row(SamplerOptions { top_p: 0.41, ..open.clone() }, &[0, 1]);
        row(SamplerOptions { min_p: 0.6, ..open.clone() }, &[0, 1]); // 0.75 of the first; 0.5 is too little
        row(SamplerOptions { top_p: 0.0, ..open.clone() }, &[0]);
        row(SamplerOptions { min_p: 1.0, ..open.clone() }, &[0]);
        row(SamplerOptions { temperature: 0.01, ..open }, &[0]);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let options = SamplerOptions { temperature: 1.0, top_k: 0, top_p: 1.0, ..SamplerOptions::default() };
        let mut sampler = sampler(options);
        let n = 20_000;
        let hits = (0..n).filter(|_| sampler.sample(&[3.0f32.ln(), 0.0]) == 0).count();
        let share = hits as f64 / f64::from(n);
        assert!((share - 0.75).abs() < 0.02, "{share}"); // σ = 0.003
    }

    #[test]
    fn penalty_and_seed() {
        let options = SamplerOptions {
            temperature: 0.0,
            repeat_penalty: 2.0,
            repeat_last: 1,
            ..SamplerOptions::default()
        };
        let mut s = sampler(options);
        assert_eq!(s.sample(&[2.0, 1.5]), 0);
        s.note(0);
        assert_eq!(s.sample(&[2.0, 1.5]), 1); // 2 / 2 < 1.5
        assert_eq!(s.sample(&[-1.0, -1.5]), 1); // -1 · 2 < -1.5
        s.note(7); // 0 is no longer recent
        assert_eq!(s.sample(&[2.0, 1.5]), 0);
        let draw = |seed| {
            let options = SamplerOptions { seed, temperature: 2.0, ..SamplerOptions::default() };
            let mut s = sampler(options);
            (0..20).map(|_| s.sample(&[0.3, 0.2, 0.1, 0.0])).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn absurd_options_are_refused() {
        for options in [
            SamplerOptions { temperature: -1.0, ..SamplerOptions::default() },
            SamplerOptions { temperature: f32::NAN, ..SamplerOptions::default() },
            SamplerOptions { top_p: 1.1, ..SamplerOptions::default() },
            SamplerOptions { top_p: f32::NAN, ..SamplerOptions::default() },
            SamplerOptions { min_p: -0.1, ..SamplerOptions::default() },
            SamplerOptions { repeat_penalty: 0.0, ..SamplerOptions::default() },
        ] {
            assert!(Sampler::new(options.clone()).is_err(), "{options:?}");
        }
    }
}
