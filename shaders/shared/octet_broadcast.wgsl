// Queries and weights are the same for a whole subgroup: its invocations read one each, and broadcast. For CPU adapters,
// where every invocation's read costs by itself. SUBGROUP is the one size of subgroups, at least 8; their invocations
// follow each other in the workgroup.
fn broadcast8(v: vec4<f32>) -> Octet {
  return Octet(
    subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
    subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u));
}

fn query(at: u32, in: ReduceInput) -> Octet { return broadcast8(q_tile[at + (in.lane & 7u)]); }

fn weights(first: u32, slice: u32, g: u32, in: ReduceInput) -> Octet {
  // A subgroup within one slice.
  if (D4 % SUBGROUP == 0u) { return broadcast8(weight_of(first, slice, in.lane & 7u, g)); }
  return Octet(
    weight_of(first, slice, 0u, g), weight_of(first, slice, 1u, g),
    weight_of(first, slice, 2u, g), weight_of(first, slice, 3u, g),
    weight_of(first, slice, 4u, g), weight_of(first, slice, 5u, g),
    weight_of(first, slice, 6u, g), weight_of(first, slice, 7u, g));
}
