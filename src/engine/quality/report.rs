//! What was measured, and where it is kept for those who ask for it later.

use serde::{Deserialize, Serialize};

use super::divergence::Summary;
use crate::base::DType;
use crate::engine::cache;
use crate::formats::Archive;

/// Bytes taken from the start, the middle and the end of each tensor.
const SAMPLE_BYTES: usize = 256;

/// Quality of a model's quantizations on a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    /// The text's file name, without its folder.
    pub text: String,
    /// Tokens predicted.
    pub tokens: usize,
    /// Tokens predicted per window.
    pub window: usize,
    /// The 16-bit reference, then the quantizations in the order in which they were measured.
    pub rows: Vec<QualityRow>,
}

/// Quality of one quantization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRow {
    /// Type of the weights, as asked for.
    #[serde(with = "dtype_name")]
    pub quant: DType,
    /// Perplexity: exp of the mean negative log likelihood.
    pub ppl: f64,
    /// Perplexity through that of the reference.
    pub ppl_ratio: f64,
    /// Mean Kullback-Leibler divergence from the reference, nats per token.
    pub kl_mean: f64,
    /// Its 99th percentile.
    pub kl_p99: f64,
    /// Share of the tokens for which both find the same one most likely, 0 to 1.
    pub top1: f64,
    /// Bytes of the weights on the device.
    pub weight_bytes: u64,
}

impl QualityRow {
    pub(super) fn of(quant: DType, found: &Summary, weight_bytes: u64) -> QualityRow {
        let Summary { ppl, ppl_ratio, kl_mean, kl_p99, top1, .. } = *found;
        QualityRow { quant, ppl, ppl_ratio, kl_mean, kl_p99, top1, weight_bytes }
    }

    /// The reference compared with itself.
    pub(super) fn reference(quant: DType, ppl: f64, weight_bytes: u64) -> QualityRow {
        QualityRow { quant, ppl, ppl_ratio: 1.0, kl_mean: 0.0, kl_p99: 0.0, top1: 1.0, weight_bytes }
    }
}

/// Types by the name used on the command line.
mod dtype_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::base::DType;

    pub(super) fn serialize<S: Serializer>(dtype: &DType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(dtype.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DType, D::Error> {
        let name = String::deserialize(deserializer)?;
        DType::from_name(&name).ok_or_else(|| D::Error::custom(format!("'{name}' is no type of weights")))
    }
}

/// What a model is recognised by: FNV-1a in 64 bits (Fowler, Noll and Vo) over each tensor's name, type,
/// shape and a sample of its bytes. Not safe against those who wish to deceive.
pub fn fingerprint(archive: &Archive) -> u64 {
    let mut hash = Fnv::default();
    for (name, tensor) in &archive.tensors {
        hash.add(name.as_bytes());
        hash.add(tensor.dtype.name().as_bytes());
        hash.add(format!("{:?}", tensor.shape).as_bytes());
        let bytes = archive.bytes(tensor);
        let n = bytes.len().min(SAMPLE_BYTES);
        for start in [0, (bytes.len() - n) / 2, bytes.len() - n] {
            hash.add(&bytes[start..start + n]);
        }
    }
    hash.0
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Adds the length too: `ab`, `c` differs from `a`, `bc`.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

fn file(fingerprint: u64) -> String {
    format!("quality-{fingerprint:016x}.json")
}

/// What was last measured of the model with this [`fingerprint`], if anything.
pub fn kept(fingerprint: u64) -> Option<QualityReport> {
    cache::read_json(&file(fingerprint))
}

/// Keeps a report for [`kept`]. Quantizations that an earlier one has of the same text stay.
pub fn keep(fingerprint: u64, report: &QualityReport) -> std::io::Result<()> {
    let merged = match kept(fingerprint) {
        Some(old) => merge(report.clone(), old),
        None => report.clone(),
    };
    cache::write_json(&file(fingerprint), &merged)
}

/// `new` with those rows of `old` that it lacks, if both are of the same tokens.
fn merge(mut new: QualityReport, old: QualityReport) -> QualityReport {
    // Equal perplexities of the reference: the same text under the same name, on the same adapter.
    let reference = |report: &QualityReport| report.rows.first().map(|row| row.ppl.to_bits());
    let key = |report: &QualityReport| (report.text.clone(), report.tokens, report.window, reference(report));
    if key(&new) == key(&old) {
        let measured: Vec<DType> = new.rows.iter().map(|row| row.quant).collect();
        new.rows.extend(old.rows.into_iter().filter(|row| !measured.contains(&row.quant)));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::model::DEMO_FILES;

    #[test]
    fn fingerprints_tell_models_apart() {
        let of = |weights: &[u8]| {
            let files = [("config.json", DEMO_FILES[0].1), DEMO_FILES[4]].map(|(name, bytes)| {
                (name, if name == "config.json" { bytes.to_vec() } else { weights.to_vec() })
            });
            fingerprint(&Archive::from_memory(files).expect("sound"))
        };
        let weights = DEMO_FILES[4].1;
        let demo = of(weights);
        assert_eq!(demo, of(weights));
        let last = weights.len() - 1;
        let mut changed = weights.to_vec();
        changed[last] ^= 1;
        assert_ne!(demo, of(&changed), "the last byte of the last tensor");
        let mut renamed = weights.to_vec();
        let at = renamed.windows(10).position(|part| part == b"model.norm").expect("a name");
        renamed[at + 6] = b'N';
        assert_ne!(demo, of(&renamed), "a name");
    }

    #[test]
    fn fnv_is_fnv() {
        // The published test vector for "a", before the length is added.
        assert_eq!((Fnv::default().0 ^ 0x61).wrapping_mul(0x0000_0100_0000_01b3), 0xaf63_dc4c_8601_ec8c);
    }

    fn report(text: &str, quants: &[DType]) -> QualityReport {
        let row = |quant: &DType| QualityRow { quant: *quant, ..QualityRow::reference(DType::F16, 9.5, 7) };
        QualityReport { text: text.to_owned(), tokens: 9, window: 3, rows: quants.iter().map(row).collect() }
    }

    #[test]
    fn reports_of_the_same_text_are_merged() {
        use DType::{F16, Q4_0, Q6K, Q8_0};
        let quants = |report: QualityReport| report.rows.iter().map(|row| row.quant).collect::<Vec<_>>();
        let old = report("a", &[F16, Q8_0, Q6K]);
        assert_eq!(quants(merge(report("a", &[F16, Q4_0, Q6K]), old.clone())), [F16, Q4_0, Q6K, Q8_0]);
        assert_eq!(quants(merge(report("b", &[F16, Q4_0]), old.clone())), [F16, Q4_0]);
        let mut other = report("a", &[F16, Q4_0]);
        other.rows[0].ppl = 9.25;
        assert_eq!(quants(merge(other, old)), [F16, Q4_0], "another text under the same name");
    }

    #[test]
    fn reports_survive_json() {
        let report = report("a", &[DType::F16, DType::Q6K]);
        let json = serde_json::to_string(&report).expect("JSON");
        assert!(json.contains(r#""quant":"q6_k""#), "{json}");
        assert_eq!(serde_json::from_str::<QualityReport>(&json).expect("a report"), report);
        assert!(serde_json::from_str::<QualityReport>(&json.replace("q6_k", "q6_x")).is_err());
    }
}
