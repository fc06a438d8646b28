//! What every JSON result carries and a fault report needs: the program, the system, the adapter.

use serde::Serialize;
use serde_json::{Value, json};

use crate::base::AdapterFacts;
use crate::gpu::{Gpu, GpuOptions};

/// The three blocks in front of a result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct About {
    /// What ran.
    pub(super) program: Program,
    /// On what.
    pub(super) system: System,
    /// With which adapter; `None`: none was opened.
    pub(super) adapter: Option<Adapter>,
}

/// This program.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Commit of the sources, where the build was told.
    pub(super) commit: Option<&'static str>,
    /// Hash of the kernels' texts.
    pub(super) kernels: &'static str,
    /// `release` or `debug`.
    pub(super) build: &'static str,
}

/// The computer around the adapter.
#[derive(Clone, Debug, Serialize)]
pub(super) struct System {
    pub(super) os: &'static str,
    /// As the system names itself.
    pub(super) os_version: Option<String>,
    /// Version of its kernel.
    pub(super) kernel: Option<String>,
    pub(super) arch: &'static str,
    /// Name of the processor, may be empty.
    pub(super) cpu: String,
    /// Threads that run at once.
    pub(super) cpu_threads: usize,
    /// Main memory.
    pub(super) memory_bytes: u64,
}

/// An adapter: what its driver tells, and how it is used.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Adapter {
    /// The form that `--adapter` takes.
    pub(super) id: String,
    /// Identity, driver, features and limits.
    #[serde(flatten)]
    pub(super) facts: AdapterFacts,
    /// How it is used; `None`: it was not opened.
    pub(super) used: Option<Use>,
}

/// How an adapter is used.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Use {
    /// Why this one.
    pub(super) reason: String,
    /// Do shaders keep runtime checks?
    pub(super) shader_checks: bool,
    /// Largest part of a buffer that is bound.
    pub(super) max_bound_bytes: u64,
    pub(super) no_f16: bool,
    pub(super) no_subgroups: bool,
    pub(super) no_immediates: bool,
    pub(super) default_limits: bool,
    pub(super) untuned: bool,
}

impl Program {
    /// This one.
    pub(super) fn this() -> Program {
        Program {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("ANYGPU_COMMIT"),
            kernels: env!("ANYGPU_KERNELS"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

impl System {
    /// This one.
    pub(super) fn this() -> System {
        let mut system = sysinfo::System::new();
        system.refresh_cpu_all();
        system.refresh_memory();
        let cpu = system.cpus().first().map_or_else(String::new, |cpu| cpu.brand().trim().to_owned());
        System {
            os: std::env::consts::OS,
            os_version: sysinfo::System::long_os_version(),
            kernel: sysinfo::System::kernel_version(),
            arch: std::env::consts::ARCH,
            cpu,
            cpu_threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: system.total_memory(),
        }
    }
}

impl Adapter {
    /// One that is only listed.
    pub(super) fn listed(facts: &AdapterFacts) -> Adapter {
        Adapter { id: facts.id(), facts: facts.clone(), used: None }
    }

    /// One that is open.
    pub(super) fn of(gpu: &Gpu) -> Adapter {
        let GpuOptions { f16, subgroups, immediates, default_limits, untuned, .. } = gpu.options();
        let used = Use {
            reason: gpu.why().to_owned(),
            shader_checks: gpu.is_checked(),
            max_bound_bytes: gpu.max_bound_bytes(),
            no_f16: !f16,
            no_subgroups: !subgroups,
            no_immediates: !immediates,
            default_limits,
            untuned,
        };
        Adapter { used: Some(used), ..Adapter::listed(gpu.facts()) }
    }

    /// `f16, subgroups of 8, immediates`: what there is of what kernels can use.
    pub(super) fn features(&self) -> String {
        let f = &self.facts;
        let subgroups = match f.subgroup_sizes {
            [low, high] if low == high => format!("subgroups of {low}"),
            [low, high] => format!("subgroups of {low} to {high}"),
        };
        let all = [
            (f.f16, "f16"),
            (f.subgroups, subgroups.as_str()),
            (f.immediates, "immediates"),
            (f.timestamps, "timestamps"),
        ];
        all.iter().filter(|(there, _)| *there).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }

    /// Driver and its version in one text.
    pub(super) fn driver(&self) -> String {
        [self.facts.driver.as_str(), self.facts.driver_info.as_str()].join(" ").trim().to_owned()
    }
}

impl About {
    /// This program on this system, with an open adapter or without one.
    pub(super) fn this(gpu: Option<&Gpu>) -> About {
        About { program: Program::this(), system: System::this(), adapter: gpu.map(Adapter::of) }
    }

    /// The object `result` with the three blocks in front; they replace keys of those names.
    pub(super) fn before(&self, result: Value) -> Value {
        let mut out = json!({ "program": self.program, "system": self.system, "adapter": self.adapter });
        if let (Value::Object(out), Value::Object(result)) = (&mut out, result) {
            let own = |key: &String| !matches!(key.as_str(), "program" | "system" | "adapter");
            out.extend(result.into_iter().filter(|(key, _)| own(key)));
        }
        out
    }
}

/// The number that prints as short as `value` does: JSON values hold f64, in which 0.7 as f32 has 16 digits. It is the
/// same f32 when read back.
pub(super) fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_they_were_typed_and_read_back_the_same() {
        for (value, text) in
            [(0.7f32, "0.7"), (0.95, "0.95"), (1e-5, "0.00001"), (3.0, "3.0"), (-0.1, "-0.1")]
        {
            assert_eq!(json!(shortest(value)).to_string(), text);
        }
        for bits in (0..u32::MAX).step_by(104_729) {
            let value = f32::from_bits(bits);
            if value.is_finite() {
                assert_eq!(shortest(value) as f32, value);
            }
        }
    }

    #[test]
    fn the_blocks_stand_first_and_the_result_keeps_the_rest() {
        let about = About::this(None);
        let got = about.before(json!({ "adapter": "old", "x": 1 }));
        let keys: Vec<&String> = got.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["program", "system", "adapter", "x"]);
        assert_eq!(
            (&got["program"]["version"], &got["adapter"]),
            (&json!(about.program.version), &Value::Null)
        );
        assert!(got["system"]["memory_bytes"].as_u64().is_some_and(|n| n > 1 << 28), "{got}");
    }
}
