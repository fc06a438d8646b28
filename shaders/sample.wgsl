// Chooses one of the candidates that top_k found: temperature, top-k, top-p, min-p, then a draw from what is left.
// One workgroup: every invocation finds the rank of one candidate, the first one walks through them.
struct Params {
  k: u32,               // candidates to look at, at most WG
  top_p: f32,           // only the most likely that together reach this probability
  min_p: f32,           // only those at least this fraction as likely as the most likely
  inv_temperature: f32, // 1 / temperature
}
@group(0) @binding(0) var<storage, read> top: array<vec2<u32>>;   // (how many, non-finite), unused, then (index, bits)
@group(0) @binding(1) var<storage, read> draws: array<f32>;       // in [0, 1), one per position
@group(0) @binding(2) var<storage, read_write> best: vec4<u32>;   // index, bits of its logit, non-finite, 0
@group(0) @binding(3) var<uniform> state: State;

var<workgroup> ids: array<u32, WG>;
var<workgroup> logits: array<f32, WG>;

// Bits of a float → larger float, larger key; 0 comes before -0.
fn key(bits: u32) -> u32 { return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u); }

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  let found = min(top[0].x, WG);
  if (lane < found) {
    let mine = top[2u + lane];
    // Best first, of equals the lowest index.
    var rank = 0u;
    for (var i = 0u; i < found; i++) {
      let other = top[2u + i];
      if (key(other.y) > key(mine.y) || (other.y == mine.y && other.x < mine.x)) { rank++; }
    }
    ids[rank] = mine.x;
    logits[rank] = bitcast<f32>(mine.y);
  }
  workgroupBarrier();
  if (lane != 0u) { return; }
  let n = min(found, params.k);
  var total = 0.0;
  for (var i = 0u; i < n; i++) { total += exp((logits[i] - logits[0]) * params.inv_temperature); }
  var kept = 0u;
  var mass = 0.0;
  for (; kept < n; kept++) {
    let w = exp((logits[kept] - logits[0]) * params.inv_temperature);
    if (kept > 0u && (mass >= params.top_p * total || w < params.min_p)) { break; }
    mass += w;
  }
  var left = draws[state.pos] * mass;
  var pick = 0u;
  for (; pick + 1u < kept; pick++) {
    left -= exp((logits[pick] - logits[0]) * params.inv_temperature);
    if (left < 0.0) { break; }
  }
  best = vec4<u32>(ids[pick], bitcast<u32>(logits[pick]), top[0].y, 0u);
}
