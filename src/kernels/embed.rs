//! Embedding lookup: `y[t]` = row `tokens[t]`. `shaders/embed.wgsl`.

use bytemuck::{Pod, Zeroable};

use crate::base::DType;
use crate::gpu::graph::State;
use crate::gpu::{Access, Bind, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Step};
use crate::kernels::check::{self, Check, Want};
use crate::kernels::linear;
use crate::kernels::weights::{self, BLOCK, NATIVE, Part, Store};
use crate::quant::{self, PlaneLayout};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in embed.wgsl")]
pub struct Params {
    pub blocks: u32,
    pub scale_words: u32,
    pub first_row: u32,
    pub rows: u32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "embed",
    wgsl: include_str!("../../shaders/embed.wgsl"),
    bindings: &[
        ("quants", Access::Read),
        ("scales", Access::Read),
        ("tokens", Access::Read),
        ("y", Access::Write),
    ],
    params: &["blocks", "scale_words", "first_row", "rows"],
};

/// Invocations per workgroup.
const WG: u32 = 64;

/// The variant for an embedding of `dtype`.
pub fn shader(dtype: DType, store: Store) -> Shader {
    let (snippets, bound_as) = weights::loader(dtype, store);
    let consts = vec![("WG", Const::U32(WG))];
    Shader { spec: &SPEC, consts, snippets, bound_as, f16: false, subgroups: false }
}

/// One dispatch: looks up the tokens that lie in this part of the matrix. `tokens`: `[n_tokens]` u32,
/// `y`: [n_tokens, hidden rounded up to a multiple of 32] f32.
pub fn step(gpu: &Gpu, label: &str, part: &Part, tokens: &Slice, y: &Slice) -> Result<Step, GpuError> {
    let (blocks, scale_words) = (part.blocks(), part.scale_words());
    let params = Params { blocks, scale_words, first_row: part.first_row as u32, rows: part.rows as u32 };
    let grid = [Extent::Fixed(blocks.div_ceil(WG)), Extent::TokensPer(1), Extent::Fixed(1)];
    let bindings: [&dyn Bind; 4] = [&part.quants, &part.scales, tokens, y];
    // A token has one row; the first part states it.
    let row_bytes = part.layout.quant_row_bytes + part.layout.scale_row_bytes;
    let bytes = if part.first_row == 0 { row_bytes as u64 } else { 0 };
    Ok(gpu.step(label, &shader(part.dtype, part.store()), &bindings, params, grid)?.moving(bytes))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    NATIVE
        .into_iter()
        .flat_map(|dtype| [Store::Rows, Store::Tiles].map(|store| shader(dtype, store)))
        .collect()
}

/// Every type; tokens below, in and above the part's rows, and what `argmax` says of rows without a number.
pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for dtype in NATIVE {
        for (i, &cols) in linear::widths(dtype).iter().enumerate() {
            for store in [Store::Rows, Store::Tiles] {
                // One width is enough for tiles; the others are about ragged rows.
                if store == Store::Rows || i == 1 {
                    let quick = i == 1 && weights::QUICK.contains(&dtype);
                    checks.push(check(dtype, cols, store).quick(quick));
                }
            }
        }
    }
    checks
}

/// What the kernel has to pass before it looks up rows of this type, stored so.
pub fn checks_of(dtype: DType, store: Store) -> Vec<Check> {
    vec![check(dtype, linear::widths(dtype)[1], store)]
}

fn check(dtype: DType, cols: usize, store: Store) -> Check {
    let class = if store == Store::Tiles { Store::TILES_CLASS } else { "embed" };
    let label = format!("{dtype} rows 10..15 of width {cols}{store}");
    Check::new("embed", class, label, move |gpu| run_case(gpu, dtype, cols, store))
}

fn run_case(gpu: &Gpu, dtype: DType, cols: usize, store: Store) -> Result<(Vec<f32>, Vec<Want>), GpuError> {
    const FIRST: usize = 10;
    const ROWS: usize = 5;
    let file = linear::random_rows(dtype, ROWS, cols, 23);
    let layout = PlaneLayout::new(dtype, cols).expect("checks use native types and whole blocks");
    let (quants, scales) = weights::repack(&layout, &file).expect("whole rows");
    let part = Part::allocate(gpu, "check embedding", store, FIRST, ROWS, layout)?;
    part.write(gpu, 0, &quants, &scales)?;
    let tokens = [14u32, 9, 10, 15, 10, 0, 12, u32::MAX];
    let stride = cols.next_multiple_of(BLOCK);
    let tokens_slice = gpu.upload("check tokens", bytemuck::cast_slice(&tokens))?;
    let y = check::marked(gpu, tokens.len() * stride)?;
    let state = State { n_tokens: tokens.len() as u32, ..State::default() };
    let got = check::finish(gpu, step(gpu, "check", &part, &tokens_slice, &y)?, state, &y)?;
    let mut rows = vec![0.0; ROWS * cols];
    quant::decode(dtype, &file, &mut rows).expect("whole blocks");
    let mut want = Vec::new();
    for token in tokens {
        let end = want.len() + stride;
        if let Some(row) = (token as usize).checked_sub(FIRST).filter(|row| *row < ROWS) {
            let row = &rows[row * cols..][..cols];
            for block in row.chunks(BLOCK) {
                let largest = f64::from(block.iter().fold(0.0f32, |a, w| a.max(w.abs())));
                // A product and a sum, each rounded once, in whatever order the compiler fuses them.
                let tolerance = 4.0 * f64::from(f32::EPSILON) * largest;
                want.extend(block.iter().map(|w| Want::Near { value: f64::from(*w), tolerance }));
            }
            want.resize(end, Want::Near { value: 0.0, tolerance: 0.0 });
        } else {
            want.resize(end, Want::Untouched);
        }
    }
    Ok((got, want))
}
