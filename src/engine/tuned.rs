//! What the tuner found on an adapter, kept in the cache directory by adapter, driver and version.

use std::collections::BTreeMap;
use std::io;

use crate::engine::cache;
use crate::gpu::Gpu;

/// Class of work → variant, by their names. Classes that were tried and stay at the default are in it too,
/// with a name that is no variant's.
pub type Tuning = BTreeMap<String, String>;

/// What was found on this adapter before.
pub fn kept(gpu: &Gpu) -> Option<Tuning> {
    cache::read_json(&cache_name(gpu))
}

/// Has the device prefer what was found before.
pub fn apply_kept(gpu: &Gpu) {
    kept(gpu).iter().flatten().for_each(|(class, variant)| gpu.prefer(class, variant));
}

/// Has the device prefer `new`, and keeps it beside what was found for other classes.
pub fn keep(gpu: &Gpu, new: &Tuning) -> io::Result<()> {
    new.iter().for_each(|(class, variant)| gpu.prefer(class, variant));
    let mut all = kept(gpu).unwrap_or_default();
    all.extend(new.clone());
    cache::write_json(&cache_name(gpu), &all)
}

/// Back to the defaults, also for later processes.
pub fn forget(gpu: &Gpu) -> io::Result<()> {
    gpu.prefer_nothing();
    cache::remove(&cache_name(gpu))
}

/// The file in the [`cache`] that keeps it.
fn cache_name(gpu: &Gpu) -> String {
    format!("tuned-{}.json", gpu.cache_key())
}
