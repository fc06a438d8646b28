//! [`Shader`] → compiled pipeline, once per device. What a graph needs is compiled together, on all cores.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Instant;

use rayon::prelude::*;

use crate::gpu::compose::{Access, ParamsForm, Shader};
use crate::gpu::{Gpu, GpuError, Texture};

/// A kernel variant on a device. It is compiled by [`Gpu::compile`], at the latest when it first runs.
pub struct Kernel {
    /// [`Shader::label`].
    pub label: String,
    shader: Shader,
    /// With runtime checks?
    checked: bool,
    pub(super) layout: wgpu::BindGroupLayout,
    /// Buffers and textures that it binds, a uniform buffer of parameters aside.
    pub n_bindings: usize,
    pub(super) params_bytes: usize,
    /// Empty before it is compiled; the compiler's words where it was refused.
    pipeline: OnceLock<Result<wgpu::ComputePipeline, String>>,
}

impl Kernel {
    /// The pipeline. [`Gpu::compile`] was called before and succeeded.
    pub(super) fn pipeline(&self) -> &wgpu::ComputePipeline {
        let compiled = self.pipeline.get().and_then(|compiled| compiled.as_ref().ok());
        compiled.expect("kernels are compiled before they are recorded")
    }

    pub(super) fn is_compiled(&self) -> bool {
        matches!(self.pipeline.get(), Some(Ok(_)))
    }
}

impl Gpu {
    /// The kernel of this variant: a new one, not compiled yet, or that of the last call.
    pub fn kernel(&self, shader: &Shader) -> Result<Arc<Kernel>, GpuError> {
        let key = (shader.label(), self.checks(shader.spec));
        let mut kernels = self.inner().kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kernel) = kernels.get(&key) {
            return Ok(Arc::clone(kernel));
        }
        let device = &self.inner().device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let layout = bind_group_layout(device, shader, self.params_form());
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(self.refused(&key.0, error.to_string()));
        }
        let kernel = Arc::new(Kernel {
            label: key.0.clone(),
            shader: shader.clone(),
            checked: key.1,
            layout,
            n_bindings: shader.spec.bindings.len(),
            params_bytes: shader.spec.params.len() * 4,
            pipeline: OnceLock::new(),
        });
        kernels.insert(key, Arc::clone(&kernel));
        Ok(kernel)
    }

    /// Compiles those of the kernels that are not compiled yet, on all cores. The time counts as
    /// [`Gpu::compile_seconds`].
    pub fn compile<'k>(&self, kernels: impl IntoIterator<Item = &'k Arc<Kernel>>) -> Result<(), GpuError> {
        let mut missing: Vec<&Arc<Kernel>> =
            kernels.into_iter().filter(|kernel| !kernel.is_compiled()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_by_key(|kernel| Arc::as_ptr(kernel));
        missing.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let started = Instant::now();
        let compile = |kernel: &Arc<Kernel>| match kernel.pipeline.get_or_init(|| self.build(kernel)) {
            Ok(_) => Ok(()),
            Err(cause) => Err(self.refused(&kernel.label, cause.clone())),
        };
        let compiled = match self.takes_threads() {
            true => missing.into_par_iter().try_for_each(compile),
            false => missing.into_iter().try_for_each(compile),
        };
        self.inner().compile_ns.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        // A lost device explains what was refused.
        self.check()?;
        compiled
    }

    /// May several threads use the device at once? OpenGL's context is one thread's at a time, and wgpu panics in threads
    /// that wait for it for a second (WGL) or six (EGL).
    pub fn takes_threads(&self) -> bool {
        self.facts().backend != "gl"
    }

    fn refused(&self, kernel: &str, cause: String) -> GpuError {
        GpuError::Kernel { adapter: self.facts().id(), kernel: kernel.to_owned(), cause }
    }

    fn build(&self, kernel: &Kernel) -> Result<wgpu::ComputePipeline, String> {
        let (device, form, label) = (&self.inner().device, self.params_form(), Some(kernel.label.as_str()));
        let mut composed = kernel.shader.compose(form, false);
        composed.text = self.sabotaged(kernel.shader.spec.name, composed.text);
        // Scopes belong to the thread that pushes them: what other threads compile meanwhile does not land here.
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let module = shader_module(device, &kernel.label, &composed.text, kernel.checked);
        let immediate_size = if form == ParamsForm::Immediate { kernel.params_bytes as u32 } else { 0 };
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label,
            bind_group_layouts: &[Some(&kernel.layout)],
            immediate_size,
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: Some(&layout),
            module: &module,
            entry_point: Some("main"),
            // Our kernels write workgroup memory before they read it. Zeroing costs time on every run, and
            // minutes of compilation in Mesa's GL driver, which gets it as one constant of thousands of zeros.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: self.inner().pipelines.get().map(|(cache, _)| cache),
        });
        match pollster::block_on(scope.pop()) {
            Some(error) => Err(composed.explain(&error.to_string())),
            None => Ok(pipeline),
        }
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
    let buffer = |ty| wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None };
    let storage = |read_only| buffer(wgpu::BufferBindingType::Storage { read_only });
    let ty = |access| match access {
        Access::Read => storage(true),
        Access::Write => storage(false),
        Access::Uniform | Access::Constants => buffer(wgpu::BufferBindingType::Uniform),
        Access::Texture => wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::ReadOnly,
            format: Texture::FORMAT,
            view_dimension: wgpu::TextureViewDimension::D2,
        },
    };
    let mut types: Vec<_> = shader.bindings().into_iter().map(|(_, access)| ty(access)).collect();
    if form == ParamsForm::Uniform && !shader.spec.params.is_empty() {
        types.push(ty(Access::Uniform));
    }
    let entries: Vec<_> = (types.into_iter().zip(0..))
        .map(|(ty, binding)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty,
            count: None,
        })
        .collect();
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
        let shader = Shader {
            spec: &OURS,
            consts: vec![],
            snippets: vec![],
            bound_as: vec![],
            f16: false,
            subgroups: false,
        };
        let y = gpu.buffer("y", 16).expect("small");
        let step = gpu.step("1 / 0", &shader, &[&y], 7u32, [Extent::Fixed(1); 3]).expect("valid");
        gpu.run(&Graph::new(vec![step]), State::default()).expect("runs");
        bytemuck::pod_read_unaligned(&gpu.read(&y).expect("read")[..4])
    }

    fn open(options: GpuOptions) -> Gpu {
        Gpu::open(&AdapterChoice::Auto, options).expect("an adapter: `make test` installs a software one")
    }

    #[test]
    fn kernels_compile_together_and_each_refusal_is_told_where_it_belongs() {
        const WGSL: &str = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
            @compute @workgroup_size(WG) fn main() { y[0] = WG; }";
        static GOOD: KernelSpec =
            KernelSpec { name: "good", wgsl: WGSL, bindings: &[("y", Access::Write)], params: &[] };
        static BAD: KernelSpec = KernelSpec {
            name: "bad",
            wgsl: "@compute @workgroup_size(WG) fn main() { y[0] = WG; }",
            bindings: &[("y", Access::Write)],
            params: &[],
        };
        let gpu = open(GpuOptions::default());
        let kernel = |spec: &'static KernelSpec, wg: u32| {
            let consts = vec![("WG", crate::gpu::Const::U32(wg))];
            gpu.kernel(&Shader {
                spec,
                consts,
                snippets: vec![],
                bound_as: vec![],
                f16: false,
                subgroups: false,
            })
            .expect("a kernel")
        };
        let good: Vec<_> = (1..=12).map(|wg| kernel(&GOOD, wg)).collect();
        assert_eq!(
            (gpu.kernels_compiled(), gpu.compile_seconds()),
            (0, 0.0),
            "nothing before it is asked for"
        );
        let bad = [kernel(&BAD, 1), kernel(&BAD, 2)];
        for bad in &bad {
            let mixed = good[..6].iter().chain([bad]);
            let error = gpu.compile(mixed).expect_err("no such variable").to_string();
            assert!(error.contains(&bad.label) && error.contains("bad.wgsl:1"), "{error}");
        }
        assert!(gpu.compile([&bad[0]]).is_err(), "and so it stays");
        gpu.compile(&good).expect("these are good");
        assert_eq!(gpu.kernels_compiled(), good.len());
        let spent = gpu.compile_seconds();
        assert!(spent > 0.0);
        gpu.compile(&good).expect("nothing to do");
        assert_eq!(gpu.compile_seconds(), spent);
        // Without asking, at the first run.
        let y = gpu.buffer("y", 16).expect("small");
        let step = |spec: &'static KernelSpec, wg: u32| {
            let consts = vec![("WG", crate::gpu::Const::U32(wg))];
            let shader =
                Shader { spec, consts, snippets: vec![], bound_as: vec![], f16: false, subgroups: false };
            gpu.step("late", &shader, &[&y], (), [Extent::Fixed(1); 3]).expect("valid")
        };
        let late = Graph::new(vec![step(&GOOD, 33)]);
        gpu.run(&late, State::default()).expect("compiles and runs");
        assert_eq!(gpu.read(&y).expect("read")[0], 33);
        assert!(gpu.compile_seconds() > spent);
        let refused = Graph::new(vec![step(&BAD, 1)]);
        assert!(matches!(gpu.run(&refused, State::default()), Err(GpuError::Kernel { .. })));
    }

    #[test]
    fn only_the_kernels_named_lose_their_checks() {
        let free = open(GpuOptions::default());
        assert_eq!(quotient(&free), 1, "checked until somebody asks for less");
        free.leave_checks_out(&[&ANOTHER]);
        assert!(!free.is_checked());
        assert_eq!(quotient(&free), 1, "another kernel, though of the same name");
        free.leave_checks_out(&[&OURS]);
        assert_ne!(quotient(&free), 1, "unchecked");
        free.keep_checks();
        assert!(free.is_checked());
        assert_eq!(quotient(&free), 1, "checked again");
        let strict = open(GpuOptions { checked: true, ..GpuOptions::default() });
        strict.leave_checks_out(&[&OURS]);
        assert!(strict.is_checked());
        assert_eq!(quotient(&strict), 1, "the options forbid it");
    }
}
