//! `NAME`, `NAME*2` or `bandwidth=68GB/s,flops=2.6TFLOPS,memory=8GiB` → [`Hardware`].

use super::error::PlanError;
use super::hardware::{
    DEFAULT_DISPATCH_S, DEFAULT_USABLE_BANDWIDTH, DEFAULT_USABLE_OPS, Hardware, MAX_COUNT, find,
};

/// One key of described hardware.
struct Key {
    name: &'static str,
    /// Smallest and largest value that is believed.
    range: (f64, f64),
    what: &'static str,
    unit: Unit,
    example: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Plain,
    /// Bytes, perhaps per second.
    Bytes,
    Flops,
    Watts,
    Seconds,
}

const BANDWIDTH: Key = Key {
    name: "bandwidth",
    range: (1e8, 1e15),
    what: "bytes per second",
    unit: Unit::Bytes,
    example: "bandwidth=68GB/s",
};
const FLOPS: Key = Key {
    name: "flops",
    range: (1e8, 1e18),
    what: "operations per second",
    unit: Unit::Flops,
    example: "flops=2.6TFLOPS",
};
const MEMORY: Key =
    Key { name: "memory", range: (1e8, 1e15), what: "bytes", unit: Unit::Bytes, example: "memory=8GiB" };
const PRICE: Key = Key {
    name: "price",
    range: (1e-6, 1e6),
    what: "US dollars per hour",
    unit: Unit::Plain,
    example: "price=2.21",
};
const WATTS: Key =
    Key { name: "watts", range: (0.1, 1e7), what: "watts", unit: Unit::Watts, example: "watts=30" };
const DISPATCH: Key = Key {
    name: "dispatch",
    range: (1e-9, 1.0),
    what: "seconds",
    unit: Unit::Seconds,
    example: "dispatch=4us",
};

const USABLE_FLOPS: Key = Key {
    name: "usable-flops",
    range: (0.01, 1.0),
    what: "a fraction",
    unit: Unit::Plain,
    example: "usable-flops=0.5",
};

const KEYS: [&Key; 7] = [&BANDWIDTH, &FLOPS, &MEMORY, &PRICE, &WATTS, &DISPATCH, &USABLE_FLOPS];

/// The machine that `spec` names or describes:
///
/// - `NAME` of the table, as [`find`] takes it; `NAME*2`: two of them.
/// - `bandwidth=68GB/s,flops=2.6TFLOPS,memory=8GiB`, in any order and perhaps with `price=` (US dollars per hour),
///   `watts=`, `dispatch=` (seconds each) and `usable-flops=` (what kernels reach of the peak, 0 to 1). Figures are
///   peaks; the default fractions of them count as usable. Plain numbers are bytes, operations and seconds;
///   `k M G T P` are powers of 1000, `Ki Mi Gi Ti Pi` of 1024.
/// - Both, the name first: `a100-80g*2,flops=312TFLOPS` is that machine with another figure, of one machine.
pub fn parse(spec: &str) -> Result<Hardware, PlanError> {
    let (first, rest) = spec.split_once(',').unwrap_or((spec, ""));
    if first.contains('=') {
        return described(&Figures::of(spec)?);
    }
    let (name, count) = first.split_once('*').unwrap_or((first, "1"));
    let hardware = find(name.trim())?;
    let Ok(count @ 1..=MAX_COUNT) = count.trim().parse() else {
        return Err(PlanError::HardwareCount { spec: first.to_owned(), max: MAX_COUNT });
    };
    match spec.contains(',') {
        true => Ok(Figures::of(rest)?.put_into(hardware).times(count)),
        false => Ok(hardware.times(count)),
    }
}

/// What a specification says of each key.
#[derive(Default)]
struct Figures([Option<f64>; KEYS.len()]);

impl Figures {
    fn of(spec: &str) -> Result<Figures, PlanError> {
        let mut figures = Figures::default();
        for part in spec.split(',') {
            let (name, text) = part.split_once('=').unwrap_or((part, ""));
            let name = name.trim();
            let Some(ix) = KEYS.iter().position(|key| key.name.eq_ignore_ascii_case(name)) else {
                let expected = KEYS.map(|key| key.name).join(", ");
                return Err(PlanError::HardwareKey { key: name.to_owned(), expected });
            };
            if figures.0[ix].replace(value(KEYS[ix], text.trim())?).is_some() {
                return Err(PlanError::HardwareKeyTwice { key: KEYS[ix].name });
            }
        }
        Ok(figures)
    }

    /// The machine with these figures in place of its own.
    fn put_into(&self, mut hardware: Hardware) -> Hardware {
        let [bandwidth, flops, memory, price_per_hour, watts, dispatch, usable_flops] = self.0;
        hardware.bandwidth_bytes_s = bandwidth.unwrap_or(hardware.bandwidth_bytes_s);
        hardware.ops_s = flops.unwrap_or(hardware.ops_s);
        hardware.memory_bytes = memory.map_or(hardware.memory_bytes, |bytes| bytes as u64); // at most 1e15
        hardware.dispatch_s = dispatch.unwrap_or(hardware.dispatch_s);
        hardware.usable_ops = usable_flops.unwrap_or(hardware.usable_ops);
        hardware.price_per_hour = price_per_hour.or(hardware.price_per_hour);
        hardware.watts = watts.or(hardware.watts);
        if memory.is_some() {
            hardware.sizes_gib.clear();
        }
        hardware.source = format!("{}; some figures given by the user", hardware.source);
        hardware
    }
}

fn described(figures: &Figures) -> Result<Hardware, PlanError> {
    for (key, value) in KEYS.iter().zip(figures.0).take(3) {
        if value.is_none() {
            return Err(PlanError::HardwareKeyMissing { key: key.name, example: key.example });
        }
    }
    let nothing = Hardware {
        name: "custom".to_owned(),
        count: 1,
        bandwidth_bytes_s: 0.0,
        ops_s: 0.0,
        memory_bytes: 0,
        sizes_gib: Vec::new(),
        year: None,
        usable_bandwidth: DEFAULT_USABLE_BANDWIDTH,
        usable_ops: DEFAULT_USABLE_OPS,
        usable_memory: 1.0,
        dispatch_s: DEFAULT_DISPATCH_S,
        price_per_hour: None,
        watts: None,
        source: String::new(),
    };
    let source = "given by the user; usual fractions, not measured".to_owned();
    Ok(Hardware { source, ..figures.put_into(nothing) })
}

/// The number that `text` means for a key, within the key's range.
fn value(key: &Key, text: &str) -> Result<f64, PlanError> {
    let (low, high) = key.range;
    let believed = quantity(key.unit, text).filter(|value| (low..=high).contains(value));
    believed.ok_or_else(|| PlanError::HardwareValue {
        key: key.name,
        value: text.to_owned(),
        expected: format!("{} from {low:e} to {high:e}", key.what),
        example: key.example,
    })
}

/// A number and its suffix. `None` where either makes no sense.
fn quantity(unit: Unit, text: &str) -> Option<f64> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    let longest = text.find(|c| !is_number(c)).unwrap_or(text.len());
    let (number, end) = (0..=longest).rev().find_map(|end| Some((text[..end].parse::<f64>().ok()?, end)))?;
    Some(number * factor(unit, text[end..].trim())?)
}

/// What a suffix multiplies by.
fn factor(unit: Unit, suffix: &str) -> Option<f64> {
    let lower = suffix.to_lowercase();
    let (names, scaled): (&[&str], bool) = match unit {
        Unit::Plain => (&[""], false),
        Unit::Watts => (&["", "w"], true),
        Unit::Bytes => (&["", "b", "b/s"], true),
        Unit::Flops => (&["", "flops", "flop/s", "flop"], true),
        Unit::Seconds => {
            let scales = [("", 1.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9)];
            return scales.iter().find(|scale| scale.0 == lower).map(|scale| scale.1);
        }
    };
    if names.contains(&lower.as_str()) {
        return Some(1.0);
    }
    // "Gb" is a gigabit wherever "GB" is a gigabyte; "gb" is a gigabyte typed in haste.
    let bits = unit == Unit::Bytes && suffix.contains('b') && suffix != lower;
    let power = "kmgtp".find(lower.chars().next()?).filter(|_| scaled && !bits)? as i32 + 1;
    let rest = &lower[1..];
    match rest.strip_prefix('i') {
        Some(rest) if unit == Unit::Bytes => names.contains(&rest).then(|| 1024f64.powi(power)),
        _ => names.contains(&rest).then(|| 1000f64.powi(power)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_counts() {
        assert_eq!(parse(" RTX 4090 ").unwrap().name, "rtx-4090");
        let pair = parse("a100-80g * 2").unwrap();
        assert_eq!((pair.count, pair.memory_bytes), (2, 160 << 30));
        let faster = parse("a100-80g * 2, flops=312TFLOPS").unwrap();
        assert_eq!((faster.ops_s, faster.bandwidth_bytes_s), (624e12, pair.bandwidth_bytes_s));
        assert!(matches!(parse("h100,"), Err(PlanError::HardwareKey { .. })));
        assert!(matches!(parse("h100,flops=0"), Err(PlanError::HardwareValue { .. })));
        for wrong in ["h100*0", "h100*", "h100*1025", "h100*-1", "h100*1.5", "h100*2*2"] {
            assert!(matches!(parse(wrong), Err(PlanError::HardwareCount { .. })), "{wrong}");
        }
        assert!(matches!(parse("h300*2"), Err(PlanError::UnknownHardware { .. })));
        assert!(matches!(parse(""), Err(PlanError::UnknownHardware { .. })));
    }

    #[test]
    fn described_hardware() {
        let plain = parse("bandwidth=68e9,flops=2.6e12,memory=8589934592").unwrap();
        assert_eq!((plain.bandwidth_bytes_s, plain.ops_s, plain.memory_bytes), (68e9, 2.6e12, 8 << 30));
        assert_eq!((plain.dispatch_s, plain.price_per_hour, plain.watts), (DEFAULT_DISPATCH_S, None, None));
        for same in [
            "bandwidth=68GB/s,flops=2.6TFLOPS,memory=8GiB",
            "memory = 8 GiB, Flops = 2600 gflop/s, bandwidth = 68000 MB/s",
            "bandwidth=68G,flops=2.6T,memory=8Gi",
            "bandwidth=68gb/s,flops=+2.6e0tflops,memory=8gib",
        ] {
            assert_eq!(parse(same).as_ref(), Ok(&plain), "{same}");
        }
        let all = parse("bandwidth=1e11,flops=1e13,memory=16GB,price=0.5,watts=30W,dispatch=8us").unwrap();
        assert_eq!((all.memory_bytes, all.dispatch_s), (16_000_000_000, 8e-6));
        assert_eq!((all.price_per_hour, all.watts), (Some(0.5), Some(30.0)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            ("bandwidth=0,flops=1e12,memory=8GiB", "bandwidth=0: expected bytes per second from 1e8 to 1e15"),
            ("bandwidth=-5e9,flops=1e12,memory=8GiB", "bandwidth=-5e9: expected"),
            ("bandwidth=nan,flops=1e12,memory=8GiB", "bandwidth=nan: expected"),
            ("bandwidth=inf,flops=1e12,memory=8GiB", "bandwidth=inf: expected"),
            ("bandwidth=1e999,flops=1e12,memory=8GiB", "bandwidth=1e999: expected"),
            ("bandwidth=68,flops=1e12,memory=8GiB", "bandwidth=68: expected"),
            ("bandwidth=68Gb/s,flops=1e12,memory=8GiB", "e.g. bandwidth=68GB/s"),
            ("bandwidth=68GB/s,flops=2.6furlongs,memory=8GiB", "flops=2.6furlongs: expected operations"),
            ("bandwidth=68GB/s,flops=1e12", "`memory` is missing, e.g. memory=8GiB"),
            ("flops=1e12,memory=8GiB", "`bandwidth` is missing"),
            ("bandwidth=1e11,bandwidth=1e11,flops=1e12,memory=8GiB", "`bandwidth` is given twice"),
            ("bandwidth=1e11,colour=red", "unknown key `colour`, expected bandwidth, flops, memory, price"),
            ("bandwidth=1e11,", "unknown key ``"),
            ("bandwidth=,flops=1", "bandwidth=: expected"),
            ("bandwidth=1e11,flops=1e12,memory=8GiB,price=0", "price=0: expected US dollars per hour"),
            ("bandwidth=1e11,flops=1e12,memory=8é", "memory=8é: expected"),
            ("bandwidth=é,flops=1e12", "bandwidth=é: expected"),
        ];
        for (spec, want) in rows {
            let error = parse(spec).unwrap_err().to_string();
            assert!(error.contains(want), "{spec}: {error}");
        }
    }
}
