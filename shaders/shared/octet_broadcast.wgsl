// Queries and weights are the same for a whole subgroup: its invocations read one each, and broadcast. For CPU adapters,
// where every invocation's read costs by itself. SUBGROUP is the one size of subgroups, at least 8; their invocations
// follow each other in the workgroup.
fn query(at: u32, in: ReduceInput) -> Block32 { return broadcast8(q_tile[at + (in.lane & 7u)]); }

fn weights(first: u32, slice: u32, g: u32, in: ReduceInput) -> Block32 {
  // A subgroup within one slice.
  if (D4 % SUBGROUP == 0u) { return broadcast8(weight_of(first, slice, in.lane & 7u, g)); }
  return weights_of(first, slice, g);
}
