//! Finding adapters, describing them as [`AdapterFacts`], and choosing one.

use std::str::FromStr;

use crate::base::{AdapterFacts, AdapterKind};
use crate::gpu::{GpuError, memory, texture};

/// Which adapter to use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The best one: `WGPU_ADAPTER_NAME` if set, else discrete > integrated > virtual > other > CPU.
    #[default]
    Auto,
    /// Number in the list of `anygpu devices`.
    Index(usize),
    /// Part of a name, any backend.
    Name(String),
    /// Backend, and part of a name (may be empty).
    BackendName(String, String),
}

const BACKENDS: [&str; 4] = ["vulkan", "metal", "dx12", "gl"];

impl FromStr for AdapterChoice {
    type Err = std::convert::Infallible;

    /// `INDEX`, `NAME`, `BACKEND` or `BACKEND:NAME`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(index) = text.parse() {
            return Ok(AdapterChoice::Index(index));
        }
        let (head, tail) = text.split_once(':').unwrap_or((text, ""));
        let head = head.to_lowercase();
        Ok(if BACKENDS.contains(&head.as_str()) {
            AdapterChoice::BackendName(head, tail.to_owned())
        } else {
            AdapterChoice::Name(text.to_owned())
        })
    }
}

impl std::fmt::Display for AdapterChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdapterChoice::Auto => f.write_str("auto"),
            AdapterChoice::Index(index) => write!(f, "{index}"),
            AdapterChoice::Name(name) => f.write_str(name),
            AdapterChoice::BackendName(backend, name) if name.is_empty() => f.write_str(backend),
            AdapterChoice::BackendName(backend, name) => write!(f, "{backend}:{name}"),
        }
    }
}

/// An adapter with its description.
pub struct Adapter {
    /// wgpu's handle.
    pub handle: wgpu::Adapter,
    /// What it can do.
    pub facts: AdapterFacts,
}

/// Every adapter of every backend that `WGPU_BACKEND` allows (default: all), in a stable order.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let asked = std::env::var("WGPU_BACKEND").is_ok_and(|text| !text.is_empty());
    let backends = wgpu::Backends::from_env().filter(|_| asked).unwrap_or(wgpu::Backends::all());
    descriptor.backends = backends;
    let instance = wgpu::Instance::new(descriptor);
    let handles = pollster::block_on(instance.enumerate_adapters(backends));
    let mut adapters: Vec<Adapter> =
        handles.into_iter().map(|handle| Adapter { facts: describe(&handle), handle }).collect();
    adapters.sort_by_key(|a| BACKENDS.iter().position(|b| *b == a.facts.backend));
    for (index, adapter) in adapters.iter_mut().enumerate() {
        adapter.facts.index = index;
    }
    adapters
}

/// The adapter that `choice` means, and why it is that one.
pub fn choose(choice: &AdapterChoice) -> Result<(Adapter, String), GpuError> {
    let mut all = adapters();
    let facts: Vec<AdapterFacts> = all.iter().map(|a| a.facts.clone()).collect();
    let wanted_name = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let (index, why) = choose_index(&facts, choice, wanted_name.as_deref())?;
    Ok((all.swap_remove(index), why))
}

/// The pure part of [`choose`]: index into `facts` and the reason.
pub fn choose_index(
    facts: &[AdapterFacts],
    choice: &AdapterChoice,
    env_name: Option<&str>,
) -> Result<(usize, String), GpuError> {
    if facts.is_empty() {
        let backends = std::env::var("WGPU_BACKEND").unwrap_or_else(|_| "all".to_owned());
        return Err(GpuError::NoAdapter { backends });
    }
    let contains = |f: &AdapterFacts, part: &str| f.name.to_lowercase().contains(&part.to_lowercase());
    let wanted = |f: &AdapterFacts| match (choice, env_name) {
        (AdapterChoice::Auto, None) => true,
        (AdapterChoice::Auto, Some(name)) => contains(f, name),
        (AdapterChoice::Index(index), _) => f.index == *index,
        (AdapterChoice::Name(name), _) => contains(f, name),
        (AdapterChoice::BackendName(backend, name), _) => f.backend == *backend && contains(f, name),
    };
    let why = match (choice, env_name) {
        (AdapterChoice::Auto, None) => String::new(),
        (AdapterChoice::Auto, Some(name)) => format!("WGPU_ADAPTER_NAME={name}"),
        _ => format!("--adapter {choice}"),
    };
    let list = |items: &[&AdapterFacts]| {
        items.iter().map(|f| format!("{} = {}", f.index, f.id())).collect::<Vec<_>>().join(", ")
    };
    let matches: Vec<&AdapterFacts> = facts.iter().filter(|f| wanted(f)).collect();
    let Some(best) = matches.iter().min_by_key(|f| (kind_rank(f.kind), f.index)) else {
        let wanted = if why.is_empty() { choice.to_string() } else { why };
        return Err(GpuError::NoSuchAdapter { wanted, found: list(&facts.iter().collect::<Vec<_>>()) });
    };
    // The same device through two backends is no ambiguity: the first backend is the better one.
    let names: std::collections::BTreeSet<&str> = matches.iter().map(|f| f.name.as_str()).collect();
    if matches!(choice, AdapterChoice::Name(_)) && names.len() > 1 {
        return Err(GpuError::AmbiguousAdapter { wanted: choice.to_string(), found: list(&matches) });
    }
    let why = if why.is_empty() { default_reason(best, facts.len()) } else { why };
    Ok((best.index, why))
}

fn default_reason(best: &AdapterFacts, n_adapters: usize) -> String {
    match (best.kind, n_adapters) {
        (AdapterKind::Cpu, _) => "there is no GPU adapter, only software ones".to_owned(),
        (_, 1) => "it is the only adapter".to_owned(),
        (kind, _) => format!("first {kind} GPU, on the preferred backend"),
    }
}

fn kind_rank(kind: AdapterKind) -> usize {
    match kind {
        AdapterKind::Discrete => 0,
        AdapterKind::Integrated => 1,
        AdapterKind::Virtual => 2,
        AdapterKind::Other => 3,
        AdapterKind::Cpu => 4,
    }
}

fn describe(adapter: &wgpu::Adapter) -> AdapterFacts {
    let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
    AdapterFacts {
        index: 0,
        name: info.name,
        backend: info.backend.to_str().to_owned(),
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Cpu,
            wgpu::DeviceType::Other => AdapterKind::Other,
        },
        driver: info.driver,
        driver_info: info.driver_info,
        vendor: info.vendor,
        device: info.device,
        f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
        immediates: features.contains(wgpu::Features::IMMEDIATES),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        max_buffer_bytes: limits.max_buffer_size,
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        max_storage_textures: texture::readable(adapter, &limits),
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_invocations: limits.max_compute_invocations_per_workgroup,
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        storage_alignment: limits.min_storage_buffer_offset_alignment,
        memory_bytes: memory::device_bytes(adapter),
    }
}
