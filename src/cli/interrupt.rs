//! Ctrl-C: the first one asks to stop, the second one ends the program.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Exit, INTERRUPTED};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C only raises the flag, unless it is raised already.
pub(super) fn install(exit: Exit) -> anyhow::Result<()> {
    Ok(ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            exit(i32::from(INTERRUPTED));
        }
    })?)
}

/// Was Ctrl-C pressed since the last [`clear`]?
pub(super) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Lowers the flag.
pub(super) fn clear() {
    REQUESTED.store(false, Ordering::SeqCst);
}
