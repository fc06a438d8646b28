//! How much memory the adapter gives, proved by allocating. Never more than what the operating system calls
//! available less a margin: a shared machine must not be pushed into swapping.

use crate::gpu::{Gpu, main_memory_available};
use crate::plan::profile::MemoryReading;

/// Bytes per buffer.
const PIECE: u64 = 256 << 20;
/// Bytes of main memory that stay untouched.
const MARGIN: u64 = 2 << 30;
/// No more than this many bytes are asked for: enough for any single GPU of today.
const MOST: u64 = 256 << 30;

pub(super) fn measure(gpu: &Gpu) -> MemoryReading {
    let facts = gpu.facts();
    let main = main_memory_available();
    let claimed_bytes = facts.memory_bytes;
    let (bound, why) = match claimed_bytes {
        _ if gpu.shares_main_memory() => {
            (main.saturating_sub(MARGIN), format!("main memory available less {} GiB", MARGIN >> 30))
        }
        Some(claimed) => (claimed.min(MOST), "what the API claims".to_owned()),
        None => (main.saturating_sub(MARGIN), "main memory available, as the API claims nothing".to_owned()),
    };
    let piece = gpu.max_bound_bytes().min(PIECE);
    let mut held = Vec::new();
    let stopped_by = loop {
        if (held.len() as u64 + 1) * piece > bound {
            break why;
        }
        match gpu.buffer("memory proof", piece) {
            Ok(slice) => held.push(slice),
            Err(error) => break error.to_string(),
        }
    };
    let allocated_bytes = held.len() as u64 * piece;
    drop(held);
    // Freed buffers go back to the driver with the next poll.
    let _ = gpu.flush();
    MemoryReading { allocated_bytes, claimed_bytes, stopped_by }
}
