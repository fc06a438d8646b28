//! Matrix × many columns: prompts. `shaders/matmul.wgsl`; what it computes stands in [`linear`].

use crate::base::{Activations, DType};
use crate::gpu::graph::linear_grid;
use crate::gpu::{Const, Extent, Gpu, GpuError, KernelSpec, Shader, Step};
use crate::kernels::check::Check;
use crate::kernels::linear::{self, Case, Form, Linear};
use crate::kernels::matvec::Fused;
use crate::kernels::reduce;
use crate::kernels::weights::{self, NATIVE, Store};

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "matmul",
    wgsl: include_str!("../../shaders/matmul.wgsl"),
    bindings: linear::BINDINGS,
    params: linear::PARAMS,
};

/// Element type of the staged weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// Exact for every format.
    F32,
    /// Half the workgroup memory traffic; rounds weights to 11 bits (exact for F16). Needs `shader-f16`.
    F16,
}

/// Rows and columns of tiles that the tuner tries: within 16 KiB of workgroup memory in f32, and 256 invocations.
pub const SIZES: [[u32; 2]; 4] = [[64, 32], [32, 32], [32, 64], [64, 64]];

/// A way to run the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Staged weights.
    pub tile: Tile,
    /// Rows per workgroup, a multiple of 4.
    pub bm: u32,
    /// Columns per workgroup, a multiple of 4.
    pub bn: u32,
}

impl Variant {
    /// 64 × 32 outputs by 128 invocations: 12 KiB of workgroup memory in f32.
    pub fn of(tile: Tile) -> Variant {
        Variant { tile, bm: 64, bn: 32 }
    }

    /// Class name, e.g. `matmul/f16`.
    pub fn class(self) -> &'static str {
        match self.tile {
            Tile::F32 => "matmul/f32",
            Tile::F16 => "matmul/f16",
        }
    }
}

/// The variant for weights of `dtype`.
pub fn shader(dtype: DType, variant: Variant) -> Shader {
    let tile = match variant.tile {
        Tile::F32 => "f32",
        Tile::F16 => "f16",
    };
    let consts =
        vec![("BM", Const::U32(variant.bm)), ("BN", Const::U32(variant.bn)), ("tile", Const::Type(tile))];
    let (mut snippets, bound_as) = weights::loader(dtype, Store::Rows);
    snippets.push(reduce::state());
    Shader { spec: &SPEC, consts, snippets, bound_as, f16: variant.tile == Tile::F16, subgroups: false }
}

/// One dispatch over a part of a matrix, stored as [`Store::Rows`].
pub fn step(gpu: &Gpu, label: &str, variant: Variant, linear: Linear<'_>) -> Result<Step, GpuError> {
    assert_eq!(linear.part.store(), Store::Rows, "{label}: matvec takes tiles");
    let z = match linear.of_logits {
        true => Extent::LogitsPer(variant.bn),
        false => Extent::TokensPer(variant.bn),
    };
    let grid = linear_grid((linear.part.rows as u32).div_ceil(variant.bm), z);
    let shader = shader(linear.part.dtype, variant);
    let step = gpu.step(label, &shader, &linear.bindings(&gpu.empty()), linear.params(), grid)?;
    Ok(step.moving(linear.part.bytes() + linear.bias_bytes()))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    let tiles = [Tile::F32, Tile::F16];
    let mut all: Vec<Shader> =
        NATIVE.into_iter().flat_map(|dtype| tiles.map(|tile| shader(dtype, Variant::of(tile)))).collect();
    let sizes = SIZES[1..].iter().flat_map(|[bm, bn]| tiles.map(|tile| Variant { tile, bm: *bm, bn: *bn }));
    all.extend(sizes.map(|variant| shader(DType::Q8_0, variant)));
    all
}

/// What a variant has to pass before the tuner may choose it: more and fewer rows and columns than its tile has.
pub fn checks_of(dtype: DType, variant: Variant) -> Vec<Check> {
    let cols = *linear::widths(dtype).last().expect("every type has widths");
    let cases = [(1, 1, Form::Plain), (67, 33, Form::Epilogue), (130, 70, Form::Epilogue)];
    let (activations, store) = (Activations::F32, Store::Rows);
    let case = |(rows, n, form)| Case { rows, cols, n, form, few: false, store, activations };
    cases.map(|shape| check(dtype, variant, case(shape), rounding(dtype, variant.tile))).into()
}

/// Relative error that staging adds.
fn rounding(dtype: DType, tile: Tile) -> f64 {
    if tile == Tile::F16 && dtype != DType::F16 { 2.0f64.powi(-11) } else { 0.0 }
}

fn check(dtype: DType, variant: Variant, case: Case, rounding: f64) -> Check {
    let Variant { bm, bn, .. } = variant;
    let label =
        format!("{dtype} [{}, {}] × {}, {bm} × {bn} of {}", case.rows, case.cols, case.n, variant.class());
    let run = move |gpu: &Gpu, linear: Linear<'_>, _: Fused<'_>| step(gpu, "check", variant, linear);
    linear::check("matmul", variant.class().into(), label, dtype, case, rounding, run)
}

/// Every type × tile × odd shapes.
pub fn checks(f16: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for dtype in NATIVE {
        for tile in if f16 { &[Tile::F32, Tile::F16][..] } else { &[Tile::F32] } {
            let variant = Variant::of(*tile);
            let rounding = rounding(dtype, *tile);
            for (i, &cols) in linear::widths(dtype).iter().enumerate() {
                for (rows, n, form) in
                    [(1, 1, Form::Plain), (67, 33, Form::Epilogue), (130, 5, Form::Epilogue)]
                {
                    let (activations, store) = (Activations::F32, Store::Rows);
                    let case = Case { rows, cols, n, form, few: false, store, activations };
                    let quick = i == 1 && n == 5 && weights::QUICK.contains(&dtype);
                    checks.push(check(dtype, variant, case, rounding).quick(quick));
                }
            }
        }
    }
    checks
}
