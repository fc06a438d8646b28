//! How fast a model's file becomes weights on the adapter, beside what reading the file and writing to the adapter allow.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::speed::median;
use crate::engine::{EngineError, LoadOptions, Model, loader};
use crate::gpu::Gpu;

/// Seconds of each repeat, in turn.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Loads {
    /// Bytes of the tensors in the file.
    pub file_bytes: u64,
    /// Bytes of the weights on the adapter.
    pub weight_bytes: u64,
    /// Reading all tensors, by all cores, into memory.
    pub read_s: Vec<f64>,
    /// Writing as many bytes as the weights take to the adapter.
    pub upload_s: Vec<f64>,
    /// Loading: reading, converting, writing, the tokenizer.
    pub load_s: Vec<f64>,
}

impl Loads {
    /// Seconds that reading and writing would take at the same time: the slower one's.
    pub fn allowed_s(&self) -> f64 {
        median(&self.read_s).max(median(&self.upload_s))
    }

    /// Allowed ÷ achieved seconds.
    pub fn share(&self) -> f64 {
        self.allowed_s() / median(&self.load_s)
    }
}

/// Measures `repeats` times each. `go_on` is told how many of all parts are done; false stops with
/// [`EngineError::Cancelled`].
pub fn run(
    gpu: &Gpu,
    path: &Path,
    options: &LoadOptions,
    repeats: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Loads, EngineError> {
    let mut loads = Loads::default();
    let mut next = |done| if go_on(done) { Ok(()) } else { Err(EngineError::Cancelled) };
    for i in 0..repeats {
        let started = Instant::now();
        let model = Model::load(gpu, path, options, &mut |_, _| next(3 * i).is_ok())?;
        loads.load_s.push(started.elapsed().as_secs_f64());
        loads.weight_bytes = model.needs().weights;
        drop(model);
        gpu.flush()?;
        next(3 * i + 1)?;
        let started = Instant::now();
        loads.file_bytes = loader::read_only(path)?;
        loads.read_s.push(started.elapsed().as_secs_f64());
        next(3 * i + 2)?;
        let started = Instant::now();
        loader::upload_only(gpu, loads.weight_bytes)?;
        loads.upload_s.push(started.elapsed().as_secs_f64());
    }
    Ok(loads)
}
