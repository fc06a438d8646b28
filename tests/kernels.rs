//! Every kernel × variant × shape against its f64 reference, on every adapter found, as the adapter is and
//! with the least that WebGPU offers.

use anygpu::gpu::{Gpu, GpuOptions, adapters};
use anygpu::kernels::{variants, verify};

fn verify_all(options: GpuOptions) {
    let adapters = adapters();
    assert!(!adapters.is_empty(), "no adapter: `make test` installs a software one");
    for adapter in adapters {
        let gpu = Gpu::open_adapter(adapter, options, String::new()).expect("device");
        let started = std::time::Instant::now();
        let report = verify::run(&gpu, &variants::checks(&gpu), |_, _| {}).expect("device stays");
        for row in &report.rows {
            println!(
                "{:15} {:18} {:4} checks {:9} elements worst {:.3} of tolerance: {}",
                row.kernel, row.class, row.checks, row.elements, row.worst, row.worst_case
            );
        }
        println!("{} {:?} {:.1} s", report.adapter, options, started.elapsed().as_secs_f64());
        assert!(report.passed(), "{}:\n{}", report.adapter, report.failures.join("\n"));
    }
}

#[test]
fn every_kernel_matches_its_reference() {
    verify_all(GpuOptions::default());
}

#[test]
fn every_kernel_matches_its_reference_with_plain_webgpu() {
    verify_all(GpuOptions::plain());
}
