//! What is checked of the matrix × few columns kernel: every type × team × odd shapes, on every adapter.

use crate::base::{Activations, AdapterFacts, DType};
use crate::gpu::Gpu;
use crate::kernels::check::Check;
use crate::kernels::glu::Act;
use crate::kernels::linear::{self, Case, Form, Linear};
use crate::kernels::matvec::{Fused, Kind, Team, Variant, fused_step};
use crate::kernels::weights::{self, INT8, NATIVE, Store};

/// All of them.
pub fn all(facts: &AdapterFacts) -> Vec<Check> {
    let mut checks = Vec::new();
    for dtype in NATIVE {
        for team in Team::ALL.into_iter().filter(|team| team.runs_on(facts)) {
            for (i, &width) in linear::widths(dtype).iter().enumerate() {
                for (rows, n, per_group, form) in [
                    (1, 1, 1, Form::Plain),
                    (67, 1, 1, Form::Epilogue),
                    (130, 7, 4, Form::Epilogue),
                    (66, 3, 2, Form::Norm),
                    (66, 2, 1, Form::HugeNorm),
                    (66, 1, 1, Form::VanishingNorm),
                    (67, 13, 16, Form::Epilogue),
                    (134, 1, 1, Form::NormGlu(Act::ALL[i % 3])),
                    (66, 5, 4, Form::NormGlu(Act::ALL[(i + 1) % 3])),
                ] {
                    // The widest takes longest to compile: for one type of each way to load.
                    if per_group == 16 && !weights::QUICK.contains(&dtype) {
                        continue;
                    }
                    let variant = Variant::of(facts.maker(), team, dtype, per_group);
                    let plain = rows == 67 && n == 1;
                    let glu = rows == 66 && n == 5;
                    let accumulated = rows == 130;
                    let short = i == 1 && weights::QUICK.contains(&dtype);
                    let (activations, store) = (Activations::F32, Store::Rows);
                    let case = Case { rows, cols: width, n, form, few: false, store, activations };
                    checks.push(check(dtype, variant, case).quick(short && (plain || glu)));
                    if variant.reads_constants() && (glu || accumulated) {
                        checks.push(check(dtype, variant, Case { few: true, ..case }).quick(short));
                    }
                }
            }
        }
    }
    checks.extend(NATIVE.into_iter().flat_map(|dtype| tile_checks(facts, dtype)));
    checks.extend(INT8.into_iter().flat_map(|dtype| int8_checks(facts, dtype)));
    checks
}

/// Weights in tiles, for the team that CPU adapters use: rows that fill no tile, halves of gates and ups that begin within
/// one, quants of several lines of texels.
fn tile_checks(facts: &AdapterFacts, dtype: DType) -> Vec<Check> {
    let teams = [Team::Broadcast { eight: true }, Team::Broadcast { eight: false }, Team::Lane];
    let team = teams.into_iter().find(|team| team.runs_on(facts)).unwrap_or(Team::Lane);
    let cols = *linear::widths(dtype).last().expect("every type has widths");
    let cases = [
        (67, 1, 1, Form::Epilogue),
        (134, 1, 1, Form::NormGlu(Act::Silu)),
        // As prompts, too.
        (130, 13, 8, Form::Epilogue),
        (66, 5, 4, Form::NormGlu(Act::GeluTanh)),
    ];
    let quick = weights::QUICK.contains(&dtype);
    let check = |(rows, n, per_group, form)| {
        let (activations, store) = (Activations::F32, Store::Tiles);
        let case = Case { rows, cols, n, form, few: n > 1, store, activations };
        check(dtype, Variant::of(facts.maker(), team, dtype, per_group), case).quick(quick && per_group != 4)
    };
    cases.map(check).into()
}

/// Activations rounded to bytes, all that is done on the way, for both ways to store weights.
fn int8_checks(facts: &AdapterFacts, dtype: DType) -> Vec<Check> {
    let teams = [Team::Broadcast { eight: true }, Team::Broadcast { eight: false }];
    let Some(team) = teams.into_iter().find(|team| team.runs_on(facts)) else { return Vec::new() };
    let mut checks = Vec::new();
    for store in [Store::Rows, Store::Tiles].into_iter().filter(|store| store.runs_on(facts)) {
        for (i, &width) in linear::widths(dtype).iter().enumerate() {
            for (rows, n, per_group, form) in [
                (1, 1, 1, Form::Plain),
                (67, 1, 1, Form::Epilogue),
                (130, 7, 4, Form::Epilogue),
                (66, 3, 2, Form::Norm),
                (66, 2, 1, Form::HugeNorm),
                (134, 1, 1, Form::NormGlu(Act::ALL[i % 3])),
                (66, 5, 8, Form::NormGlu(Act::ALL[(i + 1) % 3])),
            ] {
                let activations = Activations::Int8;
                let case = Case { rows, cols: width, n, form, few: n > 1, store, activations };
                let quick = i == 1 && matches!(rows, 66 | 67) && !matches!(n, 2 | 3);
                checks.push(check(dtype, Variant::int8(team, per_group), case).quick(quick));
            }
        }
    }
    checks
}

/// What a variant has to pass before the tuner may choose it: all it does on the way, with more and fewer rows and
/// columns than it takes at once.
pub fn of(dtype: DType, variant: Variant, store: Store) -> Vec<Check> {
    let n = variant.cols as usize;
    let widest = *linear::widths(dtype).last().expect("every type has widths");
    let forms = [
        (1, n, Form::Plain),
        (67, n, Form::Epilogue),
        (131, 2 * n - 1, Form::Norm),
        (134, n.max(2) - 1, Form::NormGlu(Act::Silu)),
    ];
    let ways = if variant.reads_constants() { &[false, true][..] } else { &[false] };
    let cases = forms.into_iter().flat_map(|(rows, n, form)| {
        let activations = Activations::F32;
        ways.iter().map(move |few| Case { rows, cols: widest, n, form, few: *few, store, activations })
    });
    cases.map(|case| check(dtype, variant, case)).collect()
}

/// What a variant has to pass before a model runs it on weights of `dtype`: the very pipeline, with more and fewer
/// columns than it takes at once.
pub fn checks_of(dtype: DType, variant: Variant, kind: Kind) -> Vec<Check> {
    let n = variant.cols as usize;
    let Kind { norm, glu, activations, constants, store } = kind;
    let cols = *linear::widths(dtype).last().expect("every type has widths");
    let case = |(rows, n, form)| Case { rows, cols, n, form, few: constants, store, activations };
    // More columns would not be bound as constants.
    let more = if constants { n.max(2) - 1 } else { 2 * n - 1 };
    let cases = match (norm, glu) {
        (_, Some(act)) => vec![(134, n, Form::NormGlu(act)), (66, n.max(2) - 1, Form::NormGlu(act))],
        (true, None) => vec![(66, n, Form::Norm), (131, more, Form::Norm), (66, n, Form::HugeNorm)],
        (false, None) => vec![(1, n, Form::Plain), (67, more, Form::Epilogue)],
    };
    cases.into_iter().map(|shape| check(dtype, variant, case(shape))).collect()
}

fn check(dtype: DType, variant: Variant, case: Case) -> Check {
    let Case { rows, cols, n, form, few, store, activations } = case;
    let from = if few { ", x uniform" } else { "" };
    let (bytes, class) = match activations {
        Activations::F32 => ("", case.class(variant.team.class())),
        Activations::Int8 => (", int8", Variant::INT8_CLASS.to_owned()),
    };
    let label = format!("{dtype} [{rows}, {cols}] × {n}, {} at once{form}{from}{store}{bytes}", variant.cols);
    let run = move |gpu: &Gpu, linear: Linear<'_>, fused: Fused<'_>| {
        fused_step(gpu, "check", variant, linear, fused)
    };
    linear::check("matvec", class, label, dtype, case, 0.0, run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Maker;
    use crate::gpu::{AdapterChoice, GpuOptions};

    /// Numbers that no adapter here would get are right all the same.
    #[test]
    fn what_other_makers_get_computes_correctly() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
        if !Team::Subgroup.runs_on(gpu.facts()) {
            return;
        }
        let mut seen = Vec::new();
        for maker in [Maker::Apple, Maker::Intel, Maker::Other] {
            for (dtype, cols) in weights::QUICK.into_iter().flat_map(|dtype| [(dtype, 1), (dtype, 4)]) {
                let variant = Variant::of(maker, Team::Subgroup, dtype, cols);
                if seen.contains(&(dtype, variant)) {
                    continue;
                }
                seen.push((dtype, variant));
                for check in of(dtype, variant, Store::Rows) {
                    assert!(check.run(&gpu).expect("the device stays").passed(), "{maker:?} {}", check.case);
                }
            }
        }
    }

    /// Each way to read activations passes with its own reference and fails with the other's.
    #[test]
    fn checks_tell_rounded_activations_from_others() {
        let gpu = Gpu::open(&AdapterChoice::Auto, GpuOptions::default()).expect("an adapter");
        let teams = [Team::Broadcast { eight: true }, Team::Broadcast { eight: false }];
        let Some(team) = teams.into_iter().find(|team| team.runs_on(gpu.facts())) else { return };
        for dtype in INT8 {
            for form in [Form::Plain, Form::Norm, Form::Epilogue] {
                for (wanted, done) in
                    Activations::ALL.into_iter().flat_map(|a| Activations::ALL.map(|b| (a, b)))
                {
                    let (few, store, activations) = (false, Store::Rows, wanted);
                    let case = Case { rows: 67, cols: 256, n: 1, form, few, store, activations };
                    let run = move |gpu: &Gpu, linear: Linear<'_>, fused: Fused<'_>| {
                        let fused = Fused { activations: done, ..fused };
                        fused_step(gpu, "check", Variant::int8(team, 1), linear, fused)
                    };
                    let check = linear::check("matvec", String::new(), String::new(), dtype, case, 0.0, run);
                    let passed = check.run(&gpu).expect("the device stays").passed();
                    assert_eq!(passed, wanted == done, "{dtype} {form:?}: {done:?} against {wanted:?}");
                }
            }
        }
    }
}
