//! `anygpu bench load`: how fast a file becomes weights on the adapter.

use std::path::Path;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::about::About;
use super::args::{DeviceArgs, LoadArgs};
use super::bench_text::table;
use super::look::{self, Looked};
use super::open::Source;
use super::subject::is_demo;
use super::values::whole;
use super::{DONE, Exit, interrupt, open, print, print_json};
use crate::bench::load;
use crate::bench::speed::median;
use crate::model::shapes::ShapeRef;
use crate::plan::choose::{bytes, figure};

const MOST_REPETITIONS: usize = 10_000;

#[derive(Args)]
pub(super) struct LoadBenchArgs {
    /// A model folder or .gguf file
    #[arg(value_name = "MODEL")]
    model: String,
    /// Repeats, of which the median counts
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = whole(1..=MOST_REPETITIONS))]
    repetitions: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// Refuses what other commands know by name.
fn check_is_file(name: &str) -> anyhow::Result<()> {
    let why = if is_demo(Path::new(name)) {
        "is part of the program"
    } else if ShapeRef::parse(name).is_some() {
        "has no weights"
    } else {
        return Ok(());
    };
    bail!("bench load: {name} {why}, and reading a file is measured here: give a model folder or .gguf file")
}

/// Runs the command.
pub(super) fn run(args: &LoadBenchArgs, device: &DeviceArgs, exit: Exit) -> anyhow::Result<u8> {
    check_is_file(&args.model)?;
    let Looked { source, load: how, .. } = look::at(&args.model, &args.load)?;
    let Source::Path(path) = source else { bail!("bench load: {source} is no file") };
    let gpu = open::gpu(device)?;
    interrupt::install(exit)?;
    let bar = open::bar(3 * args.repetitions as u64, "loading again and again {wide_bar} {elapsed}");
    let loads = load::run(&gpu, &path, &how.options(), args.repetitions, &mut |done| {
        bar.set_position(done as u64);
        !interrupt::requested()
    });
    bar.finish_and_clear();
    let loads = loads?;
    if args.json {
        let object = json!({
            "model": args.model, "loads": loads, "allowed_s": loads.allowed_s(),
            "pct_of_allowed": 100.0 * loads.share(),
        });
        print_json(&About::this(Some(&gpu)).before(object))?;
        return Ok(DONE);
    }
    let row = |what: &str, n: u64, seconds: &[f64]| {
        let fold = |f: fn(f64, f64) -> f64| seconds.iter().copied().reduce(f).unwrap_or(f64::NAN);
        let (middle, range) = (median(seconds), [fold(f64::min), fold(f64::max)]);
        vec![
            what.to_owned(),
            bytes(n),
            figure(middle),
            format!("{} to {}", figure(range[0]), figure(range[1])),
            figure(n as f64 / middle / 1e9),
        ]
    };
    let rows = [
        row("reading the file", loads.file_bytes, &loads.read_s),
        row("writing to the adapter", loads.weight_bytes, &loads.upload_s),
        row("loading", loads.file_bytes, &loads.load_s),
    ];
    print(&format!(
        "{} on {}\n\n{}\nloading takes {} s, {} % of the speed that the slower of the others allows\n",
        args.model,
        gpu.facts().id(),
        table(&["", "bytes", "s", "range", "GB/s"], &rows),
        figure(median(&loads.load_s)),
        figure(100.0 * loads.share())
    ))?;
    Ok(DONE)
}
