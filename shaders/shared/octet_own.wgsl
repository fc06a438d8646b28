// Every invocation reads queries and weights from workgroup memory by itself.
fn query(at: u32, in: ReduceInput) -> Block32 {
  return Block32(
    q_tile[at], q_tile[at + 1u], q_tile[at + 2u], q_tile[at + 3u],
    q_tile[at + 4u], q_tile[at + 5u], q_tile[at + 6u], q_tile[at + 7u]);
}

fn weights(first: u32, slice: u32, g: u32, in: ReduceInput) -> Block32 { return weights_of(first, slice, g); }
