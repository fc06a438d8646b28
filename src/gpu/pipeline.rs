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
        let label = shader.label();
        let find = || {
            let kernels = self.inner().kernels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            kernels.get(&label).cloned()
        };
        if let Some(kernel) = find() {
            return Ok(kernel);
        }
        let kernel = Arc::new(self.compile(shader, label.clone())?);
        let mut kernels = self.inner().kernels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Arc::clone(kernels.entry(label).or_insert(kernel)))
    }

    fn compile(&self, shader: &Shader, label: String) -> Result<Kernel, GpuError> {
        let device = &self.inner().device;
        let form = self.params_form();
        let mut composed = shader.compose(form, false);
        composed.text = self.sabotaged(shader.spec.name, composed.text);
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(composed.text.as_str().into()),
        });
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
