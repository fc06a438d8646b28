//! Everything that can go wrong between us and the driver.

/// Errors of the GPU layer.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No adapter at all.
    #[error(
        "no GPU adapter found (backends asked: {backends}). Install a driver: on Debian/Ubuntu \
         `apt install mesa-vulkan-drivers` brings a software one; `anygpu devices` lists what is seen"
    )]
    NoAdapter {
        /// Backends that were asked.
        backends: String,
    },
    /// Adapters exist, but none is the one asked for.
    #[error("no adapter matches '{wanted}'; there are: {found}. Try `anygpu devices`")]
    NoSuchAdapter {
        /// What the user asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// More than one adapter matches.
    #[error("'{wanted}' matches several adapters: {found}. Give its number or BACKEND:NAME")]
    AmbiguousAdapter {
        /// What the user asked for.
        wanted: String,
        /// The matches.
        found: String,
    },
    /// The driver refused to make a device.
    #[error("{adapter}: the driver refused to create a device: {cause}")]
    NoDevice {
        /// Adapter id.
        adapter: String,
        /// The driver's words.
        cause: String,
    },
    /// A shader or pipeline was refused.
    #[error("{adapter}: kernel {kernel} was refused: {cause}")]
    Kernel {
        /// Adapter id.
        adapter: String,
        /// Kernel and variant.
        kernel: String,
        /// The compiler's words, with lines mapped to our files.
        cause: String,
    },
    /// A buffer could not be allocated.
    #[error("{adapter}: out of memory allocating {bytes} bytes for {what}: {cause}")]
    OutOfMemory {
        /// Adapter id.
        adapter: String,
        /// What the buffer is for.
        what: String,
        /// Its size.
        bytes: u64,
        /// The driver's words.
        cause: String,
    },
    /// A buffer is larger than the adapter allows.
    #[error(
        "{adapter}: {what} needs one buffer of {bytes} bytes, the adapter binds at most {limit} at once{hint}"
    )]
    TooLarge {
        /// Adapter id.
        adapter: String,
        /// What the buffer is for.
        what: String,
        /// Its size.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
        /// Next step, starting with "; ", or empty.
        hint: String,
    },
    /// Kernels without another variant compute wrongly.
    #[error(
        "{adapter} computes wrongly with {classes}, and there is no other way to compute that: choose another \
         adapter (--adapter), or update the driver. `anygpu verify` tells the details"
    )]
    Unusable {
        /// Adapter id.
        adapter: String,
        /// Classes of variants.
        classes: String,
    },
    /// The device is gone: driver reset, unplugged, watchdog.
    #[error(
        "{adapter}: the device was lost ({reason}). Start again; if it repeats, the driver's watchdog may \
         have stopped a long step: try a shorter prompt chunk (--chunk 16), runtime checks in \
         shaders (--checked) or another adapter (--adapter)"
    )]
    Lost {
        /// Adapter id.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
    /// wgpu reported an error outside of any scope: our fault.
    #[error("{adapter}: internal error: {cause}")]
    Internal {
        /// Adapter id.
        adapter: String,
        /// wgpu's words.
        cause: String,
    },
}
