// From one step that is decoded ahead to the next: notes the choice by the position of the step that made it, has the
// next step fed with it, and moves the position on. One invocation.
@group(0) @binding(0) var<storage, read> best: array<u32>;             // the choice: index, value, bad, 0
@group(0) @binding(1) var<storage, read_write> choices: array<u32>;    // [positions, 4]
@group(0) @binding(2) var<storage, read_write> tokens: array<u32>;     // the first one is fed
@group(0) @binding(3) var<storage, read_write> state: array<u32>;      // State, whose position stands first

@compute @workgroup_size(1)
fn main() {
  let pos = state[0];
  if (pos >= arrayLength(&choices) / 4u) { return; }
  for (var i = 0u; i < 4u; i++) { choices[4u * pos + i] = best[i]; }
  tokens[0] = best[0];
  state[0] = pos + 1u;
}
