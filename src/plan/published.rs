//! What quantizing costs in quality, as others measured and published it: for models on which nobody ran
//! `anygpu quality` yet. Data with its source; nothing here is measured by this program.

use crate::base::DType;

/// One published measurement of one quantization of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Published {
    /// Type of the weights.
    pub quant: DType,
    /// Name of the mix that was measured, the nearest to ours of those published.
    pub mix: &'static str,
    /// Perplexity.
    pub ppl: f64,
    /// Perplexity minus that of the 16-bit weights.
    pub ppl_difference: f64,
    /// Mean Kullback-Leibler divergence from the 16-bit weights, nats per token.
    pub kl_mean: f64,
}

/// The model of [`TABLE`].
pub const MODEL: &str = "Llama-3-8B";
/// Where [`TABLE`] is from.
pub const SOURCE: &str =
    "llama.cpp, tools/perplexity/README.md, LLaMA 3 8b Scoreboard (revision f364eb6f, WikiText-2 test)";

/// Rows without an importance matrix. Ours keep output and embedding at 6 bits and all layers in one type, as the `_S`
/// mixes nearly do.
pub const TABLE: [Published; 7] = [
    row(DType::Q8_0, "q8_0", 6.234284, 0.002650, 0.001355),
    row(DType::Q6K, "q6_K", 6.253382, 0.021748, 0.005452),
    row(DType::Q5K, "q5_K_S", 6.336598, 0.104964, 0.016595),
    row(DType::Q5_1, "q5_1", 6.337857, 0.106223, 0.018045),
    row(DType::Q5_0, "q5_0", 6.363224, 0.131591, 0.022239),
    row(DType::Q4K, "q4_K_S", 6.500529, 0.268895, 0.043136),
    row(DType::Q4_0, "q4_0", 6.700147, 0.468514, 0.071940),
];

const fn row(quant: DType, mix: &'static str, ppl: f64, ppl_difference: f64, kl_mean: f64) -> Published {
    Published { quant, mix, ppl, ppl_difference, kl_mean }
}

impl Published {
    /// Perplexity over that of the 16-bit weights, 1 or more.
    pub fn ppl_ratio(&self) -> f64 {
        self.ppl / (self.ppl - self.ppl_difference)
    }
}

/// What was published for a type; `None` for types of 16 bits or more, and those not measured.
pub fn find(quant: DType) -> Option<Published> {
    TABLE.into_iter().find(|row| row.quant == quant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_those_published_where_both_are() {
        // The same README's second table: mean PPL ratio of q6_K and q8_0.
        for (quant, ratio) in [(DType::Q6K, 1.003490), (DType::Q8_0, 1.000425)] {
            assert!((find(quant).unwrap().ppl_ratio() - ratio).abs() < 1e-6, "{quant}");
        }
        assert_eq!(find(DType::F16), None);
    }

    /// The order of quality that plans list is the published one, so no two of them are alike.
    #[test]
    fn every_quantization_that_can_be_asked_for_is_rated_and_worse_than_the_one_before() {
        let rated: Vec<Published> = crate::plan::table::QUANTS.into_iter().filter_map(find).collect();
        assert_eq!(rated.len(), crate::plan::table::QUANTS.len() - 1, "all but f16");
        for pair in rated.windows(2) {
            assert!(pair[0].ppl_ratio() < pair[1].ppl_ratio() && pair[0].kl_mean < pair[1].kl_mean);
        }
    }
}
