// y[t, :] = row tokens[t] of the embedding, for the tokens whose row lies in this part of the matrix.
// One invocation writes one block of 32.
struct Params {
  blocks: u32, scale_words: u32,  // as in matvec.wgsl
  first_row: u32,                 // first vocabulary row of this part
  rows: u32,                      // rows of this part
}
// bindings 0 and 1, quants and scales: see planes_*.wgsl
@group(0) @binding(2) var<storage, read> tokens: array<u32>;         // [n_tokens]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [n_tokens, blocks * 8]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = id.x * WG + lane;
  let token = tokens[id.y];
  if (block >= params.blocks || token < params.first_row || token - params.first_row >= params.rows) { return; }
  let w = load_weights(token - params.first_row, block);
  let i = (id.y * params.blocks + block) * 8u;
  y[i] = w.a; y[i + 1u] = w.b; y[i + 2u] = w.c; y[i + 3u] = w.d;
  y[i + 4u] = w.e; y[i + 5u] = w.f; y[i + 6u] = w.g; y[i + 7u] = w.h;
}
