//! [`Described`]: a model without its weights, enough to plan and to measure with made-up ones.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::ModelError;
use super::hf;
use super::keys::Keys;
use super::shapes::{self, ShapeRef};
use super::spec::ModelSpec;
use crate::base::DType;
use crate::formats::{Extent, Header, Metadata};

/// What a model is, and how its tensors are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Path or name, for messages.
    pub name: String,
    /// The model.
    pub spec: ModelSpec,
    /// Type of every tensor that the spec expects, by name. Without a tensor table: the configuration's
    /// `dtype` or `torch_dtype`, else bf16.
    pub stored: BTreeMap<String, DType>,
}

impl Described {
    /// Of a model's files, whole or not.
    pub fn from_header(header: &Header) -> Result<Described, ModelError> {
        let spec = ModelSpec::from_header(header)?;
        let name = header.name.clone();
        if let (Metadata::HuggingFace(folder), Extent::Config) = (&header.metadata, header.extent) {
            return Ok(Described::uniform(name, spec, stated_type(&folder.config)?));
        }
        let used = spec.expected_tensors().into_iter().filter_map(|(tensor, _)| header.tensors.get(tensor));
        let stored = used.map(|info| (info.name.clone(), info.dtype)).collect();
        Ok(Described { name, spec, stored })
    }

    /// Of a shape, as published. [`ShapeRef::quant`] is for the loader, or what stands in for it.
    pub fn from_shape(shape: &ShapeRef) -> Result<Described, ModelError> {
        let config = shapes::config(shape.name)?;
        let spec = hf::parse(&config, &|_| true)?;
        Ok(Described::uniform(shape.name.to_owned(), spec, stated_type(&config)?))
    }

    fn uniform(name: String, spec: ModelSpec, dtype: DType) -> Described {
        let stored =
            spec.expected_tensors().into_iter().map(|(tensor, _)| (tensor.to_owned(), dtype)).collect();
        Described { name, spec, stored }
    }
}

/// The type that `config` says its weights have: `dtype`, up to transformers 4 `torch_dtype`.
fn stated_type(config: &Value) -> Result<DType, ModelError> {
    let keys = Keys::of_json("", config);
    let key = if keys.value("dtype").is_some() { "dtype" } else { "torch_dtype" };
    match keys.text(key)?.as_deref() {
        None | Some("bfloat16" | "auto") => Ok(DType::BF16),
        Some("float16") => Ok(DType::F16),
        Some("float32") => Ok(DType::F32),
        Some(_) => Err(keys.bad(key, "bfloat16, float16 or float32")),
    }
}
