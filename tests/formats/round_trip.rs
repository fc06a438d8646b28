//! What is written is what is read: GGUF through the writer here, safetensors through the `safetensors` crate.

use anygpu::base::DType;
use anygpu::formats::gguf::{GgufWriter, Value, WriteValue};
use anygpu::formats::{Archive, GgufMetadata, Metadata};

use super::raw::{Gguf, gguf_files};

/// Looks at every byte and value of an archive, as a user of it might.
pub(crate) fn read_everything(archive: &Archive) -> usize {
    let mut sum = 0;
    for tensor in archive.tensors.values() {
        sum += archive.bytes(tensor).iter().map(|&b| usize::from(b)).sum::<usize>();
        sum += tensor.n_elements() & 1;
    }
    if let Metadata::Gguf(meta) = &archive.metadata {
        for key in meta.keys() {
            sum += meta.value(key).map_or(0, count);
        }
    }
    sum
}

fn count(value: Value<'_>) -> usize {
    match value {
        Value::Array(array) => array.iter().map(count).sum(),
        Value::Str(bytes) => bytes.len(),
        other => other.describe().len(),
    }
}

fn gguf(archive: &Archive) -> &GgufMetadata {
    match &archive.metadata {
        Metadata::Gguf(meta) => meta,
        Metadata::HuggingFace(_) => panic!("expected GGUF"),
    }
}

#[test]
fn every_value_type_is_read() {
    for version in [2, 3] {
        let archive = Archive::from_memory(gguf_files(&Gguf { version, ..Gguf::sound() })).unwrap();
        let meta = gguf(&archive);
        assert_eq!(meta.require::<String>("general.architecture").unwrap(), "llama");
        assert_eq!(meta.require::<u32>("t.u8").unwrap(), 200);
        assert_eq!(meta.require::<i32>("t.i8").unwrap(), -1);
        assert_eq!(meta.require::<usize>("t.u16").unwrap(), 0x201);
        assert_eq!(meta.require::<i64>("t.i16").unwrap(), -2);
        assert_eq!(meta.require::<u64>("t.u32").unwrap(), 7);
        assert_eq!(meta.require::<i32>("t.i32").unwrap(), -7);
        assert_eq!(meta.require::<f32>("t.f32").unwrap(), 0.5);
        assert!(meta.require::<bool>("t.bool").unwrap());
        assert_eq!(meta.require::<Vec<&str>>("t.strings").unwrap(), ["a", "", "é"]);
        assert_eq!(meta.require::<Vec<f32>>("t.floats").unwrap(), [0.5, 1.0]);
        assert_eq!(meta.require::<Vec<bool>>("t.bools").unwrap(), [false, true, true]);
        assert_eq!(meta.require::<u64>("t.u64").unwrap(), u64::MAX);
        assert_eq!(meta.require::<i64>("t.i64").unwrap(), -1);
        assert_eq!(meta.require::<f64>("t.f64").unwrap(), 0.25);
        assert_eq!(meta.get::<u32>("absent").unwrap(), None);
        let Some(Value::Array(outer)) = meta.value("t.nested") else { panic!("an array") };
        let lens: Vec<usize> =
            outer.iter().map(|v| if let Value::Array(inner) = v { inner.len } else { usize::MAX }).collect();
        assert_eq!(lens, [2, 0]);
    }
}

#[test]
fn tensors_are_read_from_their_places() {
    let mut sound = Gguf::sound();
    let check = |gguf: &Gguf| {
        let archive = Archive::from_memory(gguf_files(gguf)).unwrap();
        let a = archive.tensor("a").unwrap();
        assert_eq!((a.dtype, &a.shape[..]), (DType::F32, &[3, 2][..]));
        assert_eq!(archive.bytes(a), (0..24).collect::<Vec<u8>>());
        let b = archive.tensor_of_shape("b", &[2, 32]).unwrap();
        assert_eq!(b.dtype, DType::Q4_0);
        assert_eq!(archive.bytes(b)[0], gguf.tensors[1].offset as u8);
        assert_eq!(archive.bytes(archive.tensor("c").unwrap()).len(), 10);
    };
    check(&sound);
    sound.set("general.alignment", 4, &[8, 0, 0, 0]);
    sound.alignment = 8;
    sound.tensors[1].offset = 24;
    sound.tensors[2].offset = 64;
    check(&sound);
}

fn sample_writer() -> GgufWriter {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama");
    writer.set("llama.block_count", 2u32);
    writer.set("llama.rope.freq_base", 10000.0f32);
    writer.set("tokenizer.ggml.tokens", vec!["<s>", "é", ""]);
    writer.set("tokenizer.ggml.scores", vec![0.0f32, -1.5]);
    writer.set("flag", true);
    let inner = |v: Vec<i32>| WriteValue::from(v);
    let elem = anygpu::formats::gguf::ValueType::Array;
    writer.set("nested", WriteValue::Array(elem, vec![inner(vec![1, 2]), inner(vec![])]));
    writer
}

#[test]
fn written_files_are_read_back() {
    for alignment in [None, Some(1u32), Some(64), Some(8192)] {
        let mut writer = sample_writer();
        if let Some(alignment) = alignment {
            writer.set("general.alignment", alignment);
        }
        // Every type, two rows of one block each, and one empty tensor.
        let mut expected = Vec::new();
        for (ix, dtype) in DType::all().enumerate() {
            let shape = [2, dtype.block_len()];
            writer.tensor(dtype.name(), dtype, &shape).unwrap();
            expected.push((dtype, vec![ix as u8 + 1; 2 * dtype.block_bytes()]));
        }
        writer.tensor("empty", DType::F32, &[0, 4]).unwrap();
        let mut body = writer.begin(Vec::new()).unwrap();
        for (_, bytes) in &expected {
            bytes.chunks(7).for_each(|piece| body.write(piece).unwrap());
        }
        let file = body.finish().unwrap();
        let archive = Archive::from_memory([("x.gguf", file)]).unwrap();
        for (dtype, bytes) in &expected {
            let tensor = archive.tensor_of_shape(dtype.name(), &[2, dtype.block_len()]).unwrap();
            assert_eq!(tensor.dtype, *dtype);
            assert_eq!(archive.bytes(tensor), bytes);
            assert_eq!(tensor.range.start % alignment.unwrap_or(32) as usize, 0);
        }
        assert!(archive.bytes(archive.tensor("empty").unwrap()).is_empty());
        let meta = gguf(&archive);
        assert_eq!(meta.require::<u32>("llama.block_count").unwrap(), 2);
        assert_eq!(meta.require::<Vec<&str>>("tokenizer.ggml.tokens").unwrap(), ["<s>", "é", ""]);
        assert_eq!(meta.require::<Vec<f32>>("tokenizer.ggml.scores").unwrap(), [0.0, -1.5]);
        assert!(matches!(meta.value("nested"), Some(Value::Array(a)) if a.len == 2));
    }
}

#[test]
fn the_writer_refuses_what_a_file_cannot_hold() {
    let message = |result: Result<(), anygpu::formats::FormatError>| result.unwrap_err().to_string();
    let mut writer = sample_writer();
    assert!(message(writer.tensor("x", DType::F32, &[])).contains("tensor 'x': expected 1 to 4 dimensions"));
    assert!(message(writer.tensor("x", DType::F32, &[1; 5])).contains("1 to 4 dimensions"));
    assert!(message(writer.tensor("x", DType::Q4K, &[3, 100])).contains("rows of a multiple of 256"));
    assert!(message(writer.tensor("x", DType::F32, &[usize::MAX, 2])).contains("fits the address space"));
    writer.tensor("x", DType::F32, &[2]).unwrap();
    assert!(message(writer.tensor("x", DType::F32, &[2])).contains("'x' twice"));
    let mut mixed = sample_writer();
    mixed.set("m", WriteValue::Array(anygpu::formats::gguf::ValueType::U32, vec![true.into()]));
    assert!(message(mixed.begin(Vec::new()).map(|_| ())).contains("array 'm': expected u32, found bool"));
    let mut odd = sample_writer();
    odd.set("general.alignment", 3u32);
    assert!(message(odd.begin(Vec::new()).map(|_| ())).contains("power of two"));

    let mut body = writer.begin(Vec::new()).unwrap();
    assert!(message(body.write(&[0; 9])).contains("tensor 'x': expected at most 8 more bytes, found 9"));
    body.write(&[0; 4]).unwrap();
    let short = message(body.finish().map(|_| ()));
    assert!(short.contains("tensor 'x': expected 8 bytes, found 4"));
}

#[test]
fn files_of_the_safetensors_crate_are_read() {
    use safetensors::tensor::{Dtype, TensorView, serialize};
    let data: Vec<u8> = (0..48).collect();
    let view = |dtype, shape: &[usize], len| TensorView::new(dtype, shape.to_vec(), &data[..len]).unwrap();
    let tensors = [
        ("f32", view(Dtype::F32, &[3, 4], 48)),
        ("f16", view(Dtype::F16, &[2, 2], 8)),
        ("bf16", view(Dtype::BF16, &[5], 10)),
        ("empty", view(Dtype::F32, &[0, 7], 0)),
        ("i64", view(Dtype::I64, &[2], 16)),
        ("f4", view(Dtype::F4, &[4], 2)),
    ];
    let file = serialize(tensors, None).unwrap();
    let archive = Archive::from_memory(super::raw::folder(file)).unwrap();
    let rows = [
        ("f32", DType::F32, vec![3, 4], 48),
        ("f16", DType::F16, vec![2, 2], 8),
        ("bf16", DType::BF16, vec![5], 10),
        ("empty", DType::F32, vec![0, 7], 0),
    ];
    for (name, dtype, shape, len) in rows {
        let tensor = archive.tensor_of_shape(name, &shape).unwrap();
        assert_eq!(tensor.dtype, dtype);
        assert_eq!(archive.bytes(tensor), &data[..len]);
    }
    assert_eq!(archive.unsupported.keys().collect::<Vec<_>>(), ["f4", "i64"]);
}
