// What the first eight invocations of the subgroup hold, for all of it. Subgroups have at least eight; all take part.
fn broadcast8(v: vec4<f32>) -> Block32 {
  return Block32(
    subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
    subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u));
}

// The same where there may be only four, which hold two each.
fn broadcast4(v: vec4<f32>, w: vec4<f32>) -> Block32 {
  return Block32(
    subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
    subgroupBroadcast(w, 0u), subgroupBroadcast(w, 1u), subgroupBroadcast(w, 2u), subgroupBroadcast(w, 3u));
}
