//! Every kernel × variant × shape against its f64 reference, on every adapter found, as the adapter is and
//! with the least that WebGPU offers; without runtime checks in shaders, and with them.

use anygpu::gpu::{Gpu, GpuOptions, adapters};
use anygpu::kernels::{self, variants, verify};

/// All checks, or the short form.
fn verify_all(options: GpuOptions, quick: bool) {
    let adapters = adapters();
    assert!(!adapters.is_empty(), "no adapter: `make test` installs a software one");
    for adapter in adapters {
        let gpu = Gpu::open_adapter(adapter, options, String::new()).expect("device");
        let started = std::time::Instant::now();
        gpu.leave_checks_out(&kernels::ALL);
        let mut checks = variants::checks(&gpu);
        checks.retain(|check| check.quick || !quick);
        let report = verify::run(&gpu, &checks, |_, _| {}).expect("device stays");
        for row in &report.rows {
            println!(
                "{:22} {:22} {:4} checks {:9} elements worst {:.3} of tolerance: {}",
                row.kernel, row.class, row.checks, row.elements, row.worst, row.worst_case
            );
        }
        println!("{} {:?} {:.1} s", report.adapter, options, started.elapsed().as_secs_f64());
        assert!(report.passed(), "{}:\n{}", report.adapter, report.failures.join("\n"));
    }
}

#[test]
fn every_kernel_matches_its_reference() {
    verify_all(GpuOptions::default(), false);
}

#[test]
fn every_kernel_matches_its_reference_with_plain_webgpu() {
    verify_all(GpuOptions::plain(), false);
}

/// The form that an adapter falls back to when it needs the checks.
#[test]
fn every_kernel_matches_its_reference_with_runtime_checks() {
    verify_all(GpuOptions { checked: true, ..GpuOptions::default() }, true);
}
