//! Every class of work by other variants than the default, as the tuner might find.

use anygpu::base::AdapterKind;
use anygpu::gpu::Gpu;
use anygpu::kernels::matvec::Team;
use anygpu::kernels::variants::{Class, MatvecClass, Variants, Way};
use anygpu::kernels::weights::NATIVE;

/// Different sets of other variants that [`prefer_others`] knows.
pub(crate) const SETS: usize = 3;

/// Has a device that prefers nothing yet take another way than its default for every class of work.
pub(crate) fn prefer_others(gpu: &Gpu, set: usize) {
    let (facts, default) = (gpu.facts(), Variants::of(gpu));
    for dtype in NATIVE {
        let matvec = MatvecClass::COLUMNS.map(|columns| Class::Matvec(MatvecClass { dtype, columns }));
        for (i, class) in matvec.into_iter().chain([Class::Prompt(dtype), Class::Attention]).enumerate() {
            let mut others = default.candidates(facts, class);
            // On the cores of a CPU barriers make rows of whole workgroups 50 times as slow: no tuner's choice.
            let slow = |way: &Way| matches!(way, Way::Matvec(v) if v.team == Team::Workgroup);
            others.retain(|way| !(facts.kind == AdapterKind::Cpu && slow(way)));
            others.retain(|way| *way != default.way(class));
            let way = others[((set + i) % SETS * others.len() + others.len() / 2) / SETS];
            gpu.prefer(&class.name(), &way.name());
            assert_eq!(Variants::of(gpu).way(class), way, "{}", class.name());
        }
    }
}
