//! What `anygpu plan` knows by name: machines for `--spec`, and shapes of models.

use std::fmt::Write;

use super::plan_text::{count, gb};
use crate::base::{DType, KvType};
use crate::model::shapes;
use crate::plan::choose::{bytes, figure};
use crate::plan::hardware;
use crate::plan::memory::kv_bytes_per_token;
use crate::plan::weights::Matrices;

/// The name that lists: `--spec list`, `shape:list`.
pub(super) const LIST: &str = "list";

/// Does `model` ask for the list of shapes?
pub(super) fn asks_for_shapes(model: &str) -> bool {
    let name = model.get(..shapes::PREFIX.len()).filter(|start| start.eq_ignore_ascii_case(shapes::PREFIX));
    name.is_some_and(|name| model[name.len()..].trim().eq_ignore_ascii_case(LIST))
}

/// Every machine by name.
pub(super) fn machines() -> String {
    let mut out =
        format!("{:16} {:>4}  {:>9}  {:>8}  {:>7}  sold with\n", "name", "year", "memory", "GB/s", "TFLOPS");
    for machine in hardware::all() {
        let sizes: Vec<String> = machine.sizes_gib.iter().map(u64::to_string).collect();
        let sizes = match machine.shares_main_memory() && sizes.is_empty() {
            true => "the computer's memory".to_owned(),
            false if sizes.is_empty() => String::new(),
            false => format!("{} GiB", sizes.join(", ")),
        };
        let line = format!(
            "{:16} {:>4}  {:>9}  {:>8}  {:>7}  {sizes}",
            machine.name,
            machine.year.unwrap_or_default(),
            bytes(machine.memory_bytes),
            figure(machine.bandwidth_bytes_s / 1e9),
            figure(machine.ops_s / 1e12),
        );
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out + "\nMemory is what a plan assumes; --memory sets how much of it to count on. TFLOPS: f32 without\n\
           matrix units, which our kernels do not use. NAME*2: two of them; NAME,bandwidth=300GB/s: with\n\
           another figure.\n"
}

/// Every shape of a model by name.
pub(super) fn shapes() -> anyhow::Result<String> {
    let mut out = format!(
        "{:22} {:>10}  {:>6}  {:>9}  {:>10}  {:>9}  {:>9}\n",
        "shape", "parameters", "layers", "positions", "KV / token", "f16", "q4_k"
    );
    for name in shapes::names() {
        let spec = shapes::find(name)?;
        let size = |quant| gb(Matrices::of(&spec, &|_| DType::F16, Some(quant)).bytes() as f64);
        let _ = writeln!(
            out,
            "{:22} {:>10}  {:>6}  {:>9}  {:>10}  {:>9}  {:>9}",
            format!("{}{name}", shapes::PREFIX),
            count(spec.n_params() as f64),
            spec.n_layers,
            spec.max_context,
            bytes(kv_bytes_per_token(&spec, KvType::F16)),
            size(DType::F16),
            size(DType::Q4K),
        );
    }
    let quants = shapes::QUANTS.map(DType::name).join(", ");
    Ok(out + &format!("\n{}NAME:QUANT plans one type of weights: {quants}.\n", shapes::PREFIX))
}

#[cfg(test)]
mod tests {
    use super::super::columns::WIDTH;
    use super::*;

    #[test]
    fn lists_fit_and_say_what_one_chooses_by() {
        let machines = machines();
        let shapes = shapes().unwrap();
        for line in machines.lines().chain(shapes.lines()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
        for (list, line) in [
            (&machines, "m2-max           2023     32 GiB       410     13.6  32, 64, 96 GiB"),
            (&machines, "rtx-4090         2022     24 GiB      1008     82.6"),
            (&machines, "iris-xe          2020     16 GiB      68.3     2.07  the computer's memory"),
            (
                &shapes,
                "shape:Llama-3.1-8B         8.03 B      32     131072     128 KiB    16.1 GB    4.79 GB",
            ),
        ] {
            assert!(list.lines().any(|found| found == line), "{line} is missing in\n{list}");
        }
        assert_eq!(shapes.lines().filter(|line| line.starts_with("shape:")).count(), 27);
    }

    #[test]
    fn the_list_is_asked_for_in_any_case() {
        for (text, expected) in [
            ("shape:list", true),
            ("Shape: LIST", true),
            ("shape:", false),
            ("list", false),
            ("shapé:list", false),
        ] {
            assert_eq!(asks_for_shapes(text), expected, "{text}");
        }
    }
}
