//! [`AdapterFacts`]: what is known of an adapter as plain, serialisable data. No wgpu types.

use serde::{Deserialize, Serialize};

/// Identity, features and limits of one adapter, as its driver reports them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdapterFacts {
    /// Position in the list that `anygpu devices` prints.
    pub index: usize,
    /// Name as the driver gives it.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: AdapterKind,
    /// Driver name, may be empty.
    pub driver: String,
    /// Driver version text, may be empty.
    pub driver_info: String,
    /// PCI vendor id, 0 when unknown.
    pub vendor: u32,
    /// PCI device id, 0 when unknown.
    pub device: u32,
    /// `shader-f16`.
    pub f16: bool,
    /// Subgroup operations in compute shaders.
    pub subgroups: bool,
    /// Smallest and largest subgroup size the driver may choose.
    pub subgroup_sizes: [u32; 2],
    /// Kernel parameters as immediates ("push constants").
    pub immediates: bool,
    /// Timestamp queries at pass boundaries.
    pub timestamps: bool,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding, bytes.
    pub max_binding_bytes: u64,
    /// Storage buffers per shader stage.
    pub max_storage_buffers: u32,
    /// Storage textures of 16-byte texels that a shader may read; 0: none.
    #[serde(default)]
    pub max_storage_textures: u32,
    /// Invocations per workgroup.
    pub max_invocations: u32,
    /// Workgroup memory, bytes.
    pub max_workgroup_bytes: u32,
    /// Alignment of storage-buffer offsets, bytes.
    pub storage_alignment: u32,
    /// Device memory in bytes, where the API tells.
    pub memory_bytes: Option<u64>,
}

/// What kind of device an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// Separate memory.
    Discrete,
    /// Memory shared with the CPU.
    Integrated,
    /// Hosted GPU.
    Virtual,
    /// Software rasterizer.
    Cpu,
    /// Not told.
    Other,
}

impl std::fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AdapterKind::Discrete => "discrete",
            AdapterKind::Integrated => "integrated",
            AdapterKind::Virtual => "virtual",
            AdapterKind::Cpu => "cpu",
            AdapterKind::Other => "other",
        })
    }
}

/// Who makes a GPU, as far as kernels care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// M1 and later.
    Apple,
    /// Iris, UHD, Arc.
    Intel,
    /// AMD, NVIDIA and all others, software too.
    Other,
}

impl AdapterFacts {
    /// Told by the PCI vendor, and by name where the API (Metal) or the driver (Mesa on Apple's) does not say that one.
    pub fn maker(&self) -> Maker {
        let named = |name: &str| self.name.to_lowercase().contains(name);
        match self.vendor {
            _ if self.kind == AdapterKind::Cpu => Maker::Other,
            _ if named("apple") => Maker::Apple,
            0x8086 => Maker::Intel,
            0 if named("intel") => Maker::Intel,
            _ => Maker::Other,
        }
    }

    /// `vulkan:llvmpipe (LLVM 15.0.6, 256 bits)`: the form that `--adapter` takes.
    pub fn id(&self) -> String {
        format!("{}:{}", self.backend, self.name)
    }

    /// Is its memory the machine's main memory?
    pub fn shares_main_memory(&self) -> bool {
        matches!(self.kind, AdapterKind::Cpu | AdapterKind::Integrated) || self.backend == "metal"
    }

    /// Key under which results about this adapter may be kept: they hold for this driver, this
    /// version of anygpu and these kernels only.
    pub fn cache_key(&self) -> String {
        let text = format!(
            "{}|{}|{}|{}|{:x}:{:x}|{:?}|{}-{}",
            self.backend,
            self.name,
            self.driver,
            self.driver_info,
            self.vendor,
            self.device,
            self.subgroup_sizes,
            env!("CARGO_PKG_VERSION"),
            env!("ANYGPU_KERNELS"),
        );
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect()
    }
}
