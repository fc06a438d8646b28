//! `anygpu info`: what a report of a fault needs, and what the cache holds.

use std::fmt::Write;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::open::bytes;
use super::{DONE, print, print_json};
use crate::base::{AdapterFacts, counted};
use crate::engine::cache::{self, Kept};
use crate::gpu::adapters;

#[derive(Args)]
pub(super) struct InfoArgs {
    /// Remove what the cache holds: it costs time to make again, nothing else
    #[arg(long)]
    clear_cache: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(args: &InfoArgs) -> anyhow::Result<u8> {
    if args.clear_cache {
        let shown = || cache::dir().map_or_else(String::new, |dir| dir.display().to_string());
        let removed = cache::clear().with_context(shown)?;
        match args.json {
            true => print_json(&json!({"cache": cache::dir(), "removed": removed}))?,
            false => print(&format!("removed {}\n", total(&removed)))?,
        }
        return Ok(DONE);
    }
    let facts: Vec<AdapterFacts> = adapters().into_iter().map(|adapter| adapter.facts).collect();
    let kept = cache::kept();
    match args.json {
        true => print_json(&json!({
            "program": program(),
            "system": system(),
            "adapters": facts,
            "cache": {"folder": cache::dir(), "kept": kept},
        }))?,
        false => print(&text(&facts, &kept))?,
    }
    Ok(DONE)
}

/// Versions of the program.
pub(super) fn program() -> Value {
    let known = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": known(env!("ANYGPU_COMMIT")),
        "kernels": env!("ANYGPU_KERNELS"),
        "wgpu": known(env!("ANYGPU_WGPU")),
        "optimised": !cfg!(debug_assertions),
    })
}

/// The machine around the adapters.
pub(super) fn system() -> Value {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned());
    json!({
        "os": sysinfo::System::long_os_version().or_else(sysinfo::System::name),
        "kernel": sysinfo::System::kernel_version(),
        "architecture": std::env::consts::ARCH,
        "processor": brand.filter(|brand| !brand.is_empty()),
        "threads": std::thread::available_parallelism().ok().map(usize::from),
        "memory_bytes": system.total_memory(),
        "available_bytes": system.available_memory(),
    })
}

fn text(facts: &[AdapterFacts], kept: &[Kept]) -> String {
    let (program, system) = (program(), system());
    let said = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    let mut out = String::new();
    let mut row = |name: &str, text: &str| {
        let _ = writeln!(out, "{name:9} {text}");
    };
    let commit = program["commit"].as_str().map_or(String::new(), |commit| format!(", commit {commit}"));
    let slow = if program["optimised"] == false { ", not optimised" } else { "" };
    row("anygpu", &format!("{}{commit}{slow}", said(&program["version"])));
    row("wgpu", &said(&program["wgpu"]));
    let (os, kernel) = (said(&system["os"]), said(&system["kernel"]));
    row("system", &format!("{os}, kernel {kernel}, {}", said(&system["architecture"])));
    row("processor", &format!("{}, {} threads", said(&system["processor"]), said(&system["threads"])));
    let memory = |name: &str| bytes(system[name].as_u64().unwrap_or(0));
    row("memory", &format!("{}, {} available", memory("memory_bytes"), memory("available_bytes")));
    if facts.is_empty() {
        row("adapters", "none; `anygpu devices` says what to do");
    }
    for f in facts {
        let driver = [f.driver.as_str(), f.driver_info.as_str()].join(" ");
        let driver = if driver.trim().is_empty() { "unknown" } else { driver.trim() };
        row(&format!("adapter {}", f.index), &format!("{}, {}, driver {driver}", f.id(), f.kind));
    }
    let folder = cache::dir().map_or("none".to_owned(), |dir| dir.display().to_string());
    row("cache", &format!("{folder}: {}", total(kept)));
    for kind in kept {
        row("", &format!("{}: {} in {}", kind.what, bytes(kind.bytes), counted(kind.files, "file")));
    }
    out
}

fn total(kept: &[Kept]) -> String {
    let (files, size) = kept.iter().fold((0, 0), |sum, kind| (sum.0 + kind.files, sum.1 + kind.bytes));
    format!("{} in {}", bytes(size), counted(files, "file"))
}
