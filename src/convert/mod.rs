//! A model's files → one GGUF file, quantized on the way. Needs no adapter.
//!
//! In: an opened [`Archive`] (a Hugging Face folder, or GGUF) and the type wanted. Out: a [`Plan`] (every
//! metadata value and every tensor of the file to come, with its type), then the file itself with a
//! [`Report`] of what each tensor lost. Types are those that `--quant` gives while loading
//! ([`crate::plan::weights`]), and so are the values: the file computes what the model quantized on the fly
//! computes. Tensors are streamed: memory stays at a few megabytes. Knows neither adapter nor clock.
//!
//! Keys and names: ggml's GGUF specification (`docs/gguf.md`) as llama.cpp reads it.

pub mod error;
mod gguf;
mod hf;
pub mod mix;
mod output;
mod rows;
mod vocab;
pub mod write;

pub use error::{ConvertError, Result};
pub use output::{Kind, Output, RowOrder, Source};
pub use write::{Report, TensorReport, write};

use crate::base::DType;
use crate::formats::gguf::{GgufWriter, WriteValue};
use crate::formats::{Archive, Metadata};
use crate::model::ModelSpec;

/// Types that can be asked for, most bits first.
pub const TYPES: [DType; 11] = [
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::Q8_0,
    DType::Q6K,
    DType::Q5_1,
    DType::Q5K,
    DType::Q5_0,
    DType::Q4_1,
    DType::Q4K,
    DType::Q4_0,
];

/// ggml's version of its block formats (`GGML_QNT_VERSION`).
const QUANTIZATION_VERSION: u32 = 2;
/// What `general.file_type` says of the file: llama.cpp's `llama_ftype` of the type that most bytes have.
const FILE_TYPES: [(DType, u32); 11] = [
    (DType::F32, 0),
    (DType::F16, 1),
    (DType::Q4_0, 2),
    (DType::Q4_1, 3),
    (DType::Q8_0, 7),
    (DType::Q5_0, 8),
    (DType::Q5_1, 9),
    (DType::Q4K, 14),
    (DType::Q5K, 16),
    (DType::Q6K, 18),
    (DType::BF16, 32),
];

/// What to make of a model.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Type of the matrices; embedding and output keep at least 6 bits.
    pub quant: DType,
    /// Quantize quantized weights, too.
    pub requantize: bool,
}

/// A file to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Key/value pairs in order.
    pub metadata: Vec<(String, WriteValue)>,
    /// Tensors in order.
    pub outputs: Vec<Output>,
    /// What the user should know, one sentence each.
    pub notices: Vec<String>,
}

/// What becomes of `archive`. `name` is what the file calls the model where it has no name of its own.
pub fn plan(archive: &Archive, name: &str, wish: &Wish) -> Result<Plan> {
    let spec = ModelSpec::from_archive(archive)?;
    let mut plan = match &archive.metadata {
        Metadata::HuggingFace(folder) => hf::plan(archive, folder, &spec, name)?,
        Metadata::Gguf(metadata) => gguf::plan(archive, metadata, &spec)?,
    };
    plan.set_types(wish.quant);
    if let Some(output) = plan.outputs.iter().find(|o| !o.from.is_float() && o.to != o.from) {
        if !wish.requantize {
            let (from, to) = (output.from, output.to);
            return Err(ConvertError::Requantize { tensor: output.name.clone(), from, to });
        }
        plan.notices.push(
            "weights are quantized a second time: their errors add up, and the result is worse than one made \
             from the unquantized model"
                .into(),
        );
    }
    Ok(plan)
}

impl Plan {
    /// Gives every tensor the type that `--quant quant` gives it.
    pub fn set_types(&mut self, quant: DType) {
        for output in &mut self.outputs {
            output.to = output.type_for(quant);
        }
    }

    /// Weights of all tensors, constants left out.
    pub fn n_params(&self) -> u64 {
        self.outputs.iter().filter(|o| matches!(o.source, Source::Stored(_))).map(Output::n_elements).sum()
    }

    /// Bytes of all tensors.
    pub fn tensor_bytes(&self) -> u64 {
        self.outputs.iter().map(|output| output.bytes(output.to)).sum()
    }

    /// Header of the file with the types as they are now.
    pub(crate) fn header(&self) -> Result<GgufWriter> {
        let mut writer = GgufWriter::new();
        for (key, value) in &self.metadata {
            writer.set(key, value.clone());
        }
        writer.set("general.file_type", self.file_type());
        writer.set("general.quantization_version", QUANTIZATION_VERSION);
        for output in &self.outputs {
            writer.tensor(&output.name, output.to, &output.shape)?;
        }
        Ok(writer)
    }

    /// Bytes of the header: the file less its tensors, each with its padding.
    pub fn header_bytes(&self) -> Result<u64> {
        let mut counter = Counter(0);
        self.header()?.begin(&mut counter)?;
        Ok(counter.0)
    }

    /// Bytes that `output` takes as `dtype`, with its padding.
    pub fn padded_bytes(&self, output: &Output, dtype: DType) -> u64 {
        output.bytes(dtype).next_multiple_of(self.alignment())
    }

    /// Bytes to whose multiples tensors are padded.
    fn alignment(&self) -> u64 {
        /// Where no key names another.
        const DEFAULT: u64 = 32;
        let found = self.metadata.iter().find(|(key, _)| key == "general.alignment");
        match found {
            Some((_, WriteValue::Encoded(_, bytes))) => {
                bytes.as_slice().try_into().map_or(DEFAULT, |bytes| u32::from_le_bytes(bytes).max(1).into())
            }
            _ => DEFAULT,
        }
    }

    fn file_type(&self) -> u32 {
        let bytes = |dtype: DType| -> u64 {
            let of_type = self.outputs.iter().filter(|o| o.kind == Kind::Matrix && o.to == dtype);
            of_type.map(|o| o.bytes(o.to)).sum()
        };
        let most = FILE_TYPES.iter().max_by_key(|(dtype, _)| bytes(*dtype));
        most.map_or(0, |(_, file_type)| *file_type)
    }
}

/// Counts what is written.
struct Counter(u64);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
