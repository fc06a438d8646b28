// Makes what was said lately less likely: each logit of the last `window` tokens is divided by the penalty where it is
// positive, else multiplied by it (Keskar et al. 2019, CTRL, §4.1, as transformers reads it), once however often the token
// stands there. One workgroup, an invocation per token. The token of this position is added to `said`.
struct Params {
  window: u32,    // at most WG
  vocab: u32,
  penalty: f32,
}
@group(0) @binding(0) var<storage, read> tokens: array<u32>;         // the token that was fed
@group(0) @binding(1) var<storage, read_write> said: array<u32>;     // by position
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;   // [vocab]
@group(0) @binding(3) var<uniform> state: State;

var<workgroup> recent: array<u32, WG>;  // the latest first

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  let n = min(params.window, state.pos + 1u);
  if (lane == 0u) {
    said[state.pos] = tokens[0];
    recent[0] = tokens[0];
  } else if (lane < n) {
    recent[lane] = said[state.pos - lane];
  }
  workgroupBarrier();
  if (lane >= n) { return; }
  let id = recent[lane];
  var first = id < params.vocab;
  for (var i = 0u; i < lane; i++) { first = first && recent[i] != id; }
  if (first) {
    let v = logits[id];
    let w = select(v * params.penalty, v / params.penalty, v > 0.0);
    // What was finite stays so: only what the model makes itself counts as broken.
    let broken = (bitcast<u32>(v) & 0x7F800000u) == 0x7F800000u;
    logits[id] = select(clamp(w, -3.4e38, 3.4e38), v, broken);
  }
}
