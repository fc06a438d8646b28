//! Small model files built field by field, so that each field can be made wrong on its own.

/// A GGUF file before encoding.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// Stored counts; `None` = the true ones.
    pub(crate) n_tensors: Option<u64>,
    pub(crate) n_pairs: Option<u64>,
    /// (key, type, encoded value)
    pub(crate) pairs: Vec<(Vec<u8>, u32, Vec<u8>)>,
    pub(crate) tensors: Vec<Row>,
    pub(crate) alignment: usize,
    /// Bytes of tensor data.
    pub(crate) data: Vec<u8>,
}

/// A row of the tensor table.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: Vec<u8>,
    pub(crate) n_dims: Option<u32>,
    /// Innermost first, as stored.
    pub(crate) dims: Vec<u64>,
    pub(crate) type_id: u32,
    pub(crate) offset: u64,
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes()[..], bytes].concat()
}

/// An encoded array of encoded elements.
pub(crate) fn array(elem: u32, len: u64, elements: &[u8]) -> Vec<u8> {
    [&elem.to_le_bytes()[..], &len.to_le_bytes(), elements].concat()
}

fn row(name: &str, dims: &[u64], type_id: u32, offset: u64) -> Row {
    Row { name: name.into(), n_dims: None, dims: dims.into(), type_id, offset }
}

impl Gguf {
    /// Metadata of every type; an f32 matrix [3, 2], a q4_0 matrix [2, 32], an f16 vector [5].
    pub(crate) fn sound() -> Gguf {
        let strings = [string(b"a"), string(b""), string("é".as_bytes())].concat();
        let nested = [array(4, 2, &[1, 0, 0, 0, 2, 0, 0, 0]), array(4, 0, &[])].concat();
        let pair = |key: &str, ty: u32, value: &[u8]| (key.as_bytes().to_vec(), ty, value.to_vec());
        Gguf {
            magic: *b"GGUF",
            version: 3,
            n_tensors: None,
            n_pairs: None,
            pairs: vec![
                pair("general.architecture", 8, &string(b"llama")),
                pair("t.u8", 0, &[200]),
                pair("t.i8", 1, &[0xff]),
                pair("t.u16", 2, &[1, 2]),
                pair("t.i16", 3, &[0xfe, 0xff]),
                pair("t.u32", 4, &7u32.to_le_bytes()),
                pair("t.i32", 5, &(-7i32).to_le_bytes()),
                pair("t.f32", 6, &0.5f32.to_le_bytes()),
                pair("t.bool", 7, &[1]),
                pair("t.strings", 9, &array(8, 3, &strings)),
                pair("t.floats", 9, &array(6, 2, &[0, 0, 0, 0x3f, 0, 0, 0x80, 0x3f])),
                pair("t.bools", 9, &array(7, 3, &[0, 1, 1])),
                pair("t.nested", 9, &array(9, 2, &nested)),
                pair("t.u64", 10, &u64::MAX.to_le_bytes()),
                pair("t.i64", 11, &(-1i64).to_le_bytes()),
                pair("t.f64", 12, &0.25f64.to_le_bytes()),
            ],
            tensors: vec![
                row("a", &[2, 3], 0, 0),   // 24 bytes
                row("b", &[32, 2], 2, 32), // 36 bytes
                row("c", &[5], 1, 96),     // 10 bytes
            ],
            alignment: 32,
            data: (0..106).collect(),
        }
    }

    /// Replaces or adds a pair.
    pub(crate) fn set(&mut self, key: &str, ty: u32, value: &[u8]) {
        self.pairs.retain(|pair| pair.0 != key.as_bytes());
        self.pairs.push((key.into(), ty, value.to_vec()));
    }

    /// Everything before the padding.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.n_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_pairs.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, ty, value) in &self.pairs {
            out.extend(string(key));
            out.extend(ty.to_le_bytes());
            out.extend(value);
        }
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend(tensor.n_dims.unwrap_or(tensor.dims.len() as u32).to_le_bytes());
            out.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            out.extend(tensor.type_id.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.header();
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        out.extend(&self.data);
        out
    }
}

pub(crate) fn gguf_files(gguf: &Gguf) -> Vec<(String, Vec<u8>)> {
    vec![("model.gguf".into(), gguf.encode())]
}

/// A safetensors file with this header and this many bytes of data.
pub(crate) fn safetensors(header: &str, data_len: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.extend((0..data_len).map(|ix| ix as u8));
    out
}

/// One f32 matrix [2, 3], one bf16 vector [4], an f64 scalar: 24 + 8 + 8 bytes.
pub(crate) const SOUND_HEADER: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"F64","shape":[],"data_offsets":[32,40]}}"#;
pub(crate) const SOUND_DATA_LEN: usize = 40;

/// A folder with this `model.safetensors`.
pub(crate) fn folder(weights: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    vec![("config.json".into(), b"{}".to_vec()), ("model.safetensors".into(), weights)]
}
