//! [`ModelSpec::from_archive`] and [`ModelSpec::from_header`]: the two metadata formats behind one call.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::check::{self, limits};
use super::error::{ModelError, decodable};
use super::spec::ModelSpec;
use super::{gguf, hf, quantized};
use crate::formats::gguf::value::Value as GgufValue;
use crate::formats::safetensors;
use crate::formats::{Archive, Extent, Header, Metadata, TensorInfo, UnsupportedTensor};

impl ModelSpec {
    /// The model an archive holds. Every tensor the spec names is in the archive with the shape that the
    /// dimensions ask for, in an encoding that can be decoded.
    pub fn from_archive(archive: &Archive) -> Result<ModelSpec, ModelError> {
        from_table(&archive.metadata, &archive.tensors, &archive.unsupported)
    }

    /// The model that a header describes, checked as [`ModelSpec::from_archive`] does; of a `config.json`
    /// alone there is nothing to check it against.
    pub fn from_header(header: &Header) -> Result<ModelSpec, ModelError> {
        match (&header.metadata, header.extent) {
            // What is tied then follows from the configuration and its class.
            (Metadata::HuggingFace(folder), Extent::Config) => hf::parse(&folder.config, &|_| true),
            (metadata, _) => from_table(metadata, &header.tensors, &header.unsupported),
        }
    }
}

fn from_table(
    metadata: &Metadata,
    tensors: &BTreeMap<String, TensorInfo>,
    unsupported: &BTreeMap<String, UnsupportedTensor>,
) -> Result<ModelSpec, ModelError> {
    // Row-major shape of a stored tensor, decodable or not.
    let shape = |name: &str| {
        let decodable = tensors.get(name).map(|tensor| &tensor.shape);
        decodable.or_else(|| unsupported.get(name).map(|tensor| &tensor.shape)).cloned()
    };
    let spec = match metadata {
        Metadata::HuggingFace(folder) => {
            if let Some(found) = quantized::by_names(tensors.keys().chain(unsupported.keys())) {
                return Err(ModelError::NotRunnable { found, next: quantized::NEXT });
            }
            hf::parse(&folder.config, &|name| shape(name).is_some())?
        }
        Metadata::Gguf(metadata) => {
            if let Some(companion) = metadata.companion() {
                let (found, next) = (companion.what.to_owned(), companion.next);
                return Err(ModelError::NotRunnable { found, next });
            }
            let get = |key: &str| metadata.value(key).map(|value| as_json(&value));
            gguf::parse(&get, &shape)?
        }
    };
    let is_gguf = matches!(metadata, Metadata::Gguf(_));
    for (name, _) in spec.expected_tensors() {
        if let Some(tensor) = unsupported.get(name) {
            let type_name = tensor.type_name.clone();
            if let (false, Some(found)) = (is_gguf, quantized::by_type(name, &type_name)) {
                return Err(ModelError::NotRunnable { found, next: quantized::NEXT });
            }
            let supported = if is_gguf { decodable() } else { safetensors::SUPPORTED.to_owned() };
            return Err(ModelError::Undecodable { tensor: name.to_owned(), type_name, supported });
        }
    }
    check::tensors(&spec, tensors)?;
    check::unused(&spec, tensors.keys().chain(unsupported.keys()), is_gguf)?;
    Ok(spec)
}

/// A metadata value as JSON. What JSON has no form for, and arrays with more elements than a model can
/// have layers, become their description: no key read here accepts that text.
fn as_json(value: &GgufValue<'_>) -> Value {
    let float = |x: f64| Number::from_f64(x).map(Value::Number);
    let json = match value {
        GgufValue::U8(n) => Some((*n).into()),
        GgufValue::I8(n) => Some((*n).into()),
        GgufValue::U16(n) => Some((*n).into()),
        GgufValue::I16(n) => Some((*n).into()),
        GgufValue::U32(n) => Some((*n).into()),
        GgufValue::I32(n) => Some((*n).into()),
        GgufValue::U64(n) => Some((*n).into()),
        GgufValue::I64(n) => Some((*n).into()),
        GgufValue::F32(x) => float(f64::from(*x)),
        GgufValue::F64(x) => float(*x),
        GgufValue::Bool(b) => Some((*b).into()),
        GgufValue::Str(bytes) => std::str::from_utf8(bytes).ok().map(Value::from),
        GgufValue::Array(list) if list.len <= limits::LAYERS => {
            Some(Value::Array(list.iter().map(|element| as_json(&element)).collect()))
        }
        GgufValue::Array(_) => None,
    };
    json.unwrap_or_else(|| value.describe().into())
}
