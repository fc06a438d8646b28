//! What `anygpu quantize` prints.

use std::fmt::Write;
use std::time::Duration;

use super::open::bytes;
use crate::convert::{Report, TensorReport};

/// Tensors of one role, shape and type.
struct Group<'a> {
    name: &'a str,
    first: &'a TensorReport,
    count: usize,
    bytes: u64,
    least: f64,
    most: f64,
}

/// One line per role, or per tensor, and the totals.
pub(super) fn table(report: &Report, all: bool, file: &str, took: Duration) -> String {
    let groups = groups(&report.tensors, all);
    let width = groups.iter().map(|group| group.name.len()).max().unwrap_or(0).clamp(6, 28);
    let mut out = format!(
        "{:<width$} {:>4} {:>15}  {:<13} {:>10}  relative error\n",
        "tensor", "n", "shape", "type", "bytes"
    );
    for group in &groups {
        let Group { name, first, count, bytes: size, .. } = group;
        let shape = first.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
        let types = match first.from == first.to {
            true => first.to.clone(),
            false => format!("{} → {}", first.from, first.to),
        };
        let _ = writeln!(
            out,
            "{name:<width$} {count:>4} {shape:>15}  {types:<13} {:>10}  {}",
            bytes(*size),
            errors(group)
        );
    }
    let _ = writeln!(
        out,
        "{file}: {} ({} bytes), {:.2} bits per weight of {} M, {:.1} s",
        bytes(report.file_bytes),
        report.file_bytes,
        report.bits_per_weight(),
        crate::plan::choose::figure(report.n_params as f64 / 1e6),
        took.as_secs_f64()
    );
    out
}

fn errors(group: &Group<'_>) -> String {
    match (group.least, group.most) {
        (least, most) if most == 0.0 && least == 0.0 => "0".into(),
        (least, most) if group.count == 1 || least == most => format!("{most:.5}"),
        (least, most) => format!("{least:.5} … {most:.5}"),
    }
}

fn groups(tensors: &[TensorReport], all: bool) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for tensor in tensors {
        let name = if all { &tensor.name } else { &tensor.role };
        let error = tensor.relative_rms_error;
        let same = |group: &&mut Group<'_>| {
            let key = |t: &TensorReport| (t.shape.clone(), t.from.clone(), t.to.clone());
            group.name == name.as_str() && key(group.first) == key(tensor)
        };
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.count += 1;
                group.bytes += tensor.bytes;
                group.least = group.least.min(error);
                group.most = group.most.max(error);
            }
            None => groups.push(Group {
                name,
                first: tensor,
                count: 1,
                bytes: tensor.bytes,
                least: error,
                most: error,
            }),
        }
    }
    groups
}
