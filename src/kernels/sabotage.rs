//! One deliberate fault per kernel, to show that `verify` finds faults. Nothing else uses them.

use crate::gpu::device::Fault;

/// For every kernel one change of its text that makes its results wrong.
pub const FAULTS: [Fault; 18] = [
    fault("embed", "y[i] = w.a;", "y[i] = -w.a;"),
    fault("rms_norm", "squares += v * v;", "squares -= v * v;"),
    fault("matvec", "] += quants_", "] -= quants_"),
    fault("matmul", "acc0 += w", "acc0 -= w"),
    fault("rope_kv", "turned(head[e]", "turned(-head[e]"),
    fault("attend_decode", "* shrink + weight", "* shrink - weight"),
    fault("attend_decode_subgroup", "* shrink + weight", "* shrink - weight"),
    fault("attend_merge", "sum += share", "sum -= share"),
    fault("attend_prefill", "sum += w;", "sum -= w;"),
    fault("glu", "= act(", "= -act("),
    fault("argmax", "mine.bad += 1u", "mine.bad -= 1u"),
    fault("fill", "x >> 15u", "x >> 14u"),
    fault("read", "a ^= quad(i);", "a ^= quad(i) * 3u;"),
    fault("arithmetic", "a = mad(a, x);", "a = mad(b, x);"),
    fault("penalize", "v * params.penalty", "v / params.penalty"),
    fault("sample", "mass += w;", "mass += w * w;"),
    fault("advance", "pos + 1u", "pos + 2u"),
    fault("top_k", "= vec2<u32>(i, bitcast", "= vec2<u32>(i + 1u, bitcast"),
];

const fn fault(kernel: &'static str, find: &'static str, replace: &'static str) -> Fault {
    Fault { kernel, find, replace }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Gpu, GpuOptions};
    use crate::kernels::attend_decode::{SUBGROUP_SPEC, one_size};
    use crate::kernels::{ALL, variants};

    #[test]
    fn every_kernel_has_a_fault_that_applies() {
        for spec in ALL {
            let fault = FAULTS.iter().find(|fault| fault.kernel == spec.name);
            let fault = fault.unwrap_or_else(|| panic!("no fault for {}", spec.name));
            assert!(spec.wgsl.contains(fault.find), "{} has no {:?}", spec.name, fault.find);
        }
    }
    /// A fault in the text may cancel out in the result.
    #[test]
    fn checks_find_every_fault() {
        for fault in FAULTS {
            let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
            // The one kernel that not every adapter can run.
            if fault.kernel == SUBGROUP_SPEC.name && one_size(gpu.facts()).is_none() {
                continue;
            }
            gpu.sabotage(fault);
            let checks = variants::checks(&gpu);
            let mut of_kernel = checks.iter().filter(|check| check.kernel == fault.kernel);
            let finds = of_kernel.any(|check| !check.run(&gpu).expect("the device stays").passed());
            assert!(finds, "{}: {:?} passes", fault.kernel, fault.replace);
        }
    }
}
