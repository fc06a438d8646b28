//! [`ModelSpec::from_archive`]: the two metadata formats behind one call.

use serde_json::{Number, Value};

use super::check::{self, limits};
use super::error::ModelError;
use super::spec::ModelSpec;
use super::{gguf, hf};
use crate::formats::gguf::value::Value as GgufValue;
use crate::formats::{Archive, Metadata};

impl ModelSpec {
    /// The model an archive holds. Every tensor the spec names is in the archive with the shape that the
    /// dimensions ask for, in an encoding that can be decoded.
    pub fn from_archive(archive: &Archive) -> Result<ModelSpec, ModelError> {
        let spec = match &archive.metadata {
            Metadata::HuggingFace(folder) => hf::parse(&folder.config, &|name| archive.contains(name))?,
            Metadata::Gguf(metadata) => {
                let get = |key: &str| metadata.value(key).map(|value| as_json(&value));
                gguf::parse(&get, &|name| shape(archive, name))?
            }
        };
        for (name, _) in spec.expected_tensors() {
            if let Some(tensor) = archive.unsupported.get(name) {
                return Err(ModelError::Undecodable {
                    tensor: name.to_owned(),
                    type_name: tensor.type_name.clone(),
                });
            }
        }
        check::tensors(&spec, &archive.tensors)?;
        Ok(spec)
    }
}

/// Row-major shape of a stored tensor, decodable or not.
fn shape(archive: &Archive, name: &str) -> Option<Vec<usize>> {
    let decodable = archive.tensors.get(name).map(|tensor| &tensor.shape);
    decodable.or_else(|| archive.unsupported.get(name).map(|tensor| &tensor.shape)).cloned()
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
