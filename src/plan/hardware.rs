//! Machines as numbers, without an adapter at hand: by name from a table, or described by the user.

use serde::{Deserialize, Serialize};

use super::error::PlanError;
use super::form::Constants;
use super::formulas;
pub use super::hardware_spec::parse;
use super::hardware_table::{Row, TABLE};

/// Part of the peak bandwidth that reads of weights reach, where nothing better is known. Measured: Apple 88 to 93 %
/// (slopes in llama.cpp discussion 4167), cards 90 to 95 %, integrated graphics 75 to 88 %.
pub const DEFAULT_USABLE_BANDWIDTH: f64 = 0.85;
/// Part of the f32 peak that our prompt kernels reach: tiles of registers without matrix units. One estimate for every
/// vendor, so that prompt speeds compare; other engines' such kernels reach 27 to 66 %.
pub const DEFAULT_USABLE_OPS: f64 = 0.4;
/// Seconds from the end of one dispatch to the start of the next that depends on it, where nothing better is known. An
/// estimate between 2.5 µs (NVIDIA) and 8 µs (Intel).
pub const DEFAULT_DISPATCH_S: f64 = 4e-6;
/// Seconds of a submit and a readback, once per step. An estimate: wgpu's share is 50 to 100 µs.
pub const SUBMIT_S: f64 = 1e-4;
/// Most machines one specification can name.
pub const MAX_COUNT: u32 = 1024;

/// Names that an unknown one is answered with.
const N_NEAREST: usize = 3;

/// A machine, or `count` equal ones that share every matrix evenly: bandwidth, arithmetic, memory, price and watts are
/// those of all of them together. What they say to each other costs nothing here, so several are an upper bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// Name in the table, or `custom`.
    pub name: String,
    /// Machines.
    pub count: u32,
    /// Peak of the data sheet, bytes per second.
    pub bandwidth_bytes_s: f64,
    /// Peak f32 operations per second of the vector units, which are those that our kernels use.
    pub ops_s: f64,
    /// Memory in bytes; shared with the processor on chips with one memory.
    pub memory_bytes: u64,
    /// Sizes it is sold with, 2³⁰ bytes; empty: no choice, or unknown.
    #[serde(default)]
    pub sizes_gib: Vec<u64>,
    /// Year in which it was first sold.
    #[serde(default)]
    pub year: Option<u16>,
    /// Part of `bandwidth_bytes_s` that programs reach, 0 to 1.
    pub usable_bandwidth: f64,
    /// Part of `ops_s` that programs reach, 0 to 1.
    pub usable_ops: f64,
    /// Part of `memory_bytes` that a program may take, 0 to 1.
    pub usable_memory: f64,
    /// Seconds per dependent dispatch beyond its work.
    pub dispatch_s: f64,
    /// US dollars per hour.
    pub price_per_hour: Option<f64>,
    /// Power at full load: of a card its board, of an Apple chip the computer around it.
    pub watts: Option<f64>,
    /// Where the figures come from.
    pub source: String,
}

impl Hardware {
    /// `count` of this machine.
    pub fn times(self, count: u32) -> Hardware {
        let factor = f64::from(count);
        Hardware {
            count: self.count * count,
            bandwidth_bytes_s: self.bandwidth_bytes_s * factor,
            ops_s: self.ops_s * factor,
            memory_bytes: self.memory_bytes * u64::from(count),
            price_per_hour: self.price_per_hour.map(|price| price * factor),
            watts: self.watts.map(|watts| watts * factor),
            ..self
        }
    }

    /// Is its memory the main memory of a computer, of which a part is left to other programs?
    pub fn shares_main_memory(&self) -> bool {
        self.usable_memory < 0.9
    }

    /// Constants of the cost form at the usable rates. K and V are read at the rate of the weights, and attention has no
    /// latency of its own: measurements say better ([`super::fit`]).
    pub fn constants(&self) -> Constants {
        let bytes_s = self.bandwidth_bytes_s * self.usable_bandwidth;
        Constants {
            fixed_s: SUBMIT_S,
            dispatch_s: self.dispatch_s,
            weight_bytes_s: bytes_s,
            ops_s: self.ops_s * self.usable_ops,
            position_s: 0.0,
            kv_bytes_s: bytes_s,
        }
    }

    /// Tokens per step from which arithmetic takes longer than reading weights of `bytes_per_weight` bytes, by the
    /// peaks ([`formulas::ridge_batch`]).
    pub fn ridge(&self, bytes_per_weight: f64) -> f64 {
        formulas::ridge_batch(self.ops_s, self.bandwidth_bytes_s, bytes_per_weight)
    }
}

impl From<&Row> for Hardware {
    fn from(row: &Row) -> Hardware {
        Hardware {
            name: row.name.to_owned(),
            count: 1,
            bandwidth_bytes_s: row.gb_s * 1e9,
            ops_s: row.tflops * 1e12,
            memory_bytes: row.memory_gib << 30,
            sizes_gib: row.sizes_gib.to_vec(),
            year: Some(row.year),
            usable_bandwidth: row.kind.usable_bandwidth,
            usable_ops: DEFAULT_USABLE_OPS,
            usable_memory: row.kind.usable_memory,
            dispatch_s: row.kind.dispatch_s,
            price_per_hour: row.kind.price_per_hour,
            watts: row.watts,
            source: format!("{}; {}", row.source, row.kind.source),
        }
    }
}

/// Every machine known by name, one of each.
pub fn all() -> impl Iterator<Item = Hardware> {
    TABLE.iter().map(Hardware::from)
}

/// The machine of that name; case, spaces, dashes and underscores do not matter.
pub fn find(name: &str) -> Result<Hardware, PlanError> {
    let wanted = plain(name);
    let found = TABLE.iter().find(|row| plain(row.name) == wanted);
    found
        .map(Hardware::from)
        .ok_or_else(|| PlanError::UnknownHardware { name: name.to_owned(), nearest: nearest(name) })
}

/// Lower case without spaces, dashes and underscores.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Letters that may differ where a name is mistyped.
const MISTYPED: usize = 2;

/// Mistyped names; then those whose words all stand in the wanted one (`MacBook Air M2`, `GeForce RTX 4090 Laptop`),
/// most words first; then names that contain it, or are contained in it (not those as short as `m2`), and those with the fewest
/// differing letters.
fn nearest(text: &str) -> Vec<String> {
    let wanted = plain(text);
    let lower = text.to_lowercase();
    let given: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let rank = |row: &Row| {
        let name = plain(row.name);
        let words: Vec<&str> = row.name.split('-').collect();
        let n_words = if words.iter().all(|word| given.contains(word)) { words.len() } else { 0 };
        let contained =
            !wanted.is_empty() && (name.contains(&wanted) || name.len() > 3 && wanted.contains(&name));
        let edits = edits(&name, &wanted);
        (edits > MISTYPED, usize::MAX - n_words, !contained, edits)
    };
    let mut rows: Vec<&Row> = TABLE.iter().collect();
    rows.sort_by_cached_key(|row| rank(row));
    rows[..N_NEAREST].iter().map(|row| row.name.to_owned()).collect()
}

/// Letters to insert, remove or replace on the way from `a` to `b` (Levenshtein 1966). Only the first letters of a long
/// `b` count, so that the time stays bounded.
fn edits(a: &str, b: &str) -> usize {
    const LONGEST: usize = 40;
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut here = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(x != *y);
            here.push(replaced.min(above[j + 1] + 1).min(here[j] + 1));
        }
        above = here;
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_row_is_plausible_and_found_by_its_name() {
        let mut names = HashSet::new();
        for hardware in all() {
            let name = &hardware.name;
            assert!(names.insert(plain(name)), "{name} stands twice");
            assert!(name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-')), "{name}");
            assert_eq!(find(&name.to_uppercase().replace('-', "_ ")).as_ref(), Ok(&hardware));
            let bytes_per_op = hardware.bandwidth_bytes_s / hardware.ops_s;
            assert!(
                (1.0 / 150.0..=0.5).contains(&bytes_per_op),
                "{name}: {bytes_per_op} bytes per operation"
            );
            assert!((4 << 30..=256 << 30).contains(&hardware.memory_bytes), "{name}");
            for part in [hardware.usable_bandwidth, hardware.usable_ops] {
                assert!((0.2..=0.95).contains(&part), "{name}: {part}");
            }
            assert!((1e-6..=1e-5).contains(&hardware.dispatch_s), "{name}");
            let sizes = &hardware.sizes_gib;
            assert!(
                sizes.is_sorted() && (sizes.is_empty() || sizes.contains(&(hardware.memory_bytes >> 30)))
            );
            assert!(hardware.year.is_some_and(|year| (2019..=2026).contains(&year)), "{name}");
            assert!(!hardware.source.contains("tensor cores with"), "{name}");
            assert!(hardware.watts.is_none_or(|watts| (5.0..=1000.0).contains(&watts)), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let nearest = |name: &str| match find(name) {
            Err(PlanError::UnknownHardware { nearest, .. }) => nearest,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(nearest("4090")[0], "rtx-4090");
        assert_eq!(nearest("GeForce RTX 4090")[0], "rtx-4090");
        assert_eq!(nearest("rx 7900 xt")[0], "rx-7900-xtx");
        assert_eq!(nearest("m2-mxa")[0], "m2-max");
        assert_eq!(nearest("MacBook Air M2")[0], "m2");
        assert_eq!(nearest("MacBook Pro M3 Max, 64 GB")[0], "m3-max");
        assert_eq!(nearest("rtx-4060-laptop")[0], "rtx-4060");
        assert_eq!(nearest("").len(), N_NEAREST);
        let error = find("h1000").unwrap_err().to_string();
        assert_eq!(error, "unknown hardware `h1000`; near it: h100, h200, a100-40g");
        assert_eq!(nearest(&"x".repeat(1 << 20)).len(), N_NEAREST);
    }

    /// Rates of the vendors' tables for f32 outside of matrix units, 10¹² operations per second.
    #[test]
    fn rates_are_those_of_the_units_that_kernels_use() {
        for (name, tflops) in [
            ("m1", 2.6),
            ("m2-max", 13.6),
            ("iris-xe", 2.07),
            ("780m", 8.3),
            ("rx-7900-xtx", 61.4),
            ("rx-9070-xt", 48.7),
            ("rtx-3090", 35.6),
            ("rtx-4090", 82.6),
            ("rtx-5090", 104.8),
            ("a100-80g", 19.5),
            ("h100", 66.9),
            ("arc-b580", 13.7),
        ] {
            let hardware = find(name).unwrap();
            assert_eq!(hardware.ops_s, tflops * 1e12, "{name}");
            assert_eq!(hardware.usable_ops, DEFAULT_USABLE_OPS, "{name}: one fraction for all");
        }
    }

    #[test]
    fn usable_rates_make_the_constants_and_peaks_the_ridge() {
        // Tensor cores as published, which none of our kernels uses: given explicitly.
        let pair = super::parse("a100-80g*2,flops=312TFLOPS,usable-flops=0.6410256410256411").unwrap();
        let constants = pair.constants();
        let near =
            |value: f64, want: f64| assert!((value / want - 1.0).abs() < 1e-12, "{value}, want {want}");
        near(constants.weight_bytes_s, 2.6e12);
        near(constants.ops_s, 400e12);
        near(pair.price_per_hour.unwrap(), 4.42);
        near(pair.ridge(2.0), 312.0 / 2.039);
        assert_eq!((pair.count, pair.memory_bytes), (2, 160 << 30));
    }
}
