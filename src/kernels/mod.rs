//! One file per kernel, named as its WGSL file (decode attention has two): parameters, spec, variants, step, f64 reference, checks.

pub mod advance;
pub mod argmax;
pub mod arithmetic;
pub mod attend_decode;
pub mod attend_merge;
pub mod attend_prefill;
pub mod attention;
pub mod check;
pub mod embed;
pub mod fill;
pub mod glu;
pub mod kv;
pub mod linear;
pub mod matmul;
pub mod matvec;
pub mod matvec_checks;
pub mod penalize;
pub mod random;
pub mod read;
pub mod reduce;
pub mod rms_norm;
pub mod rope_kv;
pub mod sabotage;
pub mod sample;
pub mod top_k;
pub mod variants;
pub mod verify;
pub mod weights;

use crate::gpu::{KernelSpec, Shader};

/// Every kernel there is.
pub const ALL: [&KernelSpec; 18] = [
    &embed::SPEC,
    &rms_norm::SPEC,
    &matvec::SPEC,
    &matmul::SPEC,
    &rope_kv::SPEC,
    &attend_decode::SPEC,
    &attend_decode::SUBGROUP_SPEC,
    &attend_merge::SPEC,
    &attend_prefill::SPEC,
    &glu::SPEC,
    &argmax::SPEC,
    &top_k::SPEC,
    &penalize::SPEC,
    &sample::SPEC,
    &advance::SPEC,
    &fill::SPEC,
    &read::SPEC,
    &arithmetic::SPEC,
];

/// Every kernel in every variant, with the constants of typical models: what the shader tests compile.
pub fn all_shaders() -> Vec<Shader> {
    let mut shaders = Vec::new();
    shaders.extend(embed::all());
    shaders.extend(rms_norm::all());
    shaders.extend(matvec::all());
    shaders.extend(matmul::all());
    shaders.extend(rope_kv::all());
    shaders.extend(attend_decode::all());
    shaders.extend(attend_merge::all());
    shaders.extend(attend_prefill::all());
    shaders.extend(glu::all());
    shaders.extend(argmax::all());
    shaders.push(top_k::shader());
    shaders.push(penalize::shader());
    shaders.push(sample::shader());
    shaders.push(advance::shader());
    shaders.push(fill::shader());
    shaders.extend(read::all());
    shaders.extend(arithmetic::all());
    shaders
}
