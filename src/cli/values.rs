//! Values of options: text → number or type, with what was expected in the message.

use std::ops::RangeInclusive;

use crate::base::{Activations, DType, KvType};
use crate::model::shapes::QUANTS;

/// A whole number in `range`.
pub(super) fn whole(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    whole_of(range, "")
}

/// As [`whole`], of something.
pub(super) fn whole_of(
    range: RangeInclusive<usize>,
    what: &'static str,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let found = text.trim().parse().ok().filter(|n| range.contains(n));
        found.ok_or_else(|| format!("{} {what}", expected(&range)).trim_end().to_owned())
    }
}

fn expected(range: &RangeInclusive<usize>) -> String {
    match (*range.start(), *range.end()) {
        (0, usize::MAX) => "expected a whole number, 0 or more".to_owned(),
        (least, usize::MAX) => format!("expected {least} or more"),
        (least, most) => format!("expected {least} to {most}"),
    }
}

/// As [`whole`] from 0 on; -1 is what others write for `minus_one`.
pub(super) fn whole_or_minus_one(
    minus_one: &'static str,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| match text.trim() {
        "-1" => Ok(0),
        text => text.parse().map_err(|_| format!("expected 1 or more; 0 or -1: {minus_one}")),
    }
}

/// A number of which `good` is true; `expected` says of which.
pub(super) fn real<T: std::str::FromStr + Copy + 'static>(
    expected: &'static str,
    good: fn(T) -> bool,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| text.trim().parse().ok().filter(|n| good(*n)).ok_or_else(|| format!("expected {expected}"))
}

/// A number beyond 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    real("a number beyond 0", |v: f64| v > 0.0 && v.is_finite())(text)
}

pub(super) fn temperature(text: &str) -> Result<f32, String> {
    real("0 or more", |v: f32| v >= 0.0 && v.is_finite())(text)
}

pub(super) fn fraction(text: &str) -> Result<f32, String> {
    real("0 to 1", |v: f32| (0.0..=1.0).contains(&v))(text)
}

pub(super) fn penalty(text: &str) -> Result<f32, String> {
    real("a number beyond 0; 1 changes nothing", |v: f32| v > 0.0 && v.is_finite())(text)
}

/// Most tokens; `None`, written as -1 (or -2), is no limit.
pub(super) fn token_limit(text: &str) -> Result<Option<usize>, String> {
    match text.trim() {
        "-1" | "-2" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "expected 0 or more; -1: no limit".to_owned()),
    }
}

/// A seed; `None`, written as -1, is a random one.
pub(super) fn seed(text: &str) -> Result<Option<u64>, String> {
    match text.trim() {
        "-1" => Ok(None),
        text => text.parse().map(Some).map_err(|_| "expected 0 or more; -1: a random one".to_owned()),
    }
}

pub(super) fn token_id(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "expected token ids, 0 or more, as 1,403,407".to_owned())
}

pub(super) fn kv_type(text: &str) -> Result<KvType, String> {
    let same = |dtype: DType| KvType::ALL.into_iter().find(|kv| kv.name() == dtype.name());
    DType::from_spelling(text).and_then(same).ok_or_else(|| "expected f16, f32 or q8_0".to_owned())
}

pub(super) fn activations(text: &str) -> Result<Activations, String> {
    Activations::from_name(&text.to_lowercase()).ok_or_else(|| "expected f32 or int8".to_owned())
}

/// A type that weights can be quantized to.
pub(super) fn quant_type(text: &str) -> Result<DType, String> {
    type_among(&QUANTS, text)
}

/// The one of `known` that people mean by `text`.
pub(super) fn type_among(known: &[DType], text: &str) -> Result<DType, String> {
    let names = || known.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    DType::from_spelling(text).filter(|kind| known.contains(kind)).ok_or_else(|| {
        let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
        let close =
            |kind: &&DType| digits.chars().next().is_some_and(|bits| kind.name()[1..].starts_with(bits));
        let meant: Vec<&str> = known.iter().filter(close).map(|kind| kind.name()).collect();
        match meant.is_empty() {
            true => format!("expected one of {}", names()),
            false => format!("expected {} (of {})", meant.join(" or "), names()),
        }
    })
}

/// What a type's spelling leaves out, worth a line: `Q4_K_M` is a mixture elsewhere.
pub(super) fn quant_remark(option: &str, text: &str) -> Option<String> {
    let dtype = DType::from_spelling(text).filter(|dtype| !dtype.is_spelled(text) && !dtype.is_float())?;
    Some(format!("--{option} {text} is taken as {dtype}"))
}

/// `1234`, `512MiB`, `4GiB`; `M` and `MB` are taken as MiB.
pub(super) fn byte_count(text: &str) -> Result<u64, String> {
    let expected = || "expected a number of bytes such as 512MiB or 4GiB".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = text[digits..].trim().to_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(expected()),
    };
    let number: f64 = text[..digits].parse().map_err(|_| expected())?;
    let bytes = number * (1u64 << shift) as f64;
    // 2⁵³ is far beyond any memory and still exact.
    if bytes < (1u64 << 53) as f64 { Ok(bytes as u64) } else { Err(expected()) }
}

/// `NAME=JSON`; what is no JSON is a text.
pub(super) fn template_argument(text: &str) -> Result<(String, serde_json::Value), String> {
    let expected = "expected NAME=VALUE such as enable_thinking=false";
    let (name, value) = text.split_once('=').ok_or(expected)?;
    let named = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if !named {
        return Err(expected.to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((name.to_owned(), value))
}

/// A JSON object.
pub(super) fn json_object(text: &str) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    serde_json::from_str(text)
        .map_err(|_| r#"expected a JSON object such as {"enable_thinking": false}"#.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1234", Some(1234)),
            ("512MiB", Some(512 << 20)),
            ("4GiB", Some(4 << 30)),
            ("1.5g", Some(3 << 29)),
            ("2 KB", Some(2048)),
            ("", None),
            ("GiB", None),
            ("-1", None),
            ("1.2.3", None),
            ("9999999999T", None),
            ("4 parsecs", None),
        ] {
            assert_eq!(byte_count(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn numbers_and_their_ranges() {
        let message = |text| whole(1..=4096)(text).expect_err(text);
        assert_eq!(whole(1..=4096)(" 7 "), Ok(7));
        for text in ["0", "4097", "-1", "1.5", "many", "", "99999999999999999999999"] {
            assert_eq!(message(text), "expected 1 to 4096", "{text}");
        }
        assert_eq!(whole_of(1..=16, "sequences")("17"), Err("expected 1 to 16 sequences".to_owned()));
        assert_eq!(whole(1..=usize::MAX)("0"), Err("expected 1 or more".to_owned()));
        assert_eq!(whole_or_minus_one("all")("-1"), Ok(0));
        assert_eq!(whole_or_minus_one("all")("-2"), Err("expected 1 or more; 0 or -1: all".to_owned()));
        assert_eq!((token_limit("-1"), token_limit("0")), (Ok(None), Ok(Some(0))));
        assert_eq!((seed("-1"), seed("7")), (Ok(None), Ok(Some(7))));
        for text in ["nan", "inf", "-0.1", "1.01", "x"] {
            assert!(fraction(text).is_err() && temperature(text).is_err() == (text != "1.01"), "{text}");
        }
        assert!(token_limit("-3").is_err() && seed("-2").is_err() && seed("x").is_err());
        assert!(positive("0").is_err() && positive("nan").is_err() && positive("2.5") == Ok(2.5));
    }

    #[test]
    fn types_and_what_is_said_of_them() {
        assert_eq!(quant_type("Q4_K_M"), Ok(DType::Q4K));
        assert_eq!(
            quant_type("q4").expect_err("two"),
            "expected q4_k or q4_0 (of f16, q8_0, q6_k, q5_k, q4_k, q4_0)"
        );
        assert_eq!(
            quant_type("zebra").expect_err("none"),
            "expected one of f16, q8_0, q6_k, q5_k, q4_k, q4_0"
        );
        assert_eq!(quant_type("bf16").ok(), None);
        assert_eq!((kv_type("FP16"), kv_type("Q8_0")), (Ok(KvType::F16), Ok(KvType::Q8_0)));
        assert_eq!(kv_type("q4_0").ok(), None);
        assert_eq!(quant_remark("quant", "Q4_K_M").as_deref(), Some("--quant Q4_K_M is taken as q4_k"));
        assert_eq!(quant_remark("quant", "Q4-K"), None);
        assert_eq!(quant_remark("quant", "fp16"), None);
    }

    #[test]
    fn template_arguments() {
        let argument = |text: &str| template_argument(text).ok();
        assert_eq!(argument("enable_thinking=false"), Some(("enable_thinking".into(), false.into())));
        assert_eq!(argument("tone=very dry"), Some(("tone".into(), "very dry".into())));
        assert_eq!((argument("tone"), argument("=1"), argument("a b=1")), (None, None, None));
        assert!(json_object("[1]").is_err() && json_object(r#"{"a": 1}"#).is_ok());
    }
}
