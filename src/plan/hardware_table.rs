//! The machines known by name: peaks from data sheets, and how much of them programs reach.
//!
//! Bandwidth and memory are the vendors' figures. Rates of arithmetic are the highest that a program which accumulates
//! in f32 can ask for: f16 matrix units with f32 sums (NVIDIA, AMD RDNA 3 and 4), f16 vectors where the matrix units have
//! a shape that WebGPU cannot express (Intel) or are missing, f32 where f16 is no faster (Apple, Raspberry Pi). Sparse
//! figures of advertisements are not used.

use super::hardware::{DEFAULT_DISPATCH_S, DEFAULT_USABLE_BANDWIDTH, DEFAULT_USABLE_OPS};

/// One machine.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// 10⁹ bytes per second.
    pub(super) gb_s: f64,
    /// 10¹² operations per second.
    pub(super) tflops: f64,
    /// 2³⁰ bytes; of machines that come in several sizes a common one.
    pub(super) memory_gib: u64,
    /// Of a card its board power, of an Apple chip the computer around it at most.
    pub(super) watts: Option<f64>,
    pub(super) kind: &'static Kind,
    pub(super) source: &'static str,
}

/// What machines of a kind reach of their peaks.
pub(super) struct Kind {
    pub(super) usable_bandwidth: f64,
    pub(super) usable_ops: f64,
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
    usable_ops: DEFAULT_USABLE_OPS,
    usable_memory: 0.95, // of a card: the rest is the driver's and the screen's
    dispatch_s: DEFAULT_DISPATCH_S,
    price_per_hour: None,
    source: "usual fractions, not measured",
};
static APPLE: Kind = Kind {
    usable_bandwidth: 0.90, // slopes of Q8_0 against Q4_0: M1 88 %, M2 90 to 92 %, M2 Max 93 %
    usable_ops: 0.65,       // prompts: M1 61 %, M2 68 %, M2 Max 67 %, M4 Max 65 %
    usable_memory: SHARED_MEMORY,
    source: "fractions from llama.cpp discussion 4167",
    ..UNKNOWN
};
static INTEL_GRAPHICS: Kind = Kind {
    usable_bandwidth: 0.78, // an estimate: 75 to 85 %
    usable_ops: 0.33,       // 1.38 of 4.15 TFLOPS on Iris Xe, 2.5 of 8.4 on Lunar Lake
    dispatch_s: 8e-6,
    usable_memory: SHARED_MEMORY,
    source: "arithmetic from onnxruntime 23365 and 23908, bandwidth estimated",
    ..UNKNOWN
};
static AMD_GRAPHICS: Kind = Kind {
    usable_bandwidth: 0.85, // an estimate: 80 to 88 %; whole decode reached 78 to 84 % on a 780M
    usable_ops: 0.25,       // 4.07 of 16.6 TFLOPS on a 780M
    dispatch_s: 5e-6,
    usable_memory: SHARED_MEMORY,
    source: "arithmetic from normiebench 10, bandwidth estimated",
    ..UNKNOWN
};
static NVIDIA: Kind = Kind {
    usable_bandwidth: 0.94, // 950 of 1008 GB/s on a 4090 (zeux)
    dispatch_s: 2.5e-6,
    source: "bandwidth from calm's README, arithmetic not measured",
    ..UNKNOWN
};
static NVIDIA_SERVER: Kind = Kind {
    usable_bandwidth: 0.90, // 4.3 of 4.8 TB/s on an H200
    dispatch_s: 2.5e-6,
    source: "bandwidth from a copy on an H200, arithmetic not measured",
    ..UNKNOWN
};
static AMPERE_40: Kind = Kind {
    usable_bandwidth: 0.73, // a 13B model in 22.0 ms where 1555 GB/s would take 16.2
    dispatch_s: 2.5e-6,
    source: "bandwidth from kipply's measurement of a 13B model, arithmetic not measured",
    ..UNKNOWN
};
static AMPERE_80: Kind = Kind {
    usable_memory: 0.95,
    usable_bandwidth: 1.3 / 2.039,
    usable_ops: 200.0 / 312.0,
    dispatch_s: 2.5e-6,
    price_per_hour: Some(2.21),
    source: "fractions and price from Cursor's published measurements of Llama-2-70B on two A100 (4.42 USD/h)",
};
static AMD: Kind = Kind {
    usable_bandwidth: 0.92, // whole decode reached 91 % on a 9070 XT
    usable_ops: 0.42,       // 52 of 123 TFLOPS on a 7900 XTX, 77 of 195 on a 9070 XT
    source: "fractions from VulkanForge's measurements of a 9070 XT and llama.cpp discussion 10879",
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
    (gb_s, tflops, memory_gib): (f64, f64, u64),
    watts: Option<f64>,
    kind: &'static Kind,
    source: &'static str,
) -> Row {
    Row { name, gb_s, tflops, memory_gib, watts, kind, source }
}

const STUDIO: &str =
    "Apple specification, and power of Mac Studio; f32 of all cores at the clock that tools report";
const MINI: &str =
    "Apple specification, and power of Mac mini; f32 of all cores at the clock that tools report";
const MAC: &str = "Apple specification; f32 of all cores at the clock that tools report";
const GEFORCE: &str = "NVIDIA architecture white paper, f16 tensor cores with f32 sums, dense";
const RADEON: &str = "AMD product page, f16 matrix rate, dense";
const RADEON_VECTOR: &str = "AMD product page, f16 vector rate";
const RYZEN: &str = "AMD product page and memory type; f16 rate of all units at the largest clock";
const ARC: &str = "Intel product page; f16 vector rate of all engines at the graphics clock";
const CORE: &str = "Intel product page and memory type; f16 vector rate of all units at the largest clock";
const SERVER: &str = "NVIDIA data sheet, f16 tensor cores, dense";

pub(super) static TABLE: [Row; 46] = [
    row("m1", (68.25, 2.6, 16), Some(39.0), &APPLE, MINI),
    row("m1-pro", (204.8, 5.3, 16), None, &APPLE, MAC),
    row("m1-max", (409.6, 10.6, 32), Some(115.0), &APPLE, STUDIO),
    row("m1-ultra", (819.2, 21.2, 64), Some(215.0), &APPLE, STUDIO),
    row("m2", (102.4, 3.6, 16), Some(50.0), &APPLE, MINI),
    row("m2-pro", (204.8, 6.8, 16), Some(100.0), &APPLE, MINI),
    row("m2-max", (409.6, 13.6, 32), Some(145.0), &APPLE, STUDIO),
    row("m2-ultra", (819.2, 27.2, 64), Some(295.0), &APPLE, STUDIO),
    row("m3", (102.4, 3.6, 16), None, &APPLE, MAC),
    row("m3-pro", (153.6, 6.4, 18), None, &APPLE, MAC),
    row("m3-max", (409.6, 14.3, 48), None, &APPLE, MAC),
    row("m3-ultra", (819.2, 28.6, 96), Some(270.0), &APPLE, STUDIO),
    row("m4", (120.0, 3.8, 16), Some(65.0), &APPLE, MINI),
    row("m4-pro", (273.0, 7.5, 24), Some(140.0), &APPLE, MINI),
    row("m4-max", (546.0, 18.3, 48), Some(145.0), &APPLE, STUDIO),
    row(
        "m5",
        (153.0, 3.8, 16),
        None,
        &APPLE,
        "Apple specification; arithmetic taken from the M4, as WebGPU reaches it",
    ),
    row("iris-xe", (68.3, 4.15, 16), None, &INTEL_GRAPHICS, CORE), // LPDDR4x-4267, 96 units
    row("iris-xe-ddr4", (51.2, 4.15, 16), None, &INTEL_GRAPHICS, CORE), // DDR4-3200
    row("arc-mtl", (119.5, 9.6, 32), None, &INTEL_GRAPHICS, CORE), // Meteor Lake, LPDDR5x-7467
    row("arc-140v", (136.5, 8.4, 32), None, &INTEL_GRAPHICS, CORE), // Lunar Lake, LPDDR5x-8533
    row("arc-a770", (560.0, 39.3, 16), Some(225.0), &INTEL, ARC),
    row("arc-b580", (456.0, 27.3, 12), Some(190.0), &INTEL, ARC),
    row("680m", (102.4, 7.4, 16), None, &AMD_GRAPHICS, RYZEN), // LPDDR5-6400
    row("780m", (89.6, 16.6, 32), None, &AMD_GRAPHICS, RYZEN), // DDR5-5600
    row("890m", (120.0, 23.8, 32), None, &AMD_GRAPHICS, RYZEN), // LPDDR5x-7500
    row("8060s", (256.0, 59.4, 128), None, &AMD_GRAPHICS, RYZEN), // LPDDR5x-8000, 256 bits
    row("rtx-3060", (360.0, 25.5, 12), Some(170.0), &NVIDIA, GEFORCE),
    row("rtx-3090", (936.2, 71.2, 24), Some(350.0), &NVIDIA, GEFORCE),
    row("rtx-4060", (272.0, 30.2, 8), Some(115.0), &NVIDIA, GEFORCE),
    row("rtx-4070", (504.2, 58.3, 12), Some(200.0), &NVIDIA, GEFORCE),
    row("rtx-4080", (716.8, 97.5, 16), Some(320.0), &NVIDIA, GEFORCE),
    row("rtx-4090", (1008.0, 165.2, 24), Some(450.0), &NVIDIA, GEFORCE),
    row("rtx-5070", (672.0, 61.7, 12), Some(250.0), &NVIDIA, GEFORCE),
    row("rtx-5080", (960.0, 112.6, 16), Some(360.0), &NVIDIA, GEFORCE),
    row("rtx-5090", (1792.0, 209.5, 32), Some(575.0), &NVIDIA, GEFORCE),
    row("rx-6700-xt", (384.0, 26.4, 12), Some(230.0), &AMD, RADEON_VECTOR),
    row("rx-7600", (288.0, 43.5, 8), Some(165.0), &AMD, RADEON),
    row("rx-7800-xt", (624.0, 74.7, 16), Some(263.0), &AMD, RADEON),
    row("rx-7900-xtx", (960.0, 122.8, 24), Some(355.0), &AMD, RADEON),
    row("rx-9070-xt", (644.0, 195.0, 16), Some(304.0), &AMD, RADEON),
    row("a100-40g", (1555.0, 312.0, 40), Some(400.0), &AMPERE_40, SERVER),
    row("a100-80g", (2039.0, 312.0, 80), Some(400.0), &AMPERE_80, SERVER),
    row("h100", (3352.0, 989.4, 80), Some(700.0), &NVIDIA_SERVER, SERVER), // SXM
    row("h200", (4800.0, 989.4, 141), Some(700.0), &NVIDIA_SERVER, SERVER), // SXM
    row("raspberry-pi-4", (12.8, 0.032, 4), None, &PI, "Raspberry Pi specification; VideoCore VI at 500 MHz"),
    row(
        "raspberry-pi-5",
        (17.1, 0.0768, 8),
        None,
        &PI,
        "Raspberry Pi specification; VideoCore VII at 800 MHz",
    ),
];
