// data[i] = a pseudo-random word (hash of seed + i) whose bits are masked into sane numbers of the format that
// the buffer holds: weights for models without files, and data for measuring, which must not be all zero.
// Of every `period` words those from `first` to `end` get the second pair of masks, the others the first.
struct Params {
  n: u32,       // words
  seed: u32,
  period: u32, first: u32, end: u32,
  keep_a: u32, set_a: u32,  // word = (hash & keep) | set
  keep_b: u32, set_b: u32,
}
@group(0) @binding(0) var<storage, read_write> data: array<u32>;  // [n]

// Finalizer of two rounds (Wellons 2018, "Prospecting for hash functions": lowbias32).
fn hash(word: u32) -> u32 {
  var x = word;
  x = (x ^ (x >> 16u)) * 0x7feb352du;
  x = (x ^ (x >> 15u)) * 0x846ca68bu;
  return x ^ (x >> 16u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (id.y * groups.x + id.x) * WG + lane;
  if (i >= params.n) { return; }
  let at = i % params.period;
  let second = at >= params.first && at < params.end;
  let keep = select(params.keep_a, params.keep_b, second);
  data[i] = (hash(params.seed + i) & keep) | select(params.set_a, params.set_b, second);
}
