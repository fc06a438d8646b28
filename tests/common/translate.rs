//! What wgpu 30 makes of a composed text on each system: the same naga options as `wgpu-hal`'s back
//! ends set, for the newest and the oldest device that runs it. wgpu offers no way to ask for them,
//! so they are written down here again; where a wgpu update changes them, this file follows.

use std::collections::{BTreeMap, BTreeSet};

use anygpu::gpu::compose::{Access, ParamsForm, Shader};
use naga::ResourceBinding;
use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

use crate::wgsl::Checked;

/// Entry point of every kernel.
const MAIN: &str = "main";

/// What a shader is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Where parameters are.
    pub(crate) params: ParamsForm,
    /// With runtime checks (`wgpu::ShaderRuntimeChecks`): before, and without,
    /// `Gpu::leave_checks_out`.
    pub(crate) checked: bool,
}

impl Form {
    /// What runs on native adapters, all of which have immediates; and what any WebGPU has.
    pub(crate) const ALL: [Form; 3] = [
        Form { params: ParamsForm::Immediate, checked: false },
        Form { params: ParamsForm::Immediate, checked: true },
        Form { params: ParamsForm::Uniform, checked: true },
    ];

    /// Part of file names.
    pub(crate) fn name(self) -> &'static str {
        match (self.params, self.checked) {
            (ParamsForm::Immediate, false) => "unchecked",
            (ParamsForm::Immediate, true) => "checked",
            (ParamsForm::Uniform, false) => "uniform_unchecked",
            (ParamsForm::Uniform, true) => "uniform_checked",
        }
    }

    fn bounds(self) -> BoundsCheckPolicies {
        let policy = if self.checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
        BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        }
    }
}

/// A Direct3D text and who compiles it.
pub(crate) struct Hlsl {
    /// Profile, e.g. `cs_6_7`.
    pub(crate) profile: String,
    /// With native 16-bit types, as on every device that has f16.
    pub(crate) has_16_bit_types: bool,
    pub(crate) text: String,
}

impl Hlsl {
    /// Shader model 5.1 is FXC's, above it is DXC's.
    pub(crate) fn is_for_fxc(&self) -> bool {
        self.profile == "cs_5_1"
    }
}

/// What every back end makes of a shader.
pub(crate) struct Translated {
    /// (Vulkan version, SPIR-V words).
    pub(crate) spv: Vec<(&'static str, Vec<u32>)>,
    /// Metal Shading Language 3.0; 2.1 has been written too.
    pub(crate) msl: String,
    /// One per device that differs; equal texts may be among them.
    pub(crate) hlsl: Vec<Hlsl>,
}

/// Writes the shader for every back end: Vulkan, Metal, Direct3D.
pub(crate) fn translate(checked: &Checked, shader: &Shader, form: Form) -> Result<Translated, String> {
    Ok(Translated {
        spv: vulkan(checked, shader, form)?,
        msl: metal(checked, shader, form)?,
        hlsl: direct3d(checked, shader, form)?,
    })
}

/// As `wgpu_hal::vulkan::Adapter` for devices of Vulkan 1.3, and for such of 1.1 without robust
/// buffers.
fn vulkan(checked: &Checked, shader: &Shader, form: Form) -> Result<Vec<(&'static str, Vec<u32>)>, String> {
    let mut written = Vec::new();
    for (version, lang_version, is_new) in [("1.3", (1, 6), true), ("1.1", (1, 3), false)] {
        if !is_new && !form.checked {
            continue;
        }
        let robust = if is_new { BoundsCheckPolicy::Unchecked } else { form.bounds().buffer };
        let options = spv::Options {
            lang_version,
            flags: spv::WriterFlags::LABEL_VARYINGS | spv::WriterFlags::FORCE_POINT_SIZE,
            capabilities: Some(capabilities(shader, is_new).into_iter().collect()),
            bounds_check_policies: BoundsCheckPolicies {
                buffer: robust,
                image_load: robust,
                ..form.bounds()
            },
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: form.checked,
            emit_int_div_checks: form.checked,
            ..Default::default()
        };
        let stage = naga::ShaderStage::Compute;
        let pipeline = spv::PipelineOptions { entry_point: MAIN.into(), shader_stage: stage };
        let words = spv::write_vec(&checked.module, &checked.info, &options, Some(&pipeline));
        written.push((version, words.map_err(|e| format!("SPIR-V {lang_version:?}: {e}"))?));
    }
    Ok(written)
}

/// Those of a device with the shader's features. New ones multiply bytes.
fn capabilities(shader: &Shader, is_new: bool) -> Vec<spv::Capability> {
    use spv::Capability as C;
    let mut all = vec![C::Shader, C::Matrix, C::ImageQuery, C::StorageImageExtendedFormats];
    if shader.subgroups {
        all.extend([C::GroupNonUniform, C::GroupNonUniformVote, C::GroupNonUniformArithmetic]);
        all.extend([C::GroupNonUniformBallot, C::GroupNonUniformShuffle]);
        all.extend([C::GroupNonUniformShuffleRelative, C::GroupNonUniformQuad]);
    }
    if shader.f16 {
        all.push(C::Float16);
    }
    if is_new {
        all.extend([C::DotProductInputAllKHR, C::DotProductInput4x8BitKHR, C::Int8]);
        all.extend([C::DotProductInput4x8BitPackedKHR, C::DotProductKHR]);
    }
    all
}

/// As `wgpu_hal::metal::Device::load_shader`.
fn metal(checked: &Checked, shader: &Shader, form: Form) -> Result<String, String> {
    let mut resources = msl::EntryPointResources::default();
    let (mut buffers, mut textures) = (0, 0);
    let next = |counter: &mut u8| {
        *counter += 1;
        Some(*counter - 1)
    };
    if form.params == ParamsForm::Immediate && !shader.spec.params.is_empty() {
        resources.immediates_buffer = next(&mut buffers);
    }
    for (binding, access) in bindings(shader, form) {
        let target = match access {
            Access::Texture => msl::BindTarget { texture: next(&mut textures), ..Default::default() },
            _ => msl::BindTarget {
                buffer: next(&mut buffers),
                mutable: access == Access::Write,
                ..Default::default()
            },
        };
        resources.resources.insert(binding, target);
    }
    resources.sizes_buffer = next(&mut buffers);
    let mut text = String::new();
    for lang_version in [(2, 1), (3, 0)] {
        let options = msl::Options {
            lang_version,
            per_entry_point_map: BTreeMap::from([(MAIN.to_owned(), resources.clone())]),
            fake_missing_bindings: false,
            spirv_cross_compatibility: false,
            bounds_check_policies: form.bounds(),
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: form.checked,
            emit_int_div_checks: form.checked,
            ..Default::default()
        };
        let entry_point = Some((naga::ShaderStage::Compute, MAIN.to_owned()));
        let pipeline = msl::PipelineOptions { entry_point, ..Default::default() };
        let written = msl::write_string(&checked.module, &checked.info, &options, &pipeline);
        let (written, info) = written.map_err(|e| format!("MSL {lang_version:?}: {e}"))?;
        for name in info.entry_point_names {
            name.map_err(|e| format!("MSL {lang_version:?}: {e}"))?;
        }
        text = written;
    }
    Ok(text)
}

/// As `wgpu_hal::dx12::Device::load_shader`: for FXC where the shader needs no more than FXC has,
/// and for DXC, of which every text is compiled once: unchecked ones as on the newest device that
/// DXC 1.7 knows, checked ones as on the oldest with the shader's features. Both where naga writes
/// them differently.
fn direct3d(checked: &Checked, shader: &Shader, form: Form) -> Result<Vec<Hlsl>, String> {
    use hlsl::ShaderModel;
    // Direct3D always has immediates.
    if form.params == ParamsForm::Uniform {
        return Ok(vec![]);
    }
    let oldest = if shader.f16 { (ShaderModel::V6_2, true) } else { (ShaderModel::V6_0, false) };
    let newest = (ShaderModel::V6_7, true);
    let mut written = Vec::new();
    if !shader.f16 && !shader.subgroups {
        written.push(direct3d_text(checked, shader, form, (ShaderModel::V5_1, false))?);
    }
    let [first, second] = if form.checked { [oldest, newest] } else { [newest, oldest] };
    let first = direct3d_text(checked, shader, form, first)?;
    let second = direct3d_text(checked, shader, form, second)?;
    let same = first.text == second.text;
    written.push(first);
    written.extend((!same).then_some(second));
    Ok(written)
}

fn direct3d_text(
    checked: &Checked,
    shader: &Shader,
    form: Form,
    (shader_model, has_16_bit_types): (hlsl::ShaderModel, bool),
) -> Result<Hlsl, String> {
    let options = hlsl_options(shader_model, shader, form);
    let entry_point = Some((naga::ShaderStage::Compute, MAIN.to_owned()));
    let pipeline = hlsl::PipelineOptions { entry_point };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    let info = writer.write(&checked.module, &checked.info, None);
    let info = info.map_err(|e| format!("HLSL {shader_model:?}: {e}"))?;
    for name in info.entry_point_names {
        let name = name.map_err(|e| format!("HLSL {shader_model:?}: {e}"))?;
        if name != MAIN {
            return Err(format!("HLSL: entry point {name}, want {MAIN}"));
        }
    }
    naga_faults(&text)?;
    Ok(Hlsl { profile: format!("cs_{}", shader_model.to_str()), has_16_bit_types, text })
}

/// Signs of what naga 30 writes wrongly into HLSL, which both compilers of Direct3D refuse:
/// subgroup builtins in a struct argument of the entry point have no semantics, and every alias of
/// a type has a zero value of its own, under one name.
pub(crate) fn naga_faults(hlsl: &str) -> Result<(), String> {
    let Some(main) = hlsl.lines().find_map(|line| line.strip_prefix("void main(")) else {
        return Err("HLSL: no entry point".into());
    };
    // With subgroup builtins among them, naga makes a struct of all, whose members have semantics.
    let is_good = |a: &&str| a.is_empty() || a.contains(" : SV_") || a.starts_with("ComputeInput_");
    let arguments = main.trim_end_matches(')').split(", ");
    if let Some(bare) = arguments.into_iter().find(|a| !is_good(a)) {
        return Err(format!("HLSL: argument of the entry point without a semantic: {bare}"));
    }
    let mut seen = BTreeSet::new();
    let zeros = hlsl.lines().filter(|line| line.ends_with("() {") && line.contains(" ZeroValue"));
    match zeros.into_iter().find(|line| !seen.insert(*line)) {
        Some(twice) => Err(format!("HLSL: defined twice: {twice}")),
        None => Ok(()),
    }
}

/// Registers are counted as `wgpu_hal::dx12::Device::create_pipeline_layout` does.
fn hlsl_options(shader_model: hlsl::ShaderModel, shader: &Shader, form: Form) -> hlsl::Options {
    let [mut constants, mut read, mut write] = [hlsl::BindTarget::default(); 3];
    let next = |target: &mut hlsl::BindTarget| {
        target.register += 1;
        hlsl::BindTarget { register: target.register - 1, ..*target }
    };
    let mut immediates_target = None;
    if form.params == ParamsForm::Immediate && !shader.spec.params.is_empty() {
        immediates_target = Some(next(&mut constants));
        constants.space += 1;
    }
    let mut binding_map = hlsl::BindingMap::default();
    for (binding, access) in bindings(shader, form) {
        let target = match access {
            Access::Read => next(&mut read),
            Access::Write | Access::Texture => next(&mut write),
            Access::Uniform | Access::Constants => next(&mut constants),
        };
        binding_map.insert(binding, target);
    }
    hlsl::Options {
        shader_model,
        binding_map,
        fake_missing_bindings: false,
        special_constants_binding: Some(constants),
        immediates_target,
        zero_initialize_workgroup_memory: false,
        restrict_indexing: form.checked,
        force_loop_bounding: form.checked,
        ..Default::default()
    }
}

/// The bindings with those of parameters.
fn bindings(shader: &Shader, form: Form) -> Vec<(ResourceBinding, Access)> {
    let mut accesses: Vec<Access> = shader.bindings().into_iter().map(|(_, access)| access).collect();
    if form.params == ParamsForm::Uniform && !shader.spec.params.is_empty() {
        accesses.push(Access::Uniform);
    }
    let numbered = accesses.into_iter().zip(0..);
    numbered.map(|(access, binding)| (ResourceBinding { group: 0, binding }, access)).collect()
}
