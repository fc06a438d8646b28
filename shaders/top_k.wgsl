// The K largest of x[0, :] in any order: result[0] = (how many, non-finite elements, 0, 0), then per element
// (index, bits). Of equal elements at the border those with the lowest index are taken. One workgroup.
// A radix select on order-preserving keys, four bits at a time, finds the K-th largest key; then
// larger elements are collected, and of the equal ones as many as still fit.
struct Params {
  cols: u32,
  k: u32,  // 1 ≤ k ≤ cols
}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<vec2<u32>>;  // [2 + k]

var<workgroup> counts: array<atomic<u32>, 16>;
var<workgroup> taken: atomic<u32>;
var<workgroup> bad: atomic<u32>;
var<workgroup> equals: array<u32, WG>;
var<workgroup> chosen: vec2<u32>;  // digit, how many are still wanted below it

// Larger float, larger key. Non-finite numbers come last.
fn key(v: f32) -> u32 {
  let bits = bitcast<u32>(v);
  let ordered = select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
  return select(ordered, 0u, (bits & 0x7F800000u) == 0x7F800000u);
}

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  if (lane == 0u) { atomicStore(&taken, 0u); atomicStore(&bad, 0u); }
  var prefix = 0u;      // the digits of the K-th largest key found so far
  var wanted = params.k;
  for (var shift = 28i; shift >= 0i; shift -= 4i) {
    let s = u32(shift);
    if (lane < 16u) { atomicStore(&counts[lane], 0u); }
    workgroupBarrier();
    // As many turns in every invocation: Microsoft's FXC refuses barriers around a loop whose end differs.
    for (var first = 0u; first < params.cols; first += WG) {
      let i = first + lane;
      if (i < params.cols) {
        let k = key(x[i]);
        if (s == 28u || (k >> (s + 4u)) == prefix) { atomicAdd(&counts[(k >> s) & 15u], 1u); }
        if (s == 28u && k == 0u) { atomicAdd(&bad, 1u); }
      }
    }
    workgroupBarrier();
    if (lane == 0u) {
      var digit = 15u;
      var left = wanted;
      for (; digit > 0u && atomicLoad(&counts[digit]) < left; digit--) { left -= atomicLoad(&counts[digit]); }
      chosen = vec2<u32>(digit, left);
    }
    let pick = workgroupUniformLoad(&chosen);
    prefix = (prefix << 4u) | pick.x;
    wanted = pick.y;
  }
  // `wanted` elements equal to `prefix` belong to the result. Invocations own consecutive ranges, so that
  // the lowest indices come first whatever the order of execution.
  let share = (params.cols + WG - 1u) / WG;
  let begin = min(lane * share, params.cols);
  let to = min(begin + share, params.cols);
  var mine = 0u;
  for (var i = begin; i < to; i++) { if (key(x[i]) == prefix) { mine++; } }
  equals[lane] = mine;
  workgroupBarrier();
  var before = 0u;
  for (var i = 0u; i < lane; i++) { before += equals[i]; }
  for (var i = begin; i < to; i++) {
    let v = x[i];
    let k = key(v);
    var keep = k > prefix;
    if (k == prefix) {
      keep = before < wanted;
      before++;
    }
    if (keep) { result[2u + atomicAdd(&taken, 1u)] = vec2<u32>(i, bitcast<u32>(v)); }
  }
  workgroupBarrier();
  if (lane == 0u) {
    result[0] = vec2<u32>(atomicLoad(&taken), atomicLoad(&bad));
    result[1] = vec2<u32>();
  }
}
