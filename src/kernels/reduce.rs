//! How a workgroup sums: the two snippets that define `wg_sum4` and `wg_max4`.

use crate::gpu::Snippet;
use crate::kernels::weights::snippet;

/// Reduction over a workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduce {
    /// A tree in workgroup memory.
    Workgroup,
    /// Subgroup operations, then their results through workgroup memory.
    Subgroup,
}

impl Reduce {
    /// Both ways.
    pub const ALL: [Reduce; 2] = [Reduce::Workgroup, Reduce::Subgroup];

    /// The file.
    pub fn snippet(self) -> Snippet {
        match self {
            Reduce::Workgroup => snippet!("shared/reduce_workgroup.wgsl"),
            Reduce::Subgroup => snippet!("shared/reduce_subgroup.wgsl"),
        }
    }

    /// Does it need subgroup operations?
    pub fn subgroups(self) -> bool {
        self == Reduce::Subgroup
    }

    /// Name in variant classes.
    pub fn name(self) -> &'static str {
        match self {
            Reduce::Workgroup => "workgroup",
            Reduce::Subgroup => "subgroup",
        }
    }
}

/// The snippet with `struct State`.
pub fn state() -> Snippet {
    snippet!("shared/state.wgsl")
}
