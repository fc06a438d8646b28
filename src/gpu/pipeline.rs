//! [`Shader`] → compiled pipeline, once per device.

use std::sync::Arc;

use crate::gpu::compose::{Access, ParamsForm, Shader};
use crate::gpu::{Gpu, GpuError};

/// A compiled kernel variant.
pub struct Kernel {
    /// [`Shader::label`].
    pub label: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
    pub(super) n_bindings: usize,
    pub(super) params_bytes: usize,
}

impl Gpu {
    /// Compiles a variant, or returns it if it was compiled before.
    pub fn kernel(&self, shader: &Shader) -> Result<Arc<Kernel>, GpuError> {
        let key = (shader.label(), self.checks(shader.spec));
        let find = || {
            let kernels = self.inner().kernels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kernels.get(&key).cloned()
        };
        if let Some(kernel) = find() {
            return Ok(kernel);
        }
        let kernel = Arc::new(self.compile(shader, key.0.clone(), key.1)?);
        let mut kernels = self.inner().kernels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Arc::clone(kernels.entry(key).or_insert(kernel)))
    }

    fn compile(&self, shader: &Shader, label: String, checked: bool) -> Result<Kernel, GpuError> {
        let device = &self.inner().device;
        let form = self.params_form();
        let mut composed = shader.compose(form, false);
        composed.text = self.sabotaged(shader.spec.name, composed.text);
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = shader_module(device, &label, &composed.text, checked);
        let layout = bind_group_layout(device, shader, form);
        let params_bytes = shader.spec.params.len() * 4;
        let immediate_size = if form == ParamsForm::Immediate { params_bytes as u32 } else { 0 };
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            // Our kernels write workgroup memory before they read it. Zeroing costs time on every run, and
            // minutes of compilation in Mesa's GL driver, which gets it as one constant of thousands of zeros.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        if let Some(error) = pollster::block_on(scope.pop()) {
            let cause = composed.explain(&error.to_string());
            return Err(GpuError::Kernel { adapter: self.facts().id(), kernel: label, cause });
        }
        self.check()?;
        Ok(Kernel { label, pipeline, layout, n_bindings: shader.spec.bindings.len(), params_bytes })
    }
}

fn shader_module(device: &wgpu::Device, label: &str, wgsl: &str, checked: bool) -> wgpu::ShaderModule {
    let source = wgpu::ShaderSource::Wgsl(wgsl.into());
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(label), source };
    if checked {
        return device.create_shader_module(descriptor);
    }
    // SAFETY: only kernels that `Gpu::leave_checks_out` names come here. Their indices stay in range, their loops end and
    // their divisors are not zero, whatever numbers the buffers hold: every index that comes from data is compared with a
    // size first. That a driver compiles them to the same is what `kernels::verify` finds, with guards around outputs, on
    // this adapter and driver and in this form: `engine::first_use` runs it before anything else does, and has
    // the checks put back when it fails.
    #[expect(unsafe_code, reason = "wgpu has no safe way to leave its runtime checks out")]
    unsafe {
        device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
    }
}

fn bind_group_layout(device: &wgpu::Device, shader: &Shader, form: ParamsForm) -> wgpu::BindGroupLayout {
    let entry = |binding: usize, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    };
    let mut entries: Vec<wgpu::BindGroupLayoutEntry> = (shader.spec.bindings.iter().enumerate())
        .map(|(i, (_, access))| {
            entry(
                i,
                match access {
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::Write => wgpu::BufferBindingType::Storage { read_only: false },
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                },
            )
        })
        .collect();
    if form == ParamsForm::Uniform && !shader.spec.params.is_empty() {
        entries.push(entry(entries.len(), wgpu::BufferBindingType::Uniform));
    }
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some(shader.spec.name),
        entries: &entries,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::compose::KernelSpec;
    use crate::gpu::graph::State;
    use crate::gpu::{AdapterChoice, Extent, GpuOptions, Graph};

    const fn divide() -> KernelSpec {
        let wgsl = "struct Params { n: u32 }\n@group(0) @binding(0) var<storage, read_write> y: array<u32>;
            @compute @workgroup_size(1) fn main() { y[0] = 1u / (params.n - params.n); }";
        KernelSpec { name: "divide", wgsl, bindings: &[("y", Access::Write)], params: &["n"] }
    }
    static OURS: KernelSpec = divide();
    static ANOTHER: KernelSpec = divide();

    /// 1 / 0, which is 1 where shaders are checked.
    fn quotient(gpu: &Gpu) -> u32 {
        let shader = Shader { spec: &OURS, consts: vec![], snippets: vec![], f16: false, subgroups: false };
        let y = gpu.buffer("y", 16).expect("small");
        let step = gpu.step("1 / 0", &shader, &[&y], 7u32, [Extent::Fixed(1); 3]).expect("valid");
        gpu.run(&Graph { steps: vec![step] }, State::default()).expect("runs");
        bytemuck::pod_read_unaligned(&gpu.read(&y).expect("read")[..4])
    }

    #[test]
    fn only_the_kernels_named_lose_their_checks() {
        let gpu = |checked| {
            let options = GpuOptions { checked, ..GpuOptions::default() };
            Gpu::open(&AdapterChoice::Auto, options).expect("an adapter: `make test` installs a software one")
        };
        let free = gpu(false);
        assert_eq!(quotient(&free), 1, "checked until somebody asks for less");
        free.leave_checks_out(&[&ANOTHER]);
        assert!(!free.is_checked());
        assert_eq!(quotient(&free), 1, "another kernel, though of the same name");
        free.leave_checks_out(&[&OURS]);
        assert_ne!(quotient(&free), 1, "unchecked");
        free.keep_checks();
        assert!(free.is_checked());
        assert_eq!(quotient(&free), 1, "checked again");
        let strict = gpu(true);
        strict.leave_checks_out(&[&OURS]);
        assert!(strict.is_checked());
        assert_eq!(quotient(&strict), 1, "the options forbid it");
    }
}
