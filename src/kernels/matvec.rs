//! Matrix × few columns: decoding. `shaders/matvec.wgsl`; what it computes stands in [`linear`].

use crate::base::{AdapterFacts, DType};
use crate::gpu::graph::linear_grid;
use crate::gpu::{Const, Extent, Gpu, GpuError, KernelSpec, Shader, Snippet, Step};
use crate::kernels::check::Check;
use crate::kernels::linear::{self, Case, Linear};
use crate::kernels::reduce;
use crate::kernels::weights::{self, NATIVE, snippet};

/// The kernel.
pub static SPEC: KernelSpec = KernelSpec {
    name: "matvec",
    wgsl: include_str!("../../shaders/matvec.wgsl"),
    bindings: linear::BINDINGS,
    params: linear::PARAMS,
};

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
    /// Sensible numbers for `team`, weights of `dtype` and up to `cols` columns at once. Several rows per team share
    /// every load of x; each costs registers, per column and for its block of weights.
    pub fn of(team: Team, dtype: DType, cols: u32) -> Variant {
        let (wg, rows) = match team {
            // On CPU adapters loads of x are most of the time: measured on llvmpipe, 2 to 4 rows are twice as fast as
            // one. Small workgroups keep all cores busy with narrow matrices.
            Team::Lane => (16, if cols == 1 || dtype.is_float() { 4 } else { 2 }),
            // The broadcasts of a block of x serve all rows: with 8 there are too few registers.
            Team::Broadcast { .. } => (16, 4),
            Team::Subgroup => (64, if cols == 1 { 4 } else { 2 }),
            Team::Workgroup => (64, 2),
        };
        Variant { team, wg, rows, cols }
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
pub fn shader(dtype: DType, variant: Variant) -> Shader {
    let mut consts = vec![
        ("WG", Const::U32(variant.wg)),
        ("ROWS", Const::U32(variant.rows)),
        ("COLS", Const::U32(variant.cols)),
    ];
    let mut snippets = weights::loader(dtype);
    snippets.extend([reduce::state(), variant.team.snippet()]);
    match variant.team {
        Team::Broadcast { eight } => consts.push(("EIGHT", Const::Bool(eight))),
        _ => snippets.push(snippet!("shared/x_own.wgsl")),
    }
    let subgroups = matches!(variant.team, Team::Subgroup | Team::Broadcast { .. });
    Shader { spec: &SPEC, consts, snippets, f16: false, subgroups }
}

/// One dispatch over a part of a matrix.
pub fn step(gpu: &Gpu, label: &str, variant: Variant, linear: Linear<'_>) -> Result<Step, GpuError> {
    let rows_per_group = variant.rows_per_workgroup(gpu.facts().subgroup_sizes[1]);
    let z = match linear.of_logits {
        true => Extent::LogitsPer(variant.cols),
        false => Extent::TokensPer(variant.cols),
    };
    let grid = linear_grid((linear.part.rows as u32).div_ceil(rows_per_group), z);
    let shader = shader(linear.part.dtype, variant);
    let step = gpu.step(label, &shader, &linear.bindings(&gpu.empty()), linear.params(), grid)?;
    Ok(step.moving(linear.part.bytes()))
}

/// Every variant, for the shader tests.
pub fn all() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for dtype in NATIVE {
        for team in Team::ALL {
            shaders.extend([1, 4, 16].map(|cols| shader(dtype, Variant::of(team, dtype, cols))));
        }
    }
    shaders
}

/// Every type × team × odd shapes.
pub fn checks(facts: &AdapterFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    for dtype in NATIVE {
        for team in Team::ALL.into_iter().filter(|team| team.runs_on(facts)) {
            for (i, &cols) in linear::widths(dtype).iter().enumerate() {
                for (rows, n, per_group, epilogue) in [
                    (1, 1, 1, false),
                    (67, 1, 1, true),
                    (130, 7, 4, true),
                    (67, 3, 2, false),
                    (67, 13, 16, true),
                ] {
                    let case = Case { rows, cols, n, epilogue };
                    let label = format!("{dtype} [{rows}, {cols}] × {n}, {per_group} at once");
                    let variant = Variant::of(team, dtype, per_group);
                    let run = move |gpu: &Gpu, linear: Linear<'_>| step(gpu, "check", variant, linear);
                    let check = linear::check("matvec", team.class().into(), label, dtype, case, 0.0, run);
                    let quick = i == 1 && n == 1 && rows == 67 && weights::QUICK.contains(&dtype);
                    checks.push(check.quick(quick));
                }
            }
        }
    }
    checks
}
