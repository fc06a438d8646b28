// Data of shaders/read.wgsl in a buffer.
@group(0) @binding(0) var<storage, read> data: array<vec4<u32>>;

fn quad(i: u32) -> vec4<u32> { return data[i]; }
