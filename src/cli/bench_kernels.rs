//! `anygpu bench kernels`: every kernel of a decode step against what the adapter can do.

use clap::Args;
use serde_json::json;

use super::about::About;
use super::args::{DeviceArgs, LoadArgs};
use super::bench_text::table;
use super::subject::Subject;
use super::values::whole_of;
use super::{DONE, Exit, bench, interrupt, open, print, print_json, profiles};
use crate::bench::kernels::{self, Row};
use crate::gpu::graph::State;
use crate::plan::choose::figure;
use crate::plan::machine::Machine;
use crate::probe::Wanted;

#[derive(Args)]
pub(super) struct KernelsArgs {
    /// A model folder or .gguf file, shape:NAME[:quant] (random weights), or demo
    #[arg(value_name = "MODEL", default_value = "shape:SmolLM2-135M")]
    model: String,
    /// Sequences decoded together
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1,
        value_parser = whole_of(1..=State::MAX_SEQUENCES, "sequences"))]
    batch: usize,
    /// Positions in the cache [default: 512, at most half of what the model was trained for]
    #[arg(short = 'd', long, value_name = "N", value_parser = whole_of(0..=bench::MOST_POSITIONS, "positions"))]
    n_depth: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// Positions in the cache, when nothing else is asked for.
const DEFAULT_DEPTH: usize = 512;

/// Runs the command.
pub(super) fn run(args: &KernelsArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    let subject = Subject::of(&args.model)?;
    let most = subject.spec().max_context;
    let depth = args.n_depth.unwrap_or(DEFAULT_DEPTH.min(most / 2));
    if depth >= most {
        anyhow::bail!(
            "--n-depth: expected 0 to {}, because {} was trained for {most} positions, found {depth}",
            most - 1,
            subject.described.name
        );
    }
    let gpu = open::verified_gpu_of(&device.choice(), device)?;
    interrupt::install(exit)?;
    let nothing = Wanted {
        dtypes: vec![],
        cached: vec![],
        columns: vec![],
        tokens: vec![],
        heads: vec![],
        thorough: true,
        whole: true,
    };
    let profile = profiles::ensure(&gpu, &nothing)?;
    let mut options = args.load.options();
    let positions = args.load.positions(subject.spec().max_context);
    options.context = Some(positions.unwrap_or(depth + 2));
    let quant = options.quant.or(subject.quant);
    let model = bench::load(&gpu, &subject, quant, options)?;
    let bar = open::bar(16, "{msg:20} {wide_bar} {elapsed}");
    let rows = kernels::measure(&model, args.batch, depth, profile.reference_s, &mut |step| {
        bar.set_message(step.to_owned());
        bar.inc(1);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    let rows = rows?;
    let machine = Machine::Measured(Box::new(profile));
    let (peak_bytes_s, peak_ops_s) = (machine.read_bytes_s(), machine.ops_s());
    if args.json {
        let row = |r: &Row| {
            json!({
                "step": r.step, "kernel": r.kernel, "dispatches": r.dispatches, "bytes": r.bytes, "ops": r.ops,
                "seconds": r.seconds, "spread": r.spread, "gb_s": r.bytes_s() / 1e9, "gflops": r.ops_s() / 1e9,
                "pct_bandwidth": 100.0 * r.bytes_s() / peak_bytes_s, "pct_arithmetic": 100.0 * r.ops_s() / peak_ops_s,
            })
        };
        let object = json!({
            "model": subject.described.name,
            "batch": args.batch,
            "n_depth": depth,
            "read_gb_s": peak_bytes_s / 1e9,
            "arithmetic_gflops": peak_ops_s / 1e9,
            "rows": rows.iter().map(row).collect::<Vec<_>>(),
        });
        print_json(&About::this(Some(&gpu)).before(object))?;
        return Ok(DONE);
    }
    let total: f64 = rows.iter().map(|r| r.seconds).sum();
    let head = [
        "step",
        "dispatches",
        "ms",
        "± %",
        "share %",
        "MB",
        "GB/s",
        "% bw",
        "MFLOP",
        "GFLOPS",
        "% arith",
        "kernel",
    ];
    let cells = |r: &Row| {
        vec![
            r.step.clone(),
            r.dispatches.to_string(),
            figure(r.seconds * 1e3),
            figure(r.spread * 100.0),
            figure(100.0 * r.seconds / total),
            figure(r.bytes as f64 / 1e6),
            figure(r.bytes_s() / 1e9),
            figure(100.0 * r.bytes_s() / peak_bytes_s),
            figure(r.ops as f64 / 1e6),
            figure(r.ops_s() / 1e9),
            figure(100.0 * r.ops_s() / peak_ops_s),
            r.kernel.clone(),
        ]
    };
    print(&format!(
        "{} {} on {}, batch {}, {} positions: {} ms in all; read bandwidth {} GB/s, arithmetic {} GFLOPS\n\n{}",
        subject.described.name,
        model.main_dtype(),
        gpu.facts().id(),
        args.batch,
        depth,
        figure(total * 1e3),
        figure(peak_bytes_s / 1e9),
        figure(peak_ops_s / 1e9),
        table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
    ))?;
    if kernels::fits_caches(&model) {
        open::note(
            "these weights are small enough for a large cache: rates above the bandwidth are possible",
        );
    }
    Ok(DONE)
}
