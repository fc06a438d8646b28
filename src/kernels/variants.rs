//! Which variants a device runs, and the list of all checks for it.

use crate::base::{Activations, AdapterFacts, AdapterKind, DType, Maker};
use crate::gpu::graph::Split;
use crate::gpu::{Gpu, GpuError, Step};
use crate::kernels::check::Check;
use crate::kernels::linear::Linear;
use crate::kernels::matmul::{self, Tile};
use crate::kernels::matvec::{self, Team};
use crate::kernels::reduce::Reduce;
use crate::kernels::weights::{INT8, NATIVE, Store};
use crate::kernels::{
    advance, argmax, arithmetic, attend_decode, attend_merge, attend_prefill, embed, fill, glu,
    matvec_checks, penalize, read, rms_norm, rope_kv, sample, top_k,
};

/// Decode attention over at most so many positions is not split.
const SPLIT_ABOVE: u32 = 4 * 64;

/// KV heads of most models.
pub const TYPICAL_KV_HEADS: usize = 8;

/// See [`Variants::split`].
pub fn split_of(groups: u32, kv_heads: usize) -> Split {
    let splits = (groups / (kv_heads as u32).max(1)).clamp(1, MOST_SPLITS);
    Split { above: SPLIT_ABOVE, splits, window: 0 }
}

/// Most parts that decode attention is split into: buffers have room for them.
pub const MOST_SPLITS: u32 = 16;

/// Work that a matvec variant is chosen for: weights of a type, and a number of columns at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatvecClass {
    /// Type of the weights.
    pub dtype: DType,
    /// One of [`MatvecClass::COLUMNS`].
    pub columns: u32,
}

impl MatvecClass {
    /// Each stands for all numbers above the one before. More columns than the last are run as they are by default.
    pub const COLUMNS: [u32; 3] = [1, 4, 8];

    /// The class of this work.
    pub fn of(dtype: DType, cols: u32) -> Option<MatvecClass> {
        let columns = MatvecClass::COLUMNS.into_iter().find(|columns| cols <= *columns)?;
        Some(MatvecClass { dtype, columns })
    }

    /// `matvec q4_0 × 4`
    pub fn name(self) -> String {
        format!("matvec {} × {}", self.dtype, self.columns)
    }
}

/// Work that the tuner chooses a variant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Matrices with few columns.
    Matvec(MatvecClass),
    /// Matrices with many: prompts.
    Prompt(DType),
    /// Decode attention over more than a few positions.
    Attention,
}

impl Class {
    /// `matvec q4_0 × 4`, `prompt q4_0`, `attention`
    pub fn name(self) -> String {
        match self {
            Class::Matvec(class) => class.name(),
            Class::Prompt(dtype) => format!("prompt {dtype}"),
            Class::Attention => "attention".to_owned(),
        }
    }
}

/// A way to do work of a [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// [`Class::Matvec`]
    Matvec(matvec::Variant),
    /// [`Class::Prompt`]
    Prompt(Many),
    /// [`Class::Attention`]: as [`Variants::attention_groups`].
    Attention(u32),
}

impl Way {
    /// What it differs in from others of its class.
    pub fn name(self) -> String {
        match self {
            Way::Matvec(variant) => variant.name(),
            Way::Prompt(Many::Matmul(matmul::Variant { tile, bm, bn })) => {
                format!("tile {bm} × {bn} in {}", if tile == Tile::F16 { "f16" } else { "f32" })
            }
            Way::Prompt(Many::Matvec(variant)) => format!("{} × {} columns", variant.name(), variant.cols),
            Way::Attention(groups) => format!("{groups} workgroups"),
        }
    }
}

/// The variants chosen for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variants {
    /// Who made the adapter.
    pub maker: Maker,
    /// Who owns rows in matvec, unless [`Variants::tuned`] says otherwise.
    pub team: Team,
    /// Invocations that run at once, whether a workgroup has so many or not: fewer would be idle lanes.
    pub subgroup: u32,
    /// Matvec variants that the tuner found faster.
    pub tuned: Vec<(MatvecClass, matvec::Variant)>,
    /// Kernels for prompts that it found faster.
    pub tuned_many: Vec<(DType, Many)>,
    /// How weights are stored.
    pub store: Store,
    /// Matvec can round activations to bytes.
    pub int8: bool,
    /// How workgroups sum.
    pub reduce: Reduce,
    /// The one size of subgroups, where workgroups of decode attention shall be one.
    pub attention_subgroup: Option<u32>,
    /// Workgroups that decode attention is split into, about: [`Variants::split`].
    pub attention_groups: u32,
    /// The same, had the tuner found nothing better.
    pub attention_groups_untuned: u32,
    /// Staged weights of matmul where rounding them to 11 bits is acceptable.
    pub tile: Tile,
    /// Sampling on the GPU; else the host does it.
    pub sample: bool,
    /// The repetition penalty likewise.
    pub penalize: bool,
    /// Steps that feed each other; else the host does it.
    pub advance: bool,
}

impl Variants {
    /// What the tuner preferred on the adapter and else sensible defaults, without the classes that failed verification on
    /// it. CPU adapters run one row per vector lane; GPUs one row group per subgroup.
    pub fn of(gpu: &Gpu) -> Variants {
        let facts = gpu.facts();
        let cpu = facts.kind == AdapterKind::Cpu;
        let teams = match cpu {
            true => vec![
                Team::Broadcast { eight: true },
                Team::Broadcast { eight: false },
                Team::Lane,
                Team::Workgroup,
            ],
            false => vec![Team::Subgroup, Team::Workgroup, Team::Lane],
        };
        let good = |team: &Team| team.runs_on(facts) && !gpu.is_banned(team.class());
        // The last one runs everywhere; when even that is banned, the check of what is in use tells.
        let team = teams.iter().copied().find(good).unwrap_or(teams[teams.len() - 1]);
        let classes = NATIVE
            .iter()
            .flat_map(|dtype| MatvecClass::COLUMNS.map(|n| MatvecClass { dtype: *dtype, columns: n }));
        let preferred = |class: MatvecClass| {
            let variant =
                matvec::Variant::named(&gpu.preferred(&class.name())?, class.dtype, class.columns, facts)?;
            good(&variant.team).then_some((class, variant))
        };
        let subgroups = facts.subgroups && !gpu.is_banned("reduce/subgroup");
        let attention_subgroup = attend_decode::one_size(facts)
            .filter(|_| cpu && subgroups && !gpu.is_banned(attend_decode::SUBGROUP_SPEC.name));
        // A GPU has more cores than a model has KV heads. A CPU has few, which want even shares of whatever number of heads.
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let attention_groups = if cpu { (3 * cores).max(12) } else { 256 };
        let f16 = facts.f16 && !cpu && !gpu.is_banned("matmul/f16");
        let mut variants = Variants {
            maker: facts.maker(),
            team,
            subgroup: facts.subgroup_sizes[1],
            tuned: classes.filter_map(preferred).collect(),
            tuned_many: Vec::new(),
            store: Store::of(gpu),
            int8: matches!(team, Team::Broadcast { .. }) && !gpu.is_banned(matvec::Variant::INT8_CLASS),
            reduce: if subgroups { Reduce::Subgroup } else { Reduce::Workgroup },
            attention_subgroup,
            attention_groups,
            attention_groups_untuned: attention_groups,
            tile: if f16 { Tile::F16 } else { Tile::F32 },
            sample: !gpu.is_banned("sample"),
            penalize: !gpu.is_banned("penalize"),
            advance: !gpu.is_banned("advance"),
        };
        let preferred = |variants: &Variants, class: Class| {
            let name = gpu.preferred(&class.name())?;
            variants.candidates(facts, class).into_iter().find(|way| way.name() == name)
        };
        for dtype in NATIVE {
            if let Some(Way::Prompt(many)) = preferred(&variants, Class::Prompt(dtype)) {
                variants.tuned_many.push((dtype, many));
            }
        }
        if let Some(Way::Attention(groups)) = preferred(&variants, Class::Attention) {
            variants.attention_groups = groups;
        }
        variants
    }

    /// When decode attention of a model with so many KV heads is split over positions: into as many parts as make no more
    /// than the wanted workgroups for one sequence, where each serves a KV head.
    pub fn split(&self, kv_heads: usize) -> Split {
        split_of(self.attention_groups, kv_heads)
    }

    /// What runs for a class of work.
    pub fn way(&self, class: Class) -> Way {
        match class {
            Class::Matvec(MatvecClass { dtype, columns }) => Way::Matvec(self.matvec(dtype, columns)),
            Class::Prompt(dtype) => Way::Prompt(self.many(dtype, self.store)),
            Class::Attention => Way::Attention(self.attention_groups),
        }
    }

    /// What ran, had the tuner found nothing for this class.
    pub fn way_untuned(&self, class: Class) -> Way {
        match class {
            Class::Matvec(MatvecClass { dtype, columns }) => Way::Matvec(self.matvec_untuned(dtype, columns)),
            Class::Prompt(dtype) => Way::Prompt(self.many_untuned(dtype, self.store)),
            Class::Attention => Way::Attention(self.attention_groups_untuned),
        }
    }

    /// What else might, on an adapter like this; what runs may be among them.
    pub fn candidates(&self, facts: &AdapterFacts, class: Class) -> Vec<Way> {
        // Not what was tuned for as many columns: names of ways must not change with that.
        let by_columns = |dtype| {
            [4, 8, 16].into_iter().map(move |n| Way::Prompt(Many::Matvec(self.matvec_untuned(dtype, n))))
        };
        match class {
            Class::Matvec(MatvecClass { columns, .. }) => {
                matvec::Variant::candidates(facts, columns).into_iter().map(Way::Matvec).collect()
            }
            Class::Prompt(dtype) if self.store == Store::Tiles => by_columns(dtype).collect(),
            Class::Prompt(dtype) => {
                let tile = self.matmul(dtype).tile;
                let tiles = matmul::SIZES.into_iter().map(|[bm, bn]| matmul::Variant { tile, bm, bn });
                tiles.map(|variant| Way::Prompt(Many::Matmul(variant))).chain(by_columns(dtype)).collect()
            }
            // Such that with the KV heads that they are tried on every one differs from the default.
            Class::Attention => {
                let parts = |groups| split_of(groups, TYPICAL_KV_HEADS).splits;
                let other = |groups: &u32| parts(*groups) != parts(self.attention_groups_untuned);
                [8, 16, 32, 64, 256].into_iter().filter(other).map(Way::Attention).collect()
            }
        }
    }

    /// Is this class of checks about a variant in use? Classes without alternatives always are.
    pub fn uses(&self, class: &str) -> bool {
        match class.split_once('/') {
            _ if class == matvec::Variant::INT8_CLASS => self.int8,
            Some(("matvec", _)) => {
                let tuned = self.tuned.iter().map(|(_, variant)| variant.team);
                tuned.chain([self.team]).any(|team| team.class() == class)
            }
            Some(("reduce", name)) => name == self.reduce.name(),
            // Exact weights take the f32 tile on every adapter.
            Some(("matmul", _)) => {
                [Tile::F32, self.tile].map(|tile| matmul::Variant::of(tile).class()).contains(&class)
            }
            _ if class == attend_decode::SUBGROUP_SPEC.name => self.attention_subgroup.is_some(),
            _ if class == Store::TILES_CLASS => self.store == Store::Tiles,
            _ if class == "sample" => self.sample,
            _ if class == "advance" => self.advance,
            _ => class != "penalize" || self.penalize,
        }
    }

    /// The matvec variant for weights of `dtype` and up to `cols` columns at once.
    pub fn matvec(&self, dtype: DType, cols: u32) -> matvec::Variant {
        let class = MatvecClass::of(dtype, cols);
        let tuned = self.tuned.iter().find(|(tuned, _)| Some(*tuned) == class);
        match tuned {
            Some((_, variant)) => matvec::Variant { cols, ..*variant },
            None => self.matvec_untuned(dtype, cols),
        }
    }

    /// The same where activations may be rounded, and how they are read then.
    pub fn matvec_with(
        &self,
        activations: Activations,
        dtype: DType,
        store: Store,
        cols: u32,
    ) -> (matvec::Variant, Activations) {
        // Measured: on SwiftShader, which stores rows, 1.3 to 2.3 times as fast for 1 to 8 columns; on llvmpipe, which
        // stores tiles, 1.07 to 1.11 times for one column, and slower for more.
        let pays = store == Store::Rows || cols == 1;
        match activations {
            Activations::Int8 if self.int8 && pays && INT8.contains(&dtype) => {
                let variant = matvec::Variant::int8(self.team, cols);
                (matvec::Variant { wg: variant.wg.max(self.subgroup.min(64)), ..variant }, activations)
            }
            _ => (self.matvec(dtype, cols), Activations::F32),
        }
    }

    /// Does anything differ from what it were untuned?
    pub fn is_tuned(&self) -> bool {
        let matvec =
            |(class, variant): &(MatvecClass, _)| *variant != self.matvec_untuned(class.dtype, class.columns);
        let many = |(dtype, many): &(DType, Many)| *many != self.many_untuned(*dtype, self.store);
        self.tuned.iter().any(matvec)
            || self.tuned_many.iter().any(many)
            || self.attention_groups != self.attention_groups_untuned
    }

    /// As [`Variants::matvec`], were nothing tuned.
    pub fn matvec_untuned(&self, dtype: DType, cols: u32) -> matvec::Variant {
        let variant = matvec::Variant::of(self.maker, self.team, dtype, cols);
        matvec::Variant { wg: variant.wg.max(self.subgroup.min(64)), ..variant }
    }

    /// How many columns (a prompt) are multiplied with weights of `dtype`, stored so.
    pub fn many(&self, dtype: DType, store: Store) -> Many {
        let tuned = self.tuned_many.iter().find(|(tuned, _)| *tuned == dtype);
        if let Some((_, many)) = tuned
            && (store == Store::Rows || matches!(many, Many::Matvec(_)))
        {
            return *many;
        }
        self.many_untuned(dtype, store)
    }

    /// As [`Variants::many`], were nothing tuned for prompts.
    pub fn many_untuned(&self, dtype: DType, store: Store) -> Many {
        match store {
            // Workgroup memory is only more memory to a CPU, and barriers cost it dearly. Measured: 9 times as fast on
            // llvmpipe, which stores tiles; 0.7 times on SwiftShader, which does not.
            Store::Tiles => Many::Matvec(self.matvec(dtype, MANY_COLUMNS)),
            Store::Rows => Many::Matmul(self.matmul(dtype)),
        }
    }

    /// The matmul variant for weights of `dtype`: weights of more than 11 bits are not rounded.
    pub fn matmul(&self, dtype: DType) -> matmul::Variant {
        let exact = matches!(dtype, DType::F32 | DType::BF16);
        matmul::Variant::of(if exact { Tile::F32 } else { self.tile })
    }
}

/// Columns that matvec takes at once of many: more cost registers that CPUs do not have.
const MANY_COLUMNS: u32 = 8;

/// A kernel for many columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Many {
    /// By tiles in workgroup memory.
    Matmul(matmul::Variant),
    /// A few columns at a time.
    Matvec(matvec::Variant),
}

impl Many {
    /// Columns that it takes together.
    pub fn together(self) -> u32 {
        match self {
            Many::Matmul(variant) => variant.bn,
            Many::Matvec(variant) => variant.cols,
        }
    }

    /// What the kernel of such a step has to pass.
    pub fn checks_of(self, gpu: &Gpu, linear: Linear<'_>) -> Vec<Check> {
        let dtype = linear.part.dtype;
        match self {
            Many::Matmul(variant) => matmul::checks_of(dtype, variant),
            Many::Matvec(variant) => {
                let kind = matvec::kind(gpu, variant, linear, matvec::Fused::default());
                matvec_checks::checks_of(dtype, variant, kind)
            }
        }
    }

    /// One dispatch over a part of a matrix.
    pub fn step(self, gpu: &Gpu, label: &str, linear: Linear<'_>) -> Result<Step, GpuError> {
        match self {
            Many::Matmul(variant) => matmul::step(gpu, label, variant, linear),
            Many::Matvec(variant) => matvec::step(gpu, label, variant, linear),
        }
    }
}

/// Every check that this device can run.
pub fn checks(gpu: &Gpu) -> Vec<Check> {
    let facts = gpu.facts();
    let mut checks = embed::checks();
    checks.extend(rms_norm::checks(facts.subgroups));
    checks.extend(matvec_checks::all(facts));
    checks.extend(matmul::checks(facts.f16));
    checks.extend(rope_kv::checks(facts.subgroups));
    checks.extend(attend_decode::checks(facts));
    checks.extend(attend_merge::checks());
    checks.extend(attend_prefill::checks());
    checks.extend(glu::checks());
    checks.extend(argmax::checks());
    checks.extend(top_k::checks());
    checks.extend(penalize::checks());
    checks.extend(sample::checks());
    checks.extend(advance::checks());
    checks.extend(fill::checks());
    checks.extend(read::checks(facts));
    checks.extend(arithmetic::checks(facts.f16));
    checks.retain(|check| check.class != Store::TILES_CLASS || Store::Tiles.runs_on(facts));
    checks
}
