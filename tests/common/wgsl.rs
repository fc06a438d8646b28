//! What `tests/shaders.rs` knows of naga: one composed text in, a checked module or a complaint out.
//! Limits are WebGPU's defaults, which wgpu does not enforce in full (the sum of workgroup memory).

use anygpu::gpu::compose::{Access, ParamsForm, Shader};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess, TypeInner};

/// WebGPU default `maxComputeWorkgroupStorageSize`, bytes.
const MAX_WORKGROUP_BYTES: u32 = 16384;
/// WebGPU default `maxComputeInvocationsPerWorkgroup`.
const MAX_INVOCATIONS: u32 = 256;
/// WebGPU default `maxComputeWorkgroupSizeZ`; x and y may be as large as all of the workgroup.
const MAX_INVOCATIONS_Z: u32 = 64;
/// WebGPU default `maxStorageBuffersPerShaderStage`.
const MAX_STORAGE_BUFFERS: usize = 8;
/// WebGPU default `maxStorageTexturesPerShaderStage`.
const MAX_STORAGE_TEXTURES: usize = 4;
/// What browsers offer (`maxImmediateSize`); Vulkan guarantees 128, Direct3D 256.
const MAX_IMMEDIATE_BYTES: u32 = 64;

/// A composed text after parsing and validation.
pub(crate) struct Checked {
    pub(crate) module: Module,
    pub(crate) info: ModuleInfo,
}

/// Parses and validates. Errors name the file and line the text came from.
pub(crate) fn validate(shader: &Shader, form: ParamsForm) -> Result<Checked, String> {
    let composed = shader.compose(form, false);
    let module = naga::front::wgsl::parse_str(&composed.text)
        .map_err(|e| composed.explain(&e.emit_to_string(&composed.text)))?;
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::IMMEDIATES, form == ParamsForm::Immediate);
    capabilities.set(Capabilities::SHADER_FLOAT16, shader.f16);
    capabilities.set(Capabilities::SUBGROUP, shader.subgroups);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .validate(&module)
        .map_err(|e| composed.explain(&e.emit_to_string(&composed.text)))?;
    Ok(Checked { module, info })
}

/// The WGSL declares exactly the bindings and parameters that the spec states.
pub(crate) fn reflect(checked: &Checked, shader: &Shader, form: ParamsForm) -> Result<(), String> {
    let (spec, bindings) = (shader.spec, shader.bindings());
    let mut found = vec![None; bindings.len()];
    let mut params = None;
    for (_, global) in checked.module.global_variables.iter() {
        let name = global.name.as_deref().unwrap_or("(no name)");
        if name == "params" {
            params = Some(global);
            continue;
        }
        let Some(at) = &global.binding else { continue };
        let access = match global.space {
            AddressSpace::Storage { access } if access == StorageAccess::LOAD => Access::Read,
            AddressSpace::Storage { .. } => Access::Write,
            AddressSpace::Uniform => match checked.module.types[global.ty].inner {
                TypeInner::Array { .. } => Access::Constants,
                _ => Access::Uniform,
            },
            AddressSpace::Handle => match checked.module.types[global.ty].inner {
                TypeInner::Image {
                    dim: naga::ImageDimension::D2,
                    arrayed: false,
                    class: naga::ImageClass::Storage { format: naga::StorageFormat::Rgba32Uint, access },
                } if access == StorageAccess::LOAD => Access::Texture,
                ref other => return Err(format!("{name}: {other:?} is no texture of numbers")),
            },
            other => return Err(format!("{name}: address space {other:?} is not for bindings")),
        };
        let slot = match found.get_mut(at.binding as usize) {
            Some(slot) if at.group == 0 => slot,
            _ => return Err(format!("{name}: ({}, {}) is not in the spec", at.group, at.binding)),
        };
        *slot = Some((name, access));
        if access == Access::Uniform {
            state_fields(&checked.module, global.ty)?;
        }
    }
    for (index, (want, got)) in bindings.iter().zip(&found).enumerate() {
        if Some(*want) != *got {
            return Err(format!("binding {index}: spec has {want:?}, WGSL has {got:?}"));
        }
    }
    match params {
        None if spec.params.is_empty() => Ok(()),
        None => Err("no variable `params`".into()),
        Some(global) => {
            let at = global.binding.map(|b| (b.group, b.binding as usize));
            let (space, binding) = match form {
                ParamsForm::Immediate => (AddressSpace::Immediate, None),
                ParamsForm::Uniform => (AddressSpace::Uniform, Some((0, bindings.len()))),
            };
            if (global.space, at) != (space, binding) {
                return Err(format!("params: {:?} at {at:?}, want {space:?} at {binding:?}", global.space));
            }
            fields(&checked.module, global.ty, "Params", spec.params)
        }
    }
}

/// `struct State` equals [`anygpu::gpu::State`].
fn state_fields(module: &Module, ty: naga::Handle<naga::Type>) -> Result<(), String> {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err("State is not a struct".into());
    };
    let found: Vec<(&str, u32)> =
        members.iter().map(|m| (m.name.as_deref().unwrap_or("(no name)"), m.offset)).collect();
    let want = [("pos", 0), ("n_tokens", 4), ("first_logit", 8), ("sequence", 12), ("positions", 16)];
    let bytes = std::mem::size_of::<anygpu::gpu::graph::State>();
    if found != want || *span as usize != bytes {
        return Err(format!("State: spec has {want:?} in {bytes} bytes, WGSL has {found:?} in {span}"));
    }
    Ok(())
}

/// The type is a struct of that name with exactly these 4-byte scalars, without gaps.
fn fields(module: &Module, ty: naga::Handle<naga::Type>, name: &str, want: &[&str]) -> Result<(), String> {
    let TypeInner::Struct { members, span } = &module.types[ty].inner else {
        return Err(format!("{name} is not a struct"));
    };
    if module.types[ty].name.as_deref() != Some(name) {
        return Err(format!("struct {:?} should be {name}", module.types[ty].name));
    }
    let got: Vec<(&str, u32)> =
        members.iter().map(|m| (m.name.as_deref().unwrap_or("(no name)"), m.offset)).collect();
    let want: Vec<(&str, u32)> = want.iter().zip(0..).map(|(field, i)| (*field, 4 * i)).collect();
    if got != want {
        return Err(format!("{name}: spec has {want:?}, WGSL has {got:?}"));
    }
    for member in members {
        match module.types[member.ty].inner {
            TypeInner::Scalar(scalar) if scalar.width == 4 => {}
            ref other => return Err(format!("{name}.{:?} is {other:?}, not a 4-byte scalar", member.name)),
        }
    }
    if *span as usize != 4 * want.len() {
        return Err(format!("{name}: {span} bytes for {} fields", want.len()));
    }
    Ok(())
}

/// Default WebGPU limits hold.
pub(crate) fn limits(checked: &Checked) -> Result<(), String> {
    let module = &checked.module;
    let entry = match module.entry_points.as_slice() {
        [entry] if entry.name == "main" => entry,
        other => return Err(format!("{} entry points, want one, `main`", other.len())),
    };
    let invocations: u32 = entry.workgroup_size.iter().product();
    if invocations > MAX_INVOCATIONS || entry.workgroup_size[2] > MAX_INVOCATIONS_Z {
        return Err(format!("workgroup size {:?}: at most {MAX_INVOCATIONS}", entry.workgroup_size));
    }
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|e| e.to_string())?;
    let mut workgroup_bytes = 0;
    let (mut storage_buffers, mut storage_textures) = (0, 0);
    for (_, global) in module.global_variables.iter() {
        let bytes = layouter[global.ty].size;
        match global.space {
            // Every variable is rounded up to 16 bytes (WebGPU, "createComputePipeline").
            AddressSpace::WorkGroup => workgroup_bytes += bytes.next_multiple_of(16),
            AddressSpace::Storage { .. } => storage_buffers += 1,
            AddressSpace::Handle => storage_textures += 1,
            AddressSpace::Immediate if bytes > MAX_IMMEDIATE_BYTES => {
                return Err(format!("params: {bytes} bytes, at most {MAX_IMMEDIATE_BYTES}"));
            }
            _ => {}
        }
    }
    if workgroup_bytes > MAX_WORKGROUP_BYTES {
        return Err(format!("workgroup memory: {workgroup_bytes} bytes, at most {MAX_WORKGROUP_BYTES}"));
    }
    if storage_textures > MAX_STORAGE_TEXTURES {
        return Err(format!("{storage_textures} storage textures, at most {MAX_STORAGE_TEXTURES}"));
    }
    if storage_buffers > MAX_STORAGE_BUFFERS {
        return Err(format!("{storage_buffers} storage buffers, at most {MAX_STORAGE_BUFFERS}"));
    }
    Ok(())
}
