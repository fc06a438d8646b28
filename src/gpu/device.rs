//! [`Gpu`]: an open device with its capabilities, its errors, and its compiled kernels.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use crate::base::AdapterFacts;
use crate::gpu::GpuError;
use crate::gpu::adapter::{self, Adapter, AdapterChoice};
use crate::gpu::compose::{KernelSpec, ParamsForm};
use crate::gpu::pipeline::Kernel;
use crate::gpu::pipeline_cache::Pipelines;

/// What to ask of an adapter. Switching things off shows how a poorer adapter would behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuOptions {
    /// Use `shader-f16` where there is.
    pub f16: bool,
    /// Use subgroups where there are.
    pub subgroups: bool,
    /// Use immediates where there are; else parameters come in uniform buffers.
    pub immediates: bool,
    /// Ask for WebGPU's default limits only (128 MiB bindings, 16 KiB workgroup memory …).
    pub default_limits: bool,
    /// Bind at most this many bytes at once, however much more the adapter would.
    pub max_binding_bytes: Option<u64>,
    /// Keep runtime checks (bounds, loops, divisions) in all shaders, also where [`Gpu::leave_checks_out`] says otherwise.
    pub checked: bool,
    /// Ignore [`Gpu::prefer`].
    pub untuned: bool,
}

impl Default for GpuOptions {
    fn default() -> Self {
        GpuOptions {
            f16: true,
            subgroups: true,
            immediates: true,
            default_limits: false,
            max_binding_bytes: None,
            checked: false,
            untuned: false,
        }
    }
}

impl GpuOptions {
    /// The least that any WebGPU implementation offers; all of them check shaders at run time.
    pub fn plain() -> Self {
        GpuOptions {
            f16: false,
            subgroups: false,
            immediates: false,
            default_limits: true,
            max_binding_bytes: None,
            checked: true,
            untuned: false,
        }
    }
}

/// A deliberate fault in a kernel's text, to show that checks find faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Kernel name.
    pub kernel: &'static str,
    /// Part of its WGSL text.
    pub find: &'static str,
    /// What stands there instead, everywhere.
    pub replace: &'static str,
}

/// An open device. Cheap to clone; several models may share one.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

pub(super) struct Inner {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    facts: AdapterFacts,
    why: String,
    options: GpuOptions,
    /// By label and whether they are checked at run time.
    pub(super) kernels: Mutex<HashMap<(String, bool), Arc<Kernel>>>,
    /// Kernels that do without runtime checks.
    unchecked: Mutex<Vec<&'static KernelSpec>>,
    pub(super) pipelines: OnceLock<Pipelines>,
    /// Variant classes that failed verification on this adapter and must not be used.
    banned: Mutex<HashSet<String>>,
    /// Labels of kernels that passed verification; `None` where nobody asked for it.
    verified: Mutex<Option<BTreeSet<String>>>,
    /// Variants found fastest on this adapter, by what they are for.
    preferred: Mutex<HashMap<String, String>>,
    fault: Mutex<Option<Fault>>,
    trouble: Arc<Mutex<Trouble>>,
    pub(super) empty: wgpu::Buffer,
    /// Nanoseconds spent recording.
    pub(super) record_ns: AtomicU64,
    /// Nanoseconds spent submitting.
    pub(super) submit_ns: AtomicU64,
    /// Submits of graphs.
    pub(super) submits: AtomicU64,
    /// Dispatches of graphs.
    pub(super) dispatches: AtomicU64,
    /// Nanoseconds spent compiling.
    pub(super) compile_ns: AtomicU64,
}

#[derive(Default)]
struct Trouble {
    lost: Option<String>,
    error: Option<String>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding one of these locks leaves plain data in a usable state.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Gpu {
    /// Opens the adapter that `choice` means.
    pub fn open(choice: &AdapterChoice, options: GpuOptions) -> Result<Gpu, GpuError> {
        let (adapter, why) = adapter::choose(choice)?;
        Gpu::open_adapter(adapter, options, why)
    }

    /// Opens this adapter. `why` is the reason it was chosen, for people.
    pub fn open_adapter(adapter: Adapter, options: GpuOptions, why: String) -> Result<Gpu, GpuError> {
        let Adapter { handle, mut facts } = adapter;
        let mut wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE;
        wanted.set(wgpu::Features::SHADER_F16, options.f16);
        wanted.set(wgpu::Features::SUBGROUP, options.subgroups);
        wanted.set(wgpu::Features::IMMEDIATES, options.immediates);
        let features = handle.features() & wanted;
        facts.f16 = features.contains(wgpu::Features::SHADER_F16);
        facts.subgroups = features.contains(wgpu::Features::SUBGROUP);
        facts.immediates = features.contains(wgpu::Features::IMMEDIATES);
        let limits = limits(&handle.limits(), options, facts.immediates);
        facts.max_buffer_bytes = limits.max_buffer_size;
        let binding = limits.max_storage_buffer_binding_size;
        facts.max_binding_bytes = binding.min(options.max_binding_bytes.unwrap_or(u64::MAX));
        facts.max_workgroup_bytes = limits.max_compute_workgroup_storage_size;
        facts.max_invocations = limits.max_compute_invocations_per_workgroup;
        let request = handle.request_device(&wgpu::DeviceDescriptor {
            label: Some("anygpu"),
            required_features: features,
            required_limits: limits,
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        });
        let (device, queue) = pollster::block_on(request)
            .map_err(|e| GpuError::NoDevice { adapter: facts.id(), cause: e.to_string() })?;
        let trouble = Arc::new(Mutex::new(Trouble::default()));
        watch(&device, &trouble);
        let empty = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("empty"),
            size: 256,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        Ok(Gpu(Arc::new(Inner {
            device,
            queue,
            facts,
            why,
            options,
            kernels: Mutex::default(),
            unchecked: Mutex::default(),
            pipelines: OnceLock::new(),
            banned: Mutex::default(),
            verified: Mutex::default(),
            preferred: Mutex::default(),
            fault: Mutex::default(),
            trouble,
            empty,
            record_ns: AtomicU64::new(0),
            submit_ns: AtomicU64::new(0),
            submits: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            compile_ns: AtomicU64::new(0),
        })))
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// The adapter with what was switched on.
    pub fn facts(&self) -> &AdapterFacts {
        &self.0.facts
    }

    /// Key under which results about this device may be kept: of the adapter, and of what was switched on.
    pub fn cache_key(&self) -> String {
        let GpuOptions { f16, subgroups, immediates, checked, .. } = self.0.options;
        let flags = [f16, subgroups, immediates, checked].map(|flag| if flag { '1' } else { '0' });
        format!("{}-{}", self.facts().cache_key(), String::from_iter(flags))
    }

    /// Is the adapter's memory the machine's main memory?
    pub fn shares_main_memory(&self) -> bool {
        self.facts().shares_main_memory()
    }

    /// Why this adapter was chosen.
    pub fn why(&self) -> &str {
        &self.0.why
    }

    /// What was asked for when the device was opened.
    pub fn options(&self) -> GpuOptions {
        self.0.options
    }

    /// How kernels get their parameters on this device.
    pub fn params_form(&self) -> ParamsForm {
        if self.0.facts.immediates { ParamsForm::Immediate } else { ParamsForm::Uniform }
    }

    /// From now on these kernels are compiled without runtime checks, unless [`GpuOptions::checked`] keeps them.
    /// All other kernels stay checked, as every kernel is on a device for which nobody calls this.
    ///
    /// It is for whoever verified these kernels in this form on this adapter and driver, or is about to: without checks a
    /// driver that miscompiles them reads or writes where it should not. `engine::first_use` does both.
    pub fn leave_checks_out(&self, kernels: &[&'static KernelSpec]) {
        if !self.0.options.checked {
            *lock(&self.0.unchecked) = kernels.to_vec();
        }
    }

    /// From now on every kernel is compiled with runtime checks. Steps that exist stay as they are.
    pub fn keep_checks(&self) {
        lock(&self.0.unchecked).clear();
        lock(&self.0.kernels).retain(|(_, checked), _| *checked);
    }

    /// Are all kernels compiled with runtime checks?
    pub fn is_checked(&self) -> bool {
        lock(&self.0.unchecked).is_empty()
    }

    /// Is this kernel compiled with runtime checks? A kernel of the same name is not the same kernel.
    pub(super) fn checks(&self, kernel: &'static KernelSpec) -> bool {
        !lock(&self.0.unchecked).iter().any(|unchecked| std::ptr::eq(*unchecked, kernel))
    }

    /// From now on sessions verify kernels before they run them; those of these labels passed already.
    pub fn require_verified(&self, passed: BTreeSet<String>) {
        *lock(&self.0.verified) = Some(passed);
    }

    /// Notes that the kernel of this label passed.
    pub fn note_verified(&self, label: &str) {
        if let Some(passed) = &mut *lock(&self.0.verified) {
            passed.insert(label.to_owned());
        }
    }

    /// Has the kernel of this label still to pass, by [`Gpu::require_verified`]?
    pub fn must_verify(&self, label: &str) -> bool {
        lock(&self.0.verified).as_ref().is_some_and(|passed| !passed.contains(label))
    }

    /// Labels of kernels that passed.
    pub fn verified(&self) -> BTreeSet<String> {
        lock(&self.0.verified).clone().unwrap_or_default()
    }

    /// Excludes a class of kernel variants, e.g. `matvec/subgroup`, found wrong on this adapter.
    pub fn ban(&self, class: &str) {
        lock(&self.0.banned).insert(class.to_owned());
    }

    /// Takes [`Gpu::ban`] back.
    pub fn unban(&self, class: &str) {
        lock(&self.0.banned).remove(class);
    }

    /// Was this class excluded?
    pub fn is_banned(&self, class: &str) -> bool {
        lock(&self.0.banned).contains(class)
    }

    /// Notes which variant of a kernel was found fastest for a class of work, by their names; unless
    /// [`GpuOptions::untuned`] forbids it.
    pub fn prefer(&self, class: &str, variant: &str) {
        if !self.0.options.untuned {
            lock(&self.0.preferred).insert(class.to_owned(), variant.to_owned());
        }
    }

    /// Takes every [`Gpu::prefer`] back.
    pub fn prefer_nothing(&self) {
        lock(&self.0.preferred).clear();
    }

    /// The variant noted for this class of work.
    pub fn preferred(&self, class: &str) -> Option<String> {
        lock(&self.0.preferred).get(class).cloned()
    }

    /// From now on compiles this kernel with a fault: only for showing that checks fail.
    pub fn sabotage(&self, fault: Fault) {
        lock(&self.0.kernels).clear();
        *lock(&self.0.fault) = Some(fault);
    }

    /// Was [`Gpu::sabotage`] called?
    pub fn is_sabotaged(&self) -> bool {
        lock(&self.0.fault).is_some()
    }

    /// The text of `kernel` with the fault that [`Gpu::sabotage`] asked for, normally unchanged.
    pub(super) fn sabotaged(&self, kernel: &str, text: String) -> String {
        match *lock(&self.0.fault) {
            Some(fault) if fault.kernel == kernel => text.replace(fault.find, fault.replace),
            _ => text,
        }
    }

    /// Number of kernels compiled so far.
    pub fn kernels_compiled(&self) -> usize {
        lock(&self.0.kernels).values().filter(|kernel| kernel.is_compiled()).count()
    }

    /// Seconds that [`Gpu::compile`] took so far. Some drivers do the larger part only when a kernel first runs.
    pub fn compile_seconds(&self) -> f64 {
        self.0.compile_ns.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// The first error since the last call, if any: a lost device, or a fault of ours.
    pub fn check(&self) -> Result<(), GpuError> {
        let mut trouble = lock(&self.0.trouble);
        let adapter = self.0.facts.id();
        if let Some(reason) = &trouble.lost {
            return Err(GpuError::Lost { adapter, reason: reason.clone() });
        }
        match trouble.error.take() {
            Some(cause) => Err(GpuError::Internal { adapter, cause }),
            None => Ok(()),
        }
    }

    /// Waits until everything submitted is done.
    pub fn wait(&self) -> Result<(), GpuError> {
        self.poll(wgpu::PollType::wait_indefinitely()).map(|_| ())
    }

    /// Waits for a submission and those before it.
    pub(super) fn wait_for(&self, submission: wgpu::SubmissionIndex) -> Result<(), GpuError> {
        self.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None }).map(|_| ())
    }

    fn poll(&self, kind: wgpu::PollType) -> Result<wgpu::PollStatus, GpuError> {
        let polled = self.0.device.poll(kind);
        self.check()?;
        polled.map_err(|e| GpuError::Lost { adapter: self.0.facts.id(), reason: e.to_string() })
    }

    /// Destroys the device on purpose: what follows behaves as after a driver reset. For tests.
    pub fn destroy(&self) {
        self.0.device.destroy();
    }
}

fn limits(have: &wgpu::Limits, options: GpuOptions, immediates: bool) -> wgpu::Limits {
    // Small GPUs miss limits of rendering that nothing here uses: those are not asked for.
    let mut limits = wgpu::Limits::defaults().or_worse_values_from(have);
    if !options.default_limits {
        limits.max_buffer_size = have.max_buffer_size;
        limits.max_texture_dimension_2d = have.max_texture_dimension_2d;
        limits.max_storage_buffer_binding_size = have.max_storage_buffer_binding_size;
        limits.max_compute_workgroup_storage_size = have.max_compute_workgroup_storage_size;
        limits.max_compute_invocations_per_workgroup = have.max_compute_invocations_per_workgroup;
        limits.max_compute_workgroup_size_x = have.max_compute_workgroup_size_x;
    }
    limits.max_immediate_size = if immediates { have.max_immediate_size.min(64) } else { 0 };
    limits
}

/// Notes lost devices and uncaptured errors instead of panicking, which is wgpu's default.
fn watch(device: &wgpu::Device, trouble: &Arc<Mutex<Trouble>>) {
    let on_lost = Arc::clone(trouble);
    device.set_device_lost_callback(move |reason, message| {
        lock(&on_lost).lost.get_or_insert(format!("{reason:?}: {message}"));
    });
    let on_error = Arc::clone(trouble);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        lock(&on_error).error.get_or_insert(error.to_string());
    }));
}
