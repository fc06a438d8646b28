//! `anygpu probe`: measure an adapter, keep and print its profile.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::about::About;
use super::args::DeviceArgs;
use super::{DONE, open, print, print_json, profiles};
use crate::engine::model::default_chunk;
use crate::plan::choose::{bytes, figure};
use crate::plan::profile::{Profile, Reading};
use crate::probe::Wanted;

#[derive(Args)]
pub(super) struct ProbeArgs {
    /// Also write the profile (JSON) to this file
    #[arg(long, short, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// A third of the time, less steady numbers
    #[arg(long)]
    pub(super) quick: bool,
    /// Print the profile as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the command.
pub(super) fn run(args: &ProbeArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let choices = device.choices();
    let mut all = Vec::new();
    for choice in &choices {
        let gpu = open::verified_gpu_of(choice, device)?;
        let everything = Wanted::everything(default_chunk(gpu.facts().kind) as u32);
        let wanted = Wanted { thorough: !args.quick, ..everything };
        let profile = match profiles::measure(&gpu, &wanted) {
            Ok(profile) => profile,
            Err(error) if choices.len() > 1 => {
                open::note(&format!("{}: {error:#}", gpu.facts().id()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut kept = profile.clone();
        profiles::kept(&gpu).iter().for_each(|older| kept.complete(older));
        profiles::keep(&gpu, &kept);
        if !args.json {
            print(&text(&profile))?;
        }
        all.push(About::this(Some(&gpu)).before(serde_json::to_value(&profile)?));
    }
    if all.is_empty() {
        anyhow::bail!("no adapter could be measured");
    }
    // One adapter: one profile, as `--profile` reads it.
    let one = || if all.len() == 1 { Ok(all[0].clone()) } else { serde_json::to_value(&all) };
    if let Some(path) = &args.out {
        let mut json = serde_json::to_string_pretty(&one()?)?;
        json.push('\n');
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    if args.json {
        print_json(&one()?)?;
    }
    Ok(DONE)
}

fn gb(reading: Reading) -> String {
    format!("{} GB/s ± {:.1} %", figure(reading.value / 1e9), reading.spread * 100.0)
}

/// For people.
fn text(p: &Profile) -> String {
    let mut out = format!("{}\n", p.adapter.id());
    let driver = [p.adapter.driver.as_str(), p.adapter.driver_info.as_str()].join(" ");
    let power = p.conditions.power.as_deref().map_or(String::new(), |power| format!(", on {power}"));
    let mut row = |name: &str, text: String| {
        let _ = writeln!(out, "  {name:14} {text}");
    };
    row(
        "measured",
        format!(
            "in {:.0} s{power}, driver {}, bandwidth drifted {:+.1} %",
            p.conditions.seconds,
            driver.trim(),
            p.conditions.drift * 100.0
        ),
    );
    row("read", gb(p.read_bytes_s));
    for sized in &p.read {
        row("", format!("{:>8}: {} ({})", bytes(sized.bytes), gb(sized.bytes_s), sized.pattern));
    }
    for (name, reading) in
        [("copy", p.copy_bytes_s), ("upload", p.upload_bytes_s), ("download", p.download_bytes_s)]
    {
        if let Some(reading) = reading {
            row(name, gb(reading));
        }
    }
    let rates = p.arithmetic_ops_s.iter();
    let rates =
        rates.map(|(name, r)| format!("{name} {} GFLOPS ± {:.1} %", figure(r.value / 1e9), r.spread * 100.0));
    row("arithmetic", rates.collect::<Vec<_>>().join(", "));
    row(
        "overheads",
        format!(
            "{} µs per dependent dispatch, {} µs per submit with readback",
            figure(p.dispatch_s.value * 1e6),
            figure(p.submit_s.value * 1e6)
        ),
    );
    for a in &p.attention {
        row(
            "attention",
            format!(
                "{}/{} heads of {}: K and V at {} GB/s, {} µs per 1000 positions whatever the batch",
                a.heads.heads,
                a.heads.kv_heads,
                a.heads.head_dim,
                figure(a.kv_bytes_s / 1e9),
                figure(a.position_s * 1e9)
            ),
        );
    }
    if let Some(memory) = &p.memory {
        let claimed = memory.claimed_bytes.map_or("nothing".to_owned(), bytes);
        row(
            "memory",
            format!(
                "{} allocated, stopped by {}; the API claims {claimed}",
                bytes(memory.allocated_bytes),
                memory.stopped_by
            ),
        );
    }
    let _ = writeln!(out, "  weights, GB/s by sequences decoded together (prompt: tokens at once)");
    let matrices = || p.matrices.iter().filter(|m| !m.cached);
    let mut columns: Vec<(bool, u32)> = matrices().map(|m| (m.prompt, m.columns)).collect();
    columns.sort_unstable();
    columns.dedup();
    let head = columns.iter().map(|(prompt, n)| if *prompt { format!("prompt {n}") } else { n.to_string() });
    let _ = writeln!(out, "    {:6}{}", "type", head.map(|text| format!("{text:>10}")).collect::<String>());
    let mut dtypes: Vec<_> = matrices().map(|m| m.dtype).collect();
    dtypes.dedup();
    for dtype in dtypes {
        let cell = |(prompt, n): &(bool, u32)| match p.matrix(false, *prompt, dtype, *n) {
            Some(m) => format!("{:>10}", figure(m.achieved_bytes_s.value / 1e9)),
            None => format!("{:>10}", "–"),
        };
        let _ = writeln!(out, "    {:6}{}", dtype.name(), columns.iter().map(cell).collect::<String>());
    }
    out
}
