//! The machines known by name: peaks from data sheets, and how much of them programs reach.
//!
//! Bandwidth and memory are the vendors' figures. Rates of arithmetic are those of f32 multiply-adds in the ordinary
//! vector units, of every vendor: that is what our kernels ask for (`shaders/matmul.wgsl` multiplies and adds in f32).
//! Matrix units (tensor cores, WMMA, XMX) and packed f16 are left out, because no kernel here uses them.

use super::hardware::{DEFAULT_DISPATCH_S, DEFAULT_USABLE_BANDWIDTH};

/// One machine.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Year in which it was first sold.
    pub(super) year: u16,
    /// 10⁹ bytes per second.
    pub(super) gb_s: f64,
    /// 10¹² f32 operations per second of the vector units.
    pub(super) tflops: f64,
    /// 2³⁰ bytes; of machines that come in several sizes a common one.
    pub(super) memory_gib: u64,
    /// Every size it is sold with, 2³⁰ bytes; empty: one size, or whatever the computer around it has.
    pub(super) sizes_gib: &'static [u64],
    /// Of a card its board power, of an Apple chip the computer around it at most.
    pub(super) watts: Option<f64>,
    pub(super) kind: &'static Kind,
    pub(super) source: &'static str,
}

/// What machines of a kind reach of their peaks.
pub(super) struct Kind {
    pub(super) usable_bandwidth: f64,
    /// Part of the memory that one program's weights and caches may take.
    pub(super) usable_memory: f64,
    pub(super) dispatch_s: f64,
    pub(super) price_per_hour: Option<f64>,
    pub(super) source: &'static str,
}

/// Of memory that the machine's other programs need too; Metal lets a GPU have two thirds to three quarters.
const SHARED_MEMORY: f64 = 0.7;

const UNKNOWN: Kind = Kind {
    usable_bandwidth: DEFAULT_USABLE_BANDWIDTH,
    usable_memory: 0.95, // of a card: the rest is the driver's and the screen's
    dispatch_s: DEFAULT_DISPATCH_S,
    price_per_hour: None,
    source: "usual fractions, not measured",
};
static APPLE: Kind = Kind {
    usable_bandwidth: 0.90, // slopes of Q8_0 against Q4_0: M1 88 %, M2 90 to 92 %, M2 Max 93 %
    usable_memory: SHARED_MEMORY,
    source: "bandwidth from llama.cpp discussion 4167",
    ..UNKNOWN
};
static INTEL_GRAPHICS: Kind = Kind {
    usable_bandwidth: 0.78, // an estimate: 75 to 85 %
    dispatch_s: 8e-6,
    usable_memory: SHARED_MEMORY,
    source: "bandwidth estimated",
    ..UNKNOWN
};
static AMD_GRAPHICS: Kind = Kind {
    usable_bandwidth: 0.85, // an estimate: 80 to 88 %; whole decode reached 78 to 84 % on a 780M
    dispatch_s: 5e-6,
    usable_memory: SHARED_MEMORY,
    source: "bandwidth estimated",
    ..UNKNOWN
};
static NVIDIA: Kind = Kind {
    usable_bandwidth: 0.94, // 950 of 1008 GB/s on a 4090 (zeux)
    dispatch_s: 2.5e-6,
    source: "bandwidth from calm's README",
    ..UNKNOWN
};
static NVIDIA_SERVER: Kind = Kind {
    usable_bandwidth: 0.90, // 4.3 of 4.8 TB/s on an H200
    dispatch_s: 2.5e-6,
    source: "bandwidth from a copy on an H200",
    ..UNKNOWN
};
static AMPERE_40: Kind = Kind {
    usable_bandwidth: 0.73, // a 13B model in 22.0 ms where 1555 GB/s would take 16.2
    dispatch_s: 2.5e-6,
    source: "bandwidth from kipply's measurement of a 13B model",
    ..UNKNOWN
};
static AMPERE_80: Kind = Kind {
    usable_memory: 0.95,
    usable_bandwidth: 1.3 / 2.039,
    dispatch_s: 2.5e-6,
    price_per_hour: Some(2.21),
    source: "bandwidth and price from Cursor's measurements of Llama-2-70B on two A100 (4.42 USD/h)",
};
static AMD: Kind = Kind {
    usable_bandwidth: 0.92, // whole decode reached 91 % on a 9070 XT
    source: "bandwidth from VulkanForge's measurements of a 9070 XT",
    ..UNKNOWN
};
static INTEL: Kind = Kind { dispatch_s: 8e-6, ..UNKNOWN };
static PI: Kind = Kind {
    usable_memory: SHARED_MEMORY,
    usable_bandwidth: 4.0 / 12.8,
    source: "about 4 GB/s on a Raspberry Pi 4 (finbarr), the same fraction assumed for others",
    ..UNKNOWN
};

const fn row(
    name: &'static str,
    year: u16,
    (gb_s, tflops, memory_gib): (f64, f64, u64),
    sizes_gib: &'static [u64],
    watts: Option<f64>,
    kind: &'static Kind,
    source: &'static str,
) -> Row {
    Row { name, year, gb_s, tflops, memory_gib, sizes_gib, watts, kind, source }
}

const STUDIO: &str = "Apple's specification, power of Mac Studio; f32 of all cores at the reported clock";
const MINI: &str = "Apple's specification, power of Mac mini; f32 of all cores at the reported clock";
const MAC: &str = "Apple's specification; f32 of all cores at the reported clock";
const MAC_M5: &str = "Apple's specification; arithmetic taken from the M4, as WebGPU reaches it";
const GEFORCE: &str = "NVIDIA's architecture white paper, f32 without tensor cores";
const RADEON: &str = "AMD's product page, f32 vector rate";
const RYZEN: &str = "AMD's product page and memory type; f32 of all units at the largest clock";
const ARC: &str = "Intel's product page; f32 of all engines at the graphics clock";
const CORE: &str = "Intel's product page and memory type; f32 of all units at the largest clock";
const SERVER: &str = "NVIDIA's data sheet, f32 without tensor cores";
const PI_4: &str = "Raspberry Pi specification; VideoCore VI at 500 MHz";
const PI_5: &str = "Raspberry Pi specification; VideoCore VII at 800 MHz";

// One line each, to be read as a table.
#[rustfmt::skip]
pub(super) static TABLE: [Row; 46] = [
    row("m1", 2020, (68.25, 2.6, 16), &[8, 16], Some(39.0), &APPLE, MINI),
    row("m1-pro", 2021, (204.8, 5.3, 16), &[16, 32], None, &APPLE, MAC),
    row("m1-max", 2021, (409.6, 10.6, 32), &[32, 64], Some(115.0), &APPLE, STUDIO),
    row("m1-ultra", 2022, (819.2, 21.2, 64), &[64, 128], Some(215.0), &APPLE, STUDIO),
    row("m2", 2022, (102.4, 3.6, 16), &[8, 16, 24], Some(50.0), &APPLE, MINI),
    row("m2-pro", 2023, (204.8, 6.8, 16), &[16, 32], Some(100.0), &APPLE, MINI),
    row("m2-max", 2023, (409.6, 13.6, 32), &[32, 64, 96], Some(145.0), &APPLE, STUDIO),
    row("m2-ultra", 2023, (819.2, 27.2, 64), &[64, 128, 192], Some(295.0), &APPLE, STUDIO),
    row("m3", 2023, (102.4, 3.6, 16), &[8, 16, 24], None, &APPLE, MAC),
    row("m3-pro", 2023, (153.6, 6.4, 18), &[18, 36], None, &APPLE, MAC),
    row("m3-max", 2023, (409.6, 14.3, 48), &[36, 48, 64, 96, 128], None, &APPLE, MAC),
    row("m3-ultra", 2025, (819.2, 28.6, 96), &[96, 256, 512], Some(270.0), &APPLE, STUDIO),
    row("m4", 2024, (120.0, 3.8, 16), &[16, 24, 32], Some(65.0), &APPLE, MINI),
    row("m4-pro", 2024, (273.0, 7.5, 24), &[24, 48, 64], Some(140.0), &APPLE, MINI),
    row("m4-max", 2024, (546.0, 18.3, 48), &[36, 48, 64, 128], Some(145.0), &APPLE, STUDIO),
    row("m5", 2025, (153.0, 3.8, 16), &[16, 24, 32], None, &APPLE, MAC_M5),
    row("iris-xe", 2020, (68.3, 2.07, 16), &[], None, &INTEL_GRAPHICS, CORE), // LPDDR4x-4267, 96 units
    row("iris-xe-ddr4", 2020, (51.2, 2.07, 16), &[], None, &INTEL_GRAPHICS, CORE), // DDR4-3200
    row("arc-mtl", 2023, (119.5, 4.8, 32), &[], None, &INTEL_GRAPHICS, CORE), // Meteor Lake, LPDDR5x-7467
    row("arc-140v", 2024, (136.5, 4.2, 32), &[16, 32], None, &INTEL_GRAPHICS, CORE), // Lunar Lake, LPDDR5x-8533
    row("arc-a770", 2022, (560.0, 19.7, 16), &[], Some(225.0), &INTEL, ARC),
    row("arc-b580", 2024, (456.0, 13.7, 12), &[], Some(190.0), &INTEL, ARC),
    row("680m", 2022, (102.4, 3.7, 16), &[], None, &AMD_GRAPHICS, RYZEN), // LPDDR5-6400
    row("780m", 2023, (89.6, 8.3, 32), &[], None, &AMD_GRAPHICS, RYZEN), // DDR5-5600
    row("890m", 2024, (120.0, 11.9, 32), &[], None, &AMD_GRAPHICS, RYZEN), // LPDDR5x-7500
    row("8060s", 2025, (256.0, 29.7, 128), &[32, 64, 96, 128], None, &AMD_GRAPHICS, RYZEN), // LPDDR5x-8000, 256 bits
    row("rtx-3060", 2021, (360.0, 12.7, 12), &[], Some(170.0), &NVIDIA, GEFORCE),
    row("rtx-3090", 2020, (936.2, 35.6, 24), &[], Some(350.0), &NVIDIA, GEFORCE),
    row("rtx-4060", 2023, (272.0, 15.1, 8), &[], Some(115.0), &NVIDIA, GEFORCE),
    row("rtx-4070", 2023, (504.2, 29.1, 12), &[], Some(200.0), &NVIDIA, GEFORCE),
    row("rtx-4080", 2022, (716.8, 48.7, 16), &[], Some(320.0), &NVIDIA, GEFORCE),
    row("rtx-4090", 2022, (1008.0, 82.6, 24), &[], Some(450.0), &NVIDIA, GEFORCE),
    row("rtx-5070", 2025, (672.0, 30.9, 12), &[], Some(250.0), &NVIDIA, GEFORCE),
    row("rtx-5080", 2025, (960.0, 56.3, 16), &[], Some(360.0), &NVIDIA, GEFORCE),
    row("rtx-5090", 2025, (1792.0, 104.8, 32), &[], Some(575.0), &NVIDIA, GEFORCE),
    row("rx-6700-xt", 2021, (384.0, 13.2, 12), &[], Some(230.0), &AMD, RADEON),
    row("rx-7600", 2023, (288.0, 21.7, 8), &[], Some(165.0), &AMD, RADEON),
    row("rx-7800-xt", 2023, (624.0, 37.3, 16), &[], Some(263.0), &AMD, RADEON),
    row("rx-7900-xtx", 2022, (960.0, 61.4, 24), &[], Some(355.0), &AMD, RADEON),
    row("rx-9070-xt", 2025, (644.0, 48.7, 16), &[], Some(304.0), &AMD, RADEON),
    row("a100-40g", 2020, (1555.0, 19.5, 40), &[], Some(400.0), &AMPERE_40, SERVER),
    row("a100-80g", 2020, (2039.0, 19.5, 80), &[], Some(400.0), &AMPERE_80, SERVER),
    row("h100", 2022, (3352.0, 66.9, 80), &[], Some(700.0), &NVIDIA_SERVER, SERVER), // SXM
    row("h200", 2024, (4800.0, 66.9, 141), &[], Some(700.0), &NVIDIA_SERVER, SERVER), // SXM
    row("raspberry-pi-4", 2019, (12.8, 0.032, 4), &[1, 2, 4, 8], None, &PI, PI_4),
    row("raspberry-pi-5", 2023, (17.1, 0.0768, 8), &[2, 4, 8, 16], None, &PI, PI_5),
];
