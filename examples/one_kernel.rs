//! One kernel by itself: a matrix is quantized, multiplied with a vector on the GPU, and compared with f64.
//!
//! `cargo run --release --example one_kernel [TYPE]`, TYPE for example q8_0, q4_k (default: q4_0).

use std::time::Instant;

use anygpu::base::DType;
use anygpu::gpu::graph::State;
use anygpu::gpu::{AdapterChoice, Gpu, GpuOptions, Graph};
use anygpu::kernels::linear::Linear;
use anygpu::kernels::variants::Variants;
use anygpu::kernels::weights::{NATIVE, Part, Store, repack};
use anygpu::kernels::{self, check, matvec};
use anygpu::quant::{self, PlaneLayout};

const ROWS: usize = 2048;
const COLS: usize = 1024;
const RUNS: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "q4_0".to_owned());
    let dtype = DType::from_name(&name).filter(|dtype| NATIVE.contains(dtype));
    let dtype = dtype.ok_or_else(|| format!("{name}: expected one of {NATIVE:?}"))?;
    let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default())?;
    gpu.leave_checks_out(&kernels::ALL); // as models run; the comparison below tells whether that goes well

    // On the CPU: numbers → blocks as in a model file → planes as kernels read them.
    let values = check::uniform(1, ROWS * COLS);
    let mut blocks = vec![0; ROWS * dtype.row_bytes(COLS).ok_or("rows are no whole blocks")?];
    quant::encode(dtype, &values, &mut blocks)?;
    let layout = PlaneLayout::new(dtype, COLS)?;
    let (quants, scales) = repack(&layout, &blocks)?;

    // On the GPU: weights as this adapter likes them, buffers, and one step = kernel + buffers + parameters + grid.
    let part = Part::allocate(&gpu, "weights", Store::of(&gpu), 0, ROWS, layout)?;
    part.write(&gpu, 0, &quants, &scales)?;
    let x = check::uniform(2, COLS);
    let (x_slice, y) = (check::floats(&gpu, &x)?, gpu.buffer("y", ROWS as u64 * 4)?);
    let state = State { n_tokens: 1, ..State::default() };
    let state_slice = check::state(&gpu, state)?;
    let (bias, accumulate, of_logits) = (None, false, false);
    let linear = Linear {
        part: &part,
        x: &x_slice,
        y: &y,
        y_stride: ROWS,
        y_first: 0,
        bias,
        accumulate,
        of_logits,
        state: &state_slice,
    };
    let variant = Variants::of(&gpu).matvec(DType::Q8_0, 1);
    let step = matvec::step(&gpu, "y = W x", variant, linear)?;
    println!("{} on {}: {} bytes of weights", step.kernel.label, gpu.facts().id(), step.bytes);
    let graph = Graph::new(vec![step]);
    gpu.run(&graph, state)?;
    let got: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.read(&y)?);

    // Two errors: arithmetic (against the same quantized weights) and quantization (against the numbers before).
    let mut decoded = vec![0.0; values.len()];
    quant::decode(dtype, &blocks, &mut decoded)?;
    let dot = |w: &[f32]| w.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
    let worst = |weights: &[f32]| {
        let errors = weights.chunks(COLS).zip(&got).map(|(row, y)| (dot(row) - f64::from(*y)).abs());
        errors.fold(0.0, f64::max)
    };
    println!("worst error: {:.1e} of arithmetic, {:.1e} with quantization", worst(&decoded), worst(&values));

    let started = Instant::now();
    for _ in 0..RUNS {
        gpu.run(&graph, state)?;
    }
    gpu.wait()?;
    let seconds = started.elapsed().as_secs_f64() / RUNS as f64;
    println!("{:.2} ms, {:.2} GB/s", seconds * 1e3, graph.bytes() as f64 / seconds / 1e9);
    Ok(())
}
