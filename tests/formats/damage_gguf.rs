//! One row per kind of damage to each field of a GGUF header.

use anygpu::formats::Archive;

use super::raw::{Gguf, array, gguf_files, string};
use super::refuse;

type Damage = fn(&mut Gguf);

/// (what is done, how, what the message says)
const ROWS: &[(&str, Damage, &str)] = &[
    (
        "magic",
        |g| g.magic = *b"GGML",
        "model.gguf: magic number at byte 0: expected \"GGUF\", found \"GGML\"",
    ),
    ("version 0", |g| g.version = 0, "version at byte 4: expected 2 or 3, found 0"),
    ("version 1", |g| g.version = 1, "version at byte 4: expected 2 or 3, found 1…newer conversion"),
    ("version 4", |g| g.version = 4, "version at byte 4: expected 2 or 3, found 4; update anygpu"),
    ("version garbage", |g| g.version = 0x1234_5678, "version at byte 4…download it again"),
    ("big-endian", |g| g.version = 3u32.swap_bytes(), "found 3 in big-endian order…little-endian file"),
    ("tensor count huge", |g| g.n_tensors = Some(u64::MAX), "number of tensors at byte 8: expected at most"),
    ("tensor count +1", |g| g.n_tensors = Some(4), "model.gguf: "),
    (
        "pair count huge",
        |g| g.n_pairs = Some(1 << 60),
        "number of metadata pairs at byte 16: expected at most",
    ),
    ("pair count +1", |g| g.n_pairs = Some(17), "model.gguf: "),
    ("pair count -1", |g| g.n_pairs = Some(15), "model.gguf: "),
    ("key twice", |g| g.pairs[2].0 = b"t.u8".to_vec(), "metadata key 't.u8' occurs twice"),
    (
        "value type",
        |g| g.pairs[1].1 = 13,
        "type of metadata key 't.u8' at byte…a value type 0 to 12, found 13",
    ),
    ("bool", |g| g.set("t.bool", 7, &[2]), "bool of metadata key 't.bool'…expected 0 or 1, found 2"),
    ("bool in array", |g| g.set("x", 9, &array(7, 2, &[0, 9])), "bool of metadata key 'x'…0 or 1, found 9"),
    (
        "string length",
        |g| g.set("s", 8, &u64::MAX.to_le_bytes()),
        "string of metadata key 's' at byte…needs 18446744073709551615 bytes but the file ends at byte",
    ),
    (
        "array element type",
        |g| g.set("x", 9, &array(99, 0, &[])),
        "element type of metadata key 'x'…found 99",
    ),
    (
        "array length",
        |g| g.set("x", 9, &array(4, 1 << 62, &[])),
        "array length of metadata key 'x'…at most…found 4611686018427387904",
    ),
    (
        "array of strings, length",
        |g| g.set("x", 9, &array(8, 1 << 40, &[])),
        "array length of metadata key 'x'…at most",
    ),
    ("array, length of a string", |g| g.set("x", 9, &array(8, 1, &[0xff; 8])), "string of metadata key 'x'"),
    ("array in arrays", |g| g.set("x", 9, &nest(6)), "nesting of metadata key 'x'…at most 4 arrays deep"),
    (
        "alignment 0",
        |g| g.set("general.alignment", 4, &[0; 4]),
        "'general.alignment': expected a power of two, found 0",
    ),
    ("alignment 24", |g| g.set("general.alignment", 4, &[24, 0, 0, 0]), "expected a power of two, found 24"),
    (
        "alignment float",
        |g| g.set("general.alignment", 6, &[0; 4]),
        "'general.alignment': expected an integer…found f32 0",
    ),
    ("alignment huge", |g| g.set("general.alignment", 4, &[0, 0, 0, 0x80]), "tensor 'a': data ends at byte"),
    ("tensor name not text", |g| g.tensors[0].name = vec![0xc3], "name of tensor 0…UTF-8"),
    ("tensor name empty", |g| g.tensors[0].name = vec![], "name of tensor 0…expected a name, found nothing"),
    ("tensor twice", |g| g.tensors[1].name = b"a".to_vec(), "tensor 'a' occurs twice"),
    (
        "no dimensions",
        |g| g.tensors[0].n_dims = Some(0),
        "number of dimensions of tensor 'a'…1 to 4, found 0",
    ),
    ("5 dimensions", |g| g.tensors[0].n_dims = Some(5), "number of dimensions of tensor 'a'…1 to 4, found 5"),
    ("dimensions huge", |g| g.tensors[0].n_dims = Some(u32::MAX), "1 to 4, found 4294967295"),
    ("dimension huge", |g| g.tensors[0].dims[0] = u64::MAX, "dimension 0 of tensor 'a'…a size"),
    (
        "product overflows",
        |g| g.tensors[0].dims = vec![1 << 40, 1 << 40],
        "tensor 'a': shape: expected a size that fits",
    ),
    ("product overflows in f32 only", |g| g.tensors[2].dims = vec![1 << 62], "tensor 'c': shape"),
    (
        "row not whole blocks",
        |g| g.tensors[1].dims[0] = 31,
        "tensor 'b': row length: expected a multiple of 32 (block of q4_0), found 31",
    ),
    (
        "type unknown",
        |g| g.tensors[0].type_id = 99,
        "type of tensor 'a' at byte…a known ggml type (F32, F16,…found 99",
    ),
    (
        "offset unaligned",
        |g| g.tensors[1].offset = 33,
        "offset of tensor 'b'…a multiple of 32 (general.alignment), found 33",
    ),
    (
        "offset beyond the end",
        |g| g.tensors[1].offset = 1 << 40,
        "tensor 'b': data ends at byte…truncated download?",
    ),
    ("offset overflows", |g| g.tensors[1].offset = u64::MAX - 31, "tensor 'b': data ends at byte"),
    (
        "data cut",
        |g| g.data.truncate(100),
        "tensor 'c': data ends at byte…but the file has…bytes (truncated download? compare its size",
    ),
    ("overlap", |g| g.tensors[1].offset = 0, "tensor 'b': start of data: expected byte…where 'a' ends"),
    ("split count huge", |g| g.set("split.count", 4, &[0xff; 4]), "split.count: expected at most 65535"),
    (
        "split, name of a whole",
        |g| g.set("split.count", 2, &[3, 0]),
        "file name: expected NAME-00001-of-00003.gguf",
    ),
];

/// `depth` arrays around nothing.
fn nest(depth: usize) -> Vec<u8> {
    (0..depth).fold(array(4, 0, &[]), |inner, _| array(9, 1, &inner))
}

#[test]
fn damage_is_named() {
    for (case, damage, expected) in ROWS {
        let mut gguf = Gguf::sound();
        damage(&mut gguf);
        refuse(case, gguf_files(&gguf), expected);
    }
}

/// Cut anywhere in header or data: an error, which names the file and is no panic.
#[test]
fn every_truncation_is_refused() {
    let bytes = Gguf::sound().encode();
    Archive::from_memory([("model.gguf", bytes.clone())]).expect("the whole file is sound");
    for len in 0..bytes.len() {
        refuse(&format!("cut at {len}"), vec![("model.gguf".into(), bytes[..len].to_vec())], "model.gguf: ");
    }
}

/// Every byte of the header set to values that often hurt: no panic, whatever the verdict.
#[test]
fn no_byte_of_the_header_can_cause_a_panic() {
    let gguf = Gguf::sound();
    let bytes = gguf.encode();
    let mut refused = 0;
    for ix in 0..gguf.header().len() {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[ix] = value;
            refused += usize::from(open_and_read_all(bytes).is_err());
        }
    }
    assert!(refused > 1000, "only {refused} changes were noticed");
}

/// Opens a file and looks at everything in it.
fn open_and_read_all(bytes: Vec<u8>) -> Result<(), anygpu::formats::FormatError> {
    let archive = Archive::from_memory([("model.gguf", bytes)])?;
    super::round_trip::read_everything(&archive);
    Ok(())
}

/// Types that exist but cannot be decoded: the file opens, the tensor is refused by name.
#[test]
fn undecodable_types_are_named_when_used() {
    let mut gguf = Gguf::sound();
    gguf.tensors[0].type_id = 17;
    let archive = Archive::from_memory(gguf_files(&gguf)).expect("the other tensors can be used");
    let message = archive.tensor("a").unwrap_err().to_string();
    assert!(
        message.starts_with("model.gguf: tensor 'a' has type IQ2_XS (ggml type 17), which is not supported")
    );
    archive.tensor("b").expect("b is q4_0");
}

fn split_part(no: u16, count: u16, name: &str) -> Gguf {
    let mut gguf = Gguf::sound();
    gguf.tensors.truncate(1);
    gguf.tensors[0].name = name.into();
    gguf.data.truncate(24);
    gguf.data[0] = no as u8 + 10;
    gguf.set("split.no", 2, &no.to_le_bytes());
    gguf.set("split.count", 2, &count.to_le_bytes());
    gguf.set("split.tensors.count", 5, &3i32.to_le_bytes());
    gguf
}

fn split_files(parts: &[(&str, Gguf)]) -> Vec<(String, Vec<u8>)> {
    parts.iter().map(|(name, gguf)| (name.to_string(), gguf.encode())).collect()
}

fn three_parts() -> Vec<(&'static str, Gguf)> {
    vec![
        ("m-00001-of-00003.gguf", split_part(0, 3, "a")),
        ("m-00002-of-00003.gguf", split_part(1, 3, "b")),
        ("m-00003-of-00003.gguf", split_part(2, 3, "c")),
    ]
}

#[test]
fn split_files_open_from_any_part() {
    let dir = tempfile::tempdir().unwrap();
    for (name, gguf) in three_parts() {
        std::fs::write(dir.path().join(name), gguf.encode()).unwrap();
    }
    for (name, _) in three_parts() {
        let archive = Archive::open(&dir.path().join(name)).unwrap();
        let firsts = ["a", "b", "c"].map(|t| archive.bytes(archive.tensor(t).unwrap())[0]);
        assert_eq!(firsts, [10, 11, 12], "opened from {name}");
    }
    assert_eq!(Archive::open(dir.path()).unwrap().tensors.len(), 3, "opened as a folder");
}

#[test]
fn split_damage_is_named() {
    type SplitDamage = fn(&mut Vec<(&'static str, Gguf)>);
    let rows: &[(&str, SplitDamage, &str)] = &[
        (
            "part missing",
            |p| {
                p.remove(1);
            },
            "m-00001-of-00003.gguf: refers to 'm-00002-of-00003.gguf', which is not",
        ),
        (
            "first part missing",
            |p| {
                p.remove(0);
            },
            "m-00002-of-00003.gguf: refers to 'm-00001-of-00003.gguf'",
        ),
        (
            "part of another model",
            |p| p[2].1 = split_part(2, 4, "c"),
            "m-00003-of-00003.gguf…split.count: expected 3, found 4",
        ),
        (
            "parts swapped",
            |p| p[1].1 = split_part(2, 3, "b"),
            "m-00002-of-00003.gguf…split.no: expected 1, found 2",
        ),
        (
            "not a part",
            |p| p[1].1 = Gguf::sound(),
            "m-00002-of-00003.gguf: metadata key 'split.no' is missing",
        ),
        (
            "tensor in two parts",
            |p| p[1].1 = split_part(1, 3, "a"),
            "m-00002-of-00003.gguf: tensor 'a' occurs twice",
        ),
        (
            "tensor sum",
            |p| p[0].1.set("split.tensors.count", 5, &[9, 0, 0, 0]),
            "split.tensors.count: expected 3, the sum of all parts, found 9",
        ),
        ("part damaged", |p| p[1].1.version = 9, "m-00002-of-00003.gguf: version"),
    ];
    for (case, damage, expected) in rows {
        let mut parts = three_parts();
        damage(&mut parts);
        refuse(case, split_files(&parts), expected);
    }
}

/// Metadata asked for as the wrong type: key, expected and found are named.
#[test]
fn typed_access_says_what_it_found() {
    let archive = Archive::from_memory(gguf_files(&Gguf::sound())).unwrap();
    let anygpu::formats::Metadata::Gguf(meta) = &archive.metadata else { panic!("GGUF metadata") };
    let row = |message: Option<anygpu::formats::FormatError>, expected: &str| {
        assert_eq!(message.expect(expected).to_string(), format!("model.gguf: {expected}"));
    };
    row(
        meta.require::<u32>("no").err(),
        "metadata key 'no' is missing (needed as an integer ≥ 0 of 32 bits)",
    );
    row(
        meta.get::<u32>("t.i32").err(),
        "metadata key 't.i32': expected an integer ≥ 0 of 32 bits, found i32 -7",
    );
    row(
        meta.get::<u32>("t.u64").err(),
        "metadata key 't.u64': expected an integer ≥ 0 of 32 bits, found u64 18446744073709551615",
    );
    row(meta.get::<f32>("t.u32").err(), "metadata key 't.u32': expected a float, found u32 7");
    row(meta.get::<bool>("t.f32").err(), "metadata key 't.f32': expected a bool, found f32 0.5");
    row(meta.get::<&str>("t.bool").err(), "metadata key 't.bool': expected a UTF-8 string, found bool true");
    row(
        meta.get::<Vec<f32>>("t.strings").err(),
        "metadata key 't.strings': expected an array of floats, found string of 1 bytes \"a\" at index 0",
    );
    row(
        meta.get::<u32>("t.strings").err(),
        "metadata key 't.strings': expected an integer ≥ 0 of 32 bits, found array of 3 string",
    );
    row(
        meta.get::<Vec<String>>("t.u8").err(),
        "metadata key 't.u8': expected an array of UTF-8 strings, found u8 200",
    );
    let mut gguf = Gguf::sound();
    gguf.set("general.architecture", 8, &string(b"a\xff"));
    let archive = Archive::from_memory(gguf_files(&gguf)).unwrap();
    let anygpu::formats::Metadata::Gguf(meta) = &archive.metadata else { panic!("GGUF metadata") };
    row(
        meta.require::<&str>("general.architecture").err(),
        "metadata key 'general.architecture': expected a UTF-8 string, found string of 2 bytes \"a\\xff\"",
    );
}
