//! One row per kind of damage to each field of a safetensors header.

use anygpu::formats::Archive;

use super::raw::{SOUND_DATA_LEN, SOUND_HEADER, folder, safetensors};
use super::refuse;

/// (what is done, text of the sound header, replacement, what the message says)
const ROWS: &[(&str, &str, &str, &str)] = &[
    (
        "no JSON",
        "{\"__meta",
        "[\"__meta",
        "model.safetensors: not valid safetensors header (JSON from byte 8)",
    ),
    ("a list", SOUND_HEADER, "[]", "not valid safetensors header"),
    (
        "tensor not an object",
        "{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[32,40]}",
        "7",
        "not valid safetensors header",
    ),
    ("dtype missing", "\"dtype\":\"F32\",", "", "missing field `dtype`"),
    ("dtype not text", "\"F32\"", "32", "not valid safetensors header…invalid type"),
    ("shape missing", "\"shape\":[4],", "", "missing field `shape`"),
    ("shape negative", "[4]", "[-4]", "not valid safetensors header…invalid value"),
    ("shape huge", "[4]", "[18446744073709551616]", "not valid safetensors header"),
    ("product overflows", "[4]", "[4294967296,4294967296]", "tensor 'b': shape: expected a size that fits"),
    (
        "shape too long for its bytes",
        "[4]",
        "[5]",
        "tensor 'b': bytes between data_offsets: expected 10 for BF16 of shape [5], found 8",
    ),
    (
        "shape too short",
        "[2,3]",
        "[2,2]",
        "tensor 'a': bytes between data_offsets: expected 16 for F32 of shape [2, 2], found 24",
    ),
    ("dtype too wide", "\"BF16\"", "\"F32\"", "tensor 'b': bytes between data_offsets: expected 16"),
    ("offsets missing", ",\"data_offsets\":[24,32]", "", "missing field `data_offsets`"),
    ("one offset", "[24,32]", "[24]", "not valid safetensors header"),
    (
        "offsets swapped",
        "[24,32]",
        "[32,24]",
        "tensor 'b': data_offsets: expected [24, end], as tensors follow…found [32, 24]",
    ),
    ("gap at the start", "[0,24]", "[1,24]", "tensor 'a': data_offsets: expected [0, "),
    ("gap", "[24,32]", "[25,32]", "tensor 'b': data_offsets: expected [24, "),
    ("overlap", "[24,32]", "[20,28]", "tensor 'b': data_offsets: expected [24, "),
    (
        "end beyond the file",
        "[32,40]",
        "[32,41]",
        "tensor 'c': data ends at byte…but the file has…truncated download?",
    ),
    (
        "end near 2^64",
        "[32,40]",
        "[32,18446744073709551615]",
        "tensor 'c': data ends at byte 18446744073709551615",
    ),
    ("tensor twice", "\"b\":", "\"a\":", "tensor 'a' occurs twice"),
    (
        "last tensor absent",
        ",\"c\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[32,40]}",
        "",
        "data after the last tensor at byte…found 8 more bytes",
    ),
];

#[test]
fn damage_is_named() {
    for (case, from, to, expected) in ROWS {
        assert!(SOUND_HEADER.contains(from), "{case}: nothing to replace");
        let header = SOUND_HEADER.replacen(from, to, 1);
        refuse(case, folder(safetensors(&header, SOUND_DATA_LEN)), expected);
    }
}

#[test]
fn damage_to_the_length_is_named() {
    let sound = safetensors(SOUND_HEADER, SOUND_DATA_LEN);
    let rows: [(&str, u64, &str); 5] = [
        ("0", 0, "not valid safetensors header"),
        ("one less", SOUND_HEADER.len() as u64 - 1, "not valid safetensors header"),
        ("one more", SOUND_HEADER.len() as u64 + 1, "not valid safetensors header"),
        ("beyond the file", 90_000_000, "header at byte 8 needs 90000000 bytes but the file ends at byte"),
        ("huge", u64::MAX, "header length at byte 0: expected at most 100000000"),
    ];
    for (case, length, expected) in rows {
        let mut bytes = sound.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        refuse(case, folder(bytes), expected);
    }
    refuse(
        "trailing bytes",
        folder([sound, vec![0; 3]].concat()),
        "data after the last tensor…found 3 more bytes",
    );
}

/// The sum of lengths near 2^64 must not wrap around to the file's length.
#[test]
fn lengths_cannot_wrap_around() {
    let piece = u64::MAX / 8;
    let entry = |ix: u64| {
        let (begin, end) = (ix * piece, (ix + 1) * piece);
        format!(r#""{ix}":{{"dtype":"U8","shape":[{piece}],"data_offsets":[{begin},{end}]}}"#)
    };
    let header = format!("{{{}}}", (0..8).map(entry).collect::<Vec<_>>().join(","));
    refuse("wrap", folder(safetensors(&header, 0)), "tensor '0': data ends at byte");
}

#[test]
fn every_truncation_is_refused() {
    let bytes = safetensors(SOUND_HEADER, SOUND_DATA_LEN);
    Archive::from_memory(folder(bytes.clone())).expect("the whole file is sound");
    for len in 0..bytes.len() {
        refuse(&format!("cut at {len}"), folder(bytes[..len].to_vec()), "model.safetensors: ");
    }
}

#[test]
fn undecodable_types_are_named_when_used() {
    let header = SOUND_HEADER.replace("F64", "I64");
    let archive = Archive::from_memory(folder(safetensors(&header, SOUND_DATA_LEN))).unwrap();
    let message = archive.tensor("c").unwrap_err().to_string();
    assert_eq!(
        message,
        "model.safetensors: tensor 'c' has type I64, which is not supported; take a file in one of: F64, F32, F16, BF16"
    );
    // A type newer than the crate's list: no size to check, refused when used.
    let header = SOUND_HEADER.replace("F64", "F3_E9");
    let archive = Archive::from_memory(folder(safetensors(&header, SOUND_DATA_LEN))).unwrap();
    assert!(archive.tensor("c").unwrap_err().to_string().contains("F3_E9"));
    assert!(archive.tensor("a").is_ok());
}
