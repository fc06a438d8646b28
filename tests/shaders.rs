//! Every kernel variant without a GPU: naga accepts it, its bindings and parameters are those that
//! Rust states, default WebGPU limits hold, and the Vulkan, Metal and Direct3D back ends can write
//! it.
//!
//! With `ANYGPU_SHADER_DUMP=DIR` the texts that wgpu compiles are left in DIR for the gates of
//! `.ci/run`: `*.spv` for `spirv-val`, named by Vulkan version; `*.hlsl` for Microsoft's compilers,
//! with `dxc.jobs` and `fxc.jobs` naming them; `*.msl`; and for browsers `*.wgsl`, with
//! `index.json` naming them.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use anygpu::gpu::compose::{Access, Const, KernelSpec, ParamsForm, Shader, Snippet};
use rayon::prelude::*;

#[path = "common/translate.rs"]
mod translate;
#[path = "common/wgsl.rs"]
mod wgsl;

use translate::{Form, Translated};

const FORMS: [ParamsForm; 2] = [ParamsForm::Immediate, ParamsForm::Uniform];

fn check(shader: &Shader, params: ParamsForm) -> Result<Vec<(Form, Translated)>, String> {
    let checked = wgsl::validate(shader, params)?;
    wgsl::reflect(&checked, shader, params)?;
    wgsl::limits(&checked)?;
    let forms = Form::ALL.into_iter().filter(|form| form.params == params);
    forms.map(|form| Ok((form, translate::translate(&checked, shader, form)?))).collect()
}

#[test]
fn every_shader_is_portable() {
    let shaders = anygpu::kernels::all_shaders();
    assert!(!shaders.is_empty());
    let labels: BTreeSet<String> = shaders.iter().map(Shader::label).collect();
    assert_eq!(labels.len(), shaders.len(), "two variants share a label, so also a pipeline");
    let cases: Vec<_> = shaders.iter().flat_map(|s| FORMS.map(|form| (s, form))).collect();
    let outcomes: Vec<_> = cases.par_iter().map(|(shader, form)| check(shader, *form)).collect();
    let (mut texts, mut failures) = (Texts::default(), Vec::new());
    for ((shader, form), outcome) in cases.iter().zip(outcomes) {
        match outcome {
            Ok(forms) => forms.into_iter().for_each(|(form, t)| texts.add(shader, form, t)),
            Err(e) => failures.push(format!("{} ({form:?}): {e}", shader.label())),
        }
    }
    if let Some(folder) = std::env::var_os("ANYGPU_SHADER_DUMP") {
        texts.write(Path::new(&folder));
        write_wgsl(Path::new(&folder), &shaders);
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
    println!("{} shaders, {} texts, {}", shaders.len(), cases.len(), texts.summary());
}

/// A label as a file name.
fn stem(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// All that compilers get, equal texts once.
#[derive(Default)]
struct Texts {
    /// (name, bytes).
    files: Vec<(String, Vec<u8>)>,
    /// Names by bytes.
    names: HashMap<Vec<u8>, String>,
    /// `PROFILE with|without FILE`, where with is for native 16-bit types.
    dxc: Vec<String>,
    fxc: Vec<String>,
}

impl Texts {
    fn add(&mut self, shader: &Shader, form: Form, translated: Translated) {
        let stem = format!("{}.{}", stem(&shader.label()), form.name());
        for (version, words) in translated.spv {
            let bytes = words.into_iter().flat_map(u32::to_le_bytes).collect();
            self.put(format!("{stem}.vulkan{version}.spv"), bytes);
        }
        self.put(format!("{stem}.msl"), translated.msl.into_bytes());
        for hlsl in translated.hlsl {
            let (profile, is_for_fxc) = (&hlsl.profile, hlsl.is_for_fxc());
            let with = if hlsl.has_16_bit_types { "with" } else { "without" };
            let name = self.put(format!("{stem}.{profile}.hlsl"), hlsl.text.into_bytes());
            let jobs = if is_for_fxc { &mut self.fxc } else { &mut self.dxc };
            let job = format!("{profile} {with} {name}");
            if !jobs.contains(&job) {
                jobs.push(job);
            }
        }
    }

    /// The name of the file that holds these bytes.
    fn put(&mut self, name: String, bytes: Vec<u8>) -> String {
        if let Some(known) = self.names.get(&bytes) {
            return known.clone();
        }
        self.names.insert(bytes.clone(), name.clone());
        self.files.push((name.clone(), bytes));
        name
    }

    fn write(&self, folder: &Path) {
        let jobs = [("dxc.jobs", &self.dxc), ("fxc.jobs", &self.fxc)];
        let jobs = jobs.map(|(name, jobs)| (name.to_owned(), (jobs.join("\n") + "\n").into_bytes()));
        for (name, bytes) in self.files.iter().chain(&jobs) {
            std::fs::write(folder.join(name), bytes).expect("the dump folder is writable");
        }
    }

    fn summary(&self) -> String {
        let count = |ext| self.files.iter().filter(|(name, _)| name.ends_with(ext)).count();
        format!(
            "{} SPIR-V, {} MSL, {} HLSL for {} jobs of DXC and {} of FXC",
            count(".spv"),
            count(".msl"),
            count(".hlsl"),
            self.dxc.len(),
            self.fxc.len()
        )
    }
}

/// The texts as a browser gets them: parameters in a uniform buffer, `enable subgroups;`. Beside
/// each f16 variant stands its twin with f32 in place of f16, for browsers on adapters without
/// `shader-f16`.
fn write_wgsl(folder: &Path, shaders: &[Shader]) {
    let mut index = Vec::new();
    let mut put = |shader: &Shader, twin_of: Option<String>| {
        let label = shader.label();
        let file = stem(&label) + if twin_of.is_some() { ".twin.wgsl" } else { ".wgsl" };
        let text = shader.compose(ParamsForm::Uniform, true).text;
        std::fs::write(folder.join(&file), text).expect("the dump folder is writable");
        index.push(serde_json::json!({
            "label": label, "file": file, "f16": shader.f16, "subgroups": shader.subgroups, "twin_of": twin_of,
        }));
    };
    for shader in shaders {
        put(shader, None);
        if shader.f16 {
            let mut twin = Shader { f16: false, ..shader.clone() };
            for (_, value) in &mut twin.consts {
                if let Const::Type(name) = value {
                    *value = Const::Type(if *name == "f16" { "f32" } else { name });
                }
            }
            put(&twin, Some(shader.label()));
        }
    }
    let text = serde_json::to_string_pretty(&index).expect("plain data");
    std::fs::write(folder.join("index.json"), text).expect("the dump folder is writable");
}

/// A kernel that passes every check; the rows below spoil it one way each.
const GOOD: &str = "
struct Params { n: u32, scale: f32 }
struct State { pos: u32, n_tokens: u32, first_logit: u32, sequence: u32, positions: array<vec4<u32>, 4> }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> state: State;
var<workgroup> tile: array<f32, 4096>;
@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  tile[lane] = select(0.0, x[lane], lane < params.n);
  workgroupBarrier();
  if (lane < params.n) { y[lane] = tile[params.n - 1u - lane] * params.scale + f32(state.pos); }
}
";

fn replaced(from: &str, to: &str) -> Shader {
    assert!(GOOD.contains(from), "{from}");
    // Specs live as long as the program; so do the few of this test.
    let spec: &'static KernelSpec = Box::leak(Box::new(KernelSpec {
        name: "spoilt",
        wgsl: Box::leak(GOOD.replacen(from, to, 1).into_boxed_str()),
        bindings: &[("x", Access::Read), ("y", Access::Write), ("state", Access::Uniform)],
        params: &["n", "scale"],
    }));
    let consts = vec![("WG", Const::U32(256))];
    Shader { spec, consts, snippets: Vec::<Snippet>::new(), bound_as: vec![], f16: false, subgroups: false }
}

fn spoilt(from: &str, to: &str) -> Result<(), String> {
    let shader = replaced(from, to);
    let outcomes = FORMS.map(|form| check(&shader, form).map(drop));
    assert_eq!(outcomes[0].is_ok(), outcomes[1].is_ok(), "{from} -> {to}: {outcomes:?}");
    outcomes.into_iter().collect()
}

/// Why a browser's compiler belongs to the gates: naga knows no uniformity.
#[test]
fn naga_accepts_a_barrier_in_non_uniform_flow() {
    let spec: &'static KernelSpec = &KernelSpec {
        name: "bad_uniformity",
        wgsl: include_str!("../.ci/bad_uniformity.wgsl"),
        bindings: &[("y", Access::Write)],
        params: &[],
    };
    let shader = Shader {
        spec,
        consts: vec![],
        snippets: Vec::<Snippet>::new(),
        bound_as: vec![],
        f16: false,
        subgroups: false,
    };
    check(&shader, ParamsForm::Uniform).expect("once naga refuses it, the fixture has done its duty");
}

/// As naga 30 writes them; see `translate::naga_faults`.
#[test]
fn what_naga_writes_wrongly_into_hlsl_is_seen() {
    let zero = "float4 ZeroValuefloat4() {\n    return (float4)0;\n}\n";
    let rows = [
        (format!("{zero}void main(uint3 id : SV_GroupID, uint lane : SV_GroupIndex)\n"), ""),
        (format!("{zero}void main(ComputeInput_main computeinput_main)\n"), ""),
        ("void main()\n".to_owned(), ""),
        ("void main(uint3 id : SV_GroupID, TeamInput in_)\n".to_owned(), "semantic: TeamInput in_"),
        (format!("{zero}{zero}void main()\n"), "defined twice: float4 ZeroValuefloat4"),
        (zero.to_owned(), "no entry point"),
    ];
    for (hlsl, want) in rows {
        let error = translate::naga_faults(&hlsl).err().unwrap_or_default();
        assert!(error.contains(want) && error.is_empty() == want.is_empty(), "{hlsl}: {error}");
    }
}

#[test]
fn the_checks_refuse_what_is_wrong() {
    spoilt("n: u32", "n: u32").expect("the kernel itself is good");
    let rows = [
        ("binding(0) var<storage, read> x", "binding(0) var<storage, read_write> x", "binding 0"),
        ("> x:", "> z:", "no definition"),
        ("@binding(2)", "@binding(3)", "not in the spec"),
        ("@group(0) @binding(2)", "@group(1) @binding(2)", "not in the spec"),
        ("var<storage, read_write> y", "var<storage, read> y", "spoilt.wgsl:12"),
        ("n: u32, scale: f32", "scale: f32, n: u32", "Params: spec has"),
        ("scale: f32", "scale: f32, more: u32", "Params: spec has"),
        ("n: u32, scale: f32", "n: u32, @align(8) scale: f32", "Params: spec has"),
        ("n: u32, scale: f32", "n: u32, @size(8) scale: f32", "Params: 12 bytes"),
        ("pos: u32, n_tokens", "n_tokens: u32, pos", "State: spec has"),
        ("array<f32, 4096>", "array<f32, 4097>", "workgroup memory: 16400 bytes"),
        ("workgroup_size(WG)", "workgroup_size(WG, 2)", "workgroup size"),
        ("workgroup_size(WG)", "workgroup_size(1, 1, 65)", "workgroup size"),
        ("fn main", "fn other", "entry points"),
        ("f32(state.pos)", "subgroupAdd(1.0)", "SUBGROUP"),
        ("f32(state.pos)", "f32(f16(1.0))", "f16"),
        ("f32(state.pos)", "f32(missing)", "spoilt.wgsl:12"),
        ("@compute", "var<storage, read> b: u32;\n@compute", "spoilt.wgsl:8"),
    ];
    for (from, to, want) in rows {
        let error = spoilt(from, to).expect_err(to);
        assert!(error.to_lowercase().contains(&want.to_lowercase()), "{from} -> {to}: {error}");
    }
    // Two bindings that changed places.
    let swapped = GOOD.replace("@binding(0)", "@binding(9)").replace("@binding(1)", "@binding(0)");
    let swapped = swapped.replace("@binding(9)", "@binding(1)");
    let error = spoilt(GOOD, &swapped).expect_err("swapped");
    assert!(error.contains("binding 0: spec has (\"x\", Read)"), "{error}");
    // More storage buffers than a pipeline may have: x, y and seven.
    let more: String =
        (3..10).map(|i| format!("@group(0) @binding({i}) var<storage, read> b{i}: array<f32>;\n")).collect();
    let shader = replaced("@compute", &(more + "@compute"));
    let checked = wgsl::validate(&shader, ParamsForm::Uniform).expect("naga knows no limits");
    assert_eq!(wgsl::limits(&checked).expect_err("nine"), "9 storage buffers, at most 8");
}
