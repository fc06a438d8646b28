//! `anygpu devices`: what there is, and what would be used.

use std::fmt::Write;

use serde_json::json;

use super::about::{About, Adapter};
use super::args::{DeviceArgs, DevicesArgs};
use super::open::bytes;
use super::{DONE, print, print_json};
use crate::base::AdapterFacts;
use crate::engine::memory;
use crate::gpu::{adapter, adapters};

/// Runs the command.
pub(super) fn run(args: &DevicesArgs, device: &DeviceArgs) -> anyhow::Result<u8> {
    let facts: Vec<AdapterFacts> = adapters().into_iter().map(|a| a.facts).collect();
    let env = std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    let chosen = adapter::choose_index(&facts, &device.choice(), env.as_deref());
    let used = chosen.as_ref().ok().map(|(index, why)| (*index, why.as_str()));
    if args.json {
        let with_memory = |f: &AdapterFacts| {
            let available = memory::available(f, None);
            json!({
                "facts": Adapter::listed(f),
                "id": f.id(),
                "memory_bytes": available.as_ref().map(|a| a.bytes),
                "memory_source": available.as_ref().map(|a| &a.source),
            })
        };
        // Nothing is opened, so the block of the adapter is that of the one that would be.
        let used_facts = used.and_then(|(index, _)| facts.get(index));
        let about = About { adapter: used_facts.map(Adapter::listed), ..About::this(None) };
        print_json(&about.before(json!({
            "adapters": facts.iter().map(with_memory).collect::<Vec<_>>(),
            "used": used.map(|(index, _)| index),
            "why": used.map(|(_, why)| why),
        })))?;
    } else {
        for f in &facts {
            print(&describe(f, used))?;
        }
    }
    chosen?;
    Ok(DONE)
}

fn describe(f: &AdapterFacts, used: Option<(usize, &str)>) -> String {
    let mut out = format!("{}  {}\n", f.index, f.id());
    let driver = [f.driver.as_str(), f.driver_info.as_str()].join(" ");
    let memory = match memory::available(f, None) {
        Some(available) => format!("{} ({})", bytes(available.bytes), available.source),
        None => "the driver does not tell; --memory sets what to count on".to_owned(),
    };
    let subgroups = match (f.subgroups, f.subgroup_sizes) {
        (false, _) => "no".to_owned(),
        (true, [low, high]) if low == high => format!("of {low}"),
        (true, [low, high]) => format!("of {low} to {high}"),
    };
    let rows = [
        (
            "type",
            format!(
                "{}, driver {}",
                f.kind,
                if driver.trim().is_empty() { "unknown" } else { driver.trim() }
            ),
        ),
        (
            "features",
            format!(
                "f16 {}, subgroups {subgroups}, immediates {}, timestamps {}",
                yes(f.f16),
                yes(f.immediates),
                yes(f.timestamps)
            ),
        ),
        (
            "limits",
            format!(
                "buffer {}, binding {}, workgroup {} invocations and {} memory, {} storage buffers",
                bytes(f.max_buffer_bytes),
                bytes(f.max_binding_bytes),
                f.max_invocations,
                bytes(f.max_workgroup_bytes.into()),
                f.max_storage_buffers
            ),
        ),
        ("memory", memory),
    ];
    for (name, text) in rows {
        let _ = writeln!(out, "   {name:9} {text}");
    }
    if let Some((index, why)) = used
        && index == f.index
    {
        let _ = writeln!(out, "   used      {why}");
    }
    out
}

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "no" }
}
