// Few activations for several columns, as a uniform buffer: software adapters load from one with less ado.
@group(0) @binding(2) var<uniform> x: array<vec4<f32>, 4096>;
