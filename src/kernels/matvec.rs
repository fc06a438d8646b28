//! Matrix × few columns: decoding. `shaders/matvec.wgsl`; what it computes stands in [`linear`], and what it can do on
//! the way in [`Fused`].

use bytemuck::{Pod, Zeroable};

use crate::base::{Activations, AdapterFacts, DType, Maker};
use crate::gpu::graph::linear_grid;
use crate::gpu::{Access, Bind, Const, Extent, Gpu, GpuError, KernelSpec, Shader, Slice, Snippet, Step};
use crate::kernels::glu::Act;
use crate::kernels::linear::{self, Linear};
use crate::kernels::reduce;
use crate::kernels::rms_norm::NormWeights;
use crate::kernels::weights::{self, BLOCK, INT8, NATIVE, Store, snippet};

/// Parameters; see the shader.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[allow(missing_docs, reason = "documented in matvec.wgsl")]
pub struct Params {
    pub linear: linear::Params,
    pub norm_cols: u32,
    pub norm_eps: f32,
    pub norm_unit: f32,
}

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "matvec",
    wgsl: include_str!("../../shaders/matvec.wgsl"),
    bindings: &[
        ("quants", Access::Read),
        ("scales", Access::Read),
        ("x", Access::Read),
        ("vectors", Access::Read),
        ("y", Access::Write),
        ("state", Access::Uniform),
    ],
    params: &[
        "rows",
        "blocks",
        "scale_words",
        "x_stride",
        "y_stride",
        "y_first",
        "accumulate",
        "has_bias",
        "of_logits",
        "norm_cols",
        "norm_eps",
        "norm_unit",
    ],
};

/// A root-mean-square norm of x.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// `[cols rounded up to a multiple of 32]`.
    pub weight: &'a NormWeights,
    /// Floats of a row that count.
    pub cols: usize,
    /// ε under the root.
    pub eps: f32,
}

/// What is done on the way, instead of in dispatches of its own.
#[derive(Clone, Copy, Default)]
pub struct Fused<'a> {
    /// x is normed first. Then x holds all tokens of the run, also with [`Linear::of_logits`].
    pub norm: Option<Norm<'a>>,
    /// The part is gate rows and as many up rows: `y[row] = act(gate) · up`. Not with [`Linear::accumulate`].
    pub glu: Option<Act>,
    /// How x is read. Rounded only by [`Team::Broadcast`], and for weights in [`weights::INT8`].
    pub activations: Activations,
    /// x is one token of each sequence: where that is little, it is bound as a uniform buffer. Prompts would take two
    /// kernels for their narrow and their wide matrices.
    pub few: bool,
}

/// What a shader does on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kind {
    /// [`Fused::norm`]
    pub norm: bool,
    /// [`Fused::glu`]
    pub glu: Option<Act>,
    /// [`Fused::activations`]
    pub activations: Activations,
    /// x is a uniform buffer.
    pub constants: bool,
    /// Where weights are.
    pub store: Store,
}

/// Who works on a row together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Team {
    /// One invocation: best where invocations are CPU vector lanes.
    Lane,
    /// One invocation, but a subgroup loads activations together.
    Broadcast {
        /// Every subgroup has at least 8 invocations; else at least 4.
        eight: bool,
    },
    /// One subgroup.
    Subgroup,
    /// One workgroup.
    Workgroup,
}

impl Team {
    /// All kinds.
    pub const ALL: [Team; 5] = [
        Team::Lane,
        Team::Broadcast { eight: false },
        Team::Broadcast { eight: true },
        Team::Subgroup,
        Team::Workgroup,
    ];

    /// Is it for this adapter? Drivers that do not tell the size of subgroups say 0.
    pub fn runs_on(self, facts: &AdapterFacts) -> bool {
        match self {
            Team::Lane | Team::Workgroup => true,
            Team::Subgroup => facts.subgroups,
            Team::Broadcast { eight } => {
                let fewest = facts.subgroup_sizes[0];
                facts.subgroups && fewest >= 4 && eight == (fewest >= 8)
            }
        }
    }

    fn snippet(self) -> Snippet {
        match self {
            Team::Lane => snippet!("shared/team_lane.wgsl"),
            Team::Broadcast { .. } => snippet!("shared/team_broadcast.wgsl"),
            Team::Subgroup => snippet!("shared/team_subgroup.wgsl"),
            Team::Workgroup => snippet!("shared/team_workgroup.wgsl"),
        }
    }

    /// Class name, e.g. `matvec/subgroup`.
    pub fn class(self) -> &'static str {
        match self {
            Team::Lane => "matvec/lane",
            Team::Broadcast { .. } => "matvec/broadcast",
            Team::Subgroup => "matvec/subgroup",
            Team::Workgroup => "matvec/workgroup",
        }
    }

    /// Name without the kernel's.
    fn name(self) -> &'static str {
        self.class().trim_start_matches("matvec/")
    }
}

/// A way to run the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Who owns rows.
    pub team: Team,
    /// Invocations per workgroup.
    pub wg: u32,
    /// Rows per team.
    pub rows: u32,
    /// Columns per workgroup.
    pub cols: u32,
}

impl Variant {
    /// Sensible numbers for `team` on a GPU of `maker`, weights of `dtype` and up to `cols` columns at once. Several rows per
    /// team share every load of x; each costs registers, per column and for its block of weights.
    pub fn of(maker: Maker, team: Team, dtype: DType, cols: u32) -> Variant {
        use DType::{Q4_0, Q4_1, Q5_0, Q5_1, Q5K, Q6K};
        let (wg, rows) = match team {
            // On CPU adapters loads of x are most of the time: measured on llvmpipe, 2 to 4 rows are twice as fast as
            // one. Small workgroups keep all cores busy with narrow matrices.
            Team::Lane => (16, if cols == 1 || dtype.is_float() { 4 } else { 2 }),
            // A block of x, loaded and broadcast, serves all rows: the more the better, until registers run out (of one
            // column, of the formats whose weights take most) or the unrolled text takes too long to compile: measured on two
            // cores. The smallest workgroups share narrow matrices most evenly between cores.
            Team::Broadcast { .. } => {
                (8, if cols > 8 || cols == 1 && matches!(dtype, Q5K | Q6K) { 4 } else { 8 })
            }
            // Not measured by us: what llama.cpp's Metal and Vulkan backends take, four rows of four and five bits on Apple and
            // Intel, two on others, and two of what takes more registers.
            Team::Subgroup => {
                let light = matches!(dtype, Q4_0 | Q4_1 | Q5_0 | Q5_1);
                (64, if cols == 1 && light && maker != Maker::Other { 4 } else { 2 })
            }
            Team::Workgroup => (64, 2),
        };
        Variant { team, wg, rows, cols }
    }

    /// The class of checks that tells whether activations may be rounded to bytes.
    pub const INT8_CLASS: &'static str = "matvec/int8";

    /// Sensible numbers where activations are rounded to bytes, by a `team` of [`Team::Broadcast`]: measured, 8 rows are the
    /// fastest for any number of columns.
    pub fn int8(team: Team, cols: u32) -> Variant {
        Variant { team, wg: 8, rows: 8, cols }
    }

    /// What else than [`Variant::of`] may be faster on an adapter: (invocations, rows) of a team.
    fn others(team: Team) -> &'static [(u32, u32)] {
        match team {
            Team::Lane => &[(16, 1), (16, 2), (16, 4), (64, 1), (64, 2), (64, 4)],
            Team::Broadcast { .. } => &[(8, 2), (8, 4), (8, 8), (16, 2), (16, 4), (16, 8), (32, 4), (32, 8)],
            Team::Subgroup => &[
                (64, 1),
                (64, 2),
                (64, 4),
                (64, 8),
                (128, 1),
                (128, 2),
                (128, 4),
                (256, 1),
                (256, 2),
                (256, 4),
            ],
            Team::Workgroup => &[(64, 1), (64, 2), (64, 4), (128, 1), (128, 2), (256, 1), (256, 2)],
        }
    }

    /// Every variant worth trying on this adapter for `cols` columns at once.
    pub fn candidates(facts: &AdapterFacts, cols: u32) -> Vec<Variant> {
        let on = |team: Team| {
            Variant::others(team).iter().map(move |&(wg, rows)| Variant { team, wg, rows, cols })
        };
        let teams = Team::ALL.into_iter().filter(|team| team.runs_on(facts));
        teams.flat_map(on).filter(|variant| variant.is_sane(facts)).collect()
    }

    /// Within what every adapter can run, and compilers can unroll?
    fn is_sane(self, facts: &AdapterFacts) -> bool {
        let Variant { wg, rows, cols, .. } = self;
        wg.is_power_of_two()
            && (4..=facts.max_invocations.min(256)).contains(&wg)
            && (1..=8).contains(&rows)
            && rows * cols <= 64
    }

    /// `subgroup 64 × 4`: team, invocations per workgroup, rows per team.
    pub fn name(self) -> String {
        format!("{} {} × {}", self.team.name(), self.wg, self.rows)
    }

    /// The variant of this [`Variant::name`] for weights of `dtype` and `cols` columns, if it is one that this adapter
    /// might be tuned to, or a team's default: names come from files.
    pub fn named(name: &str, dtype: DType, cols: u32, facts: &AdapterFacts) -> Option<Variant> {
        let teams = Team::ALL.into_iter().filter(|team| team.runs_on(facts));
        let defaults = teams.map(|team| Variant::of(facts.maker(), team, dtype, cols));
        Variant::candidates(facts, cols).into_iter().chain(defaults).find(|variant| variant.name() == name)
    }

    /// Does it pay to read activations as a uniform buffer, where they are few? Measured on llvmpipe: a tenth less for eight
    /// columns, a fifth more for one.
    pub(super) fn reads_constants(self) -> bool {
        self.cols > 1 && matches!(self.team, Team::Lane | Team::Broadcast { .. })
    }

    /// Do invocations that run together have rows of their own, so that it matters where those are?
    fn owns_lanes_of_tiles(self) -> bool {
        matches!(self.team, Team::Lane | Team::Broadcast { .. }) && self.wg.is_multiple_of(Store::TILE as u32)
    }

    /// Rows that one workgroup covers for sure: with the largest subgroup there are the fewest teams.
    fn rows_per_workgroup(self, largest_subgroup: u32) -> u32 {
        let teams = match self.team {
            Team::Lane | Team::Broadcast { .. } => self.wg,
            // Drivers that do not tell the size (0 or 1) are taken to have one team per workgroup.
            Team::Subgroup if largest_subgroup < 4 => 1,
            Team::Subgroup => (self.wg / largest_subgroup.min(self.wg)).max(1),
            Team::Workgroup => 1,
        };
        teams * self.rows
    }
}

/// The variant for weights of `dtype`.
pub fn shader(dtype: DType, variant: Variant, kind: Kind) -> Shader {
    let mut consts = vec![
        ("WG", Const::U32(variant.wg)),
        ("ROWS", Const::U32(variant.rows)),
        ("COLS", Const::U32(variant.cols)),
        ("NORM", Const::Bool(kind.norm)),
        ("GLU", Const::Bool(kind.glu.is_some())),
        ("TILED", Const::Bool(kind.store == Store::Tiles && variant.owns_lanes_of_tiles())),
    ];
    let int8 = kind.activations == Activations::Int8;
    let (mut snippets, mut bound_as) = match int8 {
        true => weights::int8_loader(dtype, kind.store),
        false => weights::loader(dtype, kind.store),
    };
    snippets.extend([reduce::state(), variant.team.snippet(), kind.glu.unwrap_or(Act::Silu).snippet()]);
    match variant.team {
        Team::Broadcast { eight } => {
            consts.push(("EIGHT", Const::Bool(eight)));
            snippets.push(match int8 {
                true => snippet!("shared/broadcast_int8.wgsl"),
                false => snippet!("shared/broadcast.wgsl"),
            });
        }
        _ => snippets.push(snippet!("shared/x_own.wgsl")),
    }
    snippets.push(match kind.constants {
        true => snippet!("shared/x_constants.wgsl"),
        false => snippet!("shared/x_storage.wgsl"),
    });
    if kind.constants {
        bound_as.push(("x", Access::Constants));
    }
    let subgroups = matches!(variant.team, Team::Subgroup | Team::Broadcast { .. });
    Shader { spec: &SPEC, consts, snippets, bound_as, f16: false, subgroups }
}

/// One dispatch over a part of a matrix.
pub fn step(gpu: &Gpu, label: &str, variant: Variant, linear: Linear<'_>) -> Result<Step, GpuError> {
    fused_step(gpu, label, variant, linear, Fused::default())
}

/// One dispatch over a part of a matrix, with what is done on the way.
pub fn fused_step(
    gpu: &Gpu,
    label: &str,
    variant: Variant,
    linear: Linear<'_>,
    fused: Fused<'_>,
) -> Result<Step, GpuError> {
    let part = linear.part;
    assert!(
        fused.glu.is_none() || !linear.accumulate && part.rows.is_multiple_of(2),
        "{label}: gate and up rows"
    );
    assert!(
        fused.activations == Activations::F32
            || matches!(variant.team, Team::Broadcast { .. }) && INT8.contains(&part.dtype),
        "{label}: a way to multiply bytes"
    );
    // Pairs of rows stay together.
    let rows = if fused.glu.is_some() { variant.rows.next_multiple_of(2) } else { variant.rows };
    let variant = Variant { rows, ..variant };
    let rows_per_group = variant.rows_per_workgroup(gpu.facts().subgroup_sizes[1]);
    let z = match linear.of_logits {
        true => Extent::LogitsPer(variant.cols),
        false => Extent::TokensPer(variant.cols),
    };
    let grid = linear_grid((part.rows as u32).div_ceil(rows_per_group), z);
    let kind = kind(gpu, variant, linear, fused);
    let constants = kind.constants.then(|| linear.x.as_constants(gpu)).flatten();
    let shader = shader(part.dtype, variant, kind);
    let empty = gpu.empty();
    let norm = |norm: Norm<'_>| (norm.cols as u32, norm.eps, norm.weight.unit);
    let (norm_cols, norm_eps, norm_unit) = fused.norm.map_or((1, 0.0, 1.0), norm);
    let params = Params { linear: linear.params(), norm_cols, norm_eps, norm_unit };
    let both;
    let vectors = match (fused.norm, linear.bias) {
        (None, None) => &empty,
        (Some(norm), None) => &norm.weight.slice,
        (None, Some(bias)) => bias,
        (Some(norm), Some(bias)) => {
            both = joined(gpu, &norm.weight.slice, part.blocks() as u64 * BLOCK as u64 * 4, bias)?;
            &both
        }
    };
    let x = constants.as_ref().unwrap_or(linear.x);
    let bindings: [&dyn Bind; 6] = [&part.quants, &part.scales, x, vectors, linear.y, linear.state];
    let step = gpu.step(label, &shader, &bindings, params, grid)?;
    // Of a stack of parts, the first reads the norm.
    let norm_bytes = fused.norm.filter(|_| part.first_row == 0).map_or(0, |norm| norm.cols as u64 * 4);
    Ok(step.moving(part.bytes() + norm_bytes + linear.bias_bytes()))
}

/// What the shader of such a step does on the way.
pub fn kind(gpu: &Gpu, variant: Variant, linear: Linear<'_>, fused: Fused<'_>) -> Kind {
    Kind {
        norm: fused.norm.is_some(),
        glu: fused.glu,
        activations: fused.activations,
        constants: fused.few && variant.reads_constants() && linear.x.as_constants(gpu).is_some(),
        store: linear.part.store(),
    }
}

/// The weights of a norm, which take `norm_bytes`, and a bias in one buffer.
fn joined(gpu: &Gpu, norm: &Slice, norm_bytes: u64, bias: &Slice) -> Result<Slice, GpuError> {
    let slice = gpu.buffer("norm and bias", norm_bytes + bias.bytes)?;
    gpu.copy(norm, 0, &slice.first(norm_bytes.min(norm.bytes)))?;
    gpu.copy(bias, 0, &Slice { offset: slice.offset + norm_bytes, bytes: bias.bytes, ..slice.clone() })?;
    Ok(slice)
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for dtype in NATIVE {
        for team in Team::ALL {
            let with = |cols, kind| shader(dtype, Variant::of(Maker::Other, team, dtype, cols), kind);
            shaders.extend([1, 4, 16].map(|cols| with(cols, Kind::default())));
            shaders.push(with(4, Kind { norm: true, glu: Some(Act::GeluErf), ..Kind::default() }));
            shaders.push(with(1, Kind { norm: true, ..Kind::default() }));
            let variant = Variant::of(Maker::Apple, team, dtype, 1);
            if variant != Variant::of(Maker::Other, team, dtype, 1) {
                shaders.push(shader(dtype, variant, Kind { norm: true, ..Kind::default() }));
            }
            if Variant::of(Maker::Other, team, dtype, 8).reads_constants() {
                shaders.push(with(8, Kind { constants: true, ..Kind::default() }));
                let constants = true;
                shaders
                    .push(with(4, Kind { norm: true, glu: Some(Act::Silu), constants, ..Kind::default() }));
                let tiles = Kind { store: Store::Tiles, ..Kind::default() };
                shaders.push(with(1, Kind { norm: true, ..tiles }));
                shaders.push(with(4, Kind { glu: Some(Act::GeluTanh), constants, ..tiles }));
            }
        }
    }
    for dtype in INT8 {
        for (eight, store) in
            [(true, Store::Rows), (false, Store::Rows), (true, Store::Tiles), (false, Store::Tiles)]
        {
            let kind = Kind { activations: Activations::Int8, store, ..Kind::default() };
            let with = |cols, kind| shader(dtype, Variant::int8(Team::Broadcast { eight }, cols), kind);
            shaders.push(with(1, Kind { norm: true, ..kind }));
            shaders.push(with(4, Kind { norm: true, glu: Some(Act::Silu), ..kind }));
            shaders.push(with(8, Kind { constants: true, ..kind }));
        }
    }
    shaders.extend(Act::ALL.map(|act| {
        let variant = Variant::of(Maker::Apple, Team::Subgroup, DType::Q4_0, 1);
        shader(DType::Q4_0, variant, Kind { norm: true, glu: Some(act), ..Kind::default() })
    }));
    shaders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_found_by_their_names() {
        let mut facts = crate::gpu::adapters().remove(0).facts;
        facts.subgroups = true;
        facts.subgroup_sizes = [8, 32];
        for variant in Variant::candidates(&facts, 4) {
            assert_eq!(Variant::named(&variant.name(), DType::F16, 4, &facts), Some(variant));
        }
        // What a file says is no reason to believe it.
        for name in [
            "",
            "lane",
            "lane 16",
            "lane 16 × 0",
            "lane 3 × 2",
            "lane 4096 × 1",
            "warp 64 × 2",
            "lane 64 × 9",
            "broadcast 4 × 2",
        ] {
            assert_eq!(Variant::named(name, DType::F16, 4, &facts), None, "{name}");
        }
        facts.subgroups = false;
        assert_eq!(Variant::named("subgroup 64 × 4", DType::F16, 1, &facts), None);
    }
}
