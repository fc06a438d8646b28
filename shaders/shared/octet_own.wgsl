// Every invocation reads queries and weights from workgroup memory by itself.
fn query(at: u32, in: ReduceInput) -> Octet {
  return Octet(
    q_tile[at], q_tile[at + 1u], q_tile[at + 2u], q_tile[at + 3u],
    q_tile[at + 4u], q_tile[at + 5u], q_tile[at + 6u], q_tile[at + 7u]);
}

fn weights(first: u32, slice: u32, g: u32, in: ReduceInput) -> Octet {
  return Octet(
    weight_of(first, slice, 0u, g), weight_of(first, slice, 1u, g),
    weight_of(first, slice, 2u, g), weight_of(first, slice, 3u, g),
    weight_of(first, slice, 4u, g), weight_of(first, slice, 5u, g),
    weight_of(first, slice, 6u, g), weight_of(first, slice, 7u, g));
}
