//! One WGSL text from directives, constants, snippets and a kernel file; plain concatenation.
//!
//! A variant picks *files*: two snippets define the same functions. Every composed text is ordinary
//! WGSL. Parameters come either as an immediate or as a uniform buffer, the kernel does not notice.

use std::fmt::Write;

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    Write,
    /// `var<uniform>` holding [`State`](crate::gpu::graph::State)
    Uniform,
    /// `var<uniform>` holding numbers that a dispatch before this one wrote: at most [`Slice::UNIFORM_BYTES`](crate::gpu::Slice)
    Constants,
    /// `texture_storage_2d<rgba32uint, read>`: a [`Texture`](crate::gpu::Texture)
    Texture,
}

/// What Rust knows of a kernel file: its bindings in order (group 0) and its parameters' fields.
/// `tests/shaders.rs` proves by reflection that the WGSL says the same.
#[derive(Debug)]
pub struct KernelSpec {
    /// File name without `.wgsl`.
    pub name: &'static str,
    /// The file's text.
    pub wgsl: &'static str,
    /// Binding names and access, binding number = position.
    pub bindings: &'static [(&'static str, Access)],
    /// Fields of `struct Params`, all 32-bit scalars.
    pub params: &'static [&'static str],
}

/// A piece of WGSL without entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snippet {
    /// Path below `shaders/`.
    pub path: &'static str,
    /// The text.
    pub wgsl: &'static str,
}

/// A constant of the preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Const {
    /// `const NAME: u32`
    U32(u32),
    /// `const NAME: bool`
    Bool(bool),
    /// `alias NAME = type;`
    Type(&'static str),
}

/// One variant of one kernel, ready to be composed.
#[derive(Clone, Debug)]
pub struct Shader {
    /// The kernel file.
    pub spec: &'static KernelSpec,
    /// Preamble constants by name.
    pub consts: Vec<(&'static str, Const)>,
    /// Snippets in front of the kernel.
    pub snippets: Vec<Snippet>,
    /// Bindings that this variant's snippets declare otherwise than the spec says.
    pub bound_as: Vec<(&'static str, Access)>,
    /// Needs `enable f16;`.
    pub f16: bool,
    /// Needs subgroup operations.
    pub subgroups: bool,
}

/// Where kernel parameters come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamsForm {
    /// `var<immediate>`
    Immediate,
    /// A uniform buffer after the kernel's other bindings.
    Uniform,
}

/// A composed text and where its lines come from.
#[derive(Clone, Debug)]
pub struct Composed {
    /// WGSL.
    pub text: String,
    /// (first line, file), ascending; lines count from 1.
    pub parts: Vec<(usize, String)>,
}

impl Shader {
    /// Binding names and access, binding number = position.
    pub fn bindings(&self) -> Vec<(&'static str, Access)> {
        let access = |name| self.bound_as.iter().find(|(bound, _)| *bound == name).map(|(_, access)| *access);
        self.spec.bindings.iter().map(|&(name, usual)| (name, access(name).unwrap_or(usual))).collect()
    }

    /// A name unique to this variant, e.g. `matvec[WG=64,load_q4_0,reduce_subgroup]`.
    pub fn label(&self) -> String {
        let mut items: Vec<String> = Vec::new();
        for (name, value) in &self.consts {
            items.push(match value {
                Const::U32(v) => format!("{name}={v}"),
                Const::Bool(v) => format!("{name}={v}"),
                Const::Type(v) => format!("{name}={v}"),
            });
        }
        items.extend(
            self.snippets
                .iter()
                .map(|s| s.path.trim_start_matches("shared/").trim_end_matches(".wgsl").to_owned()),
        );
        format!("{}[{}]", self.spec.name, items.join(","))
    }

    /// The WGSL text. `enable_subgroups` adds the directive that browsers require and naga 30 refuses.
    pub fn compose(&self, form: ParamsForm, enable_subgroups: bool) -> Composed {
        let mut out = Composed { text: String::new(), parts: Vec::new() };
        let mut preamble = String::new();
        if self.f16 {
            preamble.push_str("enable f16;\n");
        }
        if self.subgroups && enable_subgroups {
            preamble.push_str("enable subgroups;\n");
        }
        for (name, value) in &self.consts {
            let line = match value {
                Const::U32(v) => format!("const {name}: u32 = {v}u;\n"),
                Const::Bool(v) => format!("const {name}: bool = {v};\n"),
                Const::Type(v) => format!("alias {name} = {v};\n"),
            };
            preamble.push_str(&line);
        }
        if !self.spec.params.is_empty() {
            let binding = self.spec.bindings.len();
            let line = match form {
                ParamsForm::Immediate => "var<immediate> params: Params;\n".to_owned(),
                ParamsForm::Uniform => {
                    format!("@group(0) @binding({binding}) var<uniform> params: Params;\n")
                }
            };
            preamble.push_str(&line);
        }
        out.push("preamble", &preamble);
        for snippet in &self.snippets {
            out.push(snippet.path, snippet.wgsl);
        }
        out.push(&format!("{}.wgsl", self.spec.name), self.spec.wgsl);
        out
    }
}

impl Composed {
    fn push(&mut self, file: &str, text: &str) {
        let _ = writeln!(self.text, "// ---- {file}");
        self.parts.push((self.text.lines().count() + 1, file.to_owned()));
        self.text.push_str(text);
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    /// `matvec.wgsl:41` for a line of the composed text.
    pub fn origin(&self, line: usize) -> String {
        match self.parts.iter().rev().find(|(first, _)| *first <= line) {
            Some((first, file)) => format!("{file}:{}", line - first + 1),
            None => format!("line {line}"),
        }
    }

    /// A compiler message with `wgsl:LINE:COL` replaced by our file and line.
    pub fn explain(&self, message: &str) -> String {
        let mut out = String::new();
        let mut rest = message;
        while let Some(at) = rest.find("wgsl:") {
            let (before, after) = rest.split_at(at + "wgsl:".len());
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            match digits.parse() {
                Ok(line) => {
                    out.push_str(&before[..at]);
                    out.push_str(&self.origin(line));
                }
                Err(_) => out.push_str(before),
            }
            rest = &after[digits.len()..];
        }
        out + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static SPEC: KernelSpec =
        KernelSpec { name: "k", wgsl: "line one\nline two\n", bindings: &[], params: &["n"] };

    #[test]
    fn errors_name_the_file_and_line() {
        let snippet = Snippet { path: "shared/s.wgsl", wgsl: "fn s() {}" };
        let consts = vec![("WG", Const::U32(64))];
        let shader = Shader {
            spec: &SPEC,
            consts,
            snippets: vec![snippet],
            bound_as: vec![],
            f16: true,
            subgroups: true,
        };
        let composed = shader.compose(ParamsForm::Uniform, false);
        let line = 1 + composed.text.lines().position(|l| l == "line two").expect("the kernel is there");
        assert_eq!(composed.explain(&format!("error at wgsl:{line}:3")), "error at k.wgsl:2:3");
        assert!(composed.text.starts_with("// ---- preamble\nenable f16;\n"));
        assert!(composed.text.contains("@binding(0) var<uniform> params"));
        assert!(!composed.text.contains("enable subgroups"));
        assert!(shader.compose(ParamsForm::Immediate, true).text.contains("enable subgroups;"));
    }
}
