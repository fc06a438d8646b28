//! Work for an idle GPU, so that weights stay where it reaches them. macOS takes memory that no command has used for about a
//! second away from the GPU, and the first token after a pause would wait until all of it is back. A command that uses any
//! of a buffer keeps the whole of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::engine::{EngineError, Model};
use crate::gpu::graph::State;
use crate::gpu::{Gpu, Graph};
use crate::kernels::read::{self, Variant};
use crate::kernels::weights::{Part, Plane};

/// Between two beats.
const EVERY: Duration = Duration::from_millis(500);
/// Then the battery counts more: ten minutes.
const MOST: usize = 1200;

/// Beats until it is dropped.
pub struct Heartbeat {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    beats: Arc<AtomicUsize>,
}

impl Heartbeat {
    /// For a model that waits for its user; `None` on adapters that keep memory anyway.
    pub fn of(model: &Model) -> Result<Option<Heartbeat>, EngineError> {
        match model.gpu().facts().backend == "metal" {
            true => Heartbeat::start(model, EVERY).map(Some),
            false => Ok(None),
        }
    }

    fn start(model: &Model, every: Duration) -> Result<Heartbeat, EngineError> {
        let gpu = model.gpu().clone();
        let graph = touch(&gpu, model.weights().parts())?;
        let beats = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = channel();
        let count = Arc::clone(&beats);
        let beat = move || {
            while count.load(Ordering::Relaxed) < MOST
                && stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout)
            {
                // What is wrong with the device, the next token will tell.
                if gpu.run(&graph, State::default()).and_then(|()| gpu.wait()).is_err() {
                    break;
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat).ok();
        Ok(Heartbeat { stop: Some(stop), thread, beats })
    }

    /// How often the GPU was given work.
    pub fn beats(&self) -> usize {
        self.beats.load(Ordering::Relaxed)
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads a little of every plane. Those too small for that weigh nothing.
fn touch<'a>(gpu: &Gpu, parts: impl Iterator<Item = &'a Part>) -> Result<Graph, EngineError> {
    let variant = Variant::ALL[0];
    let bytes = variant.group_bytes();
    let result = gpu.buffer("heartbeat", read::result_bytes(variant, bytes))?;
    let mut steps = Vec::new();
    for plane in parts.flat_map(|part| [&part.quants, &part.scales]) {
        if let Plane::Rows(slice) = plane
            && slice.bytes >= bytes
        {
            steps.push(read::step(gpu, variant, slice, bytes, &result)?);
        }
    }
    Ok(Graph::new(steps))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::engine::LoadOptions;
    use crate::gpu::{AdapterChoice, GpuOptions};

    #[test]
    fn it_beats_until_it_is_dropped() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
        gpu.ban(crate::kernels::weights::Store::TILES_CLASS); // as GPUs keep weights
        let model = Model::demo(&gpu, &LoadOptions::default()).expect("the demo model");
        let planes = touch(&gpu, model.weights().parts()).expect("steps").steps.len();
        assert!(planes >= 4 * model.spec().n_layers, "{planes} planes are touched");
        let heart = Heartbeat::start(&model, Duration::from_millis(5)).expect("a thread");
        let started = Instant::now();
        while heart.beats() < 3 && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(heart.beats() >= 3);
        let beats = Arc::clone(&heart.beats);
        drop(heart);
        let after = beats.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(beats.load(Ordering::Relaxed), after, "silent when dropped");
        assert!(Heartbeat::of(&model).expect("no error").is_none() || gpu.facts().backend == "metal");
    }
}
