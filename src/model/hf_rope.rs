//! The rotary part of a Hugging Face `config.json`, in both of its layouts.

use serde_json::Value;

use super::check::{self, limits};
use super::error::ModelError;
use super::keys::Keys;
use super::rope::{self, Scaling};
use super::spec::{Rope, RopeStyle};

/// Base when nothing is stated, the same in all supported configuration classes.
const DEFAULT_THETA: f64 = 10000.0;

/// Rotary parameters as stated, before they become frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RopeParts {
    /// Base.
    pub(crate) theta: f64,
    /// Elements of each head that are rotated.
    pub(crate) rotary_dim: usize,
    /// How longer contexts are reached.
    pub(crate) scaling: Scaling,
    /// Factor on cos and sin.
    pub(crate) scale: f64,
    /// Positions stated in the configuration.
    pub(crate) trained: usize,
    /// Positions within reach.
    pub(crate) reach: usize,
}

/// Rotary parameters and the positions they reach.
pub(super) fn rope(
    keys: &Keys,
    config: &Value,
    head_dim: usize,
    trained: usize,
) -> Result<(Rope, usize), ModelError> {
    let RopeParts { theta, rotary_dim, scaling, scale, reach, .. } = parts(keys, config, head_dim, trained)?;
    Ok((rope::build(RopeStyle::Half, theta, rotary_dim, scaling, scale), reach))
}

/// Reads the rotary parameters. Up to transformers 4 they stand in `rope_theta` and `rope_scaling`, later
/// in `rope_parameters`; the inner type key is `rope_type`, formerly `type`.
pub(super) fn parts(
    keys: &Keys,
    config: &Value,
    head_dim: usize,
    trained: usize,
) -> Result<RopeParts, ModelError> {
    let outer = |name: &'static str| config.get(name).filter(|v| !v.is_null()).map(|v| (name, v));
    let is_empty = |value: &Value| value.as_object().is_some_and(|object| object.is_empty());
    let chosen = outer("rope_scaling").filter(|(_, v)| !is_empty(v)).or(outer("rope_parameters"));
    let (name, object) = chosen.unwrap_or(("rope_scaling", &Value::Null));
    let nested = object.as_object().is_some_and(|o| o.values().any(Value::is_object));
    if nested || !(object.is_object() || object.is_null()) {
        return Err(keys.bad(name, "one set of rotary parameters for all layers"));
    }
    let inner = Keys::of_json(&format!("{name}."), object);
    let above_one = |keys: &Keys| keys.number("rope_theta", "a number above 1", |x| x > 1.0);
    let theta = above_one(&inner)?.or(above_one(keys)?).unwrap_or(DEFAULT_THETA);
    let part = |keys: &Keys| {
        keys.number("partial_rotary_factor", "a number above 0, at most 1", |x| x > 0.0 && x <= 1.0)
    };
    let part = part(&inner)?.or(part(keys)?).unwrap_or(1.0);
    let rotary_dim = (head_dim as f64 * part) as usize;
    check::rotary(rotary_dim, head_dim, "head_dim × partial_rotary_factor".to_owned())?;
    let (scaling, scale, reach) = scaling(keys, &inner, trained)?;
    Ok(RopeParts { theta, rotary_dim, scaling, scale, trained, reach })
}

/// Scaling, factor on cos and sin, positions within reach.
fn scaling(keys: &Keys, inner: &Keys, trained: usize) -> Result<(Scaling, f64, usize), ModelError> {
    let kind_key = if inner.value("rope_type").is_some() { "rope_type" } else { "type" };
    let factor_key = "factor";
    let factor = || {
        inner.number(factor_key, "a number above 0, at most 10000", |x| x > 0.0 && x <= limits::ROPE_FACTOR)
    };
    let need_factor = || factor()?.ok_or_else(|| inner.bad(factor_key, "a number above 0"));
    let original_key = "original_max_position_embeddings";
    let original = || {
        let stated = match keys.value(original_key) {
            Some(_) => keys,
            None => inner,
        };
        stated.size(original_key, Some(trained), limits::CONTEXT)
    };
    match inner.text(kind_key)?.as_deref() {
        // Dynamic NTK changes the base only beyond the trained length, and that is where contexts end here.
        None | Some("default" | "dynamic") => Ok((Scaling::None, 1.0, trained)),
        Some("linear") => {
            let factor = need_factor()?;
            Ok((Scaling::Linear { factor }, 1.0, rope::reach(trained, factor, trained)))
        }
        Some("llama3") => {
            let (low, high) =
                (inner.need_positive("low_freq_factor")?, inner.need_positive("high_freq_factor")?);
            if high <= low {
                return Err(inner.bad("high_freq_factor", format!("more than low_freq_factor, {low}")));
            }
            Ok((
                Scaling::Llama3 { factor: need_factor()?, low, high, original: original()? as f64 },
                1.0,
                trained,
            ))
        }
        Some("yarn") => {
            let original = original()?;
            let factor = factor()?.unwrap_or(trained as f64 / original as f64);
            let (beta_fast, beta_slow) = (inner.positive("beta_fast")?, inner.positive("beta_slow")?);
            let scaling = Scaling::Yarn {
                factor,
                original: original as f64,
                beta_fast: beta_fast.unwrap_or(32.0),
                beta_slow: beta_slow.unwrap_or(1.0),
                truncate: inner.flag("truncate", true)?,
            };
            let reach = rope::reach(original, factor, trained);
            Ok((scaling, yarn_scale(inner, factor)?, reach))
        }
        Some(_) => Err(inner.bad(kind_key, "default, linear, dynamic, llama3 or yarn")),
    }
}

/// `attention_factor` if stated, else from `mscale` and `mscale_all_dim` if both are, else the paper's.
fn yarn_scale(inner: &Keys, factor: f64) -> Result<f64, ModelError> {
    let not_negative = |key| inner.number(key, "a number of at least 0", |x| x >= 0.0);
    if let Some(scale) = inner.positive("attention_factor")? {
        return Ok(scale);
    }
    let given = |x: Option<f64>| x.filter(|&x| x > 0.0);
    Ok(match (given(not_negative("mscale")?), given(not_negative("mscale_all_dim")?)) {
        (Some(m), Some(all)) => rope::yarn_mscale(factor, m) / rope::yarn_mscale(factor, all),
        _ => rope::yarn_mscale(factor, 1.0),
    })
}
