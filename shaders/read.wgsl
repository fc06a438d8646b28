// Reads `data` once: how fast memory can be read. A workgroup reads WG · LOADS consecutive vec4, an invocation
// LOADS of them: its own run when CONTIGUOUS, else every WG-th. Four loads are in flight at a time.
// result[i] = exclusive or of what invocation i read, so that no load can be left out.
struct Params {
  groups: u32,  // workgroups that have data
}
// data, at binding 0, and quad() are a snippet's: [groups * WG * LOADS] vec4
@group(0) @binding(1) var<storage, read_write> result: array<u32>;    // [groups * WG]

const_assert(LOADS % 4u == 0u);

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let group = id.y * groups.x + id.x;
  if (group >= params.groups) { return; }
  let step = select(WG, 1u, CONTIGUOUS);
  let first = group * WG * LOADS + select(lane, lane * LOADS, CONTIGUOUS);
  var a = vec4<u32>(); var b = vec4<u32>(); var c = vec4<u32>(); var d = vec4<u32>();
  for (var k = 0u; k < LOADS; k += 4u) {
    let i = first + k * step;
    a ^= quad(i); b ^= quad(i + step); c ^= quad(i + 2u * step); d ^= quad(i + 3u * step);
  }
  let all = (a ^ b) ^ (c ^ d);
  result[group * WG + lane] = (all.x ^ all.y) ^ (all.z ^ all.w);
}
